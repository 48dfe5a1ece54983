package copier_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"iter"
	"math/rand/v2"
	"slices"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/glusterbackupd/glusterbackupd/copier"
)

// tracked is a source of which only the changed parts may be read.
type tracked struct {
	*memory
	t         *testing.T
	unchanged func(off, n int64) bool
}

func (s tracked) ReadAt(p []byte, off int64) (int, error) {
	if s.unchanged(off, int64(len(p))) {
		s.t.Errorf("%d bytes at %d were read although they have not changed", len(p), off)
	}
	return s.memory.ReadAt(p, off)
}

// shards tells for each part of the given size whether it is the same in both.
func shards(old, now *memory, size int) func(off, n int64) bool {
	return func(off, n int64) bool {
		for i := int(off) / size; i*size < int(off+n); i++ {
			end := min((i+1)*size, len(now.data))
			if string(old.data[i*size:end]) != string(now.data[i*size:end]) {
				return false
			}
		}
		return true
	}
}

// data yields the blocks of m that are not zero.
func (m *memory) dataRuns(off, n int64) iter.Seq2[int64, int64] {
	return func(yield func(int64, int64) bool) {
		for end := off + n; off < end; off += block {
			b := m.data[off:min(off+block, end)]
			if !bytes.Equal(b, zeros[:len(b)]) && !yield(off, int64(len(b))) {
				return
			}
		}
	}
}

// TestCopyImageReference copies changing images with a reference, hundreds of
// times, into clones of it and into new files. What has not changed is not read
// from the source, and what has rotted is noticed wherever it is looked at.
func TestCopyImageReference(t *testing.T) {
	var unread, rotten int64
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 2))
		size := 1 + r.IntN(80*block)
		old := &memory{data: make([]byte, size)}
		old.scribble(r, r.IntN(40))
		now := old.clone()
		now.scribble(r, r.IntN(4))
		clone, piece := r.IntN(2) == 0, block*(1+r.IntN(12))
		reference := &copier.ImageReference{Pieces: pieces(old, piece), Image: old, Unchanged: shards(old, now, block*(1+r.IntN(20)))}
		target := &memory{data: make([]byte, size)}
		if clone {
			target = old.clone()
			reference.Image, reference.Data = nil, target.dataRuns
		}
		c := copier.ImageCopy{
			Source: tracked{now, t, reference.Unchanged}, Target: target, Compare: clone, Fresh: !clone, Reference: reference,
			PieceSize: piece, Workers: 1 + r.IntN(4), Digest: copier.PieceDigests,
		}
		res, err := copier.CopyImage(t.Context(), c)
		if err != nil || res.Pieces != pieces(now, piece) || !bytes.Equal(target.data, now.data) || res.Rotten != 0 || res.Data != now.dataBytes() {
			t.Fatalf("seed %d: %+v, %v", seed, res, err)
		}
		if diff := cmp.Diff(target.touched(piece), res.Touched); diff != "" {
			t.Fatalf("seed %d: touched pieces: %s", seed, diff)
		}
		if clone && (res.Written+res.Punched != old.differing(now) || target.unneeded+target.unneededPunches != 0) {
			t.Fatalf("seed %d: wrote %d and punched %d for a change of %d", seed, res.Written, res.Punched, old.differing(now))
		}
		unread += res.Unread

		rot := r.IntN(size)
		old.data[rot] ^= 1 << r.IntN(8)
		target = &memory{data: make([]byte, size)}
		if clone { // What is not read keeps its damage, unless all is looked at.
			target, reference.Audit = old.clone(), true
			reference.Data = target.dataRuns
			c.Source = now
		} else {
			c.Source = tracked{now, t, func(off, n int64) bool {
				return reference.Unchanged(off, n) && (int64(rot) < off || int64(rot) >= off+n)
			}}
		}
		c.Target = target
		res, err = copier.CopyImage(t.Context(), c)
		if err != nil || res.Missed != 0 || !bytes.Equal(target.data, now.data) || res.Pieces != pieces(now, piece) {
			t.Fatalf("seed %d: with a reference that has rotted: %+v, %v", seed, res, err)
		}
		rotten += res.Rotten
	}
	if unread == 0 || rotten == 0 {
		t.Errorf("%d bytes were not read, %d were rotten", unread, rotten)
	}
}

