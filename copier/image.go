package copier

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"github.com/glusterbackupd/glusterbackupd/manifest"
)

// ImageSource is an image that can be read. ReadAt is called from several
// goroutines at a time.
type ImageSource interface {
	io.ReaderAt
	// Size is in bytes and does not change.
	Size() int64
}

// ImageTarget is an image that is written in place. Its methods are called from
// several goroutines at a time, for ranges that do not overlap.
type ImageTarget interface {
	io.ReaderAt
	io.WriterAt
	// PunchHole makes n bytes at off read as zero and frees their space.
	PunchHole(off, n int64) error
	// Sync makes everything durable.
	Sync() error
	// Size is in bytes and does not change.
	Size() int64
}

// ErrImageSize says that two images are not of the same size.
var ErrImageSize = errors.New("images differ in size")

// ImageError says which step of a copy failed and where.
type ImageError struct {
	// Op is "read source", "read target", "write", "punch", "sync", or "keep digests" of
	// the blocks.
	Op string
	// Offset is in bytes from the start of the image.
	Offset int64
	// Err is the cause.
	Err error
}

// Error implements error.
func (e *ImageError) Error() string {
	return fmt.Sprintf("%s at offset %d: %v", e.Op, e.Offset, e.Err)
}

// Unwrap returns the cause.
func (e *ImageError) Unwrap() error { return e.Err }

// Digest is what a copy computes of what it copies.
type Digest int

const (
	// NoDigest is nothing.
	NoDigest Digest = iota
	// WholeDigest is one SHA-256 of everything: pieces wait for each other.
	WholeDigest
	// PieceDigests are a digest of each piece: see manifest.Pieces.
	PieceDigests
)

// ImageCopy is one copy of an image. Source and Target must be of the same
// size.
type ImageCopy struct {
	Source ImageSource
	Target ImageTarget
	// Compare reads Target too and writes only blocks that differ, and makes
	// holes only where Target is not zero. For a target that is a clone of the
	// previous image, or a live image that is put back: neither grows by what
	// has not changed. What Target reads must be true; a live image on a
	// sharded volume needs a mount with direct I/O for that.
	Compare bool
	// Fresh says that Target is one hole, so that nothing is punched. It
	// excludes Compare.
	Fresh bool
	// Mend writes what cannot be read of Target anew, instead of failing: for a clone
	// that shares bad sectors. It needs Compare.
	Mend bool
	// Digest is what is computed.
	Digest Digest
	// Blocks, when set, gets the digests of the blocks of which the pieces consist, 32
	// bytes each, and is not written where it has them already. For a Fresh target it
	// begins as zeros, for a clone of the previous image as what that one's copy made:
	// then, with Reference and Compare and without Audit, of a piece that has changed
	// only those blocks of the target are read that have. What it has is believed only
	// where it makes up the digest of the previous image's piece. It needs PieceDigests,
	// and is not synced.
	Blocks BlockDigests
	// Reference spares work where the previous image is known; nil is none. It
	// needs PieceDigests.
	Reference *ImageReference
	// Zero vouches that the n bytes at off of the source are zeros, which are then not
	// read, but for one piece of 256; nil vouches for nothing. It is called from several
	// goroutines at a time.
	Zero func(off, n int64) bool
	// AuditZero reads all of the source all the same, to see whether Zero is right. The
	// result counts where it is not, and the target is right there. Without it, what else
	// Zero vouched for is as doubtful as what was found.
	AuditZero bool
	// PieceSize is how much is read at once, a multiple of BlockSize; 0 means 4 MiB.
	PieceSize int
	// BlockSize is the size of the blocks that have digests, a multiple of 4096; 0
	// means 64 KiB, or that of a piece if that is smaller.
	BlockSize int
	// Workers is how many pieces are read and written at the same time; 0 means
	// 4. A copy holds up to 2 × Workers pieces in memory, with WholeDigest 3 ×.
	Workers int
	// Progress is called after each piece, from one goroutine at a time, and
	// must return soon. It may be nil.
	Progress func(Progress)
}

// ImageResult counts what a copy did, in bytes.
type ImageResult struct {
	// Size is that of the image.
	Size int64
	// Data is how much of the source lies in 4 KiB blocks that are not zero.
	Data int64
	// Chunks is how much of a thin pool writing Data into a snapshotted image
	// can take: the 256 KiB chunks that hold any of it, each counted once if
	// PieceSize is a multiple of a chunk, else at most twice.
	Chunks int64
	// Written is how much was written to the target, Punched how much of it was
	// made a hole.
	Written, Punched int64
	// Unread is how much was not read from the source.
	Unread int64
	// Missed is how much had changed although the reference vouched for it, in whole
	// pieces or blocks, and how much was not zeros although Zero vouched for that, in
	// blocks. The one is looked for with Audit and in what Check picks, the other with
	// AuditZero and in one piece of 256.
	Missed int64
	// Rotten is how much of the previous image is no longer what it was, or cannot be
	// read, in whole pieces or blocks, of what was looked at. The target has that right.
	Rotten int64
	// BlocksErr says why Blocks is not what it should be; the copy is right without.
	BlocksErr error
	// SHA256 is the digest of the whole image, holes as zeros, in hex; only with
	// WholeDigest.
	SHA256 string
	// Pieces are the digests of the pieces; only with PieceDigests.
	Pieces manifest.Pieces
	// Touched says of each block of BlockSize whether anything of it was written or
	// punched; only with PieceDigests.
	Touched []bool
}

