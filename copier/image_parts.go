package copier

import (
	"crypto/sha256"
	"iter"
)

// fromBoth reads those blocks of a piece from the source that can have changed, and has
// the others from the previous image. It reports false where all has to be read: where
// every block can have changed, where it is not known what the previous image has, and
// in one piece of unchangedSample.
func (j *imageJob) fromBoth(p *piece, was string, scratch []byte) (bool, error) {
	kept := j.unchangedBlocks(p)
	if kept == nil || p.number%unchangedSample == unchangedSample-1 {
		return false, nil
	}
	before := j.blocksBefore(p, was, p.buf)
	if before == nil {
		return false, nil
	}
	for r, keep := range j.blockRuns(p, func(start int) bool { return kept[start/j.BlockSize] }) {
		if keep {
			j.unread.Add(int64(r.end - r.start))
		} else if err := j.readRange(p, r.start, r.end); err != nil {
			return false, err
		}
	}
	p.blocks = append(p.blocks[:0], before...)
	j.hasher.SumBlocks(p.buf, p.blocks, kept)
	sum := sha256.Sum256(p.blocks)
	copy(j.sums[p.number*sha256.Size:], sum[:])
	j.swapBlocks(p, was)
	if j.Compare {
		return true, j.applyBlocks(p, before, kept, scratch)
	}
	_, err := j.apply(p.buf, p.off, nil, j.newCounter())
	return true, err
}

// unchangedSample is of how many pieces one is read, whatever Unchanged says of parts of
// it: so that one who is always wrong is found out at once.
const unchangedSample = 256

// unchangedBlocks says of each block of a piece whether Unchanged vouches for it; nil is
// for none.
func (j *imageJob) unchangedBlocks(p *piece) (kept []bool) {
	if j.Reference.Unchanged == nil {
		return nil
	}
	for start := 0; start < len(p.buf); start += j.BlockSize {
		n := min(j.BlockSize, len(p.buf)-start)
		if !j.Reference.Unchanged(p.off+int64(start), int64(n)) {
			continue
		}
		if kept == nil {
			kept = make([]bool, j.hasher.Blocks(len(p.buf)))
		}
		kept[start/j.BlockSize] = true
	}
	return kept
}

// blocksBefore returns the digests of the blocks of the previous image's piece, or nil
// when they are not known. Where the target is no clone, into gets the piece.
func (j *imageJob) blocksBefore(p *piece, was string, into []byte) []byte {
	before := make([]byte, j.hasher.Blocks(len(p.buf))*sha256.Size)
	if j.Compare {
		if j.Blocks == nil || readFull(j.Blocks, "read digests", before, p.off/int64(j.BlockSize)*sha256.Size) != nil {
			return nil
		}
	} else {
		into = into[:len(p.buf)]
		if readFull(j.Reference.Image, "read reference", into, p.off) != nil {
			j.rotten.Add(int64(len(p.buf)))
			return nil
		}
		j.hasher.SumBlocks(into, before, nil)
	}
	if sum := sha256.Sum256(before); string(sum[:]) != was {
		if !j.Compare {
			j.rotten.Add(int64(len(p.buf)))
		}
		return nil
	}
	return before
}

// checkUnchanged counts those blocks of a piece, of which all was read, that are others
// than before although Unchanged vouches for them. Without before they are looked for
// where the target is no clone.
func (j *imageJob) checkUnchanged(p *piece, was string, before, scratch []byte) {
	kept := j.unchangedBlocks(p)
	if kept == nil {
		return
	}
	if before == nil && !j.Compare {
		before = j.blocksBefore(p, was, scratch)
	}
	if before == nil {
		return
	}
	for start := 0; start < len(p.buf); start += j.BlockSize {
		if kept[start/j.BlockSize] && !j.sameBlock(p, before, start) {
			j.missed.Add(int64(min(j.BlockSize, len(p.buf)-start)))
		}
	}
}

// span is a part of a piece, of whole blocks.
type span struct{ start, end int }

// blockRuns yields the longest parts of a piece of whose blocks is says the same.
func (j *imageJob) blockRuns(p *piece, is func(start int) bool) iter.Seq2[span, bool] {
	return func(yield func(span, bool) bool) {
		for start, end := 0, 0; start < len(p.buf); start = end {
			so := is(start)
			for end = start; end < len(p.buf) && (end == start || is(end) == so); {
				end = min(end+j.BlockSize, len(p.buf))
			}
			if !yield(span{start, end}, so) {
				return
			}
		}
	}
}
