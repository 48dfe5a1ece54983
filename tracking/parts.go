package tracking

// parts says one thing of each part of an image, such as a shard.
type parts struct {
	size int64 // Of a part.
	are  []bool
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

func (p parts) count() (n int) {
	for _, is := range p.are {
		if is {
			n++
		}
	}
	return n
}
