package manifest_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/glusterbackupd/glusterbackupd/manifest"
	"github.com/glusterbackupd/glusterbackupd/test/tree"
)

var hashed = manifest.ScanOptions{Hash: true}

func generate(t testing.TB, o tree.Options) string {
	t.Helper()
	dir := t.TempDir()
	if err := tree.Generate(dir, o); err != nil {
		t.Fatal(err)
	}
	return dir
}

// scan returns all entries of a tree, and fails if it leaks a descriptor.
func scan(t testing.TB, root string, o manifest.ScanOptions) []manifest.Entry {
	t.Helper()
	before := openFiles(t)
	var entries []manifest.Entry
	err := manifest.Scan(context.Background(), root, o, func(e manifest.Entry) error {
		entries = append(entries, e)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if after := openFiles(t); after != before {
		t.Errorf("%d files open before the scan, %d after", before, after)
	}
	return entries
}

func openFiles(t testing.TB) int {
	t.Helper()
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(files)
}

func run(t testing.TB, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
}

func put(t testing.TB, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func paths(entries []manifest.Entry) []string {
	var all []string
	for _, e := range entries {
		all = append(all, e.Path)
	}
	return all
}

// TestScanAgainstStat compares a scan with what package os and lstat tell.
func TestScanAgainstStat(t *testing.T) {
	root := generate(t, tree.Options{Seed: 3, Files: 100})
	entries := scan(t, root, hashed)
	first := map[uint64]string{}
	for _, e := range entries {
		path := filepath.Join(root, e.Path)
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			t.Fatal(err)
		}
		want := manifest.Entry{
			Path: e.Path, Type: e.Type, Mode: st.Mode & 0o7777, UID: st.Uid, GID: st.Gid, MTime: e.MTime, Xattrs: e.Xattrs,
		}
		if e.MTime.Unix() != st.Mtim.Sec || int64(e.MTime.Nanosecond()) != st.Mtim.Nsec {
			t.Errorf("%q: mtime %v, want %v", e.Path, e.MTime, st.Mtim)
		}
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFREG:
			content, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			want.Type, want.Size, want.SHA256 = manifest.File, st.Size, digest(content)
		case unix.S_IFLNK:
			target, err := os.Readlink(path)
			if err != nil {
				t.Fatal(err)
			}
			want.Type, want.Target = manifest.Symlink, target
		case unix.S_IFCHR, unix.S_IFBLK:
			want.Major, want.Minor = unix.Major(st.Rdev), unix.Minor(st.Rdev)
		}
		if e.Type != manifest.Dir && first[st.Ino] == "" {
			first[st.Ino] = e.Path
		} else if e.Type != manifest.Dir {
			want.HardlinkOf = first[st.Ino]
		}
		if diff := cmp.Diff(want, e); diff != "" {
			t.Errorf("%q:\n%s", e.Path, diff)
		}
	}
	var found []string
	err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(root, path)
		found = append(found, rel)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(found, paths(entries)); diff != "" {
		t.Errorf("paths:\n%s", diff)
	}
}

func TestScanXattrs(t *testing.T) {
	root := t.TempDir()
	put(t, root+"/file", "x")
	capability := append([]byte{0, 0, 0, 2, 0, 4, 0, 0}, make([]byte, 12)...)
	if err := os.Symlink("file", root+"/link"); err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		file, name string
		value      []byte
	}{
		{"file", "user.a", []byte("b")},
		{"file", "security.capability", capability},
		{"file", "security.selinux", []byte("system_u:object_r:fusefs_t:s0")},
		{"file", "trusted.kept", []byte{0}},
		{"file", "trusted.glusterfs.dht", []byte("no")},
		{"file", "trusted.gfid", []byte("no")},
		{"link", "trusted.of.link", []byte("link")},
	} {
		if err := unix.Lsetxattr(filepath.Join(root, x.file), x.name, x.value, 0); err != nil {
			t.Fatalf("%s: %v", x.name, err)
		}
	}
	entries := scan(t, root, manifest.ScanOptions{})
	want := map[string][]byte{"user.a": []byte("b"), "security.capability": capability, "trusted.kept": {0}}
	if diff := cmp.Diff(want, entries[1].Xattrs); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[string][]byte{"trusted.of.link": []byte("link")}, entries[2].Xattrs); diff != "" {
		t.Errorf("symlink's own xattrs: %s", diff)
	}
}

