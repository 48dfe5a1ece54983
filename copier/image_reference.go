package copier

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"iter"
	"slices"

	"github.com/glusterbackupd/glusterbackupd/manifest"
)

// ImageReference is what is known of the previous image. With Compare the target
// must be a clone of it.
type ImageReference struct {
	// Pieces are the digests of its pieces, as they were written; their sizes must be
	// those of the copy's.
	Pieces manifest.Pieces
	// Image is the image, as large as the source, from which what has not changed is
	// copied. It is not read with Compare, and may be nil there.
	Image ImageSource
	// Data yields offset and length of the parts of a range of the target that are
	// no holes, in order. It is needed with Compare and Unchanged.
	Data func(off, n int64) iter.Seq2[int64, int64]
	// Unchanged vouches that the n bytes at off of the source are those of the
	// previous image; nil vouches for nothing. It is called from several goroutines
	// at a time.
	Unchanged func(off, n int64) bool
	// Check picks ranges of which the source is read although Unchanged vouches for them,
	// to see whether that is right; nil picks none. It is called as Unchanged is, for
	// single blocks.
	Check func(off, n int64) bool
	// Audit reads all of the source all the same, to see whether Unchanged is right,
	// and with Compare all of the target, to see whether the previous image is still
	// what it was. The result counts where they are not, and the target is right in any
	// case. Without it, what else the reference vouched for is as doubtful as what was
	// found missed or rotten.
	Audit bool
}

func (r *ImageReference) check(c *ImageCopy) error {
	size := c.Source.Size()
	switch {
	case r.Pieces.Size != int64(c.PieceSize), r.Pieces.Block != int64(c.BlockSize), int64(r.Pieces.Count()) != manifest.PieceCount(size, r.Pieces.Size):
		return fmt.Errorf("%d digests of pieces of %d bytes in blocks of %d do not fit an image of %d bytes, pieces of %d and blocks of %d",
			r.Pieces.Count(), r.Pieces.Size, r.Pieces.Block, size, c.PieceSize, c.BlockSize)
	case c.Compare && r.Unchanged != nil && r.Data == nil:
		return errors.New("a cloned image needs to know where its data is")
	case !c.Compare && r.Image == nil:
		return errors.New("an image that is no clone needs the previous one")
	case !c.Compare:
		return sameSize(c.Source, r.Image)
	}
	return nil
}

func (j *imageJob) oneWithReference(p *piece, scratch []byte) error {
	was := j.Reference.Pieces.Of(p.number)
	kept := j.keptBlocks(p)
	if kept != nil && !j.Reference.Audit {
		done, err := j.fromLast(p, was, kept, scratch)
		if done || err != nil {
			return err
		}
	}
	if err := j.read(p); err != nil {
		return err
	}
	same := j.note(p) == was
	before := j.swapBlocks(p, was)
	if !same {
		j.missedBy(p, was, before, kept != nil, scratch)
	}
	switch {
	case p.rotten:
		_, err := j.apply(p.buf, p.off, nil, j.newCounter()) // All of it.
		return err
	case !j.Compare || j.Reference.Audit:
	case same:
		j.count(p)
		return nil
	case before != nil:
		return j.applyBlocks(p, before, nil, scratch)
	}
	old, err := j.old(p.buf, p.off, scratch)
	if err != nil {
		return err
	}
	touched, err := j.apply(p.buf, p.off, old, j.newCounter())
	if touched && same && old != nil {
		j.rot(p)
	}
	return err
}

// fromLast takes what is kept of a piece from the previous image. It reports false when
// all of the piece has to be read.
func (j *imageJob) fromLast(p *piece, was string, kept []bool, scratch []byte) (bool, error) {
	if !slices.Contains(kept, false) {
		return j.fromReference(p, was)
	}
	return j.fromBoth(p, was, kept, scratch)
}

// missedBy counts how much of a piece, of which all was read and which has changed, had
// been vouched for. With look, it looks for it in the previous image where before does
// not tell.
func (j *imageJob) missedBy(p *piece, was string, before []byte, look bool, scratch []byte) {
	if n := int64(len(p.buf)); j.unchanged(p.off, n) {
		j.missed.Add(n)
		return
	}
	if before == nil && look && !p.rotten {
		before = j.blocksBefore(p, was, scratch)
	}
	if before != nil {
		j.checkUnchanged(p, before)
	}
}

// fromReference takes a piece that has not changed from the previous image. A clone
// has it already. It reports false when the previous image no longer has what it
// had, so that the source has to be read.
func (j *imageJob) fromReference(p *piece, was string) (bool, error) {
	n := int64(len(p.buf))
	if j.Compare {
		copy(j.sums[p.number*sha256.Size:], was)
		j.unread.Add(n)
		if j.hasher.IsZero(was) {
			return true, nil
		}
		j.countClone(p.off, n, j.newCounter())
		return true, nil
	}
	err := readFull(j.Reference.Image, "read reference", p.buf, p.off)
	if err != nil || j.note(p) != was {
		j.rot(p)
		return false, nil //nolint:nilerr // Whatever is wrong with it, the source has it right.
	}
	j.unread.Add(n)
	j.swapBlocks(p, was)
	_, err = j.apply(p.buf, p.off, nil, j.newCounter())
	return true, err
}

// countClone counts the data of n bytes at off that the target has already.
func (j *imageJob) countClone(off, n int64, c *counter) {
	for at, length := range j.Reference.Data(off, n) {
		c.data(at, length)
	}
}

// count counts the data of a piece that need not be written.
func (j *imageJob) count(p *piece) {
	c := j.newCounter()
	for r := range runs(p.buf, nil, true) {
		if r.data {
			c.data(p.off+int64(r.start), int64(r.end-r.start))
		}
	}
}

// ImagePieces returns the sizes of pieces and blocks in which an image of size bytes is
// copied and digested, without digests: ImagePieceSize, and 64 KiB.
func ImagePieces(size int64) manifest.Pieces {
	return manifest.Pieces{Size: int64(ImagePieceSize(size)), Block: defaultBlockSize}
}

// ImagePieceSize returns the size of the pieces in which an image of size bytes is
// copied and digested: 4 MiB, and more where the digests of an image would take
// more than 8 MiB.
func ImagePieceSize(size int64) int {
	const most = 1 << 18
	piece := int64(defaultPieceSize)
	for manifest.PieceCount(size, piece) > most {
		piece *= 2
	}
	return int(piece)
}
