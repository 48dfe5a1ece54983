package sparse_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/glusterbackupd/glusterbackupd/manifest/sparse"
)

const block = 64 << 10 // No file system here has larger ones.

// newFile makes a file of so many blocks, of which data tells which are no holes.
func newFile(t *testing.T, data []bool, tail int64) *os.File {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(t.TempDir(), "file"), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	for i, d := range data {
		if d {
			if _, err := f.WriteAt(bytes.Repeat([]byte{byte(i + 1)}, block), int64(i)*block); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := f.Truncate(int64(len(data))*block + tail); err != nil {
		t.Fatal(err)
	}
	return f
}

// ReadAt reads what the file's own method reads, wherever it begins and ends.
func TestReadAt(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, data := range [][]bool{
		{}, {false}, {true}, {true, false, true}, {false, true, true, false}, {false, false, false, true},
	} {
		f := newFile(t, data, 100)
		size := int64(len(data))*block + 100
		for range 200 {
			off, n := rng.Int64N(size+10), rng.Int64N(2*size)
			want, got := bytes.Repeat([]byte{0xee}, int(n)), bytes.Repeat([]byte{0xdd}, int(n))
			wantN, wantErr := f.ReadAt(want, off)
			gotN, gotErr := sparse.ReadAt(f, got, off)
			if n == 0 {
				continue // An empty read may or may not notice the end.
			}
			if gotN != wantN || !errors.Is(gotErr, wantErr) || !bytes.Equal(got[:gotN], want[:wantN]) {
				t.Fatalf("%v: %d bytes at %d: read %d, %v; want %d, %v, or other bytes", data, n, off, gotN, gotErr, wantN, wantErr)
			}
		}
	}
}

// Holes are not read: the file below is larger than what could be.
func TestHolesAreNotRead(t *testing.T) {
	f := newFile(t, []bool{true}, 0)
	if err := f.Truncate(1 << 40); err != nil {
		t.Fatal(err)
	}
	if _, err := unix.Seek(int(f.Fd()), 0, unix.SEEK_HOLE); err != nil {
		t.Fatalf("the test needs a file system with holes: %v", err)
	}
	var data int64
	for off, n := range sparse.Data(f, 0, 1<<40) {
		if off != 0 {
			t.Errorf("data at %d", off)
		}
		data += n
	}
	if data < block || data > 1<<30 {
		t.Errorf("%d bytes of data, want about %d", data, block)
	}
	if n, err := sparse.ReadAt(f, make([]byte, 100), 1<<40-50); n != 50 || !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %d, %v", n, err)
	}
}

// An error of the file is not taken for a hole.
func TestReadAtOfFolder(t *testing.T) {
	dir, err := os.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	if _, err := sparse.ReadAt(dir, make([]byte, 10), 0); err == nil {
		t.Error("a folder was read")
	}
}
