package copier_test

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/glusterbackupd/glusterbackupd/copier"
)

// onDisk is a folder that outlives a boot, so that it is on a disk.
const onDisk = "/var/tmp"

// TestImageFileWrites writes parts of any size and alignment, also such that pass by the
// page cache, punches holes and reads in between, on a file system that can do that and
// on one that cannot.
func TestImageFileWrites(t *testing.T) {
	for _, parent := range []string{onDisk, "/dev/shm"} {
		t.Run(parent, func(t *testing.T) {
			dir, err := os.MkdirTemp(parent, "image-") //nolint:usetesting // On another file system.
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = os.RemoveAll(dir) })
			const size = 4<<20 + 100
			f, _, err := copier.CreateImage(filepath.Join(dir, "image"), size, "")
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			rng, want := rand.New(rand.NewPCG(1, 6)), make([]byte, size)
			source := make([]byte, 2<<20)
			for i := range source {
				source[i] = byte(rng.Uint32())
			}
			for range 300 {
				off, n := rng.IntN(size), rng.IntN(1<<20)
				if rng.IntN(4) > 0 { // As a copy writes.
					off, n = off&^(block-1), n&^(block-1)
				}
				n = min(n, size-off)
				from := rng.IntN(1 << 20)
				if rng.IntN(4) > 0 {
					from = from&^(block-1) + aligned(source)
				}
				part := source[from : from+n]
				switch rng.IntN(4) {
				case 0:
					clear(want[off : off+n])
					err = nil
					if n > 0 {
						err = f.PunchHole(int64(off), int64(n))
					}
				default:
					copy(want[off:], part)
					_, err = f.WriteAt(part, int64(off))
				}
				if err != nil {
					t.Fatalf("%d bytes at %d: %v", n, off, err)
				}
				if got := make([]byte, n); n > 0 {
					if _, err := f.ReadAt(got, int64(off)); err != nil || !bytes.Equal(got, want[off:off+n]) {
						t.Fatalf("%d bytes at %d read otherwise than written: %v", n, off, err)
					}
				}
			}
			if err := f.Sync(); err != nil {
				t.Fatal(err)
			}
			if got, err := os.ReadFile(filepath.Join(dir, "image")); err != nil || !bytes.Equal(got, want) {
				t.Errorf("the image has other bytes: %v", err)
			}
		})
	}
}

// aligned is the index of the first byte of b at an address that a disk likes.
func aligned(b []byte) int {
	return -int(uintptr(unsafe.Pointer(unsafe.SliceData(b)))) & (block - 1)
}

// TestImageLeavesTheCache writes an image and looks for it in the page cache.
func TestImageLeavesTheCache(t *testing.T) {
	const size = 8 << 20
	dir, err := os.MkdirTemp(onDisk, "image-") //nolint:usetesting // Not where a temporary folder is memory.
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	path := filepath.Join(dir, "image")
	f, _, err := copier.CreateImage(path, size, "")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	source := image(size)
	for i := range source.data {
		source.data[i] |= 1
	}
	if _, err := copier.CopyImage(t.Context(), copier.ImageCopy{Source: source, Target: f, Fresh: true}); err != nil {
		t.Fatal(err)
	}
	if pages := cached(t, path, size); pages != 0 {
		t.Errorf("%d pages of the image are in the page cache", pages)
	}
}

// cached returns how many pages of a file the page cache has.
func cached(t *testing.T, path string, size int) (pages int) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	mapped, err := unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Munmap(mapped) }()
	present := make([]byte, size/os.Getpagesize())
	if _, _, errno := unix.Syscall(unix.SYS_MINCORE, uintptr(unsafe.Pointer(unsafe.SliceData(mapped))), uintptr(size), uintptr(unsafe.Pointer(unsafe.SliceData(present)))); errno != 0 {
		t.Fatal(errno)
	}
	for _, p := range present {
		pages += int(p & 1)
	}
	return pages
}
