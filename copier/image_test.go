package copier_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/glusterbackupd/glusterbackupd/copier"
	"github.com/glusterbackupd/glusterbackupd/manifest"
)

const block = 4096

var zeros [block]byte

// memory is an image in memory that counts what is done to it.
type memory struct {
	mu              sync.Mutex
	data            []byte
	written, punch  int64
	synced          bool
	unneeded        int64      // Bytes of blocks that were written with what they held.
	unneededPunches int64      // Bytes of zero blocks that were punched.
	changed         [][2]int64 // From, to.
	reads           int64
}

// touched says of each part of the given size whether it was written or punched.
func (m *memory) touched(size int) []bool {
	all := make([]bool, (len(m.data)+size-1)/size)
	for _, r := range m.changed {
		for off := r[0]; off < r[1]; off += block {
			all[off/int64(size)] = true
		}
	}
	return all
}

// pieces digests the pieces of an image, each of one block, the plain way.
func pieces(m *memory, piece int) manifest.Pieces {
	all, _ := piecesIn(m, piece, piece)
	return all
}

// piecesIn digests the pieces of an image, and the blocks of these.
func piecesIn(m *memory, piece, size int) (p manifest.Pieces, blocks []byte) {
	p = manifest.Pieces{Size: int64(piece), Block: int64(size)}
	for content := range slices.Chunk(m.data, piece) {
		var digests []byte
		for part := range slices.Chunk(content, size) {
			sum := sha256.Sum256(part)
			if len(bytes.Trim(part, "\x00")) == 0 {
				clear(sum[:])
			}
			digests = append(digests, sum[:]...)
		}
		sum := sha256.Sum256(digests)
		p.SHA256 += string(sum[:])
		blocks = append(blocks, digests...)
	}
	return p, blocks
}

func (m *memory) Size() int64 { return int64(len(m.data)) }

func (m *memory) ReadAt(p []byte, off int64) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := copy(p, m.data[off:])
	m.reads += int64(n)
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (m *memory) WriteAt(p []byte, off int64) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := 0; i < len(p); i += block {
		end := min(i+block, len(p))
		if bytes.Equal(p[i:end], m.data[off+int64(i):off+int64(end)]) {
			m.unneeded += int64(end - i)
		}
	}
	m.written += int64(len(p))
	m.changed = append(m.changed, [2]int64{off, off + int64(len(p))})
	return copy(m.data[off:off+int64(len(p))], p), nil
}

func (m *memory) PunchHole(off, n int64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := off; i < off+n; i += block {
		b := m.data[i:min(i+block, off+n)]
		if bytes.Equal(b, zeros[:len(b)]) {
			m.unneededPunches += int64(len(b))
		}
		clear(b)
	}
	m.punch += n
	m.changed = append(m.changed, [2]int64{off, off + n})
	return nil
}

func (m *memory) Sync() error {
	m.synced = true
	return nil
}

func (m *memory) clone() *memory { return &memory{data: bytes.Clone(m.data)} }

// scribble changes the image as a file system in it would: random writes,
// aligned and not, and zeroed ranges.
func (m *memory) scribble(r *rand.Rand, times int) {
	for range times {
		if len(m.data) == 0 {
			return
		}
		off := r.IntN(len(m.data))
		n := min(1+r.IntN(5*block), len(m.data)-off)
		part := m.data[off : off+n]
		switch r.IntN(3) {
		case 0:
			clear(part)
		case 1:
			for i := range part {
				part[i] = byte(r.Uint32())
			}
		case 2: // One byte at the end of a range that is zero otherwise.
			clear(part)
			part[n-1] = 1
		}
	}
}

func (m *memory) dataBytes() (n int64) {
	for i := 0; i < len(m.data); i += block {
		b := m.data[i:min(i+block, len(m.data))]
		if !bytes.Equal(b, zeros[:len(b)]) {
			n += int64(len(b))
		}
	}
	return n
}

// chunkBytes is the size of all 256 KiB chunks with data, counted once in each
// piece.
func (m *memory) chunkBytes(piece int) (n int64) {
	const chunk = 256 << 10
	type place struct{ piece, chunk int }
	seen := map[place]bool{}
	for i := 0; i < len(m.data); i += block {
		b := m.data[i:min(i+block, len(m.data))]
		if at := (place{i / max(piece, block), i / chunk}); !seen[at] && !bytes.Equal(b, zeros[:len(b)]) {
			seen[at] = true
			n += chunk
		}
	}
	return n
}

