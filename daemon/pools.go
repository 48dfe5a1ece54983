package daemon

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/glusterbackupd/glusterbackupd/gluster"
)

// Pressure is what was done about a thin pool that fills up.
type Pressure struct {
	Volume string
	// Pools are the levels of the volume's pools afterwards.
	Pools []PoolLevel
	// Cause is the level that was too high; nil when none was.
	Cause error
	// Deleted are the snapshots of ours that went, oldest first.
	Deleted []string
	// Cancelled is set when the run on the volume was told to end, since only
	// its own snapshot was left.
	Cancelled bool
}

// RelievePools looks at the thin pools of a volume. While one is above limits,
// our snapshots of the volume are deleted, the oldest first: a full pool shuts
// the live brick down for good, and that weighs more than any snapshot. The
// snapshot of a run that works is left to cancel, which ends the run.
func (d *Daemon) RelievePools(ctx context.Context, hosts []string, volume string, limits Limits, cancel func(cause error) bool) (Pressure, error) {
	p := Pressure{Volume: volume}
	g, err := d.o.Gluster(hosts)
	if err != nil {
		return p, err
	}
	for {
		cause, err := d.poolLevels(ctx, g, &p, limits)
		if err != nil || cause == nil {
			return p, err
		}
		p.Cause = cause
		oldest, last, err := d.oldestSnapshot(ctx, g, volume)
		if err != nil || oldest == "" {
			return p, err
		}
		if last && cancel(cause) {
			p.Cancelled = true // Its release deletes the snapshot.
			return p, nil
		}
		if err := g.DeleteSnapshot(ctx, oldest); err != nil {
			return p, err
		}
		d.log.Warn("snapshot deleted because a thin pool fills up", "volume", volume, "snapshot", oldest, "cause", cause)
		p.Deleted = append(p.Deleted, oldest)
	}
}

// poolLevels reads the levels; cause is the one that is above the limits.
func (d *Daemon) poolLevels(ctx context.Context, g Health, p *Pressure, limits Limits) (cause, err error) {
	v, err := g.Volume(ctx, p.Volume)
	if err != nil {
		return nil, err
	}
	if p.Pools, err = g.Pools(ctx, v); err != nil {
		return nil, err
	}
	return poolsBelow(p.Volume, p.Pools, limits), nil
}

// oldestSnapshot returns the snapshot of ours that goes first: those for backups
// before those for safety, the oldest first. last says that it is the last one
// for backups, and so the one of the run that works, if any does.
func (d *Daemon) oldestSnapshot(ctx context.Context, g Snapshots, volume string) (name string, last bool, err error) {
	list, err := g.Snapshots(ctx, volume)
	if err != nil {
		return "", false, err
	}
	list = slices.DeleteFunc(list, func(s gluster.Snapshot) bool {
		_, ours := d.ownPurpose(s)
		return !ours
	})
	if len(list) == 0 {
		return "", false, nil
	}
	slices.SortFunc(list, func(a, b gluster.Snapshot) int {
		p, _ := d.ownPurpose(a)
		q, _ := d.ownPurpose(b)
		if p != q {
			if p == forBackup {
				return -1
			}
			return 1
		}
		return a.Created.Compare(b.Created)
	})
	first, _ := d.ownPurpose(list[0])
	last = first == forBackup
	if len(list) > 1 {
		next, _ := d.ownPurpose(list[1])
		last = last && next != forBackup
	}
	return list[0].Name, last, nil
}

// PoolWatchOptions are the parts of a PoolWatch. All but Logger are required.
type PoolWatchOptions struct {
	// Volumes are those that may have snapshots of ours, with their hosts.
	Volumes func() map[string][]string
	// Relieve is RelievePools of a Daemon.
	Relieve func(ctx context.Context, hosts []string, volume string) (Pressure, error)
	// Every is the time between two looks.
	Every time.Duration
	// Tell gets what each look found.
	Tell   func(Pressure)
	Logger *slog.Logger
}

// PoolWatch looks at thin pools as long as snapshots of ours exist on them.
type PoolWatch struct{ o PoolWatchOptions }

// NewPoolWatch returns a watch that Run starts.
func NewPoolWatch(o PoolWatchOptions) (*PoolWatch, error) {
	if o.Volumes == nil || o.Relieve == nil || o.Tell == nil || o.Every <= 0 {
		return nil, errors.New("daemon: Volumes, Relieve, Tell and Every are required")
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &PoolWatch{o}, nil
}

// Run looks until ctx ends.
func (w *PoolWatch) Run(ctx context.Context) {
	ticks := time.NewTicker(w.o.Every)
	defer ticks.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
			w.look(ctx)
		}
	}
}

// look visits one volume after the other. What cannot be asked is told of in
// the log only: a host that is down has its own errors elsewhere.
func (w *PoolWatch) look(ctx context.Context) {
	for volume, hosts := range w.o.Volumes() {
		if ctx.Err() != nil {
			return
		}
		p, err := w.o.Relieve(ctx, hosts, volume)
		if err != nil && ctx.Err() == nil {
			w.o.Logger.Warn("thin pools of a volume with snapshots of ours are not known", "volume", volume, "error", err)
		}
		if len(p.Pools) > 0 || len(p.Deleted) > 0 {
			w.o.Tell(p)
		}
	}
}
