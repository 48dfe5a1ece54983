package copiertest

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/glusterbackupd/glusterbackupd/copier"
	"github.com/glusterbackupd/glusterbackupd/manifest"
	"github.com/glusterbackupd/glusterbackupd/test/tree"
)

func exactCopy(t *testing.T, e Engine) {
	src, dest := generated(t), t.TempDir()
	want := scan(t, src)
	res := mustCopy(t, e, copier.Tree{Source: src, Dest: dest})
	wantEqual(t, "copy", want, scan(t, dest))
	wantEqual(t, "source afterwards", want, scan(t, src))
	var files int64
	for _, entry := range want {
		if entry.Type == manifest.File {
			files++
		}
	}
	if res.Files != files || res.Entries != int64(len(want)) {
		t.Errorf("result says %d files of %d entries, want %d of %d", res.Files, res.Entries, files, len(want))
	}
	if res.FilesTransferred == 0 || res.BytesTransferred == 0 || res.Bytes < res.BytesTransferred {
		t.Errorf("implausible result %+v", res)
	}
	wantSparse(t, src, dest)
}

// wantSparse fails when a file takes much more space in dest than in src.
func wantSparse(t *testing.T, src, dest string) {
	t.Helper()
	must(t, filepath.WalkDir(src, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		rel, err := filepath.Rel(src, path)
		if err != nil {
			return err
		}
		var a, b unix.Stat_t
		if err := unix.Lstat(path, &a); err != nil {
			return err
		}
		if err := unix.Lstat(filepath.Join(dest, rel), &b); err != nil {
			return err
		}
		if b.Blocks > a.Blocks+256 {
			t.Errorf("%q takes %d blocks, in the source %d", rel, b.Blocks, a.Blocks)
		}
		return nil
	}))
}

func emptyFolder(t *testing.T, e Engine) {
	src, dest := t.TempDir(), t.TempDir()
	must(t, os.Chmod(src, 0o2750))
	must(t, os.Chtimes(src, time.Time{}, time.Unix(-5, 123456789)))
	res := mustCopy(t, e, copier.Tree{Source: src, Dest: dest})
	wantSame(t, src, dest)
	if res.Entries != 1 || res.Files != 0 {
		t.Errorf("result %+v, want one entry and no file", res)
	}
}

func unchangedVersion(t *testing.T, e Engine) {
	src, one, two := generated(t), t.TempDir(), t.TempDir()
	mustCopy(t, e, copier.Tree{Source: src, Dest: one})
	want := scan(t, src)
	res := mustCopy(t, e, copier.Tree{Source: src, Dest: two, Reference: one})
	wantEqual(t, "second version", want, scan(t, two))
	wantEqual(t, "first version afterwards", want, scan(t, one))
	if res.FilesTransferred != 0 || res.BytesTransferred != 0 {
		t.Errorf("%d bytes in %d files were transferred, want none", res.BytesTransferred, res.FilesTransferred)
	}
	for path, entry := range want {
		if entry.Type == manifest.File && inode(t, filepath.Join(one, path)) != inode(t, filepath.Join(two, path)) {
			t.Errorf("%q is not a hard link to the first version", path)
		}
	}
}

// mutatedVersions keeps five versions of a changing tree; each must stay as it
// was.
func mutatedVersions(t *testing.T, e Engine) {
	src := generated(t)
	var reference string
	dirs, wants := []string{}, []map[string]manifest.Entry{}
	for round := range uint64(5) {
		if round > 0 {
			must(t, tree.Mutate(src, round, 0.15))
		}
		dest := t.TempDir()
		mustCopy(t, e, copier.Tree{Source: src, Dest: dest, Reference: reference})
		dirs, wants = append(dirs, dest), append(wants, scan(t, src))
		reference = dest
	}
	for i, dir := range dirs {
		wantEqual(t, "version", wants[i], scan(t, dir))
	}
}

// smallChanges changes single properties, each of which has to be noticed and
// must not reach the first version.
func smallChanges(t *testing.T, e Engine) {
	names := map[string]string{
		"content": "one", "nanosecond": "one", "mode": "one", "owner": "one",
		"xattr": "one", "linked a": "one", "gone": "one", "same": "one", "time": "one",
	}
	src, one, two := folderOf(t, names), t.TempDir(), t.TempDir()
	at := time.Unix(1500000000, 100)
	for name := range names {
		must(t, os.Chtimes(filepath.Join(src, name), at, at))
	}
	must(t, os.Symlink("old", filepath.Join(src, "symlink")))
	mustCopy(t, e, copier.Tree{Source: src, Dest: one})
	before := scan(t, one)

	path := func(name string) string { return filepath.Join(src, name) }
	must(t, os.WriteFile(path("content"), []byte("second"), 0))
	must(t, os.WriteFile(path("nanosecond"), []byte("two"), 0))
	must(t, os.Chtimes(path("nanosecond"), at, at.Add(1)))
	must(t, os.Chtimes(path("time"), at, at.Add(time.Hour)))
	must(t, os.Chmod(path("mode"), 0o4711))
	must(t, os.Chown(path("owner"), 70000, 70001))
	must(t, unix.Setxattr(path("xattr"), "user.x", []byte("\x00y"), 0))
	must(t, os.Link(path("linked a"), path("linked b")))
	must(t, os.Remove(path("gone")))
	must(t, os.Remove(path("symlink")))
	must(t, os.Symlink("new", path("symlink")))
	mustCopy(t, e, copier.Tree{Source: src, Dest: two, Reference: one})

	wantSame(t, src, two)
	wantEqual(t, "first version", before, scan(t, one))
	if inode(t, filepath.Join(one, "same")) != inode(t, filepath.Join(two, "same")) {
		t.Error("the unchanged file is not a hard link")
	}
}