// differing is the size of all blocks in which the images differ.
func (m *memory) differing(o *memory) (n int64) {
	for i := 0; i < len(m.data); i += block {
		end := min(i+block, len(m.data))
		if !bytes.Equal(m.data[i:end], o.data[i:end]) {
			n += int64(end - i)
		}
	}
	return n
}

// TestCopyImageModel copies a changing image in all modes, hundreds of times.
func TestCopyImageModel(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 1))
		size := r.IntN(80*block) + r.IntN(2)*r.IntN(block)
		src := &memory{data: make([]byte, size)}
		src.scribble(r, r.IntN(40))
		c := copier.ImageCopy{PieceSize: block * (1 + r.IntN(12)), Workers: 1 + r.IntN(4), Digest: copier.Digest(r.IntN(3))}

		fresh := &memory{data: make([]byte, size)}
		c.Fresh = true
		checkCopy(t, c, src, fresh)
		if fresh.punch != 0 {
			t.Errorf("seed %d: %d bytes of a fresh target were punched", seed, fresh.punch)
		}
		for range 2 {
			version := fresh.clone()
			src.scribble(r, r.IntN(6))
			change := version.differing(src)
			c.Fresh, c.Compare = false, true
			res := checkCopy(t, c, src, version)
			if res.Written+res.Punched != change || version.unneeded+version.unneededPunches != 0 {
				t.Errorf("seed %d: wrote %d and punched %d for a change of %d", seed, res.Written, res.Punched, change)
			}
			fresh = version
		}
		plain := &memory{data: bytes.Repeat([]byte{0xA5}, size)}
		c.Compare = false
		res := checkCopy(t, c, src, plain)
		if res.Written+res.Punched != int64(size) || res.Written != res.Data {
			t.Errorf("seed %d: %+v does not cover %d bytes", seed, res, size)
		}
		if t.Failed() {
			t.FailNow()
		}
	}
}

func checkCopy(t *testing.T, c copier.ImageCopy, src, target *memory) copier.ImageResult {
	t.Helper()
	c.Source, c.Target = src, target
	var last copier.Progress
	c.Progress = func(p copier.Progress) {
		if p.Bytes <= last.Bytes || p.TotalBytes != src.Size() {
			t.Errorf("progress %+v after %+v", p, last)
		}
		last = p
	}
	res, err := copier.CopyImage(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	want := copier.ImageResult{
		Size: src.Size(), Data: src.dataBytes(), Chunks: src.chunkBytes(c.PieceSize), Written: target.written, Punched: target.punch,
	}
	switch c.Digest {
	case copier.WholeDigest:
		sum := sha256.Sum256(src.data)
		want.SHA256 = hex.EncodeToString(sum[:])
	case copier.PieceDigests:
		want.Pieces, want.Touched = pieces(src, c.PieceSize), target.touched(c.PieceSize)
	case copier.NoDigest:
	}
	if diff := cmp.Diff(want, res); diff != "" {
		t.Errorf("result: %s", diff)
	}
	if last.Bytes != src.Size() || !target.synced {
		t.Errorf("progress %+v, synced %v", last, target.synced)
	}
	if !bytes.Equal(src.data, target.data) {
		t.Error("target differs")
	}
	if first, err := copier.CompareImages(t.Context(), src, target, nil); first != -1 || err != nil {
		t.Errorf("CompareImages: %d, %v", first, err)
	}
	return res
}

// faulty fails or misbehaves from an offset on.
type faulty struct {
	*memory
	at    int64
	err   error
	short int // Reads return at most that many bytes, without an error.
	calls atomic.Int64
	then  func()
}

func (f *faulty) ReadAt(p []byte, off int64) (int, error) {
	if f.calls.Add(1) == 3 && f.then != nil {
		f.then()
	}
	if f.short > 0 {
		return f.memory.ReadAt(p[:min(len(p), f.short)], off)
	}
	if off+int64(len(p)) <= f.at {
		return f.memory.ReadAt(p, off)
	}
	n, _ := f.memory.ReadAt(p[:max(0, f.at-off)], off)
	return n, f.err
}

func image(size int) *memory {
	m := &memory{data: make([]byte, size)}
	m.scribble(rand.New(rand.NewPCG(9, 9)), 50)
	return m
}

func TestCopyImageReadErrors(t *testing.T) {
	const size, at = 64 * block, 37*block + 123
	for name, cause := range map[string]error{"EIO": syscall.EIO, "early end": io.EOF, "nothing": nil} {
		t.Run(name, func(t *testing.T) {
			for _, op := range []string{"read source", "read target"} {
				src, target := image(size), image(size)
				bad := &faulty{memory: target, at: at, err: cause}
				c := copier.ImageCopy{Source: src, Target: bad, Compare: true, PieceSize: 8 * block, Workers: 1}
				if op == "read source" {
					bad.memory = src
					c.Source, c.Target = bad, target
				}
				res, err := copier.CopyImage(t.Context(), c)
				var failed *copier.ImageError
				if !errors.As(err, &failed) || failed.Op != op || failed.Offset != at || res.SHA256 != "" || target.synced {
					t.Errorf("%s: error %v, result %+v", op, err, res)
				}
				if errors.Is(cause, syscall.EIO) && !errors.Is(err, syscall.EIO) {
					t.Errorf("%s: error %v, want %v", op, err, cause)
				}
			}
		})
	}
}

func TestCopyImageShortReads(t *testing.T) {
	src, target := image(64*block), image(64*block)
	c := copier.ImageCopy{Source: &faulty{memory: src, short: 1000}, Target: target, Compare: true}
	if _, err := copier.CopyImage(t.Context(), c); err != nil || !bytes.Equal(src.data, target.data) {
		t.Errorf("error %v, equal %v", err, bytes.Equal(src.data, target.data))
	}
}

// broken is a target whose changes fail.
type broken struct {
	*memory
	write, punch, sync error
}

func (b *broken) WriteAt([]byte, int64) (int, error) { return 0, b.write }

func (b *broken) PunchHole(int64, int64) error { return b.punch }

func (b *broken) Sync() error { return b.sync }

func TestCopyImageWriteErrors(t *testing.T) {
	data, zeros := bytes.Repeat([]byte{1}, 9*block), make([]byte, 9*block)
	tests := map[string]struct {
		src, old []byte
		target   broken
		op       string
	}{
		"write": {src: data, old: zeros, target: broken{write: syscall.ENOSPC}, op: "write"},
		"punch": {src: zeros, old: data, target: broken{punch: syscall.ENOSPC}, op: "punch"},
		"sync":  {src: data, old: data, target: broken{sync: syscall.ENOSPC}, op: "sync"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			tt.target.memory = &memory{data: tt.old}
			res, err := copier.CopyImage(t.Context(), copier.ImageCopy{Source: &memory{data: tt.src}, Target: &tt.target, Compare: true})
			var failed *copier.ImageError
			if !errors.As(err, &failed) || failed.Op != tt.op || !errors.Is(err, syscall.ENOSPC) || res.SHA256 != "" {
				t.Errorf("error %v, result %+v", err, res)
			}
		})
	}
}

