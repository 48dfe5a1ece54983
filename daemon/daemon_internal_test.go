package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/glusterbackupd/glusterbackupd/catalog"
	"github.com/glusterbackupd/glusterbackupd/gluster"
)

var errBoom = errors.New("boom")

// errBusy is a driver's temporary error.
var errBusy = fmt.Errorf("volume v: %w", gluster.ErrBusy)

func TestReleasesRunNewestFirstAndGoOn(t *testing.T) {
	var order []string
	r := &releases{log: slog.New(slog.DiscardHandler)}
	for _, name := range []string{"first", "second", "third"} {
		r.add(name, func(ctx context.Context) error {
			if ctx.Err() != nil {
				t.Errorf("%s: released with a context that is over", name)
			}
			if _, bounded := ctx.Deadline(); !bounded {
				t.Errorf("%s: release is not bounded in time", name)
			}
			order = append(order, name)
			if name == "second" {
				return errBoom
			}
			return nil
		})
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	err := r.run(cancelled)
	if !errors.Is(err, errBoom) || err.Error() != "second: boom" {
		t.Errorf("error %v", err)
	}
	if !slices.Equal(order, []string{"third", "second", "first"}) {
		t.Errorf("order %v", order)
	}
	if err := r.run(cancelled); err != nil || len(order) != 3 {
		t.Errorf("a second run released again: %v, %v", order, err)
	}
}

func TestRetry(t *testing.T) {
	busy, final := errBusy, errBoom
	tests := map[string]struct {
		errs     []error
		attempts int
		calls    int
		waited   time.Duration
		want     error
	}{
		"success":                  {[]error{nil}, 3, 1, 0, nil},
		"final error":              {[]error{final}, 3, 1, 0, errBoom},
		"temporary, then success":  {[]error{busy, busy, nil}, 3, 3, 6 * time.Second, nil},
		"temporary for ever":       {[]error{busy, busy, busy}, 2, 3, 6 * time.Second, errBusy},
		"temporary, without retry": {[]error{busy}, 0, 1, 0, errBusy},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start, calls := time.Now(), 0
				err := retry(t.Context(), tt.attempts, func() error {
					calls++
					return tt.errs[calls-1]
				})
				if !errors.Is(err, tt.want) || calls != tt.calls {
					t.Errorf("error %v after %d calls, want %v after %d", err, calls, tt.want, tt.calls)
				}
				if waited := time.Since(start); waited != tt.waited {
					t.Errorf("waited %s, want %s", waited, tt.waited)
				}
			})
		})
	}
}

func TestRetryEndsWithTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		err := retry(ctx, 9, func() error { return errBusy })
		if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, errBusy) {
			t.Errorf("error %v", err)
		}
		if waited := time.Since(start); waited != time.Second {
			t.Errorf("waited %s", waited)
		}
	})
}

func TestGroupMakesOneRunPerVolume(t *testing.T) {
	target := func(claim, volume string) Target {
		return Target{Key: catalog.Key{Namespace: "n", Claim: claim}, Volume: volume}
	}
	runs := group([]Target{target("q", "host"), target("a", "vol_b"), target("d", "host")})
	if len(runs) != 2 || runs[0].volume != "host" || runs[1].volume != "vol_b" {
		t.Fatalf("runs %+v", runs)
	}
	if len(runs[0].targets) != 2 || runs[0].targets[0].Key.Claim != "q" || runs[0].targets[1].Key.Claim != "d" {
		t.Errorf("targets of the shared volume: %+v", runs[0].targets)
	}
}

func TestExpired(t *testing.T) {
	now := time.Date(2018, 12, 2, 12, 0, 0, 0, time.UTC)
	keep := SnapshotRetention{Backup: 48 * time.Hour, Safety: 24 * time.Hour}
	tests := map[string]struct {
		age       time.Duration
		purpose   purpose
		published bool
		keep      SnapshotRetention
		want      bool
	}{
		"fresh, published":              {time.Hour, forBackup, true, keep, false},
		"just before the end":           {48*time.Hour - time.Second, forBackup, true, keep, false},
		"at the end":                    {48 * time.Hour, forBackup, true, keep, true},
		"of a run that died":            {time.Minute, forBackup, false, keep, true},
		"safety needs no backup":        {23 * time.Hour, forSafety, false, keep, false},
		"safety is over":                {24 * time.Hour, forSafety, false, keep, true},
		"nothing is kept":               {0, forBackup, true, SnapshotRetention{}, true},
		"of a restore that failed":      {time.Hour - time.Second, forSafety, false, SnapshotRetention{}, false},
		"no safety snapshot is kept":    {time.Hour, forSafety, false, SnapshotRetention{}, true},
		"from the future, clock is off": {-time.Hour, forBackup, true, keep, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := gluster.Snapshot{Created: now.Add(-tt.age)}
			if got := expired(s, tt.purpose, tt.published, tt.keep, now); got != tt.want {
				t.Errorf("expired is %v, want %v", got, tt.want)
			}
		})
	}
}

