package tracking

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"io"
	"slices"
	"time"
)

// Settled is how long before its snapshot a shard must have been changed last, so
// that an equal change time later means that it was not changed since. The time
// of the snapshot is that of one node, in whole seconds; change times are those
// of the brick's node, in steps of some milliseconds.
const Settled = 5 * time.Minute

// Skew is how far the clock of a brick's host may be from that of this host.
const Skew = time.Minute

// Doubt says why nothing can be told from two states.
type Doubt struct{ Reason string }

// Error is the reason.
func (d *Doubt) Error() string { return "changes cannot be told from the shards: " + d.Reason }

func doubt(format string, args ...any) error { return &Doubt{fmt.Sprintf(format, args...)} }

// Changes says which parts of an image can have changed. The zero value vouches for
// nothing.
type Changes struct {
	changed parts // Whole shards, or blocks where some brick knows more.
	shards  parts
	seed    string // For Check.
}

// Compare returns what can have changed in the image between the snapshots of
// two states. Its error is a *Doubt: everything has to be read.
//
// A shard is unchanged when every brick of the volume has the same file of it
// (inode, size, both times) as it had, or has none as it had none, and when none
// of its files was changed within Settled before the old snapshot. The bricks must
// be the same, and their file systems mounted all the time. So a shard that a heal
// or a rebalance has written anew counts as changed, and one that a brick did not
// take while it was down differs on another.
//
// Of a shard that has changed, those blocks are unchanged of which every brick that has
// changed it knows so (Brick.Changed), in the same file, of the same size. A brick that has
// written to the file, as its modification time says, and knows of no block that has
// changed, is not believed.
func Compare(old, now State) (Changes, error) {
	if err := sameImage(old, now); err != nil {
		return Changes{}, err
	}
	for i, b := range now.Bricks {
		if err := sameBrick(old.Bricks[i], b); err != nil {
			return Changes{}, err
		}
	}
	c := Changes{newParts(now.Size, grainOf(now)), newParts(now.Size, now.ShardSize), now.SnapshotUUID}
	settled := make([]int64, len(old.Bricks))
	for i := range old.Bricks {
		settled[i] = settledAt(old, i).UnixNano()
	}
	for n := range c.shards.count {
		c.compare(old, now, n, settled)
	}
	return c, nil
}

// compare notes what can have changed of shard n.
func (c Changes) compare(old, now State, n int64, settled []int64) {
	size := c.shards.size
	whole := [][2]int64{{0, size}}
	for i, b := range now.Bricks {
		was, had := old.Bricks[i].Shards[n]
		is, has := b.Shards[n]
		if had == has && was == is && (!had || was.Changed < settled[i]) {
			continue
		}
		c.shards.mark(n*size, size, whole)
		ranges, known := b.Changed[n]
		if !known || !had || !has || was.Size != is.Size || was.Inode != is.Inode || was.Modified != is.Modified && nowhere(ranges, is.Size) {
			ranges = whole
		}
		c.changed.mark(n*size, size, ranges)
	}
}

// nowhere reports whether a file of that size has changed in none of the ranges. An
// empty one, as arbiters have, has nowhere to change.
func nowhere(ranges [][2]int64, size int64) bool {
	return size > 0 && !slices.ContainsFunc(ranges, func(r [2]int64) bool { return r[0] < size && r[1] > 0 })
}

// settledAt is up to when a shard must have been changed on brick i at the latest for the
// same change time to mean that it is unchanged.
func settledAt(old State, i int) time.Time {
	return earliest(old.Taken, old.Bricks[i].Asked, old.Bricks[i].Clock).Add(-Settled)
}

// Since returns a time by the clocks of the bricks' hosts: a shard that was changed no
// later than that on any brick is not among those that Compare calls changed because of
// their times.
func Since(old State) time.Time {
	since := old.Taken.Add(-Settled)
	for i := range old.Bricks {
		since = earliest(since, settledAt(old, i))
	}
	return since
}

func earliest(times ...time.Time) time.Time { return slices.MinFunc(times, time.Time.Compare) }

