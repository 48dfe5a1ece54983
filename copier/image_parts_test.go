package copier_test

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/glusterbackupd/glusterbackupd/copier"
)

// TestCopyImageParts copies changing images of which it is known in which blocks they
// have not changed, into clones and into new files: those blocks are not read, unless the
// digests of the last image's blocks are damaged, or that image is.
func TestCopyImageParts(t *testing.T) {
	var unread, damaged int64
	for seed := range uint64(400) {
		r := rand.New(rand.NewPCG(seed, 7))
		old := &memory{data: make([]byte, 1+r.IntN(80*block))}
		old.scribble(r, r.IntN(40))
		now := old.clone()
		now.scribble(r, r.IntN(4))
		size := block * (1 + r.IntN(3))
		piece := size * (1 + r.IntN(6))
		was, blocks := piecesIn(old, piece, size)
		want, wantBlocks := piecesIn(now, piece, size)
		unchanged := shards(old, now, size)
		c := copier.ImageCopy{
			Source: tracked{now, t, unchanged}, PieceSize: piece, BlockSize: size, Workers: 1 + r.IntN(4), Digest: copier.PieceDigests,
			Reference: &copier.ImageReference{Pieces: was, Image: old, Unchanged: unchanged},
		}
		zero := shards(&memory{data: make([]byte, len(now.data))}, now, block)
		if r.IntN(2) == 0 {
			c.Zero = zero
		}
		target, said := &memory{data: make([]byte, len(old.data))}, &memory{data: blocks}
		damage := r.IntN(3) == 0
		if c.Compare = r.IntN(2) == 0; c.Compare {
			target = old.clone()
			c.Reference.Image, c.Reference.Data, c.Blocks = nil, target.dataRuns, said
			if damage {
				blocks[r.IntN(len(blocks))] ^= 1
			}
		} else if c.Fresh = true; damage {
			old.data[r.IntN(len(old.data))] ^= 1
		}
		if damage { // Then more is read.
			c.Source = now
		}
		c.Target = target
		res, err := copier.CopyImage(t.Context(), c)
		if err != nil || res.Pieces != want || !bytes.Equal(target.data, now.data) || res.Data != now.dataBytes() || res.Missed != 0 {
			t.Fatalf("seed %d: %+v, %v", seed, res, err)
		}
		if c.Compare && !damage && !bytes.Equal(said.data, wantBlocks) {
			t.Fatalf("seed %d: other digests of blocks than those of the source", seed)
		}
		if diff := cmp.Diff(target.touched(size), res.Touched); diff != "" {
			t.Fatalf("seed %d: touched blocks: %s", seed, diff)
		}
		if kept := vouchedFor(now, size, unchanged); !damage && res.Unread < kept || c.Zero == nil && res.Unread > kept {
			t.Fatalf("seed %d: %d bytes were not read, %d have not changed", seed, res.Unread, kept)
		}
		unread += res.Unread
		damaged += res.Rotten
	}
	if unread == 0 || damaged == 0 {
		t.Errorf("%d bytes were not read, %d were rotten", unread, damaged)
	}
}

// vouchedFor is how much of an image is in blocks that have not changed.
func vouchedFor(m *memory, size int, unchanged func(off, n int64) bool) (kept int64) {
	for off := 0; off < len(m.data); off += size {
		if n := min(size, len(m.data)-off); unchanged(int64(off), int64(n)) {
			kept += int64(n)
		}
	}
	return kept
}

// TestCopyImagePartsLies has somebody vouch for a block that has changed, beside one for
// which nobody does: one piece of 256 is read in any case, and all in an audit.
func TestCopyImagePartsLies(t *testing.T) {
	const piece, count = 2 * block, 256
	old := image(count * piece)
	now := old.clone()
	for i := range count {
		now.data[i*piece] ^= 1
		now.data[i*piece+block] ^= 1
	}
	want, _ := piecesIn(now, piece, block)
	second := func(off, n int64) bool { return off%piece == block && n == block }
	for _, clone := range []bool{false, true} {
		for _, audit := range []bool{false, true} {
			was, blocks := piecesIn(old, piece, block)
			target := &memory{data: make([]byte, len(old.data))}
			c := copier.ImageCopy{
				Source: now, Target: target, PieceSize: piece, BlockSize: block, Digest: copier.PieceDigests, Fresh: !clone,
				Reference: &copier.ImageReference{Pieces: was, Image: old, Unchanged: second, Audit: audit},
			}
			if clone {
				target = old.clone()
				c.Target, c.Compare, c.Blocks, c.Reference.Data = target, true, &memory{data: blocks}, target.dataRuns
			}
			res, err := copier.CopyImage(t.Context(), c)
			missed, unread := int64(block), int64((count-1)*block)
			if audit {
				missed, unread = count*block, 0
			}
			if err != nil || res.Missed != missed || res.Unread != unread || res.Rotten != 0 {
				t.Errorf("clone %v, audit %v: %+v, %v", clone, audit, res, err)
			}
			if right := bytes.Equal(target.data, now.data) && res.Pieces == want; right != audit {
				t.Errorf("clone %v, audit %v: the target is right: %v", clone, audit, right)
			}
		}
	}
}
