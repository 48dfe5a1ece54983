package tracking

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

// found notes what a brick has of shard n: all of it where it does not tell.
func (m *Missing) found(b Brick, n, size int64) {
	data, known := b.Data[n]
	if !known {
		data = [][2]int64{{0, size}}
	}
	m.missing.mark(n*size, size, data, false)
}

// Zero reports whether the n bytes at off are zeros.
func (m Missing) Zero(off, n int64) bool { return m.missing.all(off, n, true) }

// Bytes returns how much of the image is missing.
func (m Missing) Bytes() int64 { return m.missing.bytes(m.size, true) }
