package metrics_test

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/glusterbackupd/glusterbackupd/metrics"
)

// full is a state in which nothing is unknown.
func full() metrics.State {
	return metrics.State{
		Claims: []metrics.Claim{{
			Namespace: "shop", Claim: "db", Volume: "vol_1", Kind: "block", State: metrics.Failing,
			LastSuccess: time.Unix(1000, 500e6), ExpectedInterval: 24 * time.Hour, NextRun: time.Unix(90000, 0),
			LastSize: 1 << 30, Backups: 7,
		}},
		Pools:        []metrics.Pool{{Host: "gluster1", VG: "vg_1", Pool: "tp_1", Volume: "vol_1", Data: 0.5, Metadata: 0.25}},
		Snapshots:    map[string]int{"vol_1": 2},
		Disk:         metrics.BackupDisk{Free: 250, Total: 1000},
		LastVerified: time.Unix(2000, 0),
	}
}

func newMetrics(t *testing.T, state func() metrics.State) *metrics.Metrics {
	t.Helper()
	m, err := metrics.New(metrics.Options{State: state, Version: "1.2.3", Start: time.Unix(500, 0)})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// get asks the handler and returns status and body.
func get(t *testing.T, h http.Handler, path string) (code int, body string) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	return w.Code, w.Body.String()
}

