// Package sparse reads files with holes without reading the holes. It asks the
// file system where they are, and takes for data whatever the file system does not
// tell: a sharded Gluster volume, for one, refuses to.
//
// It keeps no state and writes nothing.
package sparse

import (
	"errors"
	"io"
	"iter"
	"os"

	"golang.org/x/sys/unix"
)

// Data yields offset and length of the parts of the n bytes at off that are no
// holes, in order. What lies behind the file's end is a hole. It moves the file's
// offset, which ReadAt and WriteAt do not care for.
func Data(f *os.File, off, n int64) iter.Seq2[int64, int64] {
	return func(yield func(int64, int64) bool) {
		fd, end := int(f.Fd()), off+n
		for off < end {
			from, err := unix.Seek(fd, off, unix.SEEK_DATA)
			switch {
			case errors.Is(err, unix.ENXIO) || err == nil && from >= end:
				return
			case err != nil:
				from = off
			}
			to, err := unix.Seek(fd, from, unix.SEEK_HOLE)
			if err != nil {
				to = end
			}
			if to = min(to, end); !yield(from, to-from) {
				return
			}
			off = to
		}
	}
}

// ReadAt is f.ReadAt without reading holes. Whoever calls it must be the only one
// who writes to that part of the file meanwhile.
func ReadAt(f *os.File, p []byte, off int64) (int, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	var end error
	if have := max(0, info.Size()-off); have < int64(len(p)) {
		p, end = p[:have], io.EOF
	}
	filled := int64(0)
	for from, n := range Data(f, off, int64(len(p))) {
		at := from - off
		clear(p[filled:at])
		if n, err := f.ReadAt(p[at:at+n], from); err != nil {
			return int(at) + n, err
		}
		filled = at + n
	}
	clear(p[filled:])
	return len(p), end
}
