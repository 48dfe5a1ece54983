package blockstore_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/glusterbackupd/glusterbackupd/blockstore"
)

const smallGBID = "11111111-2222-3333-4444-555555555555"

// smallTree has one image of 8 MiB.
func smallTree(t *testing.T) (root string, img blockstore.Image) {
	t.Helper()
	root = emptyTree(t)
	addImage(t, root, "small", smallGBID, 8<<20)
	img, err := blockstore.Open(root).Image("small")
	must(t, err)
	return root, img
}

func TestFileInPlace(t *testing.T) {
	root, img := smallTree(t)
	f, err := blockstore.Open(root).OpenImage(img, blockstore.ReadWrite)
	must(t, err)
	closing(t, f)
	want := make([]byte, img.Size)
	random := rand.NewChaCha8([32]byte{})
	_, err = random.Read(want[:5<<20+3])
	must(t, err)
	if n, err := f.WriteAt(want[:5<<20+3], 0); n != 5<<20+3 || err != nil {
		t.Fatalf("WriteAt = %d, %v", n, err)
	}
	must(t, f.PunchHole(1<<20, 2<<20))
	clear(want[1<<20 : 3<<20])
	must(t, f.Sync())
	got := make([]byte, img.Size+1)
	if n, err := f.ReadAt(got, 0); n != int(img.Size) || !errors.Is(err, io.EOF) {
		t.Fatalf("ReadAt = %d, %v; want the whole image and EOF", n, err)
	}
	if !bytes.Equal(want, got[:img.Size]) {
		t.Error("the image has other bytes than were written")
	}
	if f.Size() != img.Size || f.Inode() != img.Inode {
		t.Errorf("size %d, inode %d; want %d, %d", f.Size(), f.Inode(), img.Size, img.Inode)
	}
	must(t, f.Close())
	if err := f.Close(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("second Close = %v, want ErrClosed", err)
	}
	st := stat(t, filepath.Join(root, img.Path))
	if st.Ino != img.Inode || st.Size != img.Size {
		t.Errorf("inode %d, size %d after writing; want %d, %d", st.Ino, st.Size, img.Inode, img.Size)
	}
	if st.Blocks*512 > 4<<20 {
		t.Errorf("%d bytes allocated: nothing was punched", st.Blocks*512)
	}
}

func stat(t *testing.T, name string) *syscall.Stat_t {
	t.Helper()
	info, err := os.Stat(name)
	must(t, err)
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		t.Fatalf("stat is a %T", info.Sys())
	}
	return st
}

func TestFileNeverGrows(t *testing.T) {
	root, img := smallTree(t)
	f, err := blockstore.Open(root).OpenImage(img, blockstore.ReadWrite)
	must(t, err)
	closing(t, f)
	for _, r := range []struct{ off, n int64 }{{img.Size, 1}, {img.Size - 1, 2}, {-1, 1}, {1<<63 - 1, 1}} {
		if n, err := f.WriteAt(make([]byte, r.n), r.off); n != 0 || !errors.Is(err, blockstore.ErrBounds) {
			t.Errorf("WriteAt %d at %d = %d, %v; want ErrBounds", r.n, r.off, n, err)
		}
		if err := f.PunchHole(r.off, r.n); !errors.Is(err, blockstore.ErrBounds) {
			t.Errorf("PunchHole %d at %d = %v; want ErrBounds", r.n, r.off, err)
		}
	}
	if err := f.PunchHole(0, -1); !errors.Is(err, blockstore.ErrBounds) {
		t.Errorf("PunchHole of a negative length = %v, want ErrBounds", err)
	}
	must(t, f.PunchHole(img.Size, 0))
	if n, err := f.WriteAt([]byte{1}, img.Size-1); n != 1 || err != nil {
		t.Errorf("last byte: %d, %v", n, err)
	}
	if size := stat(t, filepath.Join(root, img.Path)).Size; size != img.Size {
		t.Errorf("size = %d, want %d", size, img.Size)
	}
}

