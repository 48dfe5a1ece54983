package copier

import (
	"crypto/sha256"
	"io"
	"iter"
)

// fromBoth reads those blocks of a piece from the source that are not kept, and has the
// others from the previous image. It reports false where all has to be read, because it
// is not known what the previous image has.
func (j *imageJob) fromBoth(p *piece, was string, kept []bool, scratch []byte) (bool, error) {
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
	j.checkUnchanged(p, before)
	j.swapBlocks(p, was)
	if j.Compare {
		return true, j.applyBlocks(p, before, kept, scratch)
	}
	_, err := j.apply(p.buf, p.off, nil, j.newCounter())
	return true, err
}

// keptBlocks says of each block of a piece whether it is to be taken from the previous
// image: Unchanged vouches for it, and Check does not want to see it. It is nil when
// Unchanged vouches for none.
func (j *imageJob) keptBlocks(p *piece) (kept []bool) {
	for i := range j.hasher.Blocks(len(p.buf)) {
		off, n := j.blockAt(p, i)
		if !j.unchanged(off, n) {
			continue
		}
		if kept == nil {
			kept = make([]bool, j.hasher.Blocks(len(p.buf)))
		}
		kept[i] = j.Reference.Check == nil || !j.Reference.Check(off, n)
	}
	return kept
}

// blockAt returns where a block of a piece lies in the image.
func (j *imageJob) blockAt(p *piece, i int) (off, n int64) {
	start := i * j.BlockSize
	return p.off + int64(start), int64(min(j.BlockSize, len(p.buf)-start))
}

// unchanged reports whether Unchanged vouches for the n bytes at off.
func (j *imageJob) unchanged(off, n int64) bool {
	return j.Reference.Unchanged != nil && j.Reference.Unchanged(off, n)
}

// rot notes that the previous image no longer has a piece of it as it was.
func (j *imageJob) rot(p *piece) {
	if !p.rotten {
		p.rotten = true
		j.rotten.Add(int64(len(p.buf)))
	}
}

// blocksBefore returns the digests of the blocks of the previous image's piece, or nil
// when that has rotted: from Blocks, or else from that piece, which into then has.
func (j *imageJob) blocksBefore(p *piece, was string, into []byte) []byte {
	before := make([]byte, j.hasher.Blocks(len(p.buf))*sha256.Size)
	right := func() bool {
		sum := sha256.Sum256(before)
		return string(sum[:]) == was
	}
	var last io.ReaderAt = j.Reference.Image
	if j.Compare {
		last = j.Target
		if j.Blocks != nil && readFull(j.Blocks, "read digests", before, p.off/int64(j.BlockSize)*sha256.Size) == nil && right() {
			return before
		}
	}
	into = into[:len(p.buf)]
	if readFull(last, "read reference", into, p.off) == nil {
		if j.hasher.SumBlocks(into, before, nil); right() {
			return before
		}
	}
	j.rot(p)
	return nil
}

// checkUnchanged counts those blocks of a piece that are others than before although
// Unchanged vouches for them.
func (j *imageJob) checkUnchanged(p *piece, before []byte) {
	for i := range j.hasher.Blocks(len(p.buf)) {
		if off, n := j.blockAt(p, i); j.unchanged(off, n) && !j.sameBlock(p, before, i*j.BlockSize) {
			j.missed.Add(n)
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
