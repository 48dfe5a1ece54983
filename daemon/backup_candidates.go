package daemon

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/glusterbackupd/glusterbackupd/catalog"
	"github.com/glusterbackupd/glusterbackupd/retention"
	"github.com/glusterbackupd/glusterbackupd/schedule"
)

// BackUp looks the claims up again, as they are now, and backs them up. All of
// them stand on one volume; one that has moved to another volume since is an
// error, which the next inventory mends.
func (d *Daemon) BackUp(ctx context.Context, claims []Candidate) []Result {
	results := make([]Result, 0, len(claims))
	var targets []Target
	for _, c := range claims {
		t, err := d.o.Resolver.Target(ctx, c.Key.Namespace, c.Key.Claim)
		if err == nil && t.Volume != c.Volume {
			err = &DisagreeError{PV: c.Claim.PV, Kubernetes: t.Volume, Heketi: c.Volume}
		}
		if err != nil {
			results = append(results, Result{Target: c.target(), Err: err})
			continue
		}
		targets = append(targets, t)
	}
	return append(results, d.Backup(ctx, targets)...)
}

// Prune removes the backups of a claim that its retention does not keep, and
// returns how many. It only takes them off the list; the trash is emptied later.
// Nothing is removed while the clock may be wrong.
func (d *Daemon) Prune(ctx context.Context, c Candidate) (int, error) {
	backups, err := d.o.Catalog.Backups(c.Key)
	if err != nil {
		return 0, err
	}
	now, items := time.Now(), ItemsOf(backups)
	plan := retention.Plan(items, c.Retention, now)
	if !retention.Removes(plan) {
		return 0, nil
	}
	if err := checkClock(items, c.Retention.Grid(c.Schedule.Rhythm(now)), now); err != nil {
		return 0, fmt.Errorf("prune %s: %w", c.Key, err)
	}
	return d.discard(ctx, c.Key, backups, plan)
}

// PruneDeleted is Prune for a claim that no longer exists: keep after its newest
// backup, all but the protected ones go; with keep 0 they stay for good. All are
// the backups of every claim, which show that the clock is right.
func (d *Daemon) PruneDeleted(ctx context.Context, k catalog.Key, keep, grid time.Duration, all []retention.Item) (int, error) {
	backups, err := d.o.Catalog.Backups(k)
	if err != nil {
		return 0, err
	}
	now := time.Now()
	plan := retention.PlanDeleted(ItemsOf(backups), keep, now)
	if !retention.Removes(plan) {
		return 0, nil
	}
	if err := checkClock(all, grid, now); err != nil {
		return 0, fmt.Errorf("prune deleted claim %s: %w", k, err)
	}
	return d.discard(ctx, k, backups, plan)
}

func checkClock(items []retention.Item, grid time.Duration, now time.Time) error {
	if err := retention.CheckClock(items, now); err != nil {
		return err
	}
	return retention.CheckJump(items, grid, now)
}

// discard removes what the plan does not keep, under the claim's lock.
func (d *Daemon) discard(ctx context.Context, k catalog.Key, backups []catalog.Backup, plan []retention.Decision) (removed int, err error) {
	doomed := map[string]bool{}
	for _, decision := range plan {
		doomed[decision.ID] = !decision.Keep
	}
	lock, err := d.o.Catalog.Lock("prune", catalog.ClaimScope(k))
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, lock.Release()) }()
	for _, b := range backups {
		if ctx.Err() != nil {
			return removed, context.Cause(ctx)
		}
		if !doomed[b.ID] {
			continue
		}
		if err := d.o.Catalog.Trash(b); err != nil {
			return removed, err
		}
		removed++
		d.log.Info("backup removed by the retention", "claim", k.String(), "backup", b.ID)
	}
	return removed, nil
}

// ItemsOf returns what the retention needs to know of backups, in their order.
func ItemsOf(backups []catalog.Backup) []retention.Item {
	var items []retention.Item
	for _, b := range backups {
		items = append(items, retention.Item{ID: b.ID, Time: b.Time, Protected: b.Protected})
	}
	return items
}

// CatalogLedger reads what was done last from a BackupDisk.
type CatalogLedger struct {
	Catalog *catalog.Repository
	// Snapshots is how long the snapshot of a backup stays on Gluster.
	Snapshots time.Duration
}

// tolerance is how far in the future a backup may lie before its time is taken
// for that of a wrong clock: the clocks of several masters differ by less.
const tolerance = time.Hour

// Last implements Ledger.
func (l CatalogLedger) Last(k catalog.Key, now time.Time) (Last, bool, error) {
	backups, err := l.Catalog.Backups(k)
	if err != nil {
		return Last{}, false, err
	}
	for n := len(backups) - 1; n >= 0; n-- {
		b := backups[n]
		if b.Time.After(now.Add(tolerance)) {
			continue
		}
		return Last{
			Snapshots: l.held(backups, now),
			Record:    schedule.Record{Started: b.Time, Finished: b.Info.Finished},
			ID:        b.ID, Bytes: b.Summary.Bytes, Count: len(backups), Volume: b.Info.Volume,
			Took: b.Info.Finished.Sub(b.Info.Started),
		}, true, nil
	}
	return Last{}, false, nil
}

// held returns the snapshots of backups that are not older than their time on
// Gluster. They may be gone all the same.
func (l CatalogLedger) held(backups []catalog.Backup, now time.Time) (names []string) {
	for _, b := range backups {
		if b.Info.Snapshot != "" && now.Sub(b.Time) < l.Snapshots {
			names = append(names, b.Info.Snapshot)
		}
	}
	return names
}
