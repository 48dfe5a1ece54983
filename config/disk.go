package config

import (
	"path/filepath"
	"strings"
)

// Destination is where the backups go.
type Destination struct {
	// Path is the root of the BackupDisk, an absolute path. Required.
	Path string `toml:"path" example:"/backupdisk"`
}

func (d *Destination) validate(r *report) {
	r.absolute("destination.path", d.Path)
}

// Copy says how data is copied.
type Copy struct {
	// BandwidthLimit is the most bytes that one copy moves in a second. 0 is no
	// limit.
	BandwidthLimit Size `toml:"bandwidth_limit" example:"50MiB"`
	// Rsync is the command that runs rsync: the program, and arguments that
	// come before those of glusterbackupd.
	Rsync []string `toml:"rsync" example:"nice rsync"`
}

func (c *Copy) setDefaults() {
	*c = Copy{BandwidthLimit: 0, Rsync: []string{"rsync"}}
}

func (c *Copy) validate(r *report) {
	r.command("copy.rsync", c.Rsync)
}

// Limits protects the live volumes. A thin pool that is full shuts its bricks
// down, so no snapshot is taken of a volume whose pools are beyond a limit.
type Limits struct {
	// PoolData is how full the data of a thin pool may be, in percent, 1 to 99.
	// Above it no snapshot is taken.
	PoolData int `toml:"pool_data" example:"70"`
	// PoolMetadata is how full the metadata of a thin pool may be, in percent,
	// 1 to 99. Above it no snapshot is taken.
	PoolMetadata int `toml:"pool_metadata" example:"70"`
}

func (l *Limits) setDefaults() {
	*l = Limits{PoolData: 80, PoolMetadata: 80}
}

func (l *Limits) validate(r *report) {
	r.between("limits.pool_data", l.PoolData, 1, 99)
	r.between("limits.pool_metadata", l.PoolMetadata, 1, 99)
}

// within reports whether path is root or lies below it. Both are absolute.
func within(root, path string) bool {
	if root == "" || path == "" {
		return false
	}
	relative, err := filepath.Rel(root, path)
	return err == nil && relative != ".." && !strings.HasPrefix(relative, "../")
}
