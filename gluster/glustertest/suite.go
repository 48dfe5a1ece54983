// Package glustertest is the conformance suite for ways to reach Gluster: every
// transport must pass TestPool against real Gluster, or as much of it as the
// server at hand can do: TestAnswers asks only for what is there and for what is
// refused, TestSnapshots makes and deletes snapshots.
//
// It knows nothing of how a transport works, mounts nothing and does not
// measure speed.
package glustertest

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/glusterbackupd/glusterbackupd/gluster"
)

// Pool is what every transport offers.
type Pool interface {
	Ping(ctx context.Context) error
	Volume(ctx context.Context, name string) (gluster.Volume, error)
	BrickStates(ctx context.Context, volume string) ([]gluster.BrickState, error)
	Pools(ctx context.Context, v gluster.Volume) ([]gluster.Pool, error)
	SnapshotLimits(ctx context.Context, volume string) (gluster.Limits, error)

	CreateSnapshot(ctx context.Context, r gluster.SnapshotRequest) (gluster.Snapshot, error)
	ActivateSnapshot(ctx context.Context, name string) error
	DeactivateSnapshot(ctx context.Context, name string) error
	DeleteSnapshot(ctx context.Context, name string) error
	SnapshotInfo(ctx context.Context, name string) (gluster.Snapshot, error)
	Snapshots(ctx context.Context, volume string) ([]gluster.Snapshot, error)
	SnapshotStatus(ctx context.Context, name string) ([]gluster.SnapshotBrick, error)
	SnapshotPath(snapshot, volume string) string
}

// Setup is a pool and what is in it.
type Setup struct {
	Pool Pool
	// Volume is started, on thin bricks, and has no snapshots.
	Volume string
	// Stopped is a volume that is not started. NotThin is a started one whose
	// bricks are on no thin LV; "" where the server cannot run one.
	Stopped, NotThin string
	// Bricks are those of Volume.
	Bricks []gluster.Brick
	// Prefix begins the names of the snapshots that the suite makes.
	Prefix string
	// NoLevels says that the transport cannot tell the levels of thin pools.
	NoLevels bool
	// Path is what Volume's snapshot "s" is served under.
	Path string
	// Impatient is the same pool through a client that gives up before a
	// snapshot is made. Nil where a server cannot make any.
	Impatient Pool
	// LongestName is the longest name of a snapshot, default 100: glusterd takes
	// 254, but activates none for which a brick's own name gets too long, which
	// depends on the name of its host.
	LongestName int
}

// TestPool runs the whole suite.
func TestPool(t *testing.T, s Setup) {
	t.Helper()
	TestAnswers(t, s)
	TestSnapshots(t, s)
}

// TestAnswers runs what needs no snapshot to be made.
func TestAnswers(t *testing.T, s Setup) {
	t.Helper()
	cases := map[string]func(*testing.T, Setup){
		"ping":             ping,
		"volume":           volume,
		"brick states":     brickStates,
		"thin pools":       thinPools,
		"limits":           limits,
		"no snapshots":     noSnapshots,
		"missing volume":   missingVolume,
		"missing snapshot": missingSnapshot,
		"stopped volume":   stoppedVolume,
		"malformed names":  malformedNames,
		"snapshot path":    snapshotPath,
		"cancelled":        cancelled,
	}
	if s.NotThin != "" {
		cases["bricks not thin"] = notThin
	}
	for name, run := range cases {
		t.Run(name, func(t *testing.T) { run(t, s) })
	}
}

func ping(t *testing.T, s Setup) {
	if err := s.Pool.Ping(t.Context()); err != nil {
		t.Error(err)
	}
}

func volume(t *testing.T, s Setup) {
	v, err := s.Pool.Volume(t.Context(), s.Volume)
	if err != nil {
		t.Fatal(err)
	}
	if v.Name != s.Volume || v.ID == "" || !v.Started() || v.SnapshotCount != 0 {
		t.Errorf("Volume = %+v", v)
	}
	if len(v.Bricks) != len(s.Bricks) {
		t.Fatalf("bricks %v, want %v", v.Bricks, s.Bricks)
	}
	for i, b := range v.Bricks {
		if b != s.Bricks[i] {
			t.Errorf("brick %v, want %v", b, s.Bricks[i])
		}
	}
}

