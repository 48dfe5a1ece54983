package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// result is what one run of a tool took.
type result struct {
	wall, cpu time.Duration
	rss       int64
}

// timed runs a tool and measures it with its children. What Gluster's own
// processes use is not counted.
func timed(ctx context.Context, args ...string) (result, error) {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Env = append(os.Environ(), "RESTIC_PASSWORD=bench", "BORG_BASE_DIR=/tmp", "RESTIC_CACHE_DIR=/nonexistent",
		"BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK=yes", "LC_ALL=C", "TZ=UTC")
	// What it prints may be all that it reads; what this process takes counts for it.
	var complaints strings.Builder
	cmd.Stderr = &complaints
	start := time.Now()
	err := cmd.Run()
	wall := time.Since(start)
	if err != nil {
		text := complaints.String()
		return result{}, fmt.Errorf("%s: %w\n%s", strings.Join(args, " "), err, text[max(0, len(text)-2000):])
	}
	usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	if !ok {
		return result{}, errors.New("no resource usage on this system")
	}
	return result{wall, cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), usage.Maxrss << 10}, nil
}

// ours is the command line of one copy by an engine of ours.
func ours(engine, from, to string, more ...string) []string {
	self, err := os.Executable()
	if err != nil {
		self = os.Args[0]
	}
	return append([]string{self, "copy", "-engine", engine, "-from", from, "-to", to}, more...)
}

// tool is one line of a case. It copies from a folder to one that it makes.
type tool struct {
	name string
	// prepare comes before each measurement and is not measured.
	prepare func(ctx context.Context, to string) error
	args    func(from, to string) []string
	// snapshot says that it gets the volume mounted as glusterbackupd mounts a
	// snapshot, with nothing to write and nothing that changes.
	snapshot bool
}

// onSnapshot is a tool that reads from such a mount.
func onSnapshot(name string, prepare func(ctx context.Context, to string) error, args func(from, to string) []string) tool {
	return tool{name, prepare, args, true}
}

// onVolume is a tool that gets the volume mounted as anybody would mount it.
func onVolume(name string, prepare func(ctx context.Context, to string) error, args func(from, to string) []string) tool {
	return tool{name, prepare, args, false}
}

// onDisk is a tool that reads and writes local disks only.
func onDisk(name string, prepare func(ctx context.Context, to string) error, args func(from, to string) []string) tool {
	return onVolume(name, prepare, args)
}

func mkdir(_ context.Context, to string) error { return os.MkdirAll(to, 0o700) }

func contents(dir string) string { return dir + "/" }

// firstCopyTools copy a tree for the first time.
func firstCopyTools() []tool {
	rsync := func(from, to string) []string {
		return []string{"rsync", "-aHAXS", "--numeric-ids", contents(from), contents(to)}
	}
	return []tool{
		onVolume("rsync -aHAXS", mkdir, rsync),
		onSnapshot("glusterbackupd, native", mkdir, func(from, to string) []string { return ours("native", from, to) }),
		onSnapshot("rsync, on the snapshot's mount", mkdir, rsync),
		onSnapshot("glusterbackupd, rsync", mkdir, func(from, to string) []string { return ours("rsync", from, to) }),
		onVolume("cp -a", nil, func(from, to string) []string { return []string{"cp", "-a", from, to} }),
		onVolume("fpsync -n 8", mkdir, func(from, to string) []string {
			return []string{"fpsync", "-n", "8", "-t", to + ".tmp", contents(from), contents(to)}
		}),
		onVolume("rclone --transfers 16", mkdir, func(from, to string) []string {
			return []string{"rclone", "copy", "--transfers", "16", "--checkers", "16", "--config", "/dev/null", from, to}
		}),
		onVolume("restic backup", func(ctx context.Context, to string) error {
			return run(ctx, "env", "RESTIC_PASSWORD=bench", "restic", "-r", to, "init", "--no-cache")
		}, func(from, to string) []string { return []string{"restic", "-r", to, "--no-cache", "backup", from} }),
		onVolume("borg create", func(ctx context.Context, to string) error {
			return run(ctx, "env", "BORG_BASE_DIR="+filepath.Dir(to), "borg", "init", "-e", "none", to)
		}, func(from, to string) []string { return []string{"borg", "create", to + "::one", from} }),
	}
}
