package daemon

import (
	"context"

	"github.com/glusterbackupd/glusterbackupd/gluster"
)

// paced is a cluster in which only so many snapshots are worked on at a time:
// glusterd works on one after the other in any case, and those that wait inside
// it run into its time-outs.
type paced struct {
	Gluster
	places  chan struct{}
	deleted func(name string) // Told of each snapshot that was deleted.
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

func (p paced) CreateSnapshot(ctx context.Context, r gluster.SnapshotRequest) (s gluster.Snapshot, err error) {
	err = p.inPlace(ctx, func() error {
		s, err = p.Gluster.CreateSnapshot(ctx, r)
		return err
	})
	return s, err
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
