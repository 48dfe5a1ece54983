package copier

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/glusterbackupd/glusterbackupd/manifest"
)

// imageJob is a running copy. Pieces are handed out in order to the workers,
// which read and write them in any order, and for a digest of the whole also to
// the hasher, which waits for each in turn.
type imageJob struct {
	ImageCopy
	size    int64
	hasher  *manifest.PieceHasher
	sums    []byte // Of all pieces.
	touched []bool // Of all blocks.
	digest  hash.Hash

	data, chunks, written, punched, unread, missed, rotten atomic.Int64
	blocksErr                                              atomic.Pointer[ImageError]

	mu    sync.Mutex // For Progress.
	meter *meter
	done  int64
}

func newImageJob(c ImageCopy) *imageJob {
	j := &imageJob{ImageCopy: c, size: c.Source.Size(), digest: sha256.New(), meter: newMeter(c.Source.Size())}
	if c.Digest == PieceDigests {
		j.sums = make([]byte, manifest.PieceCount(j.size, int64(c.PieceSize))*sha256.Size)
		j.touched = make([]bool, manifest.PieceCount(j.size, int64(c.BlockSize)))
		j.hasher = manifest.NewPieceHasher(int64(c.PieceSize), int64(c.BlockSize))
	}
	return j
}

// piece is a part of the source on its way.
type piece struct {
	number int
	off    int64
	buf    []byte
	blocks []byte        // The digests of its blocks.
	read   chan struct{} // Closed when buf holds the data.
	uses   atomic.Int32  // Who still needs it: worker and hasher.
	rotten bool          // The previous image no longer has what it had.
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
	p.number, p.off, p.buf, p.read, p.rotten = int(off/int64(j.PieceSize)), off, p.buf[:n], make(chan struct{}), false
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
	if j.Compare || j.Reference != nil {
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
	if j.Fresh && j.Digest == PieceDigests && j.zero(p, 0, len(p.buf)) {
		copy(j.sums[p.number*sha256.Size:], j.hasher.Zeros(len(p.buf))) // Blocks has them: they are zeros.
		j.unread.Add(int64(len(p.buf)))
		return nil
	}
	if err := j.read(p); err != nil {
		return err
	}
	close(p.read)
	j.note(p)
	j.swapBlocks(p, "")
	old, err := j.old(p.buf, p.off, scratch)
	if err != nil {
		return err
	}
	_, err = j.apply(p.buf, p.off, old, j.newCounter())
	return err
}

// old reads what the target has in place of part, which is at off, if that is to be
// compared; nil is written over as a whole.
func (j *imageJob) old(part []byte, off int64, scratch []byte) ([]byte, error) {
	if !j.Compare {
		return nil, nil
	}
	old := scratch[:len(part)]
	err := readFull(j.Target, "read target", old, off)
	if err != nil && j.Mend {
		j.rotten.Add(int64(len(part)))
		return nil, nil
	}
	return old, err
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

// apply brings the target to what part, which is at off, holds, and reports whether
// anything had to be done. old is what the target has, or nil when that is not known.
func (j *imageJob) apply(part []byte, off int64, old []byte, c *counter) (touched bool, err error) {
	for r := range runs(part, old, j.Fresh) {
		n, at := int64(r.end-r.start), off+int64(r.start)
		if r.data {
			c.data(at, n)
		}
		switch r.do {
		case write:
			if _, err := j.Target.WriteAt(part[r.start:r.end], at); err != nil {
				return true, &ImageError{"write", at, err}
			}
			j.written.Add(n)
		case punch:
			if err := j.Target.PunchHole(at, n); err != nil {
				return true, &ImageError{"punch", at, err}
			}
			j.punched.Add(n)
		case keep:
			continue
		}
		touched = true
		j.touch(at, n)
	}
	return touched, nil
}

// touch notes that n bytes at off are others. Nobody else has a part of these blocks.
func (j *imageJob) touch(off, n int64) {
	if j.touched == nil {
		return
	}
	size := int64(j.BlockSize)
	for i := off / size; i*size < off+n; i++ {
		j.touched[i] = true
	}
}

// counter counts the data of one piece.
type counter struct {
	job     *imageJob
	counted int64 // The last chunk that was counted.
}

func (j *imageJob) newCounter() *counter { return &counter{job: j, counted: -1} }

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