// BlockDigests is a file of digests. Its methods are called from several goroutines at
// a time, for ranges that do not overlap.
type BlockDigests interface {
	io.ReaderAt
	io.WriterAt
}

// BlockDigestsSize returns the length in bytes of the digests of the blocks of an image
// of size bytes.
func BlockDigestsSize(size int64) int64 {
	return manifest.PieceCount(size, defaultBlockSize) * sha256.Size
}

const (
	// poolChunk is the chunk size of the thin pools that Heketi makes
	// (heketi/heketi executors/cmdexec/brick.go, --chunksize).
	poolChunk = 256 << 10
	// grain is in what zeros and differences are looked for.
	grain            = 4096
	defaultPieceSize = 4 << 20
	// defaultBlockSize is small enough for few of the blocks to be read where a
	// database has written here and there, and large enough for the digests to take
	// half a thousandth of an image.
	defaultBlockSize = 64 << 10
	defaultWorkers   = 4
)

// CopyImage makes Target equal to Source.
//
// But for what Zero and Reference vouch for it reads all of Source, whatever sizes, times
// and allocated blocks say: on a sharded Gluster volume a write beyond the first
// shard changes neither size nor times, the number of blocks drifts, and holes
// cannot be asked for, so anything less would silently keep old data. Runs of zeros
// become holes in place of writes, and an image with Compare gets only what differs.
// The target is synced at the end.
//
// A size mismatch Is ErrImageSize, before anything is written; a failed read or
// write is an *ImageError. After an error or a cancelled ctx the target is part
// old, part new, and the result counts what was done.
func CopyImage(ctx context.Context, c ImageCopy) (ImageResult, error) {
	if err := c.setDefaults(); err != nil {
		return ImageResult{}, err
	}
	j := newImageJob(c)
	err := j.run(ctx)
	if err == nil {
		if err = c.Target.Sync(); err != nil {
			err = &ImageError{"sync", 0, err}
		}
	}
	res := ImageResult{
		Size: j.size, Data: j.data.Load(), Chunks: j.chunks.Load() * poolChunk,
		Written: j.written.Load(), Punched: j.punched.Load(),
		Unread: j.unread.Load(), Missed: j.missed.Load(), Rotten: j.rotten.Load(),
	}
	if wrong := j.blocksErr.Load(); wrong != nil {
		res.BlocksErr = wrong
	}
	switch {
	case err != nil:
	case j.Digest == WholeDigest:
		res.SHA256 = hex.EncodeToString(j.digest.Sum(nil))
	case j.Digest == PieceDigests:
		res.Pieces, res.Touched = manifest.Pieces{Size: int64(j.PieceSize), Block: int64(j.BlockSize), SHA256: string(j.sums)}, j.touched
	}
	return res, err
}

func (c *ImageCopy) setDefaults() error {
	if c.PieceSize == 0 {
		c.PieceSize = defaultPieceSize
	}
	if c.Workers == 0 {
		c.Workers = defaultWorkers
	}
	if c.BlockSize == 0 {
		c.BlockSize = min(defaultBlockSize, c.PieceSize)
	}
	switch {
	case c.BlockSize < grain || c.BlockSize%grain != 0:
		return fmt.Errorf("block size %d is not a multiple of %d", c.BlockSize, grain)
	case c.PieceSize < 0 || c.PieceSize%c.BlockSize != 0:
		return fmt.Errorf("piece size %d is not a multiple of %d", c.PieceSize, c.BlockSize)
	case c.Workers < 0:
		return fmt.Errorf("%d workers", c.Workers)
	case c.Compare && c.Fresh:
		return errors.New("image target cannot be both fresh and compared")
	case (c.Reference != nil || c.Blocks != nil) && c.Digest != PieceDigests:
		return errors.New("an image with a reference or digests of blocks needs digests of its pieces")
	}
	if c.Reference != nil {
		if err := c.Reference.check(c); err != nil {
			return err
		}
	}
	return sameSize(c.Source, c.Target)
}

func sameSize(a, b interface{ Size() int64 }) error {
	if a.Size() != b.Size() {
		return fmt.Errorf("%w: %d and %d bytes", ErrImageSize, a.Size(), b.Size())
	}
	return nil
}
