package retention

import (
	"errors"
	"fmt"
	"time"
)

const day = 24 * time.Hour

// wholeDay is how long backups must agree. A day on which clocks are put forward
// has 23 hours, and no run begins on the second.
const wholeDay = 20 * time.Hour

// ErrJump says that the clock may have jumped forward.
var ErrJump = errors.New("the clock may have jumped")

// JumpError is the error for a gap in time that may be a jump of the clock. It
// matches ErrJump.
type JumpError struct {
	Older Item      // The newest backup before the gap.
	Until time.Time // The end of the gap: a backup, or now.
}

func (e *JumpError) Error() string {
	return fmt.Sprintf("%v: either it did, or nothing was backed up for %d days after %s (%s); "+
		"nothing is removed until backups of a whole day agree",
		ErrJump, e.Until.Sub(e.Older.Time)/day, e.Older.ID, e.Older.Time.UTC().Format(time.RFC3339))
}

// Is reports whether target is ErrJump.
func (e *JumpError) Is(target error) bool { return target == ErrJump }

// Remedy says what to do.
func (e *JumpError) Remedy() string {
	return "look at the clock of this host (`timedatectl`) and set it right; if it is right, wait until " +
		"backups were made for a day, or run `glusterbackupd prune --trust-clock`"
}

// Grid returns how far apart backups may lie without any doubt about the clock:
// the longest period for which the policy has a rule, since that is what it
// leaves of older times; twice the time between two backups, so that one may
// fail; and a day, in which a late run may come. Every is
// the time between two backups as the schedule has it, 0 if it is not known.
// Without it a claim that is backed up once a week and has a rule "last" only
// would be in doubt for ever.
func (p Policy) Grid(every time.Duration) time.Duration {
	longest := day
	for _, r := range []struct {
		count  int
		period time.Duration
	}{{p.Weekly, 7 * day}, {p.Monthly, 31 * day}, {p.Yearly, 366 * day}} {
		if r.count > 0 {
			longest = max(longest, r.period)
		}
	}
	return longest + day + 2*max(0, every)
}

// CheckJump returns a *JumpError when now, and with it the newest backups, may
// be the time of a clock that jumped forward. It goes back from now through the
// backups. A gap longer than grid breaks the chain, see [Policy.Grid]; if
// anything lies beyond it and the newest part is shorter than a day, a jump cannot be told from a long
// time without backups, and no backup may be removed because it is old.
//
// A day of backups settles it: by then somebody has seen the clock. The backups
// may be of several claims. A backup that is later than now is [CheckClock]'s
// matter and is ignored.
func CheckJump(backups []Item, grid time.Duration, now time.Time) error {
	all := sorted(backups)
	until, newest := now, time.Time{}
	for i := len(all) - 1; i >= 0; i-- {
		item := all[i].Item
		if item.Time.After(now) {
			continue
		}
		if until.Sub(item.Time) > grid {
			return &JumpError{Older: item, Until: until}
		}
		if newest.IsZero() {
			newest = item.Time
		}
		until = item.Time
		if newest.Sub(until) >= wholeDay {
			return nil
		}
	}
	return nil
}