// ours returns the samples whose names begin with prefix, without comments.
func ours(t *testing.T, m *metrics.Metrics, prefix string) string {
	t.Helper()
	code, body := get(t, m.Handler(metrics.HealthChecks{}), "/metrics")
	if code != http.StatusOK {
		t.Fatalf("/metrics: %d %s", code, body)
	}
	var lines []string
	for line := range strings.Lines(body) {
		if strings.HasPrefix(line, "glusterbackupd_"+prefix) {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "")
}

func TestState(t *testing.T) {
	m := newMetrics(t, full)
	tests := map[string]string{
		"claim_": `glusterbackupd_claim_backups{claim="db",namespace="shop"} 7
glusterbackupd_claim_expected_interval_seconds{claim="db",namespace="shop"} 86400
glusterbackupd_claim_info{claim="db",kind="block",namespace="shop",volume="vol_1"} 1
glusterbackupd_claim_last_backup_size_bytes{claim="db",namespace="shop"} 1.073741824e+09
glusterbackupd_claim_last_success_timestamp_seconds{claim="db",namespace="shop"} 1000.5
glusterbackupd_claim_next_run_timestamp_seconds{claim="db",namespace="shop"} 90000
glusterbackupd_claim_state{claim="db",namespace="shop",state="covered"} 0
glusterbackupd_claim_state{claim="db",namespace="shop",state="excluded"} 0
glusterbackupd_claim_state{claim="db",namespace="shop",state="failing"} 1
glusterbackupd_claim_state{claim="db",namespace="shop",state="pending"} 0
glusterbackupd_claim_state{claim="db",namespace="shop",state="uncovered"} 0
`,
		"thin_pool_": `glusterbackupd_thin_pool_data_ratio{host="gluster1",pool="tp_1",vg="vg_1"} 0.5
glusterbackupd_thin_pool_info{host="gluster1",pool="tp_1",vg="vg_1",volume="vol_1"} 1
glusterbackupd_thin_pool_metadata_ratio{host="gluster1",pool="tp_1",vg="vg_1"} 0.25
`,
		"snapshots": "glusterbackupd_snapshots{volume=\"vol_1\"} 2\n",
		"backup_disk": `glusterbackupd_backup_disk_free_bytes 250
glusterbackupd_backup_disk_size_bytes 1000
`,
		"last_verify": "glusterbackupd_last_verify_timestamp_seconds 2000\n",
		"start":       "glusterbackupd_start_time_seconds 500\n",
	}
	for prefix, want := range tests {
		t.Run(prefix, func(t *testing.T) {
			if got := ours(t, m, prefix); got != want {
				t.Errorf("got:\n%s\nwant:\n%s", got, want)
			}
		})
	}
}

// TestUnknown wants nothing to be exposed that is not known: a 0 would be
// taken for 1970, or for a full disk.
func TestUnknown(t *testing.T) {
	m := newMetrics(t, func() metrics.State {
		return metrics.State{Claims: []metrics.Claim{{Namespace: "shop", Claim: "new", State: metrics.Pending}}}
	})
	got := ours(t, m, "")
	for _, name := range []string{"last_success", "next_run", "expected_interval", "last_backup_size", "backup_disk", "last_verify", "thin_pool"} {
		if strings.Contains(got, name) {
			t.Errorf("%s is exposed without being known:\n%s", name, got)
		}
	}
	if want := `glusterbackupd_claim_backups{claim="new",namespace="shop"} 0`; !strings.Contains(got, want) {
		t.Errorf("%s is missing in:\n%s", want, got)
	}
}

// TestTwice wants a claim or a pool that is named twice to be exposed once, as
// the registry takes a double for a fault of the scrape.
func TestTwice(t *testing.T) {
	var log bytes.Buffer
	m, err := metrics.New(metrics.Options{
		Version: "1.2.3",
		Logger:  slog.New(slog.NewTextHandler(&log, nil)),
		State: func() metrics.State {
			s := full()
			s.Claims = append(s.Claims, s.Claims[0])
			other := s.Pools[0]
			other.Volume = "vol_2"
			s.Pools = append(s.Pools, other, other)
			return s
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := `glusterbackupd_thin_pool_data_ratio{host="gluster1",pool="tp_1",vg="vg_1"} 0.5
glusterbackupd_thin_pool_info{host="gluster1",pool="tp_1",vg="vg_1",volume="vol_1"} 1
glusterbackupd_thin_pool_info{host="gluster1",pool="tp_1",vg="vg_1",volume="vol_2"} 1
glusterbackupd_thin_pool_metadata_ratio{host="gluster1",pool="tp_1",vg="vg_1"} 0.25
`
	if got := ours(t, m, "thin_pool"); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
	if got := ours(t, m, "claim_backups"); strings.Count(got, "\n") != 1 {
		t.Errorf("claim_backups:\n%s\nwant one line", got)
	}
	if log.Len() > 0 {
		t.Errorf("log: %s", &log)
	}
}

// TestFaultyLabel wants one claim that cannot be exposed to cost only its own
// metrics, and a line in the log.
func TestFaultyLabel(t *testing.T) {
	var log bytes.Buffer
	m, err := metrics.New(metrics.Options{
		Version: "1.2.3",
		Logger:  slog.New(slog.NewTextHandler(&log, nil)),
		State: func() metrics.State {
			s := full()
			s.Claims = append(s.Claims, metrics.Claim{Namespace: "shop", Claim: "\xff"})
			return s
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := ours(t, m, "claim_backups"); !strings.Contains(got, `claim="db"`) {
		t.Errorf("claim_backups:\n%s\nwant the claim that has no fault", got)
	}
	if !strings.Contains(log.String(), "scrape is not complete") {
		t.Errorf("log: %s", log.String())
	}
}

func TestEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // Time begins at 2000-01-01, which is 946684800.
		m := newMetrics(t, full)
		m.RunEnded(metrics.Done)
		m.RunEnded(metrics.Done)
		m.RunEnded(metrics.Skipped)
		m.PhaseEnded(metrics.Copy, 90*time.Second)
		m.Copied(3, 4096)
		m.Copied(-1, -1)
		m.MissedSlot(metrics.MissedBusy)
		m.SnapshotDeletedForPool()
		m.SnapshotRefusedForPool()
		m.SnapshotRefusedForPool()
		m.Retried()
		m.Pruned(5)
		m.EventFailed()
		m.NotificationFailed()
		if got := ours(t, m, "config_last_reload_successful"); got != "glusterbackupd_config_last_reload_successful 1\n" {
			t.Errorf("after the start: %s", got)
		}
		m.Reloaded(true)
		time.Sleep(time.Hour)
		m.Reloaded(false)
		for _, want := range []string{
			`runs_total{result="cancelled"} 0`, `runs_total{result="done"} 2`,
			`runs_total{result="failed"} 0`, `runs_total{result="skipped"} 1`,
			`phase_duration_seconds_bucket{phase="copy",le="64"} 0`,
			`phase_duration_seconds_bucket{phase="copy",le="256"} 1`,
			`phase_duration_seconds_sum{phase="copy"} 90`,
			`phase_duration_seconds_count{phase="mount"} 0`,
			"copied_files_total 3", "copied_bytes_total 4096",
			`missed_slots_total{reason="busy"} 1`, `missed_slots_total{reason="stopped"} 0`,
			"last_missed_slot_timestamp_seconds 9.466848e+08",
			"pool_pressure_snapshots_deleted_total 1", "pool_pressure_snapshots_refused_total 2",
			"retries_total 1", "pruned_backups_total 5", "event_errors_total 1", "notification_errors_total 1",
			"config_last_reload_successful 0", "config_last_reload_success_timestamp_seconds 9.466848e+08",
		} {
			name := strings.FieldsFunc(want, func(r rune) bool { return r == '{' || r == ' ' })[0]
			if got := ours(t, m, name); !strings.Contains(got, "glusterbackupd_"+want+"\n") {
				t.Errorf("%s is missing in:\n%s", want, got)
			}
		}
	})
}

func TestBuildInfo(t *testing.T) {
	got := ours(t, newMetrics(t, full), "build_info")
	if !strings.HasPrefix(got, `glusterbackupd_build_info{goversion="go`) || !strings.HasSuffix(got, `version="1.2.3"} 1`+"\n") {
		t.Errorf("build_info: %s", got)
	}
}

// TestLint holds the names against the rules of Prometheus.
func TestLint(t *testing.T) {
	problems, err := testutil.GatherAndLint(gatherer(t, newMetrics(t, full)))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

func TestNewRefuses(t *testing.T) {
	if _, err := metrics.New(metrics.Options{Version: "1"}); err == nil {
		t.Error("no State is accepted")
	}
	if _, err := metrics.New(metrics.Options{State: full}); err == nil {
		t.Error("no Version is accepted")
	}
}