// TestScanBeyondPathMax scans a file whose path has 25,000 bytes.
func TestScanBeyondPathMax(t *testing.T) {
	root := t.TempDir()
	fd, err := unix.Open(root, unix.O_DIRECTORY|unix.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	name := strings.Repeat("n", 250)
	for range 100 {
		if err := unix.Mkdirat(fd, name, 0o755); err != nil {
			t.Fatal(err)
		}
		next, err := unix.Openat(fd, name, unix.O_DIRECTORY|unix.O_RDONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		_ = unix.Close(fd)
		fd = next
	}
	f, err := unix.Openat(fd, "bottom", unix.O_CREAT|unix.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := unix.Write(f, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(unix.Fsetxattr(f, "user.deep", []byte("yes"), 0), unix.Close(f), unix.Close(fd)); err != nil {
		t.Fatal(err)
	}
	entries := scan(t, root, hashed)
	last := entries[len(entries)-1]
	if last.Path != strings.Repeat(name+"/", 100)+"bottom" || last.SHA256 != sum || string(last.Xattrs["user.deep"]) != "yes" {
		t.Errorf("bottom: path of %d bytes, hash %s, xattrs %q", len(last.Path), last.SHA256, last.Xattrs)
	}
	if sub := scan(t, root, manifest.ScanOptions{Hash: true, Sub: last.Path}); len(sub) != 1 || !cmp.Equal(sub[0], last) {
		t.Errorf("scan of the bottom only: %d entries", len(sub))
	}
}

func TestScanSub(t *testing.T) {
	root := generate(t, tree.Options{Seed: 3, Files: 20})
	all := scan(t, root, hashed)
	for _, sub := range []string{".", "hardlinks", "hardlinks/m", "hardlinks/m/n", "hardlinks/z/file", "symlinks/up", "names/a", "devices/fifo", "top\nname \xff"} {
		t.Run(fmt.Sprintf("%q", sub), func(t *testing.T) {
			want, err := collect(manifest.Below(sequence(all), sub))
			if err != nil || len(want) == 0 {
				t.Fatalf("%d entries, %v", len(want), err)
			}
			got := scan(t, root, manifest.ScanOptions{Hash: true, Sub: sub})
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestScanSubErrors(t *testing.T) {
	root := generate(t, tree.Options{Files: 1})
	for sub, want := range map[string]error{
		"missing": fs.ErrNotExist, "big/missing/x": fs.ErrNotExist, "../x": manifest.ErrPath, "/etc": manifest.ErrPath,
		"big//big": manifest.ErrPath, "symlinks/folder/file": unix.ENOTDIR, "symlinks/outside/etc/passwd": unix.ENOTDIR, "big/big/x": unix.ENOTDIR,
	} {
		err := manifest.Scan(t.Context(), root, manifest.ScanOptions{Sub: sub}, func(e manifest.Entry) error {
			t.Errorf("%s: entry %q", sub, e.Path)
			return nil
		})
		if !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", sub, err, want)
		}
	}
}

func TestBelowOfNothing(t *testing.T) {
	got, err := collect(manifest.Below(sequence(sample()), "c"))
	if err != nil || len(got) != 0 {
		t.Errorf("entries %v, error %v", got, err)
	}
}

func TestScanRoot(t *testing.T) {
	dir := t.TempDir()
	put(t, dir+"/tree/file", "x")
	if err := os.Symlink("tree", dir+"/link"); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(scan(t, dir+"/tree", hashed), scan(t, dir+"/link", hashed)); diff != "" {
		t.Errorf("root behind a symlink: %s", diff)
	}
	for path, want := range map[string]error{"missing": fs.ErrNotExist, "tree/file": unix.ENOTDIR} {
		err := manifest.Scan(t.Context(), filepath.Join(dir, path), hashed, func(manifest.Entry) error { return nil })
		if !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", path, err, want)
		}
	}
}

func TestScanMountPoint(t *testing.T) {
	root := t.TempDir()
	put(t, root+"/mnt/inner/file", "x")
	if err := unix.Mount("none", root+"/mnt/inner", "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(root+"/mnt/inner", 0) })
	for _, sub := range []string{"", "mnt/inner"} {
		err := manifest.Scan(t.Context(), root, manifest.ScanOptions{Sub: sub}, func(manifest.Entry) error { return nil })
		var scanErr *manifest.ScanError
		if !errors.Is(err, manifest.ErrMountPoint) || !errors.As(err, &scanErr) || scanErr.Path != "mnt/inner" {
			t.Errorf("Sub %q: %v, want %v at mnt/inner", sub, err, manifest.ErrMountPoint)
		}
	}
}

// TestScanChangedFile reads a file that has more bytes than lstat says, as one
// that grows meanwhile.
func TestScanChangedFile(t *testing.T) {
	o := manifest.ScanOptions{Hash: true, Sub: "ostype"}
	err := manifest.Scan(t.Context(), "/proc/sys/kernel", o, func(manifest.Entry) error { return nil })
	if !errors.Is(err, manifest.ErrChanged) || !strings.Contains(err.Error(), "ostype") {
		t.Errorf("error %v, want %v", err, manifest.ErrChanged)
	}
}

func TestScanStops(t *testing.T) {
	root := generate(t, tree.Options{Files: 100})
	all := len(scan(t, root, hashed))
	stop := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	tests := map[string]struct {
		ctx  context.Context
		emit error
		then func()
	}{
		"emit":   {t.Context(), stop, func() {}},
		"cancel": {ctx, nil, func() { cancel(stop) }},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			before, n := openFiles(t), 0
			err := manifest.Scan(tt.ctx, root, hashed, func(manifest.Entry) error {
				n++
				if n < 300 {
					return nil
				}
				tt.then()
				return tt.emit
			})
			if !errors.Is(err, stop) || n >= all {
				t.Errorf("error %v after %d of %d entries, want %v", err, n, all, stop)
			}
			if after := openFiles(t); after != before {
				t.Errorf("%d files open before the scan, %d after", before, after)
			}
		})
	}
}

func TestScanProgress(t *testing.T) {
	root := generate(t, tree.Options{Files: 50, BigFile: 5 << 20})
	o := hashed
	var calls []int64
	o.Progress = func(n int64) { calls = append(calls, n) }
	_, summary := write(t, scan(t, root, o))
	if !slices.IsSorted(calls) || len(calls) < 55 || calls[len(calls)-1] != summary.Bytes {
		t.Errorf("%d calls, the last of %v; want %d bytes", len(calls), calls[len(calls)-1], summary.Bytes)
	}
}

func BenchmarkScan(b *testing.B) {
	root := generate(b, tree.Options{Files: 2000, BigFile: 64 << 20})
	for name, o := range map[string]manifest.ScanOptions{"metadata": {}, "hash": hashed} {
		b.Run(name, func(b *testing.B) {
			_, summary := write(b, scan(b, root, hashed))
			if o.Hash {
				b.SetBytes(summary.Bytes)
			}
			for b.Loop() {
				scan(b, root, o)
			}
			b.ReportMetric(float64(summary.Entries)*float64(b.N)/b.Elapsed().Seconds(), "entries/s")
		})
	}
}
