package daemon

import (
	"context"
	"errors"
	"time"

	"github.com/glusterbackupd/glusterbackupd/blockstore"
	"github.com/glusterbackupd/glusterbackupd/catalog"
)

// staleAfter is the age from which a plan's checks are made again: a person may
// think for hours about the question.
const staleAfter = 30 * time.Second

// recheck asks again what the plan found out about the volume, if that is long
// ago.
func (d *Daemon) recheck(ctx context.Context, g Health, p Plan, planned time.Time) error {
	if time.Since(planned) < staleAfter {
		return nil
	}
	v, pools, err := d.preflight(ctx, g, p.Volume)
	if err != nil {
		return err
	}
	if p.Backup.Info.Block != nil {
		if err := blockstore.MandatoryLocking(v.Name, v.Options); err != nil {
			return err
		}
	}
	_, _, err = room(v, pools, p.bytes, d.o.Limits)
	return err
}

// guarded runs write between a safety snapshot of the plan's volume and the
// release of everything. write calls began right before it changes anything.
// The snapshot stays until its retention is over; it also stays, and the error
// names it, when write failed after it had begun.
func (d *Daemon) guarded(ctx context.Context, g Gluster, done *Restored, write func(rel *releases, began func()) error) (err error) {
	volume := done.Plan.Volume
	rel := &releases{log: d.log}
	defer func() {
		d.phase(PhaseRelease, catalog.Key{}, volume)
		err = errors.Join(err, rel.run(ctx))
	}()
	d.phase(PhaseSnapshot, catalog.Key{}, volume)
	if err := d.expire(ctx, g, volume, time.Now(), done.Plan.Backup.Key); err != nil {
		return err
	}
	s, keep, err := d.take(ctx, g, volume, forSafety, rel)
	if err != nil {
		return err
	}
	begun := false
	err = write(rel, func() {
		begun = true
		keep(true)
	})
	if err != nil && begun {
		return &BrokenOffError{Err: err, Snapshot: s.Name}
	}
	if err == nil && d.o.Keep.Safety == 0 {
		keep(false)
	}
	if err == nil && d.o.Keep.Safety > 0 {
		done.SafetySnapshot = s.Name
	}
	return err
}
