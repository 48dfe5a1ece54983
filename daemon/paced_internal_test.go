package daemon

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/glusterbackupd/glusterbackupd/gluster"
)

// slowPool takes its time for a snapshot, and makes it whether or not somebody
// waits, as glusterd does.
type slowPool struct {
	Gluster
	takes time.Duration
	asked int
	made  time.Time
}

func (p *slowPool) CreateSnapshot(ctx context.Context, r gluster.SnapshotRequest) (gluster.Snapshot, error) {
	p.asked++
	done := make(chan struct{})
	go func() {
		time.Sleep(p.takes)
		p.made = time.Now()
		close(done)
	}()
	select {
	case <-done:
		return gluster.Snapshot{Name: r.Name}, nil
	case <-ctx.Done():
		return gluster.Snapshot{}, context.Cause(ctx)
	}
}

// A run that is stopped while its snapshot is being made must not go on to the
// deletion before there is something to delete.
func TestStopDuringSnapshot(t *testing.T) {
	errStopped := errors.New("stopped")
	for name, c := range map[string]struct {
		stop, takes time.Duration
		want        error
		after       time.Duration
		asked       int
	}{
		"not stopped":                {time.Hour, 5 * time.Second, nil, 5 * time.Second, 1},
		"stopped meanwhile":          {time.Second, 5 * time.Second, nil, 5 * time.Second, 1},
		"stopped before":             {0, 5 * time.Second, errStopped, 0, 0},
		"stopped, and Gluster hangs": {time.Second, time.Hour, errStopped, time.Second + releaseTimeout, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancelCause(t.Context())
				defer cancel(nil)
				if c.stop == 0 {
					cancel(errStopped)
				} else {
					defer time.AfterFunc(c.stop, func() { cancel(errStopped) }).Stop()
				}
				pool := &slowPool{takes: c.takes}
				begun := time.Now()
				s, err := paced{Gluster: pool, places: make(chan struct{}, 1), log: slog.New(slog.DiscardHandler)}.CreateSnapshot(ctx, gluster.SnapshotRequest{Name: "gb-x"})
				if !errors.Is(err, c.want) || pool.asked != c.asked || time.Since(begun) != c.after {
					t.Errorf("CreateSnapshot = %v, %v after %s, asked %d times; want %v after %s, %d", s, err, time.Since(begun), pool.asked, c.want, c.after, c.asked)
				}
				if (err == nil) != (s.Name == "gb-x") || err == nil && pool.made.IsZero() {
					t.Errorf("snapshot %+v, made %v", s, pool.made)
				}
				time.Sleep(c.takes) // What glusterd still does.
			})
		})
	}
}
