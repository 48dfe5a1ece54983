//go:build platform

package copiertest

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/glusterbackupd/glusterbackupd/copier"
)

// TestEngineOnMounts runs the cases that need file systems of their own: a full
// disk and a source that cannot be read.
func TestEngineOnMounts(t *testing.T, newEngine func() Engine) {
	t.Helper()
	t.Run("full disk", func(t *testing.T) { fullDisk(t, newEngine()) })
	t.Run("read error", func(t *testing.T) { readError(t, newEngine()) })
	t.Run("other file system", func(t *testing.T) { otherFileSystem(t, newEngine()) })
}

// Loop mounts a new file system of size bytes, made by the command mkfs, and
// returns its mount point and its backing file. Both go away with the test.
func Loop(t *testing.T, size int64, mkfs ...string) (dir, backing string) {
	t.Helper()
	backing, dir = filepath.Join(t.TempDir(), "disk"), t.TempDir()
	must(t, os.WriteFile(backing, nil, 0o600))
	must(t, os.Truncate(backing, size))
	command(t, append(mkfs, backing)...)
	command(t, "mount", "-o", "loop", backing, dir)
	t.Cleanup(func() { command(t, "umount", dir) })
	return dir, backing
}

func command(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", args, err, out)
	}
}

func fullDisk(t *testing.T, e Engine) {
	src := t.TempDir()
	for i := range 40 {
		must(t, os.WriteFile(filepath.Join(src, fmt.Sprintf("f%02d", i)), bytes.Repeat([]byte("x"), 1<<20), 0o600))
	}
	dest, _ := Loop(t, 24<<20, "mkfs.ext4", "-q")
	_, err := e.Copy(t.Context(), copier.Tree{Source: src, Dest: dest})
	if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "f") {
		t.Fatalf("error %v, want %v", err, syscall.ENOSPC)
	}
	left, err := os.ReadDir(dest)
	must(t, err)
	for _, entry := range left {
		fi, err := entry.Info()
		must(t, err)
		if entry.Name() != "lost+found" && fi.Size() != 1<<20 {
			t.Errorf("%s was left with %d bytes", entry.Name(), fi.Size())
		}
	}
}

// readError cuts the end off the disk below the source.
func readError(t *testing.T, e Engine) {
	src, backing := Loop(t, 64<<20, "mkfs.ext4", "-q", "-O", "^has_journal", "-E", "lazy_itable_init=0")
	must(t, os.WriteFile(filepath.Join(src, "readable"), []byte("x"), 0o600))
	must(t, os.WriteFile(filepath.Join(src, "unreadable"), bytes.Repeat([]byte("x"), 40<<20), 0o600))
	command(t, "mount", "-o", "remount,ro", src)
	must(t, os.WriteFile("/proc/sys/vm/drop_caches", []byte("3"), 0o200))
	must(t, os.Truncate(backing, 24<<20))
	_, err := e.Copy(t.Context(), copier.Tree{Source: src, Dest: t.TempDir()})
	must(t, os.Truncate(backing, 64<<20))
	if !errors.Is(err, syscall.EIO) || !strings.Contains(err.Error(), src+"/unreadable") {
		t.Errorf("error %v, want %v of the file", err, syscall.EIO)
	}
}

// otherFileSystem copies to and from XFS, whose times and attributes differ in
// their limits.
func otherFileSystem(t *testing.T, e Engine) {
	dest, _ := Loop(t, 512<<20, "mkfs.xfs", "-q")
	src := generated(t)
	mustCopy(t, e, copier.Tree{Source: src, Dest: dest})
	wantSame(t, src, dest)
}
