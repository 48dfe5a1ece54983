package copier

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
)

// ImageReference is the image as an earlier backup has it, and what has not
// changed since then.
type ImageReference struct {
	// Image is as large as the source. A target that is copied with Compare must
	// be a clone of it.
	Image ImageSource
	// SHA256 is the digest that Image had when it was written, in hex.
	SHA256 string
	// Unchanged vouches that the n bytes at off of the source are those of Image.
	// It is called from several goroutines at a time.
	Unchanged func(off, n int64) bool
	// Audit reads all of the source all the same, to see whether Unchanged is right;
	// the result counts where it is not, and the target is right in any case.
	Audit bool
}

// OpReadReference is the step of an ImageError in which the reference failed.
const OpReadReference = "read reference"

// ErrReference says that the reference is no longer what was written: part of
// the target may be as wrong as it. The target is to be copied again with Compare
// and without a reference.
var ErrReference = errors.New("the reference does not have its digest any more")

// fetch reads a piece: from the reference what has not changed, and from there
// the rest too, so that the whole reference is held against its digest.
func (j *imageJob) fetch(p *piece) error {
	if j.Reference == nil {
		return readFull(j.Source, "read source", p.buf, p.off)
	}
	if err := readFull(j.Reference.Image, OpReadReference, p.old, p.off); err != nil {
		return err
	}
	unchanged := j.Reference.Unchanged(p.off, int64(len(p.buf)))
	if unchanged && !j.Reference.Audit {
		j.unread.Add(int64(copy(p.buf, p.old)))
		return nil
	}
	err := readFull(j.Source, "read source", p.buf, p.off)
	if err == nil && unchanged && !bytes.Equal(p.buf, p.old) {
		j.missed.Add(int64(len(p.buf)))
	}
	return err
}

// checkReference judges the reference after all of it was read.
func (j *imageJob) checkReference() error {
	if j.Reference == nil {
		return nil
	}
	if got := hex.EncodeToString(j.reference.Sum(nil)); got != j.Reference.SHA256 {
		return fmt.Errorf("%w: it has %s, not %s", ErrReference, got, j.Reference.SHA256)
	}
	return nil
}
