package retention

import (
	"errors"
	"fmt"
	"time"
)

// ErrClock says that the clock cannot be right.
var ErrClock = errors.New("clock is behind the newest backup")

// ClockError is the error for a clock that went backwards. It matches ErrClock.
type ClockError struct {
	Now    time.Time
	Newest Item // The backup that was made later than now.
}

func (e *ClockError) Error() string {
	return fmt.Sprintf("%v: it is %s, backup %s is of %s",
		ErrClock, e.Now.UTC().Format(time.RFC3339), e.Newest.ID, e.Newest.Time.UTC().Format(time.RFC3339))
}

// Is reports whether target is ErrClock.
func (e *ClockError) Is(target error) bool { return target == ErrClock }

// Remedy says what to do.
func (e *ClockError) Remedy() string {
	return fmt.Sprintf("set the clock of this host right (`timedatectl`); if it is right, backup %s was made "+
		"with a wrong one: move its folder off the BackupDisk", e.Newest.ID)
}

// CheckClock returns a *ClockError when now lies before the newest backup. One
// of the two times is wrong then, nobody knows which, and no backup may be
// removed because of either. The backups may be of several claims. See
// [CheckJump] for a clock that is ahead.
func CheckClock(backups []Item, now time.Time) error {
	all := sorted(backups)
	if len(all) == 0 {
		return nil
	}
	if newest := all[len(all)-1].Item; newest.Time.After(now) {
		return &ClockError{Now: now, Newest: newest}
	}
	return nil
}
