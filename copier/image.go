package copier

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

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
	// Op is "read source", "read target", "write", "punch" or "sync".
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
	// PieceDigests are a SHA-256 of each piece.
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
	// Digest is what is computed.
	Digest Digest
	// Reference spares work where the previous image is known; nil is none. It
	// needs PieceDigests.
	Reference *ImageReference
	// PieceSize is how much is read at once, a multiple of 4096; 0 means 4 MiB.
	PieceSize int
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
	// Missed is how much had changed although the reference vouched for it, in
	// whole pieces; it is only looked for with Audit.
	Missed int64
	// Rotten is how much of the previous image is no longer what it was, in whole
	// pieces, of what was looked at. The target has it right.
	Rotten int64
	// SHA256 is the digest of the whole image, holes as zeros, in hex; only with
	// WholeDigest.
	SHA256 string
	// Pieces are the digests of the pieces; only with PieceDigests.
	Pieces manifest.Pieces
	// Touched says of each piece whether anything of it was written or punched;
	// only with PieceDigests.
	Touched []bool
}

const (
	// poolChunk is the chunk size of the thin pools that Heketi makes
	// (heketi/heketi executors/cmdexec/brick.go, --chunksize).
	poolChunk = 256 << 10
	// blockSize is the grain in which zeros and differences are looked for.
	blockSize        = 4096
	defaultPieceSize = 4 << 20
	defaultWorkers   = 4
)

