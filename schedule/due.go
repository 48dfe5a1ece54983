package schedule

import (
	"crypto/sha256"
	"encoding/binary"
	"math/bits"
	"time"
)

// slack is how far the clocks of two masters may be apart. What a record says
// about a later time than that was written with a wrong clock.
const slack = time.Hour

// Record is the newest backup of a claim. It is zero where there is none.
type Record struct {
	Started, Finished time.Time
}

// Due decides whether a claim that has a backup is to be backed up now, and for
// which slot. That is the newest slot, so that however many were missed, one
// backup catches up. It is due if the newest backup had ended before it: a slot
// that comes while a run still copies is skipped. And it must be newer than
// handled, the newest slot that this process tried or skipped, or the zero
// time.
//
// A record or a handled slot of a later time than now was written with a wrong
// clock. It says nothing, and above all not that no backup is needed until
// then.
//
// A claim without any backup is never due here; see [Schedule.FirstDue].
func (s Schedule) Due(last Record, handled, now time.Time) (slot time.Time, due bool) {
	if last.Started.IsZero() {
		return time.Time{}, false
	}
	slot = s.Last(now)
	for _, t := range []time.Time{last.Started, last.Finished, handled} {
		if !t.Before(slot) && !t.After(now.Add(slack)) {
			return time.Time{}, false
		}
	}
	return slot, !slot.IsZero()
}

// First is a claim that has no backup.
type First struct {
	Name   string        // Tells it from the others that are as new.
	Seen   time.Time     // When this process learned that it has none.
	Within time.Duration // How long after Seen its first backup begins at the latest. 0 waits for a slot.
}

// FirstDue is Due for a claim that has no backup. Its first one comes at a
// moment within the time given, which [Offset] spreads, or at the first slot
// after it was seen, whichever is earlier. If that fails, which handled tells,
// the next one comes at the next slot.
//
// How old the claim is does not matter: where the daemon is new, all are old.
func (s Schedule) FirstDue(f First, handled, now time.Time) (slot time.Time, due bool) {
	if at := f.Seen.Add(Offset(f.Name, f.Within)); f.Within > 0 && !at.After(now) {
		slot = at
	}
	if at := s.Last(now); at.After(f.Seen) && at.After(slot) {
		slot = at
	}
	if slot.IsZero() || !handled.Before(slot) && !handled.After(now.Add(slack)) {
		return time.Time{}, false
	}
	return slot, true
}

// Offset returns the place of a name in [0, spread). It is always the same for
// the same name and spread, and the places of many names are spread evenly. It
// is 0 if spread is not positive.
func Offset(name string, spread time.Duration) time.Duration {
	if spread <= 0 {
		return 0
	}
	sum := sha256.Sum256([]byte(name))
	place, _ := bits.Mul64(binary.BigEndian.Uint64(sum[:8]), uint64(spread))
	return time.Duration(place) //nolint:gosec // Less than spread.
}