func brickStates(t *testing.T, s Setup) {
	states, err := s.Pool.BrickStates(t.Context(), s.Volume)
	if err != nil || len(states) != len(s.Bricks) {
		t.Fatalf("BrickStates = %+v, %v", states, err)
	}
	for i, b := range states {
		if b.Host != s.Bricks[i].Host || b.Path != s.Bricks[i].Path || !b.Online || b.PID < 1 {
			t.Errorf("state %+v, want %v online", b, s.Bricks[i])
		}
	}
}

func thinPools(t *testing.T, s Setup) {
	v, err := s.Pool.Volume(t.Context(), s.Volume)
	if err != nil {
		t.Fatal(err)
	}
	pools, err := s.Pool.Pools(t.Context(), v)
	if s.NoLevels {
		var r interface{ Remedy() string }
		if !errors.Is(err, gluster.ErrUnavailable) || gluster.Temporary(err) || !errors.As(err, &r) || r.Remedy() == "" {
			t.Errorf("Pools = %+v, %v, want a final ErrUnavailable with a remedy", pools, err)
		}
		return
	}
	if err != nil || len(pools) == 0 {
		t.Fatalf("Pools = %+v, %v", pools, err)
	}
	bricks := 0
	for _, p := range pools {
		bricks += len(p.Bricks)
		if p.Host == "" || p.VG == "" || p.Name == "" || p.Size <= 0 || p.Data <= 0 || p.Data > 100 || p.Metadata <= 0 || p.Health != "" {
			t.Errorf("pool %+v", p)
		}
	}
	if bricks != len(v.Bricks) {
		t.Errorf("%d of %d bricks are on the pools %+v", bricks, len(v.Bricks), pools)
	}
}

func limits(t *testing.T, s Setup) {
	l, err := s.Pool.SnapshotLimits(t.Context(), s.Volume)
	if err != nil || l.Hard < 1 || l.Count != 0 {
		t.Errorf("SnapshotLimits = %+v, %v", l, err)
	}
}

func noSnapshots(t *testing.T, s Setup) {
	if all, err := s.Pool.Snapshots(t.Context(), s.Volume); err != nil || len(all) != 0 {
		t.Errorf("Snapshots = %+v, %v, want none", all, err)
	}
}

// refused fails unless err is of the kind, names what was asked for, is final
// and has a remedy.
func refused(t *testing.T, what string, err, kind error, name string) {
	t.Helper()
	var r interface{ Remedy() string }
	switch {
	case !errors.Is(err, kind):
		t.Errorf("%s = %v, want %v", what, err, kind)
	case gluster.Temporary(err):
		t.Errorf("%s = %v, which counts as temporary", what, err)
	case !strings.Contains(err.Error(), name):
		t.Errorf("%s = %v, which does not name %s", what, err, name)
	case !errors.As(err, &r) || r.Remedy() == "":
		t.Errorf("%s = %v, without a remedy", what, err)
	}
}

func missingVolume(t *testing.T, s Setup) {
	ctx, missing := t.Context(), s.Prefix+"no_volume"
	_, err := s.Pool.Volume(ctx, missing)
	refused(t, "Volume", err, gluster.ErrNoVolume, missing)
	_, err = s.Pool.BrickStates(ctx, missing)
	refused(t, "BrickStates", err, gluster.ErrNoVolume, missing)
	_, err = s.Pool.Snapshots(ctx, missing)
	refused(t, "Snapshots", err, gluster.ErrNoVolume, missing)
	_, err = s.Pool.SnapshotLimits(ctx, missing)
	refused(t, "SnapshotLimits", err, gluster.ErrNoVolume, missing)
	_, err = s.Pool.CreateSnapshot(ctx, gluster.SnapshotRequest{Name: s.Prefix + "none", Volume: missing})
	refused(t, "CreateSnapshot", err, gluster.ErrNoVolume, missing)
}

