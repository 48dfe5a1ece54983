package gluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// fuseType is the file system type of Gluster mounts in mountinfo.
const fuseType = "fuse.glusterfs"

// topMount returns the mount that is visible at dir, nil when there is none. It
// reads mountinfo only and does not touch dir.
func topMount(dir string) (*mountinfo.Info, error) {
	mounts, err := mountinfo.GetMounts(func(i *mountinfo.Info) (skip, stop bool) { return i.Mountpoint != dir, false })
	if err != nil {
		return nil, fmt.Errorf("mount table: %w", err)
	}
	if len(mounts) == 0 {
		return nil, nil //nolint:nilnil // No mount is no error.
	}
	return mounts[len(mounts)-1], nil
}

// probe asks the mount at dir for a sign of life, and returns an error that
// matches ErrStale when it gives none within that time. The system calls may
// block for ever on a dead mount, so they are left to a goroutine that nobody
// waits for.
func (m *Mounter) probe(ctx context.Context, dir string, within time.Duration) error {
	answer := make(chan error, 1)
	go func() {
		var fs unix.Statfs_t
		var st unix.Stat_t
		err := unix.Statfs(dir, &fs)
		if err == nil {
			err = unix.Stat(dir, &st)
		}
		answer <- err
	}()
	wait, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	select {
	case err := <-answer:
		switch {
		case errors.Is(err, unix.ENOTCONN), errors.Is(err, unix.ESTALE), errors.Is(err, unix.EIO), errors.Is(err, unix.ECONNABORTED):
			return fmt.Errorf("%w: %w", ErrStale, err)
		case err != nil:
			return fmt.Errorf("state of %s: %w", dir, err)
		}
		return nil
	case <-wait.Done():
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return fmt.Errorf("%w: no answer within %v", ErrStale, within)
	}
}

// Leftovers returns what a killed process may have left below Base: Gluster
// mounts, whether they answer or not, and mount points without a mount. Unmount
// takes each of them. Mounts of other kinds are left out.
func (m *Mounter) Leftovers() ([]string, error) {
	base, err := filepath.EvalSymlinks(m.opts.Base)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("folder for mounts: %w", err)
	}
	mounts, err := mountinfo.GetMounts(mountinfo.PrefixFilter(base))
	if err != nil {
		return nil, fmt.Errorf("mount table: %w", err)
	}
	mounted := make(map[string]string)
	for _, i := range mounts {
		mounted[i.Mountpoint] = i.FSType
	}
	// Reading the folder's names does not touch what is mounted on them.
	entries, err := os.ReadDir(base)
	if err != nil {
		return nil, fmt.Errorf("folder for mounts: %w", err)
	}
	var dirs []string
	for _, e := range entries {
		dir := filepath.Join(base, e.Name())
		if fsType, ok := mounted[dir]; e.IsDir() && mountName.MatchString(e.Name()) && (!ok || fsType == fuseType) {
			dirs = append(dirs, dir)
		}
	}
	return dirs, nil
}

// maxLogTail is how much of the end of a client's log is looked at.
const maxLogTail = 64 << 10

// logLine is a log line by gluster/glusterfs libglusterfs/src/logging.c: time,
// level (emergency to warning), place, then the message.
var logLine = regexp.MustCompile(`^\[[0-9-]+ [0-9:.]+[^]]*\] [MACEW] (?:\[MSGID: [0-9]+\] )?\[[^]]*\] (.*)$`)

// logTail returns the last warnings and errors of a client's log, without the
// noise of its end.
func logTail(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Size() > maxLogTail {
		if _, err := f.Seek(-maxLogTail, io.SeekEnd); err != nil {
			return ""
		}
	}
	content, err := io.ReadAll(io.LimitReader(f, maxLogTail))
	if err != nil {
		return ""
	}
	var lines []string
	for line := range bytes.Lines(content) {
		if s := logLine.FindStringSubmatch(strings.TrimSpace(string(line))); s != nil && !bytes.Contains(line, []byte("cleanup_and_exit")) {
			lines = append(lines, strings.ToValidUTF8(s[1], "?"))
		}
	}
	return strings.Join(lines[max(0, len(lines)-5):], "\n")
}

// endClients ends the Gluster clients that were started for dir and are still
// trying to mount it. Their last argument is the mount point, and nobody but
// this program mounts below Base.
func endClients(dir string) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		cmdline, err := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
		if err != nil {
			continue // It has just ended.
		}
		args := strings.Split(strings.TrimSuffix(string(cmdline), "\x00"), "\x00")
		if filepath.Base(args[0]) == "glusterfs" && args[len(args)-1] == dir {
			_ = unix.Kill(pid, unix.SIGTERM)
		}
	}
}
