package retention

import (
	"fmt"
	"slices"
	"time"
)

// PlanDeleted decides about all complete backups of a claim that no longer
// exists, as [Plan] does for one that does. Everything stays until the newest
// backup is older than keep; then all that are not protected go. A keep that is
// not positive keeps them for good. Where a backup is later than now, the clock
// or the backup is wrong, and everything stays.
//
// The claim's own backups cannot show that the clock is right, since they ended
// long ago: before any is removed, [CheckClock] and [CheckJump] have to pass for
// the backups of all claims on the BackupDisk.
func PlanDeleted(backups []Item, keep time.Duration, now time.Time) []Decision {
	all := sorted(backups)
	if len(all) == 0 {
		return nil
	}
	newest := all[len(all)-1].Item
	for _, v := range all {
		if v.Protected {
			v.keep("protected")
		}
		switch gone := newest.Time.Add(keep); {
		case keep <= 0:
			v.keep("the claim is deleted, its backups are kept for good")
		case newest.Time.After(now):
			v.keep(fmt.Sprintf("the claim is deleted, but %s is later than now", newest.ID))
		case !now.After(gone):
			v.keep(fmt.Sprintf("the claim is deleted, its backups are kept until %s", gone.UTC().Format(time.RFC3339)))
		default:
			v.object("the claim is deleted, its backups were kept until %s", gone.UTC().Format(time.RFC3339))
		}
	}
	return decisions(all)
}

// Removes reports whether any of the backups is to be removed.
func Removes(plan []Decision) bool {
	return slices.ContainsFunc(plan, func(d Decision) bool { return !d.Keep })
}
