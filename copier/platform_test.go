//go:build platform

package copier_test

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/glusterbackupd/glusterbackupd/copier"
	"github.com/glusterbackupd/glusterbackupd/copier/copiertest"
)

func TestRsyncConformsOnMounts(t *testing.T) {
	copiertest.TestEngineOnMounts(t, func() copiertest.Engine { return newRsync(t, copier.RsyncOptions{}) })
}

// used is how many bytes of the file system in dir are in use.
func used(t *testing.T, dir string) int64 {
	t.Helper()
	d, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if err := unix.Syncfs(int(d.Fd())); err != nil {
		t.Fatal(err)
	}
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(d.Fd()), &st); err != nil {
		t.Fatal(err)
	}
	return int64(st.Blocks-st.Bfree) * st.Bsize
}

// nextVersion copies src to a new image at path and checks it byte by byte.
func nextVersion(t *testing.T, src copier.ImageSource, path, reference string) (res copier.ImageResult, cloned bool) {
	t.Helper()
	img, cloned, err := copier.CreateImage(path, src.Size(), reference)
	if err != nil {
		t.Fatal(err)
	}
	defer img.Close()
	res, err = copier.CopyImage(t.Context(), copier.ImageCopy{Source: src, Target: img, Compare: cloned, Fresh: !cloned})
	if err != nil {
		t.Fatal(err)
	}
	got, err := copier.OpenImage(path)
	if err != nil {
		t.Fatal(err)
	}
	defer got.Close()
	if first, err := copier.CompareImages(t.Context(), src, got, nil); first != -1 || err != nil {
		t.Fatalf("images differ at %d (%v)", first, err)
	}
	return res, cloned
}

const imageSize = 256 << 20

// halfFull is an image with 128 MiB of data, every second MiB.
func halfFull() *memory {
	m := &memory{data: make([]byte, imageSize)}
	r := rand.NewChaCha8([32]byte{1})
	for off := 0; off < imageSize; off += 2 << 20 {
		_, _ = r.Read(m.data[off : off+1<<20])
	}
	return m
}

// changeOnePercent writes into 1 % of all blocks, chosen at random, beyond the
// first shard only.
func changeOnePercent(m *memory) (changed int64) {
	before := m.clone()
	r := rand.New(rand.NewPCG(2, 3))
	for range imageSize / block / 100 {
		at := 64<<20 + r.IntN((imageSize-64<<20)/block)*block
		m.data[at+r.IntN(block)]++
	}
	return m.differing(before)
}

func TestImageVersionsOnReflink(t *testing.T) {
	dir, _ := copiertest.Loop(t, 1<<30, "mkfs.xfs", "-q", "-m", "reflink=1")
	one, two, three := filepath.Join(dir, "1"), filepath.Join(dir, "2"), filepath.Join(dir, "3")
	src, empty := halfFull(), used(t, dir)
	nextVersion(t, src, one, "")
	first := used(t, dir) - empty
	if first > imageSize/2+16<<20 {
		t.Errorf("the first version takes %d bytes for %d of data", first, imageSize/2)
	}
	old := src.clone()
	changed := changeOnePercent(src)
	before := used(t, dir)
	res, cloned := nextVersion(t, src, two, one)
	second := used(t, dir) - before
	if !cloned || res.Written != changed || res.Punched != 0 {
		t.Errorf("cloned %v, result %+v, want %d written", cloned, res, changed)
	}
	if second > 2*changed+4<<20 {
		t.Errorf("the second version takes %d bytes for a change of %d", second, changed)
	}
	t.Logf("first version %d KiB, second %d KiB for %d KiB changed", first>>10, second>>10, changed>>10)

	// A larger image, and the first version untouched by all of this.
	src.data = append(src.data, make([]byte, 10<<20)...)
	src.data[imageSize+5<<20] = 1
	if res, cloned := nextVersion(t, src, three, two); !cloned || res.Written != block {
		t.Errorf("larger image: cloned %v, result %+v", cloned, res)
	}
	img, err := copier.OpenImage(one)
	if err != nil {
		t.Fatal(err)
	}
	defer img.Close()
	if at, err := copier.CompareImages(t.Context(), old, img, nil); at != -1 || err != nil {
		t.Errorf("the first version differs at %d (%v)", at, err)
	}
}

// TestImageVersionsElsewhere has a reference that cannot be shared.
func TestImageVersionsElsewhere(t *testing.T) {
	ext4, _ := copiertest.Loop(t, 1<<30, "mkfs.ext4", "-q")
	xfs, _ := copiertest.Loop(t, 1<<30, "mkfs.xfs", "-q", "-m", "reflink=1")
	src := halfFull()
	one := filepath.Join(ext4, "1")
	nextVersion(t, src, one, "")
	changeOnePercent(src)
	for name, dir := range map[string]string{"no reflinks": ext4, "other file system": xfs} {
		before := used(t, dir)
		res, cloned := nextVersion(t, src, filepath.Join(dir, "2"), one)
		if size := used(t, dir) - before; cloned || res.Written != res.Data || size > res.Data+16<<20 {
			t.Errorf("%s: cloned %v, result %+v, takes %d bytes", name, cloned, res, size)
		}
	}
}

func TestNativeConformsOnMounts(t *testing.T) {
	copiertest.TestEngineOnMounts(t, func() copiertest.Engine { return newNative(t, copier.NativeOptions{}) })
}