// TestCopyImageZero copies images of which it is known where nothing was written,
// into new files, clones and old images: that is not read.
func TestCopyImageZero(t *testing.T) {
	var unread int64
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 3))
		size := 1 + r.IntN(80*block)
		old, now := &memory{data: make([]byte, size)}, &memory{data: make([]byte, size)}
		old.scribble(r, r.IntN(20))
		now.scribble(r, r.IntN(6))
		piece, part := block*(1+r.IntN(12)), block*(1+r.IntN(20))
		zero := shards(&memory{data: make([]byte, size)}, now, part)
		c := copier.ImageCopy{
			Source: tracked{now, t, zero}, Zero: zero, PieceSize: piece, Workers: 1 + r.IntN(4), Digest: copier.Digest(r.IntN(3)),
		}
		target := old.clone()
		switch r.IntN(4) {
		case 0:
			target, c.Fresh = &memory{data: make([]byte, size)}, true
		case 1:
			c.Compare = true
		case 2:
			c.Compare, c.Digest, c.Reference = true, copier.PieceDigests, &copier.ImageReference{Pieces: pieces(old, piece)}
		}
		c.Target = target
		res, err := copier.CopyImage(t.Context(), c)
		if err != nil || !bytes.Equal(target.data, now.data) || res.Data != now.dataBytes() {
			t.Fatalf("seed %d: %+v, %v", seed, res, err)
		}
		if c.Digest == copier.PieceDigests && res.Pieces != pieces(now, piece) {
			t.Fatalf("seed %d: other digests than those of the source", seed)
		}
		unread += res.Unread
	}
	if unread == 0 {
		t.Error("everything was read")
	}
}

// TestCopyImageZeroLies has somebody vouch for zeros where none are. An audit finds all
// of that and has it right, and without one a piece in 256 tells.
func TestCopyImageZeroLies(t *testing.T) {
	source := &memory{data: bytes.Repeat([]byte{1}, 600*block)}
	clear(source.data[:2*block])
	always := func(_, _ int64) bool { return true }
	for name, tt := range map[string]struct {
		audit, reference bool
		missed           int64
	}{
		"audit":                {audit: true, missed: 598 * block},
		"audit of a reference": {reference: true, missed: 598 * block},
		"without an audit":     {missed: 2 * block},
	} {
		target := &memory{data: make([]byte, source.Size())}
		c := copier.ImageCopy{
			Source: source, Target: target, Fresh: true, Zero: always, AuditZero: tt.audit, PieceSize: block, Digest: copier.PieceDigests,
		}
		if tt.reference {
			c.Fresh, c.Compare, c.Reference = false, true, &copier.ImageReference{Pieces: pieces(target, block), Audit: true}
		}
		res, err := copier.CopyImage(t.Context(), c)
		right := bytes.Equal(target.data, source.data)
		if err != nil || res.Missed != tt.missed || right != (tt.audit || tt.reference) {
			t.Errorf("%s: %d bytes missed, right: %v, %v", name, res.Missed, right, err)
		}
	}
}

// TestCopyImageUnreadableClone has a clone that cannot be read in a place where the
// source has changed, as one shares the bad sectors.
func TestCopyImageUnreadableClone(t *testing.T) {
	old := image(8 * block)
	now := old.clone()
	now.data[3*block] ^= 1
	target := old.clone()
	res, err := copier.CopyImage(t.Context(), copier.ImageCopy{
		Source: now, Target: &faulty{memory: target, at: 2 * block, err: syscall.EIO}, Compare: true, Mend: true, PieceSize: 2 * block,
		Digest: copier.PieceDigests, Reference: &copier.ImageReference{Pieces: pieces(old, 2*block)},
	})
	if err != nil || res.Rotten != 2*block || res.Written+res.Punched != 2*block || !bytes.Equal(target.data, now.data) {
		t.Errorf("%+v, %v", res, err)
	}
}

// TestCopyImageAudit has a reference vouch for what has changed: it is noticed, and
// the copy is right.
func TestCopyImageAudit(t *testing.T) {
	old := image(8 * block)
	now := old.clone()
	now.data[3*block] ^= 1
	target := old.clone()
	all := func(_, _ int64) bool { return true }
	res, err := copier.CopyImage(t.Context(), copier.ImageCopy{
		Source: now, Target: target, Compare: true, PieceSize: 2 * block, Digest: copier.PieceDigests,
		Reference: &copier.ImageReference{Pieces: pieces(old, 2*block), Data: target.dataRuns, Unchanged: all, Audit: true},
	})
	if err != nil || res.Missed != 2*block || res.Unread+res.Rotten != 0 || res.Pieces != pieces(now, 2*block) || !bytes.Equal(target.data, now.data) {
		t.Errorf("%+v, %v", res, err)
	}
}

