package copier_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/glusterbackupd/glusterbackupd/copier"
	"github.com/glusterbackupd/glusterbackupd/copier/copiertest"
	"github.com/glusterbackupd/glusterbackupd/manifest"
	"github.com/glusterbackupd/glusterbackupd/test/tree"
)

func newNative(t *testing.T, o copier.NativeOptions) *copier.Native {
	t.Helper()
	n, err := copier.NewNative(o)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestNativeConforms(t *testing.T) {
	copiertest.TestEngine(t, func() copiertest.Engine { return newNative(t, copier.NativeOptions{}) })
}

func TestNewNativeRefuses(t *testing.T) {
	for _, o := range []copier.NativeOptions{{BandwidthLimit: -1}, {Workers: -1}} {
		if _, err := copier.NewNative(o); err == nil {
			t.Errorf("%+v was taken", o)
		}
	}
}

func nativeCopy(t *testing.T, tr copier.Tree) copier.TreeResult {
	t.Helper()
	res, err := newNative(t, copier.NativeOptions{}).Copy(t.Context(), tr)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

func entries(t *testing.T, dir string) map[string]manifest.Entry {
	t.Helper()
	all := map[string]manifest.Entry{}
	err := manifest.Scan(t.Context(), dir, manifest.ScanOptions{Hash: true}, func(e manifest.Entry) error {
		all[e.Path] = e
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func sameTree(t *testing.T, a, b string) {
	t.Helper()
	one, two := entries(t, a), entries(t, b)
	for path, e := range one {
		if got, ok := two[path]; !ok || fmt.Sprint(got) != fmt.Sprint(e) {
			t.Errorf("%q is %+v, want %+v", path, got, e)
		}
	}
	if len(one) != len(two) {
		t.Errorf("%d entries, want %d", len(two), len(one))
	}
}

// later is a time by which everything that a test writes is old.
func later() time.Time { return time.Now().Add(time.Minute) }

// TestNativeVersionsWithFingerprints keeps versions of a changing tree, each
// with the fingerprints of the one before; one change keeps size and time.
func TestNativeVersionsWithFingerprints(t *testing.T) {
	src, base := t.TempDir(), t.TempDir()
	if err := tree.Generate(src, tree.Options{Seed: 3}); err != nil {
		t.Fatal(err)
	}
	sly := filepath.Join(src, "sly")
	at := time.Unix(1500000000, 5)
	last, known := "", ""
	for round := range uint64(8) {
		if round > 0 {
			if err := tree.Mutate(src, round, 0.1); err != nil {
				t.Fatal(err)
			}
		}
		if err := errors.Join(os.RemoveAll(sly), os.WriteFile(sly, []byte{byte(round)}, 0o600), os.Chtimes(sly, at, at)); err != nil {
			t.Fatal(err)
		}
		dest := filepath.Join(base, fmt.Sprint(round))
		if err := os.Mkdir(dest, 0o700); err != nil {
			t.Fatal(err)
		}
		nativeCopy(t, copier.Tree{
			Source: src, Dest: dest, Reference: last, Frozen: later(),
			ReferenceFingerprints: known, Fingerprints: dest + ".known",
		})
		sameTree(t, src, dest)
		last, known = dest, dest+".known"
	}
	dest := filepath.Join(base, "unchanged")
	if err := os.Mkdir(dest, 0o700); err != nil {
		t.Fatal(err)
	}
	res := nativeCopy(t, copier.Tree{Source: src, Dest: dest, Reference: last, ReferenceFingerprints: known})
	if res.FilesTransferred != 0 {
		t.Errorf("%d files of an unchanged tree were copied", res.FilesTransferred)
	}
	sameTree(t, src, dest)
}

// TestNativeDigests asks for every file of a first copy, and of a second one in
// which one file changed.
func TestNativeDigests(t *testing.T) {
	src, one, two, scratch := t.TempDir(), t.TempDir(), t.TempDir(), t.TempDir()
	if err := tree.Generate(src, tree.Options{Seed: 5, BigFile: 40 << 20}); err != nil {
		t.Fatal(err)
	}
	first := nativeCopy(t, copier.Tree{Source: src, Dest: one, Digests: filepath.Join(scratch, "d")})
	defer first.Digests.Close()
	all := entries(t, src)
	for path, e := range all {
		written, equal := first.Digests.Check(path, e.SHA256)
		if isFile := e.Type == manifest.File; written != isFile || equal != isFile {
			t.Errorf("%q, a %s: written %v, equal %v", path, e.Type, written, equal)
		}
		if _, equal := first.Digests.Check(path, strings.Repeat("0", 64)); equal {
			t.Errorf("%q equals a wrong digest", path)
		}
	}
	if err := os.WriteFile(filepath.Join(src, "new"), []byte("new"), 0o600); err != nil {
		t.Fatal(err)
	}
	second := nativeCopy(t, copier.Tree{Source: src, Dest: two, Reference: one, Digests: filepath.Join(scratch, "d")})
	defer second.Digests.Close()
	for path, e := range entries(t, src) {
		if written, _ := second.Digests.Check(path, e.SHA256); written != (path == "new") {
			t.Errorf("second copy: %q was written: %v", path, written)
		}
	}
	if left, err := os.ReadDir(scratch); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// TestNativeDoesNotTrustYoungFiles changes a file right after a copy, with the
// same size and times as far as a program can set them.
func TestNativeDoesNotTrustYoungFiles(t *testing.T) {
	src, one, known := folderWith(t, "f", 3), t.TempDir(), filepath.Join(t.TempDir(), "known")
	nativeCopy(t, copier.Tree{Source: src, Dest: one, Fingerprints: known})
	young, err := os.ReadFile(known)
	if err != nil {
		t.Fatal(err)
	}
	nativeCopy(t, copier.Tree{Source: src, Dest: t.TempDir(), Fingerprints: known + "2", Frozen: later()})
	old, err := os.ReadFile(known + "2")
	if err != nil {
		t.Fatal(err)
	}
	if len(old)-len(young) != 2*16 {
		t.Errorf("fingerprints of a young tree take %d bytes, of an old one %d, want one entry each for folder and file more", len(young), len(old))
	}
}

// TestNativeDamagedReference has a reference in which somebody changed a file.
func TestNativeDamagedReference(t *testing.T) {
	src, one, two, known := folderWith(t, "f", 3), t.TempDir(), t.TempDir(), filepath.Join(t.TempDir(), "known")
	nativeCopy(t, copier.Tree{Source: src, Dest: one, Fingerprints: known, Frozen: later()})
	if err := os.WriteFile(filepath.Join(one, "f"), []byte("other"), 0o600); err != nil {
		t.Fatal(err)
	}
	nativeCopy(t, copier.Tree{Source: src, Dest: two, Reference: one, ReferenceFingerprints: known})
	sameTree(t, src, two)
}

// TestNativeFullCompareNamesWhatWasMissed has a reference whose file no longer
// holds what the fingerprints say of the source.
func TestNativeFullCompareNamesWhatWasMissed(t *testing.T) {
	src, one, two, known := folderWith(t, "f", 3), t.TempDir(), t.TempDir(), filepath.Join(t.TempDir(), "known")
	nativeCopy(t, copier.Tree{Source: src, Dest: one, Fingerprints: known, Frozen: later()})
	old := filepath.Join(one, "f")
	fi, err := os.Stat(old)
	if err == nil {
		err = errors.Join(os.WriteFile(old, []byte("old"), 0o600), os.Chtimes(old, fi.ModTime(), fi.ModTime()))
	}
	if err != nil {
		t.Fatal(err)
	}
	res := nativeCopy(t, copier.Tree{Source: src, Dest: two, Reference: one, ReferenceFingerprints: known, Checksum: true})
	sameTree(t, src, two)
	if len(res.Missed) != 1 || res.Missed[0] != "f" {
		t.Errorf("missed %q, want the file", res.Missed)
	}
}

// TestNativeSeparatesWhatTheReferenceJoined has two names of one inode in the
// reference and two files with the same content and attributes in the source.
func TestNativeSeparatesWhatTheReferenceJoined(t *testing.T) {
	src, one, two := folderWith(t, "a", 3), t.TempDir(), t.TempDir()
	a, b := filepath.Join(src, "a"), filepath.Join(src, "b")
	if err := os.Link(a, b); err != nil {
		t.Fatal(err)
	}
	nativeCopy(t, copier.Tree{Source: src, Dest: one})
	fi, err := os.Stat(a)
	if err == nil {
		err = errors.Join(os.Remove(b), os.WriteFile(b, []byte("xxx"), 0o600), os.Chtimes(b, fi.ModTime(), fi.ModTime()))
	}
	if err != nil {
		t.Fatal(err)
	}
	nativeCopy(t, copier.Tree{Source: src, Dest: two, Reference: one})
	sameTree(t, src, two)
}

// TestNativeBeyondPathMax has a path that no system call takes whole.
func TestNativeBeyondPathMax(t *testing.T) {
	src, dest, back := t.TempDir(), t.TempDir(), t.TempDir()
	dir, err := unix.Open(src, unix.O_DIRECTORY, 0)
	if err != nil {
		t.Fatal(err)
	}
	name := strings.Repeat("d", 200)
	for range 300 {
		if err := unix.Mkdirat(dir, name, 0o755); err != nil {
			t.Fatal(err)
		}
		next, err := unix.Openat(dir, name, unix.O_DIRECTORY, 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := unix.Close(dir); err != nil {
			t.Fatal(err)
		}
		dir = next
	}
	fd, err := unix.Openat(dir, "bottom", unix.O_CREAT|unix.O_WRONLY, 0o600)
	if err == nil {
		err = errors.Join(unix.Linkat(dir, "bottom", dir, "second", 0), unix.Close(fd), unix.Close(dir))
	}
	if err != nil {
		t.Fatal(err)
	}
	if res := nativeCopy(t, copier.Tree{Source: src, Dest: dest}); res.Entries != 303 {
		t.Errorf("%d entries", res.Entries)
	}
	sameTree(t, src, dest)
	nativeCopy(t, copier.Tree{Source: t.TempDir(), Dest: dest, Delete: true})
	nativeCopy(t, copier.Tree{Source: dest, Dest: back})
	if len(entries(t, back)) != 1 {
		t.Error("the deep path was not deleted")
	}
}

// TestNativeCancelRemovesTemporaryFile cancels in the middle of one file.
func TestNativeCancelRemovesTemporaryFile(t *testing.T) {
	n := newNative(t, copier.NativeOptions{BandwidthLimit: 1 << 20})
	for _, size := range []int{8 << 20, 64 << 20} { // In one piece after the other, and several at a time.
		src, dest := folderWith(t, "big", size), t.TempDir()
		ctx, cancel := context.WithCancel(t.Context())
		_, err := n.Copy(ctx, copier.Tree{Source: src, Dest: dest, Progress: func(p copier.Progress) {
			if p.Bytes > 0 {
				cancel()
			}
		}})
		cancel()
		if left, _ := os.ReadDir(dest); !errors.Is(err, context.Canceled) || len(left) != 0 {
			t.Errorf("%d bytes: error %v, left behind: %v", size, err, left)
		}
	}
}

func TestNativeBandwidthLimit(t *testing.T) {
	n := newNative(t, copier.NativeOptions{BandwidthLimit: 1 << 20})
	start := time.Now()
	if _, err := n.Copy(t.Context(), copier.Tree{Source: folderWith(t, "f", 2<<20), Dest: t.TempDir()}); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took < time.Second {
		t.Errorf("2 MiB at 1 MiB/s took only %v", took)
	}
}

// TestNativeLargeFile has data and holes on both sides of the pieces' borders.
func TestNativeLargeFile(t *testing.T) {
	src, dest := t.TempDir(), t.TempDir()
	f, err := os.Create(filepath.Join(src, "large"))
	if err != nil {
		t.Fatal(err)
	}
	for _, off := range []int64{1<<20 - 3, 33 << 20, 50<<20 + 4096} {
		if _, err := f.WriteAt(bytes.Repeat([]byte("data"), 5000), off); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(f.Truncate(70<<20+1), f.Close()); err != nil {
		t.Fatal(err)
	}
	res := nativeCopy(t, copier.Tree{Source: src, Dest: dest, Sync: true})
	sameTree(t, src, dest)
	var st unix.Stat_t
	if err := unix.Stat(filepath.Join(dest, "large"), &st); err != nil || st.Blocks*512 > 1<<20 || res.BytesTransferred != 70<<20+1 {
		t.Errorf("copy takes %d bytes (%v), result %+v", st.Blocks*512, err, res)
	}
}

func TestTreeErrorNamesEachPath(t *testing.T) {
	_, err := newNative(t, copier.NativeOptions{}).Copy(t.Context(), copier.Tree{Source: t.TempDir(), Dest: t.TempDir(), Path: "gone"})
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v", err)
	}
	src, dest := t.TempDir(), t.TempDir()
	for _, name := range []string{"x", "y"} {
		if err := errors.Join(os.WriteFile(filepath.Join(src, name), nil, 0o600), os.MkdirAll(filepath.Join(dest, name, "theirs"), 0o700)); err != nil {
			t.Fatal(err)
		}
	}
	_, err = newNative(t, copier.NativeOptions{}).Copy(t.Context(), copier.Tree{Source: src, Dest: dest})
	var failed *copier.TreeError
	if !errors.As(err, &failed) || failed.Total != 2 || !errors.Is(err, copier.ErrInTheWay) || !strings.Contains(failed.Remedy(), "--delete") {
		t.Fatalf("error %v", err)
	}
	if paths := failed.Failures[0].Path + failed.Failures[1].Path; !strings.Contains(paths, dest+"/x") || !strings.Contains(paths, dest+"/y") {
		t.Errorf("failures name %s", paths)
	}
}
