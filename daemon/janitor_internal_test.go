package daemon

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/glusterbackupd/glusterbackupd/catalog"
	"github.com/glusterbackupd/glusterbackupd/gluster"
)

// goneCluster is a Gluster without the volume.
type goneCluster struct{ Gluster }

func (goneCluster) Snapshots(context.Context, string) ([]gluster.Snapshot, error) {
	return nil, fmt.Errorf("volume vol: %w", gluster.ErrNoVolume)
}

// TestJanitorReleasesDeletedClaims looks after a volume with two snapshots of
// ours, which nothing else would delete yet, and one of somebody else.
func TestJanitorReleasesDeletedClaims(t *testing.T) {
	claim := func(name string, c Coverage, volume string, hosts ...string) ClaimStatus {
		return ClaimStatus{Candidate: Candidate{
			Key: catalog.Key{Namespace: "office", Claim: name}, Coverage: c, Volume: volume, Hosts: hosts,
		}}
	}
	other := claim("other", Covered, "vol_other", "host")
	lost := claim("b", NotCovered, "")
	lost.Last.Volume = "vol"
	tests := map[string]struct {
		claims  []ClaimStatus
		running bool // A run works on the volume.
		locked  bool // Another process does.
		fault   error
		unready bool

		left  int
		pause time.Duration
		warns bool
	}{
		"deleted":                       {claims: []ClaimStatus{claim("a", Deleting, "vol", "host")}, left: 1, pause: janitorPause},
		"its hosts are not known":       {claims: []ClaimStatus{claim("a", Deleting, "vol"), other}, left: 1, pause: janitorPause},
		"covered":                       {claims: []ClaimStatus{claim("a", Covered, "vol", "host")}, left: 3, pause: janitorPause},
		"excluded, hosts are not known": {claims: []ClaimStatus{claim("a", Excluded, "vol"), other}, left: 3, pause: janitorPause},
		"another image stays on it":     {claims: []ClaimStatus{claim("a", Deleting, "vol", "host"), claim("b", Covered, "vol", "host")}, left: 3, pause: janitorPause},
		"another image was on it last":  {claims: []ClaimStatus{claim("a", Deleting, "vol", "host"), lost}, left: 3, pause: janitorPause},
		"both images are deleted":       {claims: []ClaimStatus{claim("a", Deleting, "vol", "host"), claim("b", Deleting, "vol", "host")}, left: 1, pause: janitorPause},
		"a run works on it":             {claims: []ClaimStatus{claim("a", Deleting, "vol", "host")}, running: true, left: 3, pause: janitorSoon},
		"another process works on it":   {claims: []ClaimStatus{claim("a", Deleting, "vol", "host")}, locked: true, left: 3, pause: janitorSoon},
		"they cannot be deleted":        {claims: []ClaimStatus{claim("a", Deleting, "vol", "host")}, fault: errBusy, left: 3, pause: janitorRetry, warns: true},
		"nothing is known yet":          {unready: true, left: 3, pause: janitorSoon},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c := &fullCluster{fault: tt.fault}
			d := onDisk(t, c)
			for n, description := range []string{d.description(forSafety), "of somebody", d.description(forSafety)} {
				c.snapshots = append(c.snapshots, gluster.Snapshot{Name: fmt.Sprint("gb-vol-", n), Description: description, Created: time.Now()})
			}
			if tt.locked {
				lock, err := d.o.Catalog.Lock("backup", catalog.VolumeScope("vol"))
				if err != nil {
					t.Fatal(err)
				}
				defer lock.Release()
			}
			var log bytes.Buffer
			j, cancelled := janitorOf(t, d, &log, Status{Ready: !tt.unready, Claims: tt.claims}, tt.running)
			if pause := j.round(t.Context()); pause != tt.pause {
				t.Errorf("the next round is after %s, want %s", pause, tt.pause)
			}
			if len(c.snapshots) != tt.left || !slices.ContainsFunc(c.snapshots, func(s gluster.Snapshot) bool { return s.Description == "of somebody" }) {
				t.Errorf("left are %+v, want %d", c.snapshots, tt.left)
			}
			if tt.running != slices.Equal(*cancelled, []string{"vol"}) {
				t.Errorf("cancelled %v", *cancelled)
			}
			if warned := bytes.Contains(log.Bytes(), []byte("level=WARN")); warned != tt.warns {
				t.Errorf("log: %s", log.Bytes())
			}
		})
	}
}

