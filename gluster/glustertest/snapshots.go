package glustertest

import (
	"cmp"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/glusterbackupd/glusterbackupd/gluster"
)

// description has all that a shell could stumble over.
const description = `glusterbackupd repository=3f6c0f0c purpose=backup; it's "quoted" $HOME \ * ? <>&| ~`

// skew is how far the clocks of this machine and of the pool may differ.
const skew = 10 * time.Minute

// TestSnapshots runs what makes snapshots. It leaves none behind.
func TestSnapshots(t *testing.T, s Setup) {
	t.Helper()
	for name, run := range map[string]func(*testing.T, Setup){
		"life":                life,
		"two of one volume":   two,
		"name exists":         exists,
		"names at the limits": longNames,
		"late success":        lateSuccess,
	} {
		t.Run(name, func(t *testing.T) { run(t, s) })
	}
}

// create makes a snapshot that the case deletes at its end.
func create(t *testing.T, p Pool, r gluster.SnapshotRequest, remover Pool) gluster.Snapshot {
	t.Helper()
	t.Cleanup(func() {
		if err := remover.DeleteSnapshot(context.WithoutCancel(t.Context()), r.Name); err != nil {
			t.Error(err)
		}
	})
	made, err := p.CreateSnapshot(t.Context(), r)
	if err != nil {
		t.Fatalf("CreateSnapshot: %v", err)
	}
	if made.Name != r.Name || made.Volume != r.Volume || made.Description != r.Description || made.UUID == "" || made.Active ||
		time.Since(made.Created).Abs() > skew {
		t.Errorf("CreateSnapshot(%+v) = %+v", r, made)
	}
	return made
}

func life(t *testing.T, s Setup) {
	p, ctx := s.Pool, t.Context()
	name := s.Prefix + "life"
	made := create(t, p, gluster.SnapshotRequest{Name: name, Volume: s.Volume, Description: description}, p)
	if all, err := p.Snapshots(ctx, s.Volume); err != nil || len(all) != 1 || all[0] != made {
		t.Errorf("Snapshots = %+v, %v, want %+v", all, err, made)
	}
	if l, err := p.SnapshotLimits(ctx, s.Volume); err != nil || l.Count != 1 {
		t.Errorf("SnapshotLimits = %+v, %v, want one snapshot", l, err)
	}
	status(t, s, name, false)
	for range 2 { // The second time it is so already.
		if err := p.ActivateSnapshot(ctx, name); err != nil {
			t.Fatalf("ActivateSnapshot: %v", err)
		}
	}
	active := made
	active.Active = true
	if got, err := p.SnapshotInfo(ctx, name); err != nil || got != active {
		t.Errorf("SnapshotInfo = %+v, %v, want %+v", got, err, active)
	}
	status(t, s, name, true)
	for range 2 {
		if err := p.DeactivateSnapshot(ctx, name); err != nil {
			t.Fatalf("DeactivateSnapshot: %v", err)
		}
	}
	if got, err := p.SnapshotInfo(ctx, name); err != nil || got != made {
		t.Errorf("SnapshotInfo = %+v, %v, want %+v", got, err, made)
	}
	// An active one is deleted as well.
	if err := p.ActivateSnapshot(ctx, name); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := p.DeleteSnapshot(ctx, name); err != nil {
			t.Fatalf("DeleteSnapshot: %v", err)
		}
	}
	if _, err := p.SnapshotInfo(ctx, name); !errors.Is(err, gluster.ErrNoSnapshot) {
		t.Errorf("SnapshotInfo of a deleted one = %v", err)
	}
	noSnapshots(t, s)
}

// status compares the bricks of a snapshot.
func status(t *testing.T, s Setup, name string, running bool) {
	t.Helper()
	bricks, err := s.Pool.SnapshotStatus(t.Context(), name)
	if err != nil || len(bricks) != len(s.Bricks) {
		t.Fatalf("SnapshotStatus = %+v, %v, want %d bricks", bricks, err, len(s.Bricks))
	}
	for _, b := range bricks {
		if b.Running != running || (b.PID > 0) != running || b.Host == "" || running && b.VG == "" {
			t.Errorf("brick %+v, want running %v", b, running)
		}
	}
}

func two(t *testing.T, s Setup) {
	first := create(t, s.Pool, gluster.SnapshotRequest{Name: s.Prefix + "1", Volume: s.Volume}, s.Pool)
	time.Sleep(1100 * time.Millisecond) // Times are in seconds, and the order is that of time.
	second := create(t, s.Pool, gluster.SnapshotRequest{Name: s.Prefix + "0", Volume: s.Volume}, s.Pool)
	all, err := s.Pool.Snapshots(t.Context(), s.Volume)
	if err != nil || len(all) != 2 || all[0] != first || all[1] != second {
		t.Errorf("Snapshots = %+v, %v, want the older one first", all, err)
	}
}

func exists(t *testing.T, s Setup) {
	r := gluster.SnapshotRequest{Name: s.Prefix + "same", Volume: s.Volume}
	create(t, s.Pool, r, s.Pool)
	_, err := s.Pool.CreateSnapshot(t.Context(), r)
	refused(t, "CreateSnapshot", err, gluster.ErrSnapshotExists, r.Name)
}

func longNames(t *testing.T, s Setup) {
	name := s.Prefix + strings.Repeat("n", cmp.Or(s.LongestName, 100)-len(s.Prefix))
	made := create(t, s.Pool, gluster.SnapshotRequest{Name: name, Volume: s.Volume, Description: strings.Repeat("d", 1000)}, s.Pool)
	if err := s.Pool.ActivateSnapshot(t.Context(), name); err != nil {
		t.Error(err)
	}
	made.Active = true
	if all, err := s.Pool.Snapshots(t.Context(), s.Volume); err != nil || len(all) != 1 || all[0] != made {
		t.Errorf("Snapshots = %+v, %v", all, err)
	}
	if err := s.Pool.DeactivateSnapshot(t.Context(), name); err != nil {
		t.Error(err)
	}
}

// The client gives up, the pool makes the snapshot all the same, and the client
// finds that out.
func lateSuccess(t *testing.T, s Setup) {
	name := s.Prefix + "late"
	create(t, s.Impatient, gluster.SnapshotRequest{Name: name, Volume: s.Volume, Description: description}, s.Pool)
	if _, err := s.Pool.SnapshotInfo(t.Context(), name); err != nil {
		t.Error(err)
	}
}
