//go:build platform

package gluster_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"github.com/glusterbackupd/glusterbackupd/gluster"
	"github.com/glusterbackupd/glusterbackupd/runner"
)

func (p *platform) servers() []string { return []string{p.lab.Address} }

// mounter returns a Mounter below a folder of the test's own, and checks at the
// test's end that it has left nothing: no mount, folder, log or client.
func (p *platform) mounter(t *testing.T) *gluster.Mounter {
	t.Helper()
	dir, err := os.MkdirTemp("", "gbtest-") //nolint:usetesting // t.TempDir would remove what is mounted.
	if err != nil {
		t.Fatal(err)
	}
	m, err := gluster.NewMounter(gluster.MounterOptions{
		Base: dir + "/mnt", LogDir: dir + "/log", Run: runner.NewLocal(runner.LocalOptions{}), StatTimeout: 10 * time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		dirs, err := m.Leftovers()
		if err != nil || len(dirs) > 0 {
			t.Errorf("left over: %q, %v", dirs, err)
		}
		for _, d := range dirs {
			if err := m.Unmount(context.WithoutCancel(t.Context()), d); err != nil {
				t.Error(err)
			}
		}
		if n := mountsBelow(t, dir); n > 0 {
			t.Fatalf("%d mounts are left below %s", n, dir)
		}
		p.wait(t, "all clients to end", func() bool { return len(clients(t, dir)) == 0 })
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return m
}

// mountVolume mounts a volume until the test ends.
func (p *platform) mountVolume(t *testing.T, m *gluster.Mounter, volume, name string, o gluster.MountOptions) string {
	t.Helper()
	dir, err := m.MountVolume(t.Context(), p.servers(), volume, name, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Unmount(context.WithoutCancel(t.Context()), dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func (p *platform) checkSnapshotMount(t *testing.T, m *gluster.Mounter, snapshot string) {
	t.Helper()
	dir, err := m.MountSnapshot(t.Context(), p.servers(), snapshot, single, "frozen", gluster.MountOptions{SingleCopy: true})
	if err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(dir + "/file"); err != nil || string(b) != "as it was" {
		t.Errorf("the snapshot's file holds %q, %v", b, err)
	}
	if !bytes.Equal(acl(t, dir+"/file"), someACL) {
		t.Errorf("the snapshot's file has the ACL %x", acl(t, dir+"/file"))
	}
	if err := os.WriteFile(dir+"/new", nil, 0o600); !errors.Is(err, unix.EROFS) {
		t.Errorf("writing to the snapshot = %v, want EROFS", err)
	}
	if info, err := os.Stat(filepath.Dir(dir)); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("mode of base = %v, %v", info, err)
	}
	if _, err := m.MountSnapshot(t.Context(), p.servers(), snapshot, single, "frozen", gluster.MountOptions{}); !errors.Is(err, gluster.ErrMounted) {
		t.Errorf("second mount = %v, want ErrMounted", err)
	}
	if dirs, err := m.Leftovers(); err != nil || !slices.Contains(dirs, dir) {
		t.Errorf("Leftovers = %q, %v", dirs, err)
	}
	if err := m.Unmount(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the mount point is left: %v", err)
	}
	if err := m.Unmount(t.Context(), dir); err != nil {
		t.Errorf("second Unmount = %v", err)
	}
}

// A mount whose client was killed is recognised, and replaced.
func (p *platform) testStale(t *testing.T) {
	m := p.mounter(t)
	dir := p.mountVolume(t, m, replica, "stale", gluster.MountOptions{DirectIO: true})
	for _, pid := range clients(t, dir) {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	p.wait(t, "the mount to be stale", func() bool { _, err := os.Stat(dir); return errors.Is(err, unix.ENOTCONN) })
	if dirs, err := m.Leftovers(); err != nil || !slices.Equal(dirs, []string{dir}) {
		t.Errorf("Leftovers = %q, %v", dirs, err)
	}
	again, err := m.MountVolume(t.Context(), p.servers(), replica, "stale", gluster.MountOptions{})
	if err != nil || again != dir {
		t.Fatalf("MountVolume = %q, %v", again, err)
	}
	put(t, dir+"/x", "x")
	if n := mountsBelow(t, dir); n != 1 {
		t.Errorf("%d mounts at %s", n, dir)
	}
}

// A mount in use is detached lazily, at once when time is over.
func (p *platform) testBusy(t *testing.T) {
	m := p.mounter(t)
	for _, when := range []string{"in time", "cancelled"} {
		dir := p.mountVolume(t, m, replica, "busy", gluster.MountOptions{})
		f, err := os.Create(dir + "/open")
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		if when == "cancelled" {
			cancel()
		}
		if err := m.Unmount(ctx, dir); err != nil {
			t.Errorf("%s: Unmount = %v", when, err)
		}
		if n := mountsBelow(t, dir); n > 0 {
			t.Errorf("%s: still mounted", when)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
		cancel()
	}
}

func (p *platform) testForeign(t *testing.T) {
	m := p.mounter(t)
	base := filepath.Dir(p.mountVolume(t, m, replica, "ours", gluster.MountOptions{}))
	dir := base + "/theirs"
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("theirs", dir, "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	put(t, dir+"/file", "")
	_, err := m.MountVolume(t.Context(), p.servers(), replica, "theirs", gluster.MountOptions{})
	if !errors.Is(err, gluster.ErrForeignMount) || !strings.Contains(err.Error(), "theirs (tmpfs)") {
		t.Errorf("MountVolume = %v, want ErrForeignMount with its name", err)
	}
	if err := m.Unmount(t.Context(), dir); !errors.Is(err, gluster.ErrForeignMount) {
		t.Errorf("Unmount = %v, want ErrForeignMount", err)
	}
	if dirs, err := m.Leftovers(); err != nil || slices.Contains(dirs, dir) {
		t.Errorf("Leftovers = %q, %v", dirs, err)
	}
	if _, err := os.Stat(dir + "/file"); err != nil {
		t.Error(err)
	}
	if err := unix.Unmount(dir, 0); err != nil {
		t.Fatal(err)
	}
	put(t, dir+"/file", "")
	if _, err := m.MountVolume(t.Context(), p.servers(), replica, "theirs", gluster.MountOptions{}); !errors.Is(err, gluster.ErrForeignMount) {
		t.Errorf("MountVolume on a folder with files = %v, want ErrForeignMount", err)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Error(err)
	}
}

// A server that takes the connection and says nothing costs the context's time
// and leaves nothing.
func (p *platform) testSilent(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:24007")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	m := p.mounter(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	_, err = m.MountVolume(ctx, []string{"127.0.0.1"}, replica, "silent", gluster.MountOptions{})
	if !errors.Is(err, gluster.ErrMount) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("MountVolume = %v, want ErrMount with context.DeadlineExceeded", err)
	}
}

func (p *platform) testFallback(t *testing.T) {
	m := p.mounter(t)
	servers := []string{"192.168.77.99", p.lab.Address}
	dir, err := m.MountVolume(t.Context(), servers, replica, "fallback", gluster.MountOptions{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir+"/new", nil, 0o600); !errors.Is(err, unix.EROFS) {
		t.Errorf("writing to a read-only mount = %v, want EROFS", err)
	}
	if err := m.Unmount(t.Context(), dir); err != nil {
		t.Error(err)
	}
	_, err = m.MountVolume(t.Context(), servers[:1], replica, "dead", gluster.MountOptions{})
	if !errors.Is(err, gluster.ErrMount) || !strings.Contains(err.Error(), "192.168.77.99") {
		t.Errorf("mount from a dead server = %v, want ErrMount", err)
	}
	if _, err := m.MountVolume(t.Context(), p.servers(), "gbtest_missing", "missing", gluster.MountOptions{}); !errors.Is(err, gluster.ErrMount) {
		t.Errorf("mount of a missing volume = %v, want ErrMount", err)
	}
}

func mountsBelow(t *testing.T, dir string) int {
	t.Helper()
	mounts, err := mountinfo.GetMounts(mountinfo.PrefixFilter(dir))
	if err != nil {
		t.Fatal(err)
	}
	return len(mounts)
}

// clients returns the Gluster clients whose mount point is dir or below.
func clients(t *testing.T, dir string) []int {
	t.Helper()
	paths, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	var pids []int
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil {
			continue // It has just ended.
		}
		args := strings.Split(strings.TrimSuffix(string(b), "\x00"), "\x00")
		if filepath.Base(args[0]) != "glusterfs" || !strings.HasPrefix(args[len(args)-1]+"/", dir+"/") {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err != nil {
			t.Fatal(err)
		}
		pids = append(pids, pid)
	}
	return pids
}

func put(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// someACL is user::rw-, user:4711:r--, group::---, mask::r--, other::---, in the
// kernel's format (include/uapi/linux/posix_acl_xattr.h).
var someACL, _ = hex.DecodeString("02000000" + "01000600ffffffff" + "0200040067120000" + "04000000ffffffff" + "10000400ffffffff" + "20000000ffffffff")

const aclName = "system.posix_acl_access"

func putACL(t *testing.T, path string) {
	t.Helper()
	if err := unix.Setxattr(path, aclName, someACL, 0); err != nil {
		t.Fatal(err)
	}
}

func acl(t *testing.T, path string) []byte {
	t.Helper()
	b := make([]byte, 1024)
	n, err := unix.Getxattr(path, aclName, b)
	if err != nil {
		t.Fatal(err)
	}
	return b[:n]
}
