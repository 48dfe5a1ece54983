package config

import (
	"path/filepath"
	"strings"
	"time"
)

// Destination is where the backups go.
type Destination struct {
	// Path is the root of the BackupDisk, an absolute path. Required.
	Path string `toml:"path" example:"/backupdisk"`
}

func (d *Destination) validate(r *report) {
	r.absolute("destination.path", d.Path)
}

// Engine copies trees of files.
type Engine string

const (
	// EngineNative is glusterbackupd's own.
	EngineNative Engine = "native"
	// EngineRsync runs rsync.
	EngineRsync Engine = "rsync"
)

// Copy says how data is copied.
type Copy struct {
	// Engine is what copies the files of a claim: "native", which works on many
	// files at a time, or "rsync". Both give the same result.
	Engine Engine `toml:"engine" example:"rsync"`
	// FullCompare is the time after which a backup reads every file and every
	// image again, compares it with the last backup, and does not trust what did not
	// change by inode, size and times, or as the bricks say. With "0s" that never
	// happens by itself, and what rots in one backup is shared by the next ones until
	// `verify` finds it.
	FullCompare Duration `toml:"full_compare" example:"1w"`
	// TrackImages reads only those parts of an image that can have changed since the
	// last backup, by the times of its shards on the bricks, and were ever written.
	// Where that cannot be told, all of it is read.
	TrackImages bool `toml:"track_images" example:"true"`
	// TrackChunks asks the thin pools below the bricks, too, which parts of the shards
	// that have changed cannot have, and does not read those. It needs track_images, and
	// the snapshot of the last backup: [retention] snapshots longer than the time between
	// two backups. The metadata of a pool is held for reading meanwhile (`thin_delta`).
	TrackChunks bool `toml:"track_chunks" example:"true"`
	// BandwidthLimit is the most bytes that one copy moves in a second. 0 is no
	// limit.
	BandwidthLimit Size `toml:"bandwidth_limit" example:"50MiB"`
	// Rsync is the command that runs rsync: the program, and arguments that
	// come before those of glusterbackupd. Only engine "rsync" needs it.
	Rsync []string `toml:"rsync" example:"nice rsync"`
}

func (c *Copy) setDefaults() {
	*c = Copy{Engine: EngineNative, FullCompare: Duration(30 * day), TrackImages: true, TrackChunks: false, BandwidthLimit: 0, Rsync: []string{"rsync"}}
}

func (c *Copy) validate(r *report) {
	if c.Engine != EngineNative && c.Engine != EngineRsync {
		r.add("copy.engine", `want "native" or "rsync", not %q`, c.Engine)
	}
	if c.TrackChunks && !c.TrackImages {
		r.add("copy.track_chunks", "needs track_images = true: it says more of what that says")
	}
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
	// PoolDataDelete is how full the data of a thin pool may be, in percent, up
	// to 99. Above it the daemon deletes its own snapshots of the volume, the
	// oldest first.
	PoolDataDelete int `toml:"pool_data_delete" example:"80"`
	// PoolMetadataDelete is the same for the metadata of a thin pool.
	PoolMetadataDelete int `toml:"pool_metadata_delete" example:"80"`
	// PoolCheck is the time between two looks at the thin pools of volumes that
	// have a snapshot of ours, 1s or more.
	PoolCheck Duration `toml:"pool_check" example:"30s"`
}

func (l *Limits) setDefaults() {
	*l = Limits{
		PoolData: 80, PoolMetadata: 80, PoolDataDelete: 90, PoolMetadataDelete: 90,
		PoolCheck: Duration(time.Minute),
	}
}

func (l *Limits) validate(r *report) {
	r.levels("limits.pool_data", l.PoolData, l.PoolDataDelete)
	r.levels("limits.pool_metadata", l.PoolMetadata, l.PoolMetadataDelete)
	if l.PoolCheck < Duration(time.Second) {
		r.add("limits.pool_check", "want 1s or more, not %s", l.PoolCheck)
	}
}

// within reports whether path is root or lies below it. Both are absolute.
func within(root, path string) bool {
	if root == "" || path == "" {
		return false
	}
	relative, err := filepath.Rel(root, path)
	return err == nil && relative != ".." && !strings.HasPrefix(relative, "../")
}

// levels notes levels of a thin pool that are out of range or in the wrong
// order: below the first, each new snapshot would be deleted at once.
func (r *report) levels(key string, refuse, remove int) {
	r.between(key, refuse, 1, 99)
	if !r.has(key) {
		r.between(key+"_delete", remove, refuse, 99)
	}
}