// sameImage tells whether both states are of one image, one after the other.
func sameImage(old, now State) error {
	switch {
	case old.Repository != now.Repository || old.Repository == "":
		return doubt("the last state belongs to BackupDisk %q, this is %q", old.Repository, now.Repository)
	case old.VolumeID != now.VolumeID || old.VolumeID == "":
		return doubt("the volume is another one: id %q, it was %q", now.VolumeID, old.VolumeID)
	case old.GFID != now.GFID || old.GFID == "":
		return doubt("the image is another file: gfid %q, it was %q", now.GFID, old.GFID)
	case old.SnapshotUUID == now.SnapshotUUID || old.SnapshotUUID == "" || now.SnapshotUUID == "":
		return doubt("both states are of snapshot %q", now.SnapshotUUID)
	case old.Size != now.Size:
		return doubt("the image has %d bytes, it had %d", now.Size, old.Size)
	case now.ShardSize <= 0 || now.Size < 0 || old.ShardSize != now.ShardSize:
		return doubt("shards of %d bytes, they had %d", now.ShardSize, old.ShardSize)
	case !now.Taken.After(old.Taken):
		return doubt("the clock went backwards: snapshot of %s, before it %s", now.Taken, old.Taken)
	case len(now.Bricks) == 0 || len(old.Bricks) != len(now.Bricks):
		return doubt("%d bricks, there were %d", len(now.Bricks), len(old.Bricks))
	}
	return holdsImage(old, now)
}

// holdsImage tells whether some brick has the image's own file, in both states.
func holdsImage(states ...State) error {
	for _, s := range states {
		found := false
		for _, b := range s.Bricks {
			_, has := b.Shards[0]
			found = found || has
		}
		if !found {
			return doubt("no brick has the image's own file (%s)", s.Taken.Format(time.RFC3339))
		}
	}
	return nil
}

// sameBrick tells whether a brick is the one that it was, all the time, and both
// times told the truth.
func sameBrick(old, now Brick) error {
	switch {
	case old.Name != now.Name:
		return doubt("brick %s stands where %s was", now.Name, old.Name)
	case old.Life != now.Life || old.Life == "":
		return doubt("brick %s or its host was started again", now.Name)
	case !now.Clock.After(old.Clock) || !now.Asked.After(old.Asked):
		return doubt("the clock of brick %s or of this host went backwards, from %s to %s", now.Name, old.Clock, now.Clock)
	}
	return cmp.Or(usable(old), usable(now))
}

// usable tells whether what a brick says can be true.
func usable(b Brick) error {
	if b.Healing {
		return doubt("brick %s has files that are to be healed", b.Name)
	}
	if skew := b.Clock.Sub(b.Asked).Abs(); skew > Skew {
		return doubt("the clock of brick %s is %s away from that of this host", b.Name, skew.Round(time.Second))
	}
	latest := b.Clock.UnixNano()
	for n, s := range b.Shards {
		if s.Changed > latest || s.Modified > latest {
			return doubt("shard %d on brick %s was changed in the future", n, b.Name)
		}
	}
	return nil
}

// Unchanged reports whether the n bytes at off are as they were.
func (c Changes) Unchanged(off, n int64) bool { return c.changed.none(off, n) }

// checked is of how many blocks that rest on what bricks know of parts of shards one is
// read all the same.
const checked = 64

// Check picks ranges that are unchanged not because of the times of their shard, but only
// because of what bricks know of parts of it: one of 64, at other places each time.
func (c Changes) Check(off, n int64) bool {
	if c.shards.none(off, n) || !c.Unchanged(off, n) {
		return false
	}
	h := fnv.New64a()
	_, _ = io.WriteString(h, c.seed) // A hash takes everything.
	_ = binary.Write(h, binary.LittleEndian, off)
	return h.Sum64()>>32%checked == 0 // The lower bits know only those of the offset.
}

// Count returns how many shards there are and how many of them can have changed.
func (c Changes) Count() (all, changed int) { return int(c.shards.count), c.shards.len() }

// Bytes returns how much of the image can have changed.
func (c Changes) Bytes() int64 { return c.changed.bytes() }
