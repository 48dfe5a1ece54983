package servers

import (
	"cmp"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
)

// HeketiOptions says how Heketi serves and how it reaches the nodes.
type HeketiOptions struct {
	Port        int
	AdminKey    string // Without keys the server asks for no authorization.
	UserKey     string
	Executor    string // "mock" (default: answers without any node) or "ssh".
	KeyFile     string // Private key for ssh as root.
	MaxInflight uint64 // Operations at a time before it answers 429; 0 is Heketi's default.

	HostingVolumeGB      int    // Size of a blockhost volume that it makes by itself; default 5.
	HostingVolumeOptions string // Gluster options of such a volume, comma separated; "" is Heketi's default.
	Prealloc             string // "full" (Heketi's default) or "no": space of a new image.
}

// Heketi starts a Heketi server on loopback, with its database in
// <Dir>/heketi.db, and returns its URL.
func (e Env) Heketi(ctx context.Context, o HeketiOptions) (*Process, string, error) {
	if err := os.MkdirAll(e.Dir, 0o700); err != nil {
		return nil, "", err
	}
	config := filepath.Join(e.Dir, "heketi.json")
	content, err := json.MarshalIndent(heketiConfig(e.Dir, o), "", "  ")
	if err != nil {
		return nil, "", err
	}
	if err := os.WriteFile(config, content, 0o600); err != nil {
		return nil, "", err
	}
	url := loopback("http", o.Port)
	ready := func(ctx context.Context) error { return e.get(ctx, url+"/hello", "", "") }
	p, err := e.startAndWait(ctx, "heketi", ready, e.binary(heketiServer()), "--config="+config)
	return p, url, err
}

// heketiConfig is the server's configuration file, see heketi's
// apps/glusterfs/app_config.go and server/config.
func heketiConfig(dir string, o HeketiOptions) map[string]any {
	gluster := map[string]any{
		"executor": cmp.Or(o.Executor, "mock"),
		"sshexec": map[string]any{
			"keyfile": o.KeyFile, "user": "root", "port": "22", "fstab": "/etc/fstab",
			"snapshot_limit": 14, "gluster_cli_timeout": 900, "block_prealloc": cmp.Or(o.Prealloc, "full"),
		},
		"db": filepath.Join(dir, "heketi.db"), "loglevel": "debug", "brick_min_size_gb": 1,
		"auto_create_block_hosting_volume": true,
		"block_hosting_volume_size":        cmp.Or(o.HostingVolumeGB, 5),
		// The cleaner and the monitor would ssh to the nodes while a test stops them.
		"disable_background_cleaner": true, "disable_monitor_gluster_nodes": true,
	}
	if o.HostingVolumeOptions != "" {
		gluster["block_hosting_volume_options"] = o.HostingVolumeOptions
	}
	if o.MaxInflight > 0 {
		gluster["max_inflight_operations"] = o.MaxInflight
	}
	return map[string]any{
		"port": strconv.Itoa(o.Port), "use_auth": o.AdminKey != "" || o.UserKey != "",
		"jwt": map[string]any{
			"admin": map[string]any{"key": o.AdminKey}, "user": map[string]any{"key": o.UserKey},
		},
		"glusterfs": gluster,
	}
}
