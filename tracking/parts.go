package tracking

import "math/bits"

// parts is a set of the parts of an image, such as shards.
type parts struct {
	image, size int64 // Of the image, and of a part.
	count       int64
	words       []uint64 // A bit for each part: of 8 TiB in blocks of 64 KiB, 16 MiB.
}

// grain is that of what bricks know of parts of shards: half of the unit of Brick.Data,
// and the size of the blocks in which an image is copied.
const grain = 64 << 10

// grainOf returns the size of the parts of which the bricks of s know something.
func grainOf(s State) int64 {
	for _, b := range s.Bricks {
		if (b.Data != nil || b.Changed != nil) && (s.ShardSize%grain == 0 || s.ShardSize >= s.Size) {
			return grain
		}
	}
	return s.ShardSize
}

// newParts returns none of the parts of that size of an image.
func newParts(image, size int64) parts {
	count := (image + size - 1) / size
	return parts{image, size, count, make([]uint64, (count+63)/64)}
}

// mark adds the parts that the ranges touch of the n bytes at off. Ranges are from and
// to, relative to off, and what of them lies outside of these bytes counts for nothing.
func (p parts) mark(off, n int64, ranges [][2]int64) {
	for _, r := range ranges {
		from, to := off+max(r[0], 0), off+min(r[1], n)
		for i := from / p.size; i*p.size < to && i >= 0 && i < p.count; i++ {
			p.words[i/64] |= 1 << (i % 64)
		}
	}
}

// none reports whether none of the n bytes at off is in a part of the set. Of bytes
// outside of the image it does not.
func (p parts) none(off, n int64) bool {
	if p.size == 0 || off < 0 || n <= 0 {
		return false
	}
	last := (off + n - 1) / p.size
	if last >= p.count {
		return false
	}
	for i := off / p.size; i <= last; i++ {
		if p.words[i/64]&(1<<(i%64)) != 0 {
			return false
		}
	}
	return true
}

// len returns how many parts are in the set.
func (p parts) len() (n int) {
	for _, w := range p.words {
		n += bits.OnesCount64(w)
	}
	return n
}

// bytes returns how many bytes of the image are in parts of the set.
func (p parts) bytes() int64 {
	n := int64(p.len()) * p.size
	if last := p.count - 1; last >= 0 && p.words[last/64]&(1<<(last%64)) != 0 {
		n -= p.count*p.size - p.image // The last one is shorter.
	}
	return n
}
