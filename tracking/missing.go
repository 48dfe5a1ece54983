package tracking

// Missing says which parts of an image no brick has: of shards that do not exist, or, in
// those of which it is known where they have data, of space without any. Nothing was ever
// written there, and they read as zeros. The zero value knows of none.
type Missing struct{ found parts }

// FindMissing returns what no brick of a snapshot has of the image. Its error is a
// *Doubt: everything has to be read.
func FindMissing(now State) (Missing, error) {
	if now.ShardSize <= 0 || now.Size < 0 {
		return Missing{}, doubt("shards of %d bytes", now.ShardSize)
	}
	if err := holdsImage(now); err != nil {
		return Missing{}, err
	}
	m := Missing{newParts(now.Size, grainOf(now))}
	for _, b := range now.Bricks {
		if err := usable(b); err != nil {
			return Missing{}, err
		}
		for n := range b.Shards {
			m.add(b, n, now.ShardSize)
		}
	}
	return m, nil
}

// add adds what a brick has of shard n: all of it where it does not tell.
func (m Missing) add(b Brick, n, size int64) {
	data, known := b.Data[n]
	if !known {
		data = [][2]int64{{0, size}}
	}
	m.found.mark(n*size, size, data)
}

// Zero reports whether the n bytes at off are zeros.
func (m Missing) Zero(off, n int64) bool { return m.found.none(off, n) }

// Bytes returns how much of the image is missing.
func (m Missing) Bytes() int64 { return m.found.image - m.found.bytes() }