// CopyImage makes Target equal to Source.
//
// But for what Reference vouches for it reads all of Source, whatever sizes, times
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
	switch {
	case err != nil:
	case j.Digest == WholeDigest:
		res.SHA256 = hex.EncodeToString(j.digest.Sum(nil))
	case j.Digest == PieceDigests:
		res.Pieces, res.Touched = manifest.Pieces{Size: int64(j.PieceSize), SHA256: string(j.sums)}, j.touched
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
	switch {
	case c.PieceSize < 0 || c.PieceSize%blockSize != 0:
		return fmt.Errorf("piece size %d is not a multiple of %d", c.PieceSize, blockSize)
	case c.Workers < 0:
		return fmt.Errorf("%d workers", c.Workers)
	case c.Compare && c.Fresh:
		return errors.New("image target cannot be both fresh and compared")
	case c.Reference != nil && c.Digest != PieceDigests:
		return errors.New("an image with a reference needs digests of its pieces")
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

// imageJob is a running copy. Pieces are handed out in order to the workers,
// which read and write them in any order, and for a digest of the whole also to
// the hasher, which waits for each in turn.
type imageJob struct {
	ImageCopy
	size    int64
	hasher  *manifest.PieceHasher
	sums    []byte // Of all pieces.
	touched []bool // Likewise.
	digest  hash.Hash

	data, chunks, written, punched, unread, missed, rotten atomic.Int64

	mu    sync.Mutex // For Progress.
	meter *meter
	done  int64
}

func newImageJob(c ImageCopy) *imageJob {
	j := &imageJob{ImageCopy: c, size: c.Source.Size(), digest: sha256.New(), meter: newMeter(c.Source.Size())}
	if c.Digest == PieceDigests {
		n := manifest.PieceCount(j.size, int64(c.PieceSize))
		j.sums, j.touched = make([]byte, n*sha256.Size), make([]bool, n)
		j.hasher = manifest.NewPieceHasher(int64(c.PieceSize))
	}
	return j
}

// piece is a part of the source on its way.
type piece struct {
	number int
	off    int64
	buf    []byte
	read   chan struct{} // Closed when buf holds the data.
	uses   atomic.Int32  // Who still needs it: worker and hasher.
}

func (j *imageJob) run(ctx context.Context) error {
	g, gctx := errgroup.WithContext(ctx)
	work, order := make(chan *piece), make(chan *piece, 2*j.Workers)
	held := j.Workers
	if j.Digest == WholeDigest {
		held *= 2
	}
	free := make(chan *piece, held)
	for range held {
		free <- nil // A piece is made when it is first used.
	}
	g.Go(func() error { return j.produce(gctx, free, work, order) })
	for range j.Workers {
		g.Go(func() error { return j.work(gctx, work, free) })
	}
	if j.Digest == WholeDigest {
		g.Go(func() error { return j.hash(gctx, order, free) })
	}
	err := g.Wait()
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("image copy: %w", context.Cause(ctx))
	}
	return err
}

func (j *imageJob) produce(ctx context.Context, free <-chan *piece, work, order chan<- *piece) error {
	defer close(work)
	defer close(order)
	next := []chan<- *piece{work}
	if j.Digest == WholeDigest {
		next = []chan<- *piece{order, work}
	}
	for off := int64(0); off < j.size; off += int64(j.PieceSize) {
		var p *piece
		select {
		case p = <-free:
		case <-ctx.Done():
			return ctx.Err()
		}
		p = j.ready(p, off, len(next))
		for _, ch := range next {
			select {
			case ch <- p:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
	return nil
}

// ready makes p, or a new piece if it is nil, the one at off.
func (j *imageJob) ready(p *piece, off int64, uses int) *piece {
	if p == nil {
		p = &piece{buf: make([]byte, j.PieceSize)}
	}
	n := min(int64(j.PieceSize), j.size-off)
	p.number, p.off, p.buf, p.read = int(off/int64(j.PieceSize)), off, p.buf[:n], make(chan struct{})
	p.uses.Store(int32(uses)) //nolint:gosec // One or two.
	return p
}

// release gives the piece back when nobody needs it any more. free has room for
// every one, so it never blocks.
func (p *piece) release(free chan<- *piece) {
	if p.uses.Add(-1) == 0 {
		free <- p
	}
}

func (j *imageJob) work(ctx context.Context, work <-chan *piece, free chan<- *piece) error {
	var scratch []byte
	if j.Compare {
		scratch = make([]byte, j.PieceSize)
	}
	for p := range work {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err := j.one(p, scratch); err != nil {
			return err
		}
		j.advance(int64(len(p.buf)))
		p.release(free)
	}
	return nil
}

// one copies a piece, from the source unless the reference spares that.
func (j *imageJob) one(p *piece, scratch []byte) error {
	if j.Reference != nil {
		return j.oneWithReference(p, scratch)
	}
	if err := readFull(j.Source, "read source", p.buf, p.off); err != nil {
		return err
	}
	close(p.read)
	j.note(p)
	old, err := j.old(p, scratch)
	if err != nil {
		return err
	}
	_, err = j.apply(p, old)
	return err
}

// note keeps the digest of a piece, and returns it.
func (j *imageJob) note(p *piece) []byte {
	if j.Digest != PieceDigests {
		return nil
	}
	sum := j.hasher.Sum(p.buf)
	kept := j.sums[p.number*sha256.Size : (p.number+1)*sha256.Size]
	copy(kept, sum[:])
	return kept
}

// old reads what the target has in place of a piece, if that is to be compared.
func (j *imageJob) old(p *piece, scratch []byte) ([]byte, error) {
	if !j.Compare {
		return nil, nil
	}
	old := scratch[:len(p.buf)]
	return old, readFull(j.Target, "read target", old, p.off)
}

func (j *imageJob) advance(n int64) {
	if j.Progress == nil {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.done += n
	j.Progress(j.meter.add(j.done))
}

func (j *imageJob) hash(ctx context.Context, order <-chan *piece, free chan<- *piece) error {
	for p := range order {
		select {
		case <-p.read:
		case <-ctx.Done():
			return ctx.Err()
		}
		j.digest.Write(p.buf) // It never fails.
		p.release(free)
	}
	return nil
}

// apply brings the target's part to what p holds, and reports whether anything had
// to be done. old is what the target has, or nil when that is not known.
func (j *imageJob) apply(p *piece, old []byte) (touched bool, err error) {
	c := counter{job: j, counted: -1}
	for r := range runs(p.buf, old, j.Fresh) {
		n, off := int64(r.end-r.start), p.off+int64(r.start)
		if r.data {
			c.data(off, n)
		}
		switch r.do {
		case write:
			if _, err := j.Target.WriteAt(p.buf[r.start:r.end], off); err != nil {
				return true, &ImageError{"write", off, err}
			}
			j.written.Add(n)
		case punch:
			if err := j.Target.PunchHole(off, n); err != nil {
				return true, &ImageError{"punch", off, err}
			}
			j.punched.Add(n)
		case keep:
			continue
		}
		touched = true
	}
	if touched && j.touched != nil {
		j.touched[p.number] = true
	}
	return touched, nil
}

// counter counts the data of one piece.
type counter struct {
	job     *imageJob
	counted int64 // The last chunk that was counted.
}

// data counts n bytes at off. Calls come in order.
func (c *counter) data(off, n int64) {
	c.job.data.Add(n)
	last := (off + n - 1) / poolChunk
	c.job.chunks.Add(last - max(off/poolChunk-1, c.counted))
	c.counted = last
}

// readFull fills buf from off. A reader that ends early is an error, because
// the size was known before.
func readFull(r io.ReaderAt, op string, buf []byte, off int64) error {
	for len(buf) > 0 {
		n, err := r.ReadAt(buf, off)
		buf, off = buf[n:], off+int64(n)
		switch {
		case len(buf) == 0:
			return nil
		case errors.Is(err, io.EOF):
			return &ImageError{op, off, io.ErrUnexpectedEOF}
		case err != nil:
			return &ImageError{op, off, err}
		case n == 0:
			return &ImageError{op, off, io.ErrNoProgress}
		}
	}
	return nil
}
