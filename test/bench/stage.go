package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/glusterbackupd/glusterbackupd/gluster"
	"github.com/glusterbackupd/glusterbackupd/runner"
)

// packages has, for each program, the Debian package that brings it.
var packages = map[string]string{
	"glusterd": "glusterfs-server", "glusterfs": "glusterfs-client", "mkfs.xfs": "xfsprogs", "ip": "iproute2",
	"rsync": "rsync", "fpsync": "fpart", "rclone": "rclone", "restic": "restic", "borg": "borgbackup",
}

// install installs the programs that are missing.
func install(ctx context.Context) error {
	var missing []string
	for program, name := range packages {
		if _, err := exec.LookPath(program); err != nil {
			missing = append(missing, name)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	fmt.Println("installing", strings.Join(missing, " "))
	if err := run(ctx, "apt-get", "update", "-qq"); err != nil {
		return err
	}
	return run(ctx, append([]string{"apt-get", "install", "-y", "-qq", "--no-install-recommends"}, missing...)...)
}

// run runs a command; its output is in the error.
func run(ctx context.Context, args ...string) error {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w\n%s", strings.Join(args, " "), err, bytes.TrimSpace(out))
	}
	return nil
}

// address is that of the Gluster host in its own network.
const address = "192.168.78.1"

// stage is a Gluster host with its volumes, and a disk for the copies.
type stage struct {
	dir string // Of everything.
	// disk is XFS with reflinks, where copies go.
	disk string
	// mounter mounts as glusterbackupd does, but the volumes themselves for
	// snapshots of theirs.
	mounter *gluster.Mounter
}

// newStage sets up mounts, network, disks and glusterd. It must run in
// namespaces of its own, which undo all of it.
func newStage(ctx context.Context, dir string) (*stage, error) {
	m, err := gluster.NewMounter(gluster.MounterOptions{
		Base: filepath.Join(dir, "mnt"), LogDir: filepath.Join(dir, "log"), Run: runner.NewLocal(runner.LocalOptions{}),
		SnapshotPath: func(_, volume string) string { return "/" + volume },
	})
	if err != nil {
		return nil, err
	}
	s := &stage{dir: dir, disk: filepath.Join(dir, "disk"), mounter: m}
	if err := unix.Mount("", "/", "", unix.MS_PRIVATE|unix.MS_REC, ""); err != nil {
		return nil, fmt.Errorf("private mounts: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return nil, fmt.Errorf("mount /proc: %w", err)
	}
	for _, path := range []string{"/var/lib/glusterd", "/var/log/glusterfs", "/run"} {
		own := filepath.Join(dir, "state", path)
		if err := errors.Join(os.MkdirAll(own, 0o755), os.MkdirAll(path, 0o755)); err != nil {
			return nil, err
		}
		if err := unix.Mount(own, path, "", unix.MS_BIND, ""); err != nil {
			return nil, fmt.Errorf("mount over %s: %w", path, err)
		}
	}
	for _, args := range [][]string{
		{"ip", "link", "set", "lo", "up"},
		// Gluster refuses bricks on a loopback address.
		{"ip", "tuntap", "add", "bench0", "mode", "tap"},
		{"ip", "addr", "add", address + "/24", "dev", "bench0"},
		{"ip", "link", "set", "bench0", "up"},
	} {
		if err := run(ctx, args...); err != nil {
			return nil, err
		}
	}
	if err := s.loop(ctx, s.disk, "60G"); err != nil {
		return nil, err
	}
	if err := run(ctx, "glusterd"); err != nil {
		return nil, err
	}
	return s, s.await(ctx, func() error { return s.gluster(ctx, "list") })
}

// loop mounts a new XFS of a sparse file.
func (s *stage) loop(ctx context.Context, dir, size string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, args := range [][]string{
		{"truncate", "-s", size, dir + ".img"},
		{"mkfs.xfs", "-q", "-m", "reflink=1", dir + ".img"},
		{"mount", "-o", "loop", dir + ".img", dir},
	} {
		if err := run(ctx, args...); err != nil {
			return err
		}
	}
	return nil
}

// await repeats what Gluster may not be ready for until it succeeds.
func (s *stage) await(ctx context.Context, do func() error) error {
	for deadline := time.Now().Add(time.Minute); ; {
		err := do()
		if err == nil || time.Now().After(deadline) || ctx.Err() != nil {
			return err
		}
		time.Sleep(200 * time.Millisecond)
	}
}

// volume is a Gluster volume, mounted at dir; without dir it is none, for what
// happens on local disks only.
type volume struct {
	stage            *stage
	name, dir, brick string // The last brick's folder.
	images           bool
	replicas         int
}

// volume makes a volume of one brick, with options.
func (s *stage) volume(ctx context.Context, name string, options ...string) (*volume, error) {
	return s.replicated(ctx, name, 1, options...)
}

// replicated makes a volume that has each file on so many bricks.
func (s *stage) replicated(ctx context.Context, name string, replicas int, options ...string) (*volume, error) {
	v := &volume{stage: s, name: name, dir: filepath.Join(s.dir, "mnt", name), replicas: replicas}
	create := []string{"create", name}
	if replicas > 1 {
		create = append(create, "replica", strconv.Itoa(replicas))
	}
	for i := range replicas {
		brick := filepath.Join(s.dir, fmt.Sprintf("brick-%s-%d", name, i))
		if err := s.loop(ctx, brick, "30G"); err != nil {
			return nil, err
		}
		v.brick = filepath.Join(brick, "data")
		create = append(create, address+":"+v.brick)
	}
	if replicas > 1 {
		create = append(create, "force") // They are on one host.
	}
	// Volumes with replicas, as Heketi makes them, have this option off by default.
	options = append(options, "performance.client-io-threads=off")
	steps := [][]string{create}
	for _, o := range options {
		key, value, _ := strings.Cut(o, "=")
		steps = append(steps, []string{"set", name, key, value})
	}
	for _, step := range append(steps, []string{"start", name}) {
		if err := s.gluster(ctx, step...); err != nil {
			return nil, err
		}
	}
	return v, v.mount(ctx, false)
}

func (s *stage) gluster(ctx context.Context, args ...string) error {
	return run(ctx, append([]string{"gluster", "--mode=script", "volume"}, args...)...)
}

// delay makes each of the operations that reading needs take a millisecond.
func (v *volume) delay(ctx context.Context) error {
	for _, step := range [][]string{
		{"set", v.name, "debug.delay-gen", "posix"},
		{"set", v.name, "delay-gen.delay-percentage", "100"},
		{"set", v.name, "delay-gen.delay-duration", "1000"},
		{"set", v.name, "delay-gen.enable", "lookup,open,read,readdirp,getxattr,stat,flush"},
		{"stop", v.name},
		{"start", v.name},
	} {
		if err := v.stage.gluster(ctx, step...); err != nil {
			return err
		}
	}
	return nil
}

// mount mounts the volume as glusterbackupd mounts a snapshot, or as it mounts a
// live volume, which is how anybody would who wants to keep ACLs.
func (v *volume) mount(ctx context.Context, snapshot bool) error {
	return v.stage.await(ctx, func() (err error) {
		servers := []string{address}
		if snapshot {
			_, err = v.stage.mounter.MountSnapshot(ctx, servers, "bench", v.name, v.name, gluster.MountOptions{DirectIO: v.images, SingleCopy: v.replicas == 1})
		} else {
			_, err = v.stage.mounter.MountVolume(ctx, servers, v.name, v.name, gluster.MountOptions{})
		}
		return err
	})
}

func (v *volume) unmount(ctx context.Context) error {
	if v.dir == "" {
		return nil
	}
	return v.stage.mounter.Unmount(ctx, v.dir)
}

// live mounts the volume for writing.
func (v *volume) live(ctx context.Context) error {
	if err := v.unmount(ctx); err != nil || v.dir == "" {
		return err
	}
	return v.mount(ctx, false)
}

// cold makes the client forget everything, and the kernel what it can, and mounts
// the volume for a tool.
func (v *volume) cold(ctx context.Context, t tool) error {
	if err := v.unmount(ctx); err != nil {
		return err
	}
	unix.Sync()
	if err := os.WriteFile("/proc/sys/vm/drop_caches", []byte("3"), 0o200); err != nil || v.dir == "" {
		return err
	}
	return v.mount(ctx, t.snapshot)
}