func missingSnapshot(t *testing.T, s Setup) {
	ctx, missing := t.Context(), s.Prefix+"missing"
	_, err := s.Pool.SnapshotInfo(ctx, missing)
	refused(t, "SnapshotInfo", err, gluster.ErrNoSnapshot, missing)
	_, err = s.Pool.SnapshotStatus(ctx, missing)
	refused(t, "SnapshotStatus", err, gluster.ErrNoSnapshot, missing)
	refused(t, "ActivateSnapshot", s.Pool.ActivateSnapshot(ctx, missing), gluster.ErrNoSnapshot, missing)
	refused(t, "DeactivateSnapshot", s.Pool.DeactivateSnapshot(ctx, missing), gluster.ErrNoSnapshot, missing)
	if err := s.Pool.DeleteSnapshot(ctx, missing); err != nil {
		t.Errorf("DeleteSnapshot of a missing one = %v", err)
	}
}

func stoppedVolume(t *testing.T, s Setup) {
	v, err := s.Pool.Volume(t.Context(), s.Stopped)
	if err != nil || v.Started() {
		t.Errorf("Volume = %+v, %v, want one that is not started", v, err)
	}
	_, err = s.Pool.BrickStates(t.Context(), s.Stopped)
	refused(t, "BrickStates", err, gluster.ErrVolumeStopped, s.Stopped)
	_, err = s.Pool.CreateSnapshot(t.Context(), gluster.SnapshotRequest{Name: s.Prefix + "stopped", Volume: s.Stopped})
	refused(t, "CreateSnapshot", err, gluster.ErrVolumeStopped, s.Stopped)
}

func notThin(t *testing.T, s Setup) {
	_, err := s.Pool.CreateSnapshot(t.Context(), gluster.SnapshotRequest{Name: s.Prefix + "thick", Volume: s.NotThin})
	refused(t, "CreateSnapshot", err, gluster.ErrNotThin, s.NotThin)
	if _, err := s.Pool.SnapshotInfo(t.Context(), s.Prefix+"thick"); !errors.Is(err, gluster.ErrNoSnapshot) {
		t.Errorf("after the refusal SnapshotInfo = %v", err)
	}
}

// Names that Gluster or a shell could take for something else are asked nobody.
func malformedNames(t *testing.T, s Setup) {
	ctx := t.Context()
	for _, name := range []string{"", "-force", "a b", "a/b", "../etc", "a;id", "a'b", "$(id)", "ä", "a\nb", "all", strings.Repeat("x", 255)} {
		_, volumeErr := s.Pool.Volume(ctx, name)
		_, listErr := s.Pool.Snapshots(ctx, name)
		_, infoErr := s.Pool.SnapshotInfo(ctx, name)
		_, createErr := s.Pool.CreateSnapshot(ctx, gluster.SnapshotRequest{Name: name, Volume: s.Volume})
		for what, err := range map[string]error{
			"Volume": volumeErr, "Snapshots": listErr, "SnapshotInfo": infoErr, "CreateSnapshot": createErr,
			"ActivateSnapshot": s.Pool.ActivateSnapshot(ctx, name), "DeleteSnapshot": s.Pool.DeleteSnapshot(ctx, name),
		} {
			if !errors.Is(err, gluster.ErrName) || gluster.Temporary(err) {
				t.Errorf("%s(%.20q) = %v, want a final ErrName", what, name, err)
			}
		}
	}
}

func snapshotPath(t *testing.T, s Setup) {
	if got := s.Pool.SnapshotPath("s", s.Volume); got != s.Path {
		t.Errorf("SnapshotPath = %q, want %q", got, s.Path)
	}
}

func cancelled(t *testing.T, s Setup) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := s.Pool.Volume(ctx, s.Volume)
	_, createErr := s.Pool.CreateSnapshot(ctx, gluster.SnapshotRequest{Name: s.Prefix + "never", Volume: s.Volume})
	for what, err := range map[string]error{"Volume": err, "CreateSnapshot": createErr} {
		if !errors.Is(err, context.Canceled) || gluster.Temporary(err) {
			t.Errorf("%s with a cancelled context = %v", what, err)
		}
	}
	if _, err := s.Pool.SnapshotInfo(t.Context(), s.Prefix+"never"); !errors.Is(err, gluster.ErrNoSnapshot) {
		t.Errorf("SnapshotInfo = %v, want ErrNoSnapshot", err)
	}
}
