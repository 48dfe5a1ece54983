package manifest

import (
	"bufio"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
)

// ErrDamaged says that a manifest file is not what Writer wrote. The error is a
// *DamagedError.
var ErrDamaged = errors.New("manifest is damaged")

// ErrVersion says that a manifest file has a version that this program does not
// know.
var ErrVersion = errors.New("unknown manifest version")

// DamagedError tells where a manifest file is damaged. It matches ErrDamaged.
type DamagedError struct {
	// Line counts from 1 in the uncompressed file.
	Line int64
	// Err is what is wrong with it.
	Err error
}

// Error names line and reason.
func (e *DamagedError) Error() string {
	return fmt.Sprintf("%v: line %d: %v", ErrDamaged, e.Line, e.Err)
}

// Unwrap returns ErrDamaged and the reason.
func (e *DamagedError) Unwrap() []error { return []error{ErrDamaged, e.Err} }

// Reader reads a manifest file. It is for one goroutine and needs no release.
type Reader struct {
	source  source
	in      *bufio.Reader
	version int
	lineNo  int64
	entries int64
	order   sequence
	text    []byte // Reused between lines.
	err     error  // The first error or io.EOF; it stays.
}

// source remembers the error of the underlying reader, to tell a disk that
// cannot be read from a file that is damaged.
type source struct {
	io.Reader
	err error
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.Reader.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	return n, err
}

// NewReader reads the first line of a manifest file from r. It reads ahead, and
// takes everything in r for the manifest.
func NewReader(r io.Reader) (*Reader, error) {
	mr := &Reader{source: source{Reader: r}}
	zr, err := zstd.NewReader(&mr.source, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(64<<20))
	if err != nil {
		return nil, mr.fail(err)
	}
	mr.in = bufio.NewReaderSize(zr, 64<<10)
	text, err := mr.line()
	if err != nil {
		return nil, mr.fail(err)
	}
	var h header
	if err := unmarshal(text, &h); err != nil {
		return nil, mr.fail(err)
	}
	switch {
	case h.Format != formatName:
		return nil, mr.fail(fmt.Errorf("format %q", h.Format))
	case h.Version < 1 || h.Version > formatVersion:
		return nil, fmt.Errorf("%w %d, this program knows 1 to %d", ErrVersion, h.Version, formatVersion)
	}
	mr.version = h.Version
	return mr, nil
}

// Next returns the next entry, and io.EOF only after the last one of a manifest
// that is whole. Other errors are a *DamagedError, or the error of the
// underlying reader.
func (r *Reader) Next() (Entry, error) {
	if r.err != nil {
		return Entry{}, r.err
	}
	e, more, err := r.next()
	switch {
	case err != nil:
		r.err = r.fail(err)
	case !more:
		r.err = io.EOF
	}
	return e, r.err
}

// next returns the entry of the next line, or more = false for a good last one.
func (r *Reader) next() (e Entry, more bool, err error) {
	text, err := r.line()
	if err != nil {
		return Entry{}, false, err
	}
	var l line
	if err := unmarshal(text, &l); err != nil {
		return Entry{}, false, err
	}
	if l.Path == "" && l.End != nil {
		return Entry{}, false, r.end(&l)
	}
	switch {
	case r.version < 2 && (l.PieceSize != 0 || l.Pieces != nil):
		return Entry{}, false, errors.New("digests of pieces in version 1")
	case r.version < 3 && l.BlockSize != 0:
		return Entry{}, false, fmt.Errorf("blocks of pieces in version %d", r.version)
	}
	if e, err = l.entry(); err != nil {
		return Entry{}, false, err
	}
	if err := r.order.next(&e); err != nil {
		return Entry{}, false, err
	}
	r.entries++
	return e, true, nil
}

// end checks the last line and that nothing follows.
func (r *Reader) end(l *line) error {
	if *l.End != r.entries {
		return fmt.Errorf("end after %d entries, not %d", r.entries, *l.End)
	}
	l.End = nil
	if text, err := marshal(l); err != nil || string(text) != "{}\n" {
		return errors.New("superfluous fields at the end")
	}
	_, err := r.in.ReadByte()
	switch {
	case err == nil:
		return errors.New("something after the end")
	case !errors.Is(err, io.EOF):
		return fmt.Errorf("after the end: %w", err)
	}
	return nil
}

// line returns the next line without its newline, valid until the next call.
// There must be one.
func (r *Reader) line() ([]byte, error) {
	r.lineNo++
	r.text = r.text[:0]
	for {
		piece, err := r.in.ReadSlice('\n')
		r.text = append(r.text, piece...)
		switch {
		case len(r.text) > maxLine:
			return nil, errors.New("line too long")
		case err == nil:
			return r.text[:len(r.text)-1], nil
		case errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF):
			return nil, io.ErrUnexpectedEOF
		default:
			return nil, err
		}
	}
}

// fail makes the error that the caller sees.
func (r *Reader) fail(err error) error {
	if r.source.err != nil {
		return fmt.Errorf("read manifest: %w", r.source.err)
	}
	return &DamagedError{max(r.lineNo, 1), err}
}