func TestReadOnlyFile(t *testing.T) {
	root, img := smallTree(t)
	f, err := blockstore.Open(root).OpenImage(img, blockstore.ReadOnly)
	must(t, err)
	closing(t, f)
	if _, err := f.WriteAt([]byte{1}, 0); err == nil {
		t.Error("a read-only image was written")
	}
	if err := f.PunchHole(0, 4096); err == nil {
		t.Error("a read-only image was punched")
	}
}

func TestOpenImageRefuses(t *testing.T) {
	tests := map[string]struct {
		access blockstore.Access
		spoil  func(t *testing.T, path string, img *blockstore.Image)
		want   error
	}{
		"path as GBID": {blockstore.ReadOnly, func(_ *testing.T, _ string, i *blockstore.Image) { i.GBID = "../block-meta/small" }, blockstore.ErrName},
		"gone":         {blockstore.ReadOnly, func(t *testing.T, p string, _ *blockstore.Image) { must(t, os.Remove(p)) }, blockstore.ErrNoFile},
		"grown":        {blockstore.ReadWrite, func(t *testing.T, p string, i *blockstore.Image) { must(t, os.Truncate(p, i.Size+1)) }, blockstore.ErrSize},
		"replaced": {blockstore.ReadWrite, func(t *testing.T, p string, i *blockstore.Image) {
			must(t, os.WriteFile(p+".new", nil, 0o600))
			must(t, os.Truncate(p+".new", i.Size))
			must(t, os.Rename(p+".new", p))
		}, blockstore.ErrChanged},
		"symbolic link": {blockstore.ReadWrite, func(t *testing.T, p string, _ *blockstore.Image) {
			must(t, os.Rename(p, p+".moved"))
			must(t, os.Symlink(p+".moved", p))
		}, blockstore.ErrNotRegular},
		"FIFO": {blockstore.ReadOnly, func(t *testing.T, p string, _ *blockstore.Image) {
			must(t, os.Remove(p))
			must(t, syscall.Mkfifo(p, 0o600))
		}, blockstore.ErrNotRegular},
		"folder": {blockstore.ReadWrite, func(t *testing.T, p string, _ *blockstore.Image) {
			must(t, os.Remove(p))
			must(t, os.Mkdir(p, 0o700))
		}, blockstore.ErrNotRegular},
		"linked":          {blockstore.ReadWrite, func(t *testing.T, p string, _ *blockstore.Image) { must(t, os.Link(p, p+".b")) }, blockstore.ErrLinked},
		"being deleted":   {blockstore.ReadWrite, func(_ *testing.T, _ string, i *blockstore.Image) { i.JournalState = blockstore.StateDeleting }, blockstore.ErrIncomplete},
		"state not known": {blockstore.ReadWriteLinked, func(_ *testing.T, _ string, i *blockstore.Image) { i.JournalState = blockstore.StateUnknown }, blockstore.ErrIncomplete},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			root, img := smallTree(t)
			tt.spoil(t, filepath.Join(root, img.Path), &img)
			f, err := blockstore.Open(root).OpenImage(img, tt.access)
			if !errors.Is(err, tt.want) {
				t.Fatalf("OpenImage = %v, %v; want %v", f, err, tt.want)
			}
		})
	}
}

func TestOpenLinkedImage(t *testing.T) {
	root := recordedTree(t)
	s := blockstore.Open(root)
	img, err := s.Image("reused")
	must(t, err)
	_, err = s.OpenImage(img, blockstore.ReadWrite)
	wantError(t, err, blockstore.ErrLinked)
	for _, a := range []blockstore.Access{blockstore.ReadOnly, blockstore.ReadWriteLinked} {
		f, err := s.OpenImage(img, a)
		must(t, err)
		must(t, f.Close())
	}
}
