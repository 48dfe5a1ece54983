package tracking

// dataUnit is the grain of Brick.Data.
const dataUnit = 128 << 10

// Missing says which parts of an image no brick has: of shards that do not exist, or, in
// those of which it is known where they have data, of space without any. Nothing was ever
// written there, and they read as zeros. The zero value knows of none.
type Missing struct {
	size    int64 // Of the image.
	missing parts
}

// FindMissing returns what no brick of a snapshot has of the image. Its error is a
// *Doubt: everything has to be read.
func FindMissing(now State) (Missing, error) {
	if now.ShardSize <= 0 || now.Size < 0 {
		return Missing{}, doubt("shards of %d bytes", now.ShardSize)
	}
	if err := holdsImage(now); err != nil {
		return Missing{}, err
	}
	m := Missing{now.Size, newParts(now.Size, grainOf(now))}
	for n := range m.missing.are {
		m.missing.are[n] = true
	}
	for _, b := range now.Bricks {
		if err := usable(b); err != nil {
			return Missing{}, err
		}
		for n := range b.Shards {
			m.found(b, n, now.ShardSize)
		}
	}
	return m, nil
}

// grainOf returns the size of the parts in which is known what was written.
func grainOf(s State) int64 {
	for _, b := range s.Bricks {
		if b.Data != nil && s.ShardSize%dataUnit == 0 {
			return dataUnit
		}
	}
	return s.ShardSize
}

// found notes what a brick has of shard n: all of it where it does not tell.
func (m *Missing) found(b Brick, n, size int64) {
	data, known := b.Data[n]
	if !known {
		data = [][2]int64{{0, size}}
	}
	for _, d := range data {
		from, to := n*size+max(d[0], 0), n*size+min(d[1], size)
		for i := from / m.missing.size; i*m.missing.size < to && i >= 0 && i < int64(len(m.missing.are)); i++ {
			m.missing.are[i] = false
		}
	}
}

// Zero reports whether the n bytes at off are zeros.
func (m Missing) Zero(off, n int64) bool { return m.missing.all(off, n, true) }

// Bytes returns how much of the image is missing.
func (m Missing) Bytes() (n int64) {
	for i, is := range m.missing.are {
		if is {
			n += min(m.missing.size, m.size-int64(i)*m.missing.size)
		}
	}
	return n
}
