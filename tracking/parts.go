package tracking

// parts says one thing of each part of an image, such as a shard.
type parts struct {
	size int64 // Of a part.
	are  []bool
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

func newParts(image, size int64) parts { return parts{size, make([]bool, (image+size-1)/size)} }

// all reports whether every part of the n bytes at off is so. It is not, of bytes
// outside of the image.
func (p parts) all(off, n int64, so bool) bool {
	if p.size == 0 || off < 0 || n <= 0 {
		return false
	}
	last := (off + n - 1) / p.size
	if last >= int64(len(p.are)) {
		return false
	}
	for _, is := range p.are[off/p.size : last+1] {
		if is != so {
			return false
		}
	}
	return true
}

// mark makes what the ranges touch of the n bytes at off so. Ranges are from and to,
// relative to off, and what of them lies outside of these bytes counts for nothing.
func (p parts) mark(off, n int64, ranges [][2]int64, so bool) {
	for _, r := range ranges {
		from, to := off+max(r[0], 0), off+min(r[1], n)
		for i := from / p.size; i*p.size < to && i >= 0 && i < int64(len(p.are)); i++ {
			p.are[i] = so
		}
	}
}

func (p parts) count(so bool) (n int) {
	for _, is := range p.are {
		if is == so {
			n++
		}
	}
	return n
}

// bytes returns how many of an image's bytes are so.
func (p parts) bytes(image int64, so bool) (n int64) {
	for i, is := range p.are {
		if is == so {
			n += min(p.size, image-int64(i)*p.size)
		}
	}
	return n
}
