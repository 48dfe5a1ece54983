package copier_test

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/glusterbackupd/glusterbackupd/copier"
	"github.com/glusterbackupd/glusterbackupd/manifest"
)

// TestCopyImageParts copies changing images of which it is known in which blocks they
// have not changed, into clones and into new files: those blocks are not read, unless the
// digests of the last image's blocks are damaged, or that image is.
func TestCopyImageParts(t *testing.T) {
	var unread, damaged int64
	for seed := range uint64(400) {
		r := rand.New(rand.NewPCG(seed, 7))
		old, now, piece, size := changing(r)
		was, blocks := piecesIn(old, piece, size)
		want, wantBlocks := piecesIn(now, piece, size)
		unchanged := shards(old, now, size)
		c := copier.ImageCopy{
			PieceSize: piece, BlockSize: size, Workers: 1 + r.IntN(4), Digest: copier.PieceDigests,
			Reference: &copier.ImageReference{Pieces: was, Image: old, Unchanged: unchanged},
		}
		check := func(int64, int64) bool { return false }
		if r.IntN(2) == 0 {
			check = func(off, _ int64) bool { return off/int64(size)%5 == 2 }
			c.Reference.Check = check
		}
		read := func(off, n int64) bool { return unchanged(off, n) && !check(off, n) }
		c.Source = tracked{now, t, func(off, n int64) bool { return n == int64(size) && read(off, n) }}
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
		if kept := vouchedFor(now, size, read); !damage && res.Unread < kept || c.Zero == nil && res.Unread > kept {
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

// TestCopyImagePartsLies has somebody vouch for blocks that have changed: for every second
// one, or for all. What is checked is found, and all of it in an audit; with digests of
// the blocks or without.
func TestCopyImagePartsLies(t *testing.T) {
	const piece, count = 2 * block, 40
	old := image(count * piece)
	now := old.clone()
	for i := range 2 * count {
		now.data[i*block] ^= 1
	}
	want, _ := piecesIn(now, piece, block)
	second := func(off, n int64) bool { return off%piece == block && n <= block }
	all := func(int64, int64) bool { return true }
	third := func(off, _ int64) bool { return off%(3*block) == 0 }
	for name, unchanged := range map[string]func(off, n int64) bool{"second": second, "all": all} {
		for _, clone := range []string{"", "clone", "clone without digests"} {
			for _, audit := range []bool{false, true} {
				was, blocks := piecesIn(old, piece, block)
				target := &memory{data: make([]byte, len(old.data))}
				c := copier.ImageCopy{
					Source: now, Target: target, PieceSize: piece, BlockSize: block, Digest: copier.PieceDigests, Fresh: clone == "",
					Reference: &copier.ImageReference{Pieces: was, Image: old, Unchanged: unchanged, Check: third, Audit: audit},
				}
				if clone != "" {
					target = old.clone()
					c.Target, c.Compare, c.Reference.Data = target, true, target.dataRuns
				}
				if clone == "clone" {
					c.Blocks = &memory{data: blocks}
				}
				res, err := copier.CopyImage(t.Context(), c)
				var missed, unread int64
				for off := int64(0); off < now.Size(); off += block {
					switch vouched := unchanged(off, block); {
					case vouched && (audit || third(off, block)):
						missed += block
					case vouched:
						unread += block
					}
				}
				right := bytes.Equal(target.data, now.data) && res.Pieces == want
				res.Pieces, res.Touched = manifest.Pieces{}, nil // They are long.
				if err != nil || res.Missed != missed || res.Unread != unread || res.Rotten != 0 {
					t.Errorf("%s, %s, audit %v: %+v, %v; missed %d, unread %d", name, clone, audit, res, err, missed, unread)
				}
				if right != audit {
					t.Errorf("%s, %s, audit %v: the target is right: %v", name, clone, audit, right)
				}
			}
		}
	}
}

// TestCopyImagePartsRot has the last image rot in a piece of which one block is to be
// read: in a clone of which no digests of blocks are known, and in an image that is
// copied. All of the piece is put right and counted once, whether the source has changed
// there or not, in an audit too.
func TestCopyImagePartsRot(t *testing.T) {
	const piece = 4 * block
	first := func(off, _ int64) bool { return off%piece == 0 }
	for _, clone := range []bool{false, true} {
		for _, changed := range []bool{false, true} {
			for _, audit := range []bool{false, true} {
				old := image(3 * piece)
				now, rotten := old.clone(), old.clone()
				was, blocks := piecesIn(old, piece, block)
				rotten.data[piece+2*block+9] ^= 1
				if changed {
					now.data[piece+block] ^= 1
				}
				unchanged := func(off, n int64) bool { return off < piece+block && off+n > piece+block }
				target := &memory{data: make([]byte, now.Size())}
				c := copier.ImageCopy{
					Source: now, Target: target, Fresh: !clone, PieceSize: piece, BlockSize: block, Digest: copier.PieceDigests,
					Reference: &copier.ImageReference{
						Pieces: was, Image: rotten, Check: first, Audit: audit,
						Unchanged: func(off, n int64) bool { return !changed || !unchanged(off, n) },
					},
				}
				if clone {
					target = rotten.clone()
					clear(blocks)
					c.Target, c.Compare, c.Blocks, c.Reference.Data = target, true, &memory{data: blocks}, target.dataRuns
				}
				res, err := copier.CopyImage(t.Context(), c)
				want, _ := piecesIn(now, piece, block)
				if err != nil || res.Pieces != want || !bytes.Equal(target.data, now.data) || res.Missed != 0 {
					t.Errorf("clone %v, changed %v, audit %v: missed %d, %v", clone, changed, audit, res.Missed, err)
				}
				// In an audit nobody reads what the source has just as it was, but in a clone.
				if looked := clone || changed || !audit; (res.Rotten == piece) != looked || !looked && res.Rotten != 0 {
					t.Errorf("clone %v, changed %v, audit %v: %d bytes are rotten", clone, changed, audit, res.Rotten)
				}
				if !res.Touched[6] {
					t.Errorf("clone %v, changed %v, audit %v: what was put right is not read back", clone, changed, audit)
				}
			}
		}
	}
}