func janitorOf(t *testing.T, d *Daemon, log *bytes.Buffer, st Status, running bool) (j *Janitor, cancelled *[]string) {
	t.Helper()
	cancelled = &[]string{}
	j, err := NewJanitor(JanitorOptions{
		Daemon: func() *Daemon { return d }, Status: func() Status { return st },
		Cancel: func(volume string, _ error) bool {
			if running {
				*cancelled = append(*cancelled, volume)
			}
			return running
		},
		Policy: func() (keep, grid time.Duration) { return 0, time.Hour },
		Pruned: func(int) {},
		Logger: slog.New(slog.NewTextHandler(log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	return j, cancelled
}

// TestJanitorOfAVolumeThatIsGone is content: Heketi was faster.
func TestJanitorOfAVolumeThatIsGone(t *testing.T) {
	d := onDisk(t, goneCluster{})
	if err := d.DropSnapshots(t.Context(), []string{"host"}, "vol"); err != nil {
		t.Error(err)
	}
}

// TestLedger does not take a backup of a wrong clock for the newest one.
func TestLedger(t *testing.T) {
	d := onDisk(t, &fullCluster{})
	now := time.Now().Truncate(time.Second).UTC()
	k := catalog.Key{Namespace: "office", Claim: "files"}
	ledger := CatalogLedger{Catalog: d.o.Catalog, Snapshots: 48 * time.Hour}
	if _, found, err := ledger.Last(k, now); found || err != nil {
		t.Errorf("no backup: %t, %v", found, err)
	}
	ids := map[time.Duration]string{}
	for _, age := range []time.Duration{72 * time.Hour, 24 * time.Hour, time.Hour, -30 * time.Minute, -2 * time.Hour} {
		ids[age] = published(t, d.o.Catalog, k, now.Add(-age)).ID
	}
	for at, want := range map[time.Time]string{
		now: ids[-30*time.Minute], now.Add(2 * time.Hour): ids[-2*time.Hour], now.Add(-3 * time.Hour): ids[24*time.Hour],
	} {
		last, found, err := ledger.Last(k, at)
		if err != nil || !found || last.ID != want || last.Count != 5 {
			t.Errorf("at %s: %+v, %t, %v, want %s", at, last, found, err, want)
		}
		if !last.Finished.Equal(last.Started.Add(time.Minute)) || last.Took != time.Minute || last.Volume != "vol" {
			t.Errorf("at %s: %+v", at, last)
		}
	}
	last, _, err := ledger.Last(k, now)
	if err != nil || len(last.Snapshots) != 4 { // All but the one of three days ago.
		t.Errorf("snapshots %v, %v", last.Snapshots, err)
	}
}

// published puts an empty backup on the BackupDisk.
func published(t *testing.T, r *catalog.Repository, k catalog.Key, at time.Time) catalog.Backup {
	t.Helper()
	return publish(t, r, k, at, catalog.Info{
		Kind: catalog.KindFile, Volume: "vol", Snapshot: "gb-" + at.Format(time.RFC3339), Started: at, Finished: at.Add(time.Minute),
	})
}

func publish(t testing.TB, r *catalog.Repository, k catalog.Key, at time.Time, info catalog.Info) catalog.Backup {
	t.Helper()
	lock, err := r.Lock("test", catalog.ClaimScope(k))
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Release()
	s, err := r.Begin(k, at)
	if err != nil {
		t.Fatal(err)
	}
	b, err := s.Publish(t.Context(), info, catalog.PublishOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return b
}
