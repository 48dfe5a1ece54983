package manifest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"sync"

	"github.com/glusterbackupd/glusterbackupd/manifest/sparse"
)

const (
	// hashers is how many files, or pieces of them, are read at a time: two for the
	// processors of a small machine, and as many that wait for the disk meanwhile.
	hashers = 4
	// queued is how many entries the walk may be ahead; each may hold a file.
	queued = 32
	// readSize is how much is read at once of a file that is read as a whole.
	readSize = 1 << 20
)

// hasher reads files. Several goroutines run it.
type hasher struct {
	ctx      context.Context
	root     string
	progress func(int64)

	mu   sync.Mutex
	done int64
}

// job is a file that is read as a whole, or one piece of it.
type job struct {
	it    *item
	piece int
}

const whole = -1

// run works until jobs is closed. Once the context is done it only closes what
// it gets.
func (h *hasher) run(jobs <-chan job) {
	buf := make([]byte, readSize)
	for j := range jobs {
		if j.piece == whole {
			h.whole(j.it, buf)
			close(j.it.done)
			continue
		}
		if size := int(j.it.pieces.Size); len(buf) < size {
			buf = make([]byte, size)
		}
		if err := h.piece(j.it, j.piece, buf); err != nil {
			j.it.pieces.failed.CompareAndSwap(nil, &ScanError{h.root, j.it.entry.Path, "read", reason(err)})
		}
		j.it.pieceDone()
	}
}

func (h *hasher) whole(it *item, buf []byte) {
	if it.fd < 0 { // The hash is known; only the progress is to be told.
		h.advance(it.entry.Size)
		return
	}
	defer closeFD(it.fd)
	sum, err := h.sum(it.fd, it.entry.Size, buf)
	if err != nil {
		it.failure = &ScanError{h.root, it.entry.Path, "read", reason(err)}
		return
	}
	it.entry.SHA256 = sum
}

// sum reads the file behind an O_PATH descriptor, which must have size bytes.
func (h *hasher) sum(fd int, size int64, buf []byte) (string, error) {
	if err := h.ctx.Err(); err != nil {
		return "", err
	}
	f, err := os.Open(procPath(fd))
	if err != nil {
		return "", err
	}
	defer f.Close()
	digest := sha256.New()
	var length int64
	for {
		n, err := f.Read(buf)
		digest.Write(buf[:n])
		length += int64(n)
		h.advance(int64(n))
		switch {
		case errors.Is(err, io.EOF) && length != size, length > size:
			return "", ErrChanged
		case errors.Is(err, io.EOF):
			return hex.EncodeToString(digest.Sum(nil)), nil
		case err != nil:
			return "", err
		case h.ctx.Err() != nil:
			return "", h.ctx.Err()
		}
	}
}

// piece reads one piece but for its holes and what is known of it, and behind the last
// one, where there must be nothing.
func (h *hasher) piece(it *item, n int, buf []byte) error {
	if err := h.ctx.Err(); err != nil {
		return err
	}
	f, err := os.Open(procPath(it.fd))
	if err != nil {
		return err
	}
	defer f.Close()
	p := it.pieces
	off := int64(n) * p.Size
	buf = buf[:min(p.Size, it.entry.Size-off)]
	sum, err := p.sum(f, n, buf)
	if errors.Is(err, io.EOF) {
		return ErrChanged
	} else if err != nil {
		return err
	}
	if end := off + int64(len(buf)); end == it.entry.Size {
		var more [1]byte
		if k, err := f.ReadAt(more[:], end); k > 0 || !errors.Is(err, io.EOF) {
			return ErrChanged
		}
	}
	copy(p.sums[n*sha256.Size:], sum[:])
	h.advance(int64(len(buf)))
	return nil
}

// sum reads what is not known of piece n into buf, which is as long, and digests it.
func (p *pieces) sum(f *os.File, n int, buf []byte) (sum [sha256.Size]byte, err error) {
	off := int64(n) * p.Size
	if p.Block == 0 || p.KnownBlocks == nil {
		if _, err := sparse.ReadAt(f, buf, off); err != nil {
			return sum, err
		}
		return p.hasher.Sum(buf), nil
	}
	known := make([]bool, p.hasher.Blocks(len(buf)))
	digests := make([]byte, len(known)*sha256.Size)
	p.KnownBlocks(n, digests, known)
	for first := 0; first < len(known); first++ {
		end := first
		for end < len(known) && !known[end] {
			end++
		}
		if first == end {
			continue
		}
		from, to := int64(first)*p.Block, min(int64(end)*p.Block, int64(len(buf)))
		if _, err := sparse.ReadAt(f, buf[from:to], off+from); err != nil {
			return sum, err
		}
		first = end
	}
	p.hasher.SumBlocks(buf, digests, known)
	return sha256.Sum256(digests), nil
}

// pieceDone says that a piece has its digest, or that there is no other piece.
func (it *item) pieceDone() {
	p := it.pieces
	if p.left.Add(-1) > 0 {
		return
	}
	closeFD(it.fd)
	if it.failure = p.failed.Load(); it.failure == nil {
		it.entry.Pieces = Pieces{p.Size, p.Block, string(p.sums)}
	}
	close(it.done)
}

// reason strips the path below /proc from an error of package os.
func reason(err error) error {
	var inner *fs.PathError
	if errors.As(err, &inner) {
		return inner.Err
	}
	return err
}

func (h *hasher) advance(n int64) {
	if h.progress == nil || n == 0 {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.done += n
	h.progress(h.done)
}
