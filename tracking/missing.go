package tracking

// Missing says which shards of an image no brick has. Nothing was ever written
// there, and they read as zeros. The zero value knows of none.
type Missing struct{ missing shards }

// FindMissing returns what no brick of a snapshot has of the image. Its error is a
// *Doubt: everything has to be read.
func FindMissing(now State) (Missing, error) {
	if now.ShardSize <= 0 || now.Size < 0 {
		return Missing{}, doubt("shards of %d bytes", now.ShardSize)
	}
	if err := holdsImage(now); err != nil {
		return Missing{}, err
	}
	missing := newShards(now)
	for n := range missing.are {
		missing.are[n] = true
	}
	for _, b := range now.Bricks {
		if err := usable(b); err != nil {
			return Missing{}, err
		}
		for n := range b.Shards {
			if n >= 0 && n < int64(len(missing.are)) {
				missing.are[n] = false
			}
		}
	}
	return Missing{missing}, nil
}

// Zero reports whether the n bytes at off are zeros.
func (m Missing) Zero(off, n int64) bool { return m.missing.all(off, n, true) }

// Count returns how many shards are missing.
func (m Missing) Count() int { return m.missing.count() }