func typeChange(t *testing.T, e Engine) {
	src, one, two := t.TempDir(), t.TempDir(), t.TempDir()
	path := func(name string) string { return filepath.Join(src, name) }
	write(t, src, map[string]string{"file to dir": "x", "dir to file/in": "x", "file to link": "x", "dir to fifo/": "", "file to socket": "x"})
	must(t, os.Symlink("x", path("link to file")))
	must(t, os.Symlink("x", path("link to dir")))
	must(t, unix.Mkfifo(path("fifo to device"), 0o600))
	mustCopy(t, e, copier.Tree{Source: src, Dest: one})
	before := scan(t, one)
	for name := range before {
		if name != "." {
			must(t, os.RemoveAll(path(name)))
		}
	}
	write(t, src, map[string]string{"file to dir/in": "y", "dir to file": "y", "link to file": "y", "link to dir/in": "y"})
	must(t, os.Symlink("y", path("file to link")))
	must(t, unix.Mkfifo(path("dir to fifo"), 0o600))
	must(t, unix.Mknod(path("file to socket"), unix.S_IFSOCK|0o700, 0))
	must(t, unix.Mknod(path("fifo to device"), unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3))))
	mustCopy(t, e, copier.Tree{Source: src, Dest: two, Reference: one})
	wantSame(t, src, two)
	wantEqual(t, "first version", before, scan(t, one))

	// The same in place, where folders with content may only go with Delete.
	mustCopy(t, e, copier.Tree{Source: src, Dest: one, Delete: true})
	wantSame(t, src, one)
}

// sameSizeAndTime is a change that only content tells.
func sameSizeAndTime(t *testing.T, e Engine) {
	src, one, two := folderOf(t, map[string]string{"f": "one"}), t.TempDir(), t.TempDir()
	at := time.Unix(1500000000, 5)
	must(t, os.Chtimes(filepath.Join(src, "f"), at, at))
	mustCopy(t, e, copier.Tree{Source: src, Dest: one})
	write(t, src, map[string]string{"f": "two"})
	must(t, os.Chtimes(filepath.Join(src, "f"), at, at))
	mustCopy(t, e, copier.Tree{Source: src, Dest: two, Reference: one, Checksum: true})
	wantSame(t, src, two)
	wantContent(t, filepath.Join(one, "f"), "one")
}

// manyLevels has folders in folders, 300 deep, with something at each level.
func manyLevels(t *testing.T, e Engine) {
	src, one, two := t.TempDir(), t.TempDir(), t.TempDir()
	dir := src
	for range 300 {
		write(t, dir, map[string]string{"f": "f", "d/": ""})
		dir = filepath.Join(dir, "d")
	}
	for at := dir; at != src; at = filepath.Dir(at) {
		must(t, os.Chtimes(at, time.Time{}, time.Unix(1234567890, int64(len(at)))))
	}
	mustCopy(t, e, copier.Tree{Source: src, Dest: one})
	wantSame(t, src, one)
	mustCopy(t, e, copier.Tree{Source: src, Dest: two, Reference: one})
	wantSame(t, src, two)
	mustCopy(t, e, copier.Tree{Source: folderOf(t, map[string]string{"g": "g"}), Dest: one, Delete: true})
	wantContent(t, filepath.Join(one, "d"), "")
}

// skewedClocks has writers whose clocks differ: times lie in the future, and a
// file that is written again is older than before.
func skewedClocks(t *testing.T, e Engine) {
	files := map[string]string{"future": "one", "goes back": "one", "goes ahead": "one", "d/past": "one"}
	src, one, two, three := folderOf(t, files), t.TempDir(), t.TempDir(), t.TempDir()
	now := time.Now()
	set := func(name string, at time.Time) { must(t, os.Chtimes(filepath.Join(src, name), at, at)) }
	set("future", now.Add(1000*time.Hour))
	set("goes back", now.Add(time.Hour))
	set("goes ahead", now.Add(-time.Hour))
	set("d/past", time.Unix(-1e9, 999999999))
	set("d", now.Add(2000*time.Hour))
	mustCopy(t, e, copier.Tree{Source: src, Dest: one})
	wantSame(t, src, one)
	write(t, src, map[string]string{"goes back": "two", "goes ahead": "two"})
	set("goes back", now.Add(-2*time.Hour))
	set("goes ahead", now.Add(3000*time.Hour))
	res := mustCopy(t, e, copier.Tree{Source: src, Dest: two, Reference: one})
	wantSame(t, src, two)
	if res.FilesTransferred != 2 {
		t.Errorf("%d files transferred, want the 2 that changed", res.FilesTransferred)
	}
	mustCopy(t, e, copier.Tree{Source: src, Dest: three, Reference: two})
	wantSame(t, src, three)
}