// changing returns an image, what became of it, and sizes of pieces and blocks.
func changing(r *rand.Rand) (old, now *memory, piece, size int) {
	old = &memory{data: make([]byte, 1+r.IntN(80*block))}
	old.scribble(r, r.IntN(40))
	now = old.clone()
	now.scribble(r, r.IntN(4))
	size = block * (1 + r.IntN(3))
	return old, now, size * (1 + r.IntN(6)), size
}

// TestCopyImageBlocks copies changing images into clones, with what the last copy said
// of their blocks, some of it damaged, and makes it right: of the clone only blocks are
// read that have changed, and pieces of which nothing is known.
func TestCopyImageBlocks(t *testing.T) {
	var spared int64
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 4))
		old, now, piece, size := changing(r)
		was, blocks := piecesIn(old, piece, size)
		want, wantBlocks := piecesIn(now, piece, size)
		said := &memory{data: blocks}
		wrong := -1 // The piece of which the digests are damaged.
		if r.IntN(2) == 0 {
			i := r.IntN(len(blocks))
			blocks[i] ^= 1
			wrong = i / sha256.Size * size / piece
		}
		target := old.clone()
		res, err := copier.CopyImage(t.Context(), copier.ImageCopy{
			Source: now, Target: target, Compare: true, Blocks: said, PieceSize: piece, BlockSize: size, Workers: 1 + r.IntN(4),
			Digest: copier.PieceDigests, Reference: &copier.ImageReference{Pieces: was},
		})
		if err != nil || res.Pieces != want || !bytes.Equal(target.data, now.data) || res.Data != now.dataBytes() {
			t.Fatalf("seed %d: %+v, %v", seed, res, err)
		}
		if !bytes.Equal(said.data, wantBlocks) {
			t.Fatalf("seed %d: other digests of blocks than those of the source", seed)
		}
		if diff := cmp.Diff(target.touched(size), res.Touched); diff != "" {
			t.Fatalf("seed %d: touched blocks: %s", seed, diff)
		}
		mayRead := int64(0)
		for off := 0; off < len(now.data); off += size {
			end := min(off+size, len(now.data))
			known := off/piece != wrong || was.Of(wrong) == want.Of(wrong)
			if !known || !bytes.Equal(now.data[off:end], old.data[off:end]) {
				mayRead += int64(end - off)
			}
		}
		if target.reads != mayRead || res.Written+res.Punched != old.differing(now) || target.unneeded+target.unneededPunches != 0 {
			t.Fatalf("seed %d: read %d of the clone instead of %d, wrote %d and punched %d for a change of %d",
				seed, target.reads, mayRead, res.Written, res.Punched, old.differing(now))
		}
		spared += target.Size() - target.reads
	}
	if spared == 0 {
		t.Error("all of the clones was read")
	}
}

// TestCopyImageBlocksOfNew keeps the digests of the blocks of a new image, whatever of
// it is read.
func TestCopyImageBlocksOfNew(t *testing.T) {
	for seed := range uint64(100) {
		r := rand.New(rand.NewPCG(seed, 5))
		source := &memory{data: make([]byte, 1+r.IntN(80*block))}
		source.scribble(r, r.IntN(5))
		empty := &memory{data: make([]byte, source.Size())}
		size := block * (1 + r.IntN(3))
		piece := size * (1 + r.IntN(6))
		want, blocks := piecesIn(source, piece, size)
		said := &memory{data: make([]byte, len(blocks))}
		c := copier.ImageCopy{
			Source: source, Target: empty.clone(), Fresh: true, PieceSize: piece, BlockSize: size, Digest: copier.PieceDigests,
			Blocks: said,
		}
		switch r.IntN(3) {
		case 0:
			c.Zero = shards(empty, source, block)
		case 1: // All of it is what the last one has, on a disk without clones.
			c.Reference = &copier.ImageReference{Pieces: want, Image: source.clone(), Unchanged: func(_, _ int64) bool { return true }}
		}
		res, err := copier.CopyImage(t.Context(), c)
		if err != nil || res.Pieces != want || !bytes.Equal(said.data, blocks) {
			t.Fatalf("seed %d: %+v, %v, or other digests of blocks", seed, res, err)
		}
	}
}

