package copier

import (
	"bytes"
	"iter"
)

// action is what has to happen to a run of blocks in the target.
type action int

const (
	keep action = iota
	write
	punch
)

// run is a range of a piece whose blocks all need the same action.
type run struct {
	do         action
	data       bool // The source's blocks are not zero.
	start, end int
}

// runs yields the runs of a piece in order; together they cover src. old is the
// target's content, as long as src, or nil when it is not known; fresh says
// that it is all holes. Only the last block of an image may be shorter than
// grain.
func runs(src, old []byte, fresh bool) iter.Seq[run] {
	return func(yield func(run) bool) {
		var r run
		for start := 0; start < len(src); start += grain {
			end := min(start+grain, len(src))
			next := run{start: start, end: end}
			next.data = !isZero(src[start:end])
			switch {
			case next.data && (old == nil || !bytes.Equal(src[start:end], old[start:end])):
				next.do = write
			case !next.data && !fresh && (old == nil || !isZero(old[start:end])):
				next.do = punch
			}
			if next.do == r.do && next.data == r.data {
				r.end = end
				continue
			}
			if r.end > r.start && !yield(r) {
				return
			}
			r = next
		}
		if r.end > r.start {
			yield(r)
		}
	}
}

var zeroBlock [grain]byte

// isZero reports whether b, at most grain long, holds only zeros.
func isZero(b []byte) bool { return bytes.Equal(b, zeroBlock[:len(b)]) }
