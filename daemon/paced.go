package daemon

import (
	"context"
	"log/slog"
	"time"

	"github.com/glusterbackupd/glusterbackupd/gluster"
)

// paced is a cluster in which only so many snapshots are worked on at a time:
// glusterd works on one after the other in any case, and those that wait inside
// it run into its time-outs.
type paced struct {
	Gluster
	places  chan struct{}
	deleted func(name string) // Told of each snapshot that was deleted.
	log     *slog.Logger
}

// inPlace calls f when it is its turn.
func (p paced) inPlace(ctx context.Context, f func() error) error {
	select {
	case p.places <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { <-p.places }()
	return f()
}

// CreateSnapshot sees a creation whose turn has come to its end, although ctx may
// end before: glusterd goes on with it whether or not somebody waits, and as long
// as it does, a deletion by name finds nothing to delete, and the snapshot stays.
// After ctx the creation has releaseTimeout, so that a stop does not wait for a
// dead host.
func (p paced) CreateSnapshot(ctx context.Context, r gluster.SnapshotRequest) (s gluster.Snapshot, err error) {
	err = p.inPlace(ctx, func() error {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		quiet := context.AfterFunc(ctx, func() {
			p.log.Info("stopping: waiting for the snapshot that Gluster is making", "volume", r.Volume, "snapshot", r.Name, "at_most", releaseTimeout)
		})
		defer quiet()
		longer, stop := outlasting(ctx, releaseTimeout)
		defer stop()
		s, err = p.Gluster.CreateSnapshot(longer, r)
		return err
	})
	return s, err
}

// outlasting returns a context that ends so much later than ctx, or with stop,
// which must be called.
func outlasting(ctx context.Context, by time.Duration) (_ context.Context, stop func()) {
	longer, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	unwatch := context.AfterFunc(ctx, func() {
		grace := time.NewTimer(by)
		defer grace.Stop()
		select {
		case <-longer.Done():
		case <-grace.C:
			cancel(context.Cause(ctx))
		}
	})
	return longer, func() {
		unwatch()
		cancel(nil)
	}
}

func (p paced) ActivateSnapshot(ctx context.Context, name string) error {
	return p.inPlace(ctx, func() error { return p.Gluster.ActivateSnapshot(ctx, name) })
}

func (p paced) DeleteSnapshot(ctx context.Context, name string) error {
	err := p.inPlace(ctx, func() error { return p.Gluster.DeleteSnapshot(ctx, name) })
	if err == nil {
		p.deleted(name)
	}
	return err
}