// badDigests is a file of digests on a bad sector.
type badDigests struct{}

func (badDigests) ReadAt([]byte, int64) (int, error)  { return 0, syscall.EIO }
func (badDigests) WriteAt([]byte, int64) (int, error) { return 0, syscall.EIO }

// changedClone is a copy into a clone, with digests of blocks, of an image of which block
// at has changed.
func changedClone(at int) (c copier.ImageCopy, target, now *memory) {
	old := image(8 * block)
	now, target = old.clone(), old.clone()
	now.data[at*block] ^= 1
	was, blocks := piecesIn(old, 4*block, block)
	return copier.ImageCopy{
		Source: now, Target: target, Compare: true, PieceSize: 4 * block, BlockSize: block,
		Digest: copier.PieceDigests, Blocks: &memory{data: blocks}, Reference: &copier.ImageReference{Pieces: was},
	}, target, now
}

// TestCopyImageWithoutBlocks has digests of blocks that can be neither read nor written:
// the copy goes on without them.
func TestCopyImageWithoutBlocks(t *testing.T) {
	c, target, now := changedClone(3)
	c.Blocks = badDigests{}
	want, _ := piecesIn(now, 4*block, block)
	res, err := copier.CopyImage(t.Context(), c)
	if err != nil || res.Pieces != want || !bytes.Equal(target.data, now.data) || !errors.Is(res.BlocksErr, syscall.EIO) {
		t.Errorf("%+v, %v", res, err)
	}
}

// TestCopyImageBlocksMend has a clone that cannot be read where a block has changed.
func TestCopyImageBlocksMend(t *testing.T) {
	c, target, now := changedClone(6)
	c.Target, c.Mend = &faulty{memory: target, at: 6 * block, err: syscall.EIO}, true
	res, err := copier.CopyImage(t.Context(), c)
	touched := []bool{6: true, 7: false}
	if err != nil || res.Rotten != block || res.Written+res.Punched != block || !bytes.Equal(target.data, now.data) || !slices.Equal(res.Touched, touched) {
		t.Errorf("%+v, %v", res, err)
	}
}

// TestCopyImageBlocksAudit has the clone rot in a block that has not changed, of a piece
// that has: an audit sees to it.
func TestCopyImageBlocksAudit(t *testing.T) {
	c, target, now := changedClone(6)
	target.data[5*block+9] ^= 1
	c.Reference.Audit = true
	res, err := copier.CopyImage(t.Context(), c)
	if err != nil || !bytes.Equal(target.data, now.data) {
		t.Errorf("%+v, %v", res, err)
	}
}

func TestCopyImageReferenceRefuses(t *testing.T) {
	small, large := image(block), image(2*block)
	good := pieces(small, block)
	all := func(_, _ int64) bool { return true }
	for name, c := range map[string]copier.ImageCopy{
		"other size":       {Reference: &copier.ImageReference{Pieces: good, Image: large}},
		"no digests":       {Digest: copier.WholeDigest, Reference: &copier.ImageReference{Pieces: good, Image: small}},
		"other pieces":     {Reference: &copier.ImageReference{Pieces: pieces(small, 2*block), Image: small}},
		"too many pieces":  {Reference: &copier.ImageReference{Pieces: pieces(large, block), Image: small}},
		"other blocks":     {BlockSize: block, PieceSize: 2 * block, Reference: &copier.ImageReference{Pieces: pieces(small, 2*block), Image: small}},
		"no image":         {Reference: &copier.ImageReference{Pieces: good}},
		"a clone unlooked": {Compare: true, Reference: &copier.ImageReference{Pieces: good, Unchanged: all}},
	} {
		c.Source, c.Target, c.PieceSize = small, small, max(c.PieceSize, block)
		if c.Digest == copier.NoDigest {
			c.Digest = copier.PieceDigests
		}
		if _, err := copier.CopyImage(t.Context(), c); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if small.written+small.punch != 0 {
		t.Error("something was written")
	}
}

// TestImagePieceSize keeps the digests of any image small.
func TestImagePieceSize(t *testing.T) {
	for size, want := range map[int64]int{0: 4 << 20, 1 << 40: 4 << 20, 1<<40 + 1: 8 << 20, 1 << 42: 16 << 20} {
		if got := copier.ImagePieceSize(size); got != want {
			t.Errorf("%d bytes: %d, want %d", size, got, want)
		}
	}
}
