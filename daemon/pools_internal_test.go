package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/glusterbackupd/glusterbackupd/catalog"
	"github.com/glusterbackupd/glusterbackupd/gluster"
)

// fullCluster is a Gluster with one thin pool, of which each snapshot takes ten
// percent.
type fullCluster struct {
	Gluster
	live      float64 // What the volume itself takes, in percent.
	snapshots []gluster.Snapshot
	fault     error // Of each deletion.
}

func (c *fullCluster) Volume(_ context.Context, name string) (gluster.Volume, error) {
	return gluster.Volume{Name: name}, nil
}

func (c *fullCluster) Pools(context.Context, gluster.Volume) ([]gluster.Pool, error) {
	return []gluster.Pool{{Host: "host", VG: "vg", Name: "tp", Data: c.live + 10*float64(len(c.snapshots))}}, nil
}

func (c *fullCluster) Snapshots(context.Context, string) ([]gluster.Snapshot, error) {
	return slices.Clone(c.snapshots), nil
}

func (c *fullCluster) DeleteSnapshot(_ context.Context, name string) error {
	if c.fault != nil {
		return c.fault
	}
	c.snapshots = slices.DeleteFunc(c.snapshots, func(s gluster.Snapshot) bool { return s.Name == name })
	return nil
}

// onDisk returns a daemon with an empty BackupDisk and that Gluster.
func onDisk(t *testing.T, g Gluster) *Daemon {
	t.Helper()
	dir := t.TempDir()
	if _, err := catalog.Init(dir, catalog.Options{}); err != nil {
		t.Fatal(err)
	}
	r, err := catalog.Open(dir, catalog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	d, err := New(Options{
		Catalog: r, Gluster: func(hosts []string) (Gluster, error) {
			if len(hosts) == 0 {
				return nil, errors.New("no hosts")
			}
			return g, nil
		},
		Mounts: &fakeMounts{}, Engine: noEngine{}, Connect: func(string) Commander { return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

type noEngine struct{ Engine }

func TestRelievePools(t *testing.T) {
	const b, s, x = "backup", "safety", "foreign"
	tests := map[string]struct {
		live      float64
		snapshots []string // Their kind, the oldest first; each is named kind-number.
		running   bool
		fault     error

		deleted   []string
		cancelled bool
		cause     bool
	}{
		"below the level":                       {live: 50, snapshots: []string{b, b}},
		"the oldest go first":                   {live: 60, snapshots: []string{b, b, b, b}, deleted: []string{"backup-0", "backup-1"}, cause: true},
		"backups before safety":                 {live: 70, snapshots: []string{s, b, b}, deleted: []string{"backup-1", "backup-2"}, cause: true},
		"nobody else's":                         {live: 90, snapshots: []string{x, b, x}, deleted: []string{"backup-1"}, cause: true},
		"its own is the run's last":             {live: 85, snapshots: []string{b, b}, running: true, deleted: []string{"backup-0"}, cancelled: true, cause: true},
		"nor does safety cost the run its own":  {live: 85, snapshots: []string{s, b}, running: true, cancelled: true, cause: true},
		"without a run the last one goes too":   {live: 85, snapshots: []string{b}, deleted: []string{"backup-0"}, cause: true},
		"safety goes when nothing else is left": {live: 85, snapshots: []string{s}, deleted: []string{"safety-0"}, cause: true},
		"a deletion that fails ends it":         {live: 85, snapshots: []string{b, b}, fault: errBusy, cause: true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c := &fullCluster{live: tt.live, fault: tt.fault}
			d := onDisk(t, c)
			for n, kind := range tt.snapshots {
				c.snapshots = append(c.snapshots, gluster.Snapshot{
					Name:        fmt.Sprintf("gb-%s-%d", kind, n),
					Description: d.description(purpose(kind)), Created: time.Unix(int64(n), 0),
				})
			}
			slices.Reverse(c.snapshots)
			var told error
			p, err := d.RelievePools(t.Context(), []string{"host"}, "vol", Limits{PoolData: 85, PoolMetadata: 85}, func(cause error) bool {
				told = cause
				return tt.running
			})
			if !errors.Is(err, tt.fault) {
				t.Fatalf("error %v, want %v", err, tt.fault)
			}
			var deleted []string
			for _, name := range p.Deleted {
				deleted = append(deleted, name[len(snapshotPrefix):])
			}
			if !slices.Equal(deleted, tt.deleted) || p.Cancelled != tt.cancelled || (p.Cause != nil) != tt.cause {
				t.Errorf("deleted %v, cancelled %t, cause %v; want %v, %t, %t", deleted, p.Cancelled, p.Cause, tt.deleted, tt.cancelled, tt.cause)
			}
			if tt.cancelled && !errors.Is(told, ErrNotCovered) {
				t.Errorf("the run is told %v", told)
			}
			if len(p.Pools) != 1 || p.Pools[0].Data != c.live+10*float64(len(c.snapshots)) {
				t.Errorf("levels afterwards %+v", p.Pools)
			}
		})
	}
}