func TestCopyImageRefuses(t *testing.T) {
	small, large := image(block), image(2*block)
	tests := map[string]copier.ImageCopy{
		"larger source":   {Source: large, Target: small},
		"larger target":   {Source: small, Target: large},
		"odd piece":       {Source: small, Target: small, PieceSize: 1000},
		"negative piece":  {Source: small, Target: small, PieceSize: -block},
		"negative worker": {Source: small, Target: small, Workers: -1},
		"contradiction":   {Source: small, Target: small, Fresh: true, Compare: true},
	}
	for name, c := range tests {
		_, err := copier.CopyImage(t.Context(), c)
		if err == nil || errors.Is(err, copier.ErrImageSize) != (c.Source != c.Target) {
			t.Errorf("%s: error %v", name, err)
		}
	}
	if small.written+large.written+small.punch+large.punch != 0 {
		t.Error("something was written")
	}
}

func TestCopyImageCancel(t *testing.T) {
	cause := errors.New("stopped by a test")
	ctx, cancel := context.WithCancelCause(t.Context())
	src, target := image(64*block), image(64*block)
	bad := &faulty{memory: src, at: src.Size(), then: func() { cancel(cause) }}
	res, err := copier.CopyImage(ctx, copier.ImageCopy{Source: bad, Target: target, PieceSize: block, Workers: 2})
	if !errors.Is(err, cause) || res.SHA256 != "" || target.synced {
		t.Errorf("error %v, result %+v", err, res)
	}
	if n := bad.calls.Load(); n > 10 {
		t.Errorf("%d pieces were read after the cancel in the third", n)
	}
	if _, err := copier.CompareImages(ctx, src, target, nil); !errors.Is(err, cause) {
		t.Errorf("CompareImages: error %v", err)
	}
}

