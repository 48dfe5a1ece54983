package daemon

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/glusterbackupd/glusterbackupd/catalog"
)

// A claim may be locked for moments only, by prune, protect or a sweep, which
// shall not cost it its backup. Whoever works on it for longer is not waited for.
const (
	lockPatience = 5 * time.Second
	lockPause    = 250 * time.Millisecond
)

// lock locks a volume and claims, or returns a *catalog.LockedError that names
// the one that is taken and who has it.
func (d *Daemon) lock(ctx context.Context, operation, volume string, keys ...catalog.Key) (*catalog.Lock, error) {
	scopes := []catalog.Scope{catalog.VolumeScope(volume)}
	for _, k := range keys {
		scopes = append(scopes, catalog.ClaimScope(k))
	}
	return d.lockScopes(ctx, operation, scopes...)
}

// lockScopes is lock for any scopes.
func (d *Daemon) lockScopes(ctx context.Context, operation string, scopes ...catalog.Scope) (*catalog.Lock, error) {
	for start := time.Now(); ; {
		l, err := d.o.Catalog.Lock(cmp.Or(d.o.Command, operation), scopes...)
		if !errors.Is(err, catalog.ErrLocked) || time.Since(start) > lockPatience {
			return l, err
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(lockPause):
		}
	}
}

// lockRun locks the volume and the claims of a run, until rel gives them back,
// and tidies what a run that died left of exactly these. That something cannot
// be tidied stops nothing.
func (d *Daemon) lockRun(ctx context.Context, r run, rel *releases) error {
	keys := r.keys()
	l, err := d.lock(ctx, "backup", r.volume, keys...)
	if err != nil {
		return err
	}
	rel.add("unlock volume "+r.volume, func(context.Context) error { return l.Release() })
	removed, err := d.o.Catalog.Sweep(ctx, keys...)
	d.logSwept(removed)
	if err := errors.Join(err, d.unmountLeftovers(ctx, r.volume)); err != nil {
		d.log.WarnContext(ctx, "leftovers of a run that died could not be removed", "volume", r.volume, "error", err)
	}
	return context.Cause(ctx)
}

// lockRestore locks the volume that a restore writes to and the claim whose
// backup it reads, until the returned function is called, and tidies mounts that
// a restore or run that died left of the volume. It is called before the
// planning, so that what a person agrees to is what is done. A mere plan needs
// no lock.
func (d *Daemon) lockRestore(ctx context.Context, operation, volume string, b catalog.Backup, planOnly bool) (release func() error, err error) {
	if planOnly {
		return func() error { return nil }, nil
	}
	l, err := d.lock(ctx, operation, volume, b.Key)
	if err != nil {
		return nil, err
	}
	// It was found before it was locked, and may have been removed in between.
	if _, err := d.o.Catalog.Find(b.Key, b.ID); err != nil {
		return nil, errors.Join(err, l.Release())
	}
	if err := d.unmountLeftovers(ctx, volume); err != nil {
		d.log.WarnContext(ctx, "leftovers of a command that died could not be removed", "volume", volume, "error", err)
	}
	return l.Release, nil
}

// Tidy removes what processes that died left behind, everywhere: half-written
// backups of all claims, which become trash, and mounts of this host. What
// somebody works on is left alone. A run and a restore tidy what they work on by
// themselves; Tidy is for the start of a daemon, and for what is left of claims
// and volumes that are gone.
func (d *Daemon) Tidy(ctx context.Context) error {
	removed, err := d.o.Catalog.SweepAll(ctx)
	d.logSwept(removed)
	return errors.Join(err, d.unmountAllLeftovers(ctx))
}

func (d *Daemon) logSwept(removed []string) {
	for _, path := range removed {
		d.log.Info("leftover removed from the BackupDisk", "path", path)
	}
}