func TestPoolsBelow(t *testing.T) {
	limits := Limits{PoolData: 80, PoolMetadata: 70}
	pool := func(data, metadata float64) []gluster.Pool {
		return []gluster.Pool{{VG: "vg", Name: "tp0", Data: 1}, {VG: "vg", Name: "tp1", Host: "h", Data: data, Metadata: metadata}}
	}
	if err := poolsBelow("v", pool(79.9, 69.9), limits); err != nil {
		t.Errorf("below both limits: %v", err)
	}
	for what, pools := range map[string][]gluster.Pool{"data": pool(80, 0), "metadata": pool(0, 70)} {
		err := poolsBelow("v", pools, limits)
		var full *PoolFullError
		if !errors.As(err, &full) || full.What != what || full.Pool.Name != "tp1" || !errors.Is(err, ErrNotCovered) {
			t.Errorf("%s at its limit: %v", what, err)
		}
	}
}

func TestRoom(t *testing.T) {
	const gib = 1 << 30
	pools := []gluster.Pool{{Name: "a", Size: 10 * gib, Data: 30}, {Name: "b", Size: 10 * gib, Data: 70}}
	v := gluster.Volume{Name: "v"}
	needed, least, err := room(v, pools, gib/2, Limits{PoolData: 80})
	if err != nil || needed != gib/2 || least < gib*99/100 || least > gib {
		t.Errorf("needed %d, least %d, %v", needed, least, err)
	}
	_, _, err = room(v, pools, 2*gib, Limits{PoolData: 80})
	var no *NoRoomError
	if !errors.As(err, &no) || no.Pool.Name != "b" {
		t.Errorf("2 GiB into a pool with 1 GiB below its limit: %v", err)
	}
}

func TestCleanPath(t *testing.T) {
	for in, want := range map[string]string{
		"": "", ".": "", "/": "", "a": "a", "/a/b/": "a/b", "a/./b": "a/b", "a/../b": "b", "..a": "..a",
	} {
		if got, err := cleanPath(in); err != nil || got != want {
			t.Errorf("cleanPath(%q) = %q, %v; want %q", in, got, err, want)
		}
	}
	for _, in := range []string{"..", "../x", "a/../..", "/..", "a/../../b"} {
		if got, err := cleanPath(in); !errors.Is(err, ErrInvalid) {
			t.Errorf("cleanPath(%q) = %q, %v; want an error", in, got, err)
		}
	}
}

// fakeMounts are mount points that were left, and what was taken away.
type fakeMounts struct {
	Mounts
	left, gone []string
}

func (m *fakeMounts) Leftovers() ([]string, error) { return m.left, nil }

func (m *fakeMounts) Unmount(_ context.Context, dir string) error {
	m.gone = append(m.gone, dir)
	return nil
}

// TestTidyChecksLeavesRunningOnes has the mount of a check that runs (process 1
// always does), and those of one that died and of an earlier process with this
// one's number.
func TestTidyChecksLeavesRunningOnes(t *testing.T) {
	dead := exec.Command("true")
	if err := dead.Run(); err != nil {
		t.Fatal(err)
	}
	died := fmt.Sprintf("/mnt/check-%d-vol_a", dead.Process.Pid)
	own := fmt.Sprintf("/mnt/check-%d-vol_a", os.Getpid())
	m := &fakeMounts{left: []string{"/mnt/check-1-vol_a", died, own, "/mnt/else"}}
	if err := TidyChecks(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	if want := []string{died, own, "/mnt/else"}; !slices.Equal(m.gone, want) {
		t.Errorf("taken away %q, want %q", m.gone, want)
	}
}