func TestCompareImages(t *testing.T) {
	const size = 20<<20 + 5
	a := &memory{data: make([]byte, size)}
	for _, at := range [][]int64{{0}, {size - 1}, {4<<20 - 1, 4 << 20}, {9 << 20, 17 << 20, 5<<20 + 1}} {
		b := a.clone()
		want := int64(size)
		for _, off := range at {
			b.data[off] = 1
			want = min(want, off)
		}
		for range 20 {
			if got, err := copier.CompareImages(t.Context(), a, b, nil); got != want || err != nil {
				t.Errorf("differences at %d: got %d, %v", at, got, err)
			}
		}
	}
	var last copier.Progress
	if got, err := copier.CompareImages(t.Context(), a, a.clone(), func(p copier.Progress) { last = p }); got != -1 || err != nil || last.Bytes != size {
		t.Errorf("equal images: %d, %v, progress %+v", got, err, last)
	}
	if _, err := copier.CompareImages(t.Context(), a, image(block), nil); !errors.Is(err, copier.ErrImageSize) {
		t.Errorf("images of two sizes: %v", err)
	}
	_, err := copier.CompareImages(t.Context(), a, &faulty{memory: a, at: 6 << 20, err: syscall.EIO}, nil)
	if !errors.Is(err, syscall.EIO) {
		t.Errorf("read error: %v", err)
	}
}

func TestImageFile(t *testing.T) {
	const size = 40*block + 77
	path := filepath.Join(t.TempDir(), "image")
	img, cloned, err := copier.CreateImage(path, size, "")
	if err != nil || cloned {
		t.Fatalf("cloned %v, error %v", cloned, err)
	}
	src := image(size)
	res, err := copier.CopyImage(t.Context(), copier.ImageCopy{Source: src, Target: img, Fresh: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := img.PunchHole(size-10, 10); err != nil {
		t.Error(err)
	}
	clear(src.data[size-10:])
	_, write := img.WriteAt(make([]byte, 2), size-1)
	if write == nil || img.PunchHole(size-1, 2) == nil || img.PunchHole(-1, 2) == nil {
		t.Error("the image can grow")
	}
	got, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(got, src.data) {
		t.Errorf("file differs (%v)", err)
	}
	fi, err := os.Stat(path)
	if err != nil || fi.Mode() != 0o600 || fi.Size() != size {
		t.Errorf("file is %v with %d bytes (%v)", fi.Mode(), fi.Size(), err)
	}
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil || st.Blocks*512 > res.Data+64<<10 {
		t.Errorf("file takes %d blocks for %d bytes of data (%v)", st.Blocks, res.Data, err)
	}
	held := int64(0)
	for off, n := range img.Data(0, size) {
		if held += n; off%block != 0 && off+n != size {
			t.Errorf("data at %d, %d bytes", off, n)
		}
	}
	if held < src.dataBytes() || held > src.dataBytes()+64<<10 {
		t.Errorf("%d bytes are said to be data of %d", held, src.dataBytes())
	}
	again, err := copier.OpenImage(path)
	if err != nil || again.Size() != size {
		t.Fatal(err)
	}
	if _, err := again.WriteAt([]byte("x"), 0); err == nil {
		t.Error("an image that was opened for reading was written")
	}
	if err := errors.Join(again.Close(), img.Close()); err != nil {
		t.Error(err)
	}
}

func TestImageFileErrors(t *testing.T) {
	dir := t.TempDir()
	fifo, link, file := filepath.Join(dir, "fifo"), filepath.Join(dir, "link"), filepath.Join(dir, "file")
	err := errors.Join(unix.Mkfifo(fifo, 0o600), os.Symlink(file, link), os.WriteFile(file, []byte("x"), 0o600))
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]error{
		dir: copier.ErrNotRegular, fifo: copier.ErrNotRegular, link: copier.ErrNotRegular, file + "x": fs.ErrNotExist,
	} {
		if _, err := copier.OpenImage(path); !errors.Is(err, want) {
			t.Errorf("OpenImage(%s): %v, want %v", path, err, want)
		}
		created := filepath.Join(dir, "new")
		if _, _, err := copier.CreateImage(created, 10, path); !errors.Is(err, want) {
			t.Errorf("CreateImage from %s: %v, want %v", path, err, want)
		}
		if _, err := os.Lstat(created); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("CreateImage from %s left a file (%v)", path, err)
		}
	}
	for _, path := range []string{file, link, fifo} {
		if _, _, err := copier.CreateImage(path, 10, ""); !errors.Is(err, fs.ErrExist) {
			t.Errorf("CreateImage(%s): %v, want %v", path, err, fs.ErrExist)
		}
	}
	if _, _, err := copier.CreateImage(file+"y", -1, ""); err == nil {
		t.Error("a negative size was taken")
	}
	wantText := fmt.Sprintf("write at offset 5: %v", syscall.EIO)
	if e := (&copier.ImageError{Op: "write", Offset: 5, Err: syscall.EIO}); e.Error() != wantText {
		t.Errorf("text %q", e)
	}
}
