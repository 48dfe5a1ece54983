package copier

import (
	"bytes"
	"crypto/sha256"
)

// note keeps the digest of a piece, and returns it. Those of the blocks stay with the
// piece.
func (j *imageJob) note(p *piece) string {
	if j.Digest != PieceDigests {
		return ""
	}
	p.blocks = append(p.blocks[:0], make([]byte, j.hasher.Blocks(len(p.buf))*sha256.Size)...)
	j.hasher.SumBlocks(p.buf, p.blocks, nil)
	sum := sha256.Sum256(p.blocks)
	copy(j.sums[p.number*sha256.Size:], sum[:])
	return string(sum[:])
}

// swapBlocks puts the digests of a piece's blocks into Blocks, and returns those that
// were there, or nil when these do not make up the digest was. Where that fails the copy
// goes on without Blocks, which only spare work.
func (j *imageJob) swapBlocks(p *piece, was string) (before []byte) {
	if j.Blocks == nil || j.blocksErr.Load() != nil {
		return nil
	}
	off := p.off / int64(j.BlockSize) * sha256.Size
	before = make([]byte, len(p.blocks))
	err := readFull(j.Blocks, "read digests", before, off)
	if err == nil && !bytes.Equal(before, p.blocks) {
		_, err = j.Blocks.WriteAt(p.blocks, off)
	}
	if err != nil {
		j.blocksErr.CompareAndSwap(nil, &ImageError{"keep digests", p.off, err})
		return nil
	}
	if sum := sha256.Sum256(before); string(sum[:]) != was {
		return nil
	}
	return before
}

// applyBlocks brings those blocks of the target to what the piece holds that have other
// digests than before, when they were those of the target. With kept, the piece does not
// hold all of the others.
func (j *imageJob) applyBlocks(p *piece, before []byte, kept []bool, scratch []byte) error {
	c := j.newCounter()
	for r, same := range j.blockRuns(p, func(start int) bool { return j.sameBlock(p, before, start) }) {
		part, off := p.buf[r.start:r.end], p.off+int64(r.start)
		if same && kept != nil {
			j.countClone(off, int64(len(part)), c)
			continue
		}
		old, err := part, error(nil)
		if !same {
			old, err = j.old(part, off, scratch)
		}
		if err == nil {
			_, err = j.apply(part, off, old, c)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// sameBlock reports whether the block at start of the piece has the digest it had.
func (j *imageJob) sameBlock(p *piece, before []byte, start int) bool {
	i := start / j.BlockSize * sha256.Size
	return bytes.Equal(before[i:i+sha256.Size], p.blocks[i:i+sha256.Size])
}
