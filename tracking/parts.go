package tracking

// shards says one thing of each shard of an image.
type shards struct {
	size int64
	are  []bool
}

func newShards(s State) shards {
	return shards{s.ShardSize, make([]bool, (s.Size+s.ShardSize-1)/s.ShardSize)}
}

// all reports whether every shard of the n bytes at off is so. It is not, of bytes
// outside of the image.
func (s shards) all(off, n int64, so bool) bool {
	if s.size == 0 || off < 0 || n <= 0 {
		return false
	}
	last := (off + n - 1) / s.size
	if last >= int64(len(s.are)) {
		return false
	}
	for _, is := range s.are[off/s.size : last+1] {
		if is != so {
			return false
		}
	}
	return true
}

func (s shards) count() (n int) {
	for _, is := range s.are {
		if is {
			n++
		}
	}
	return n
}
