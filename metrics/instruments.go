package metrics

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// namespace is the first part of all names.
const namespace = "glusterbackupd"

// instruments are the metrics that methods of Metrics change.
type instruments struct {
	runs, missed, verified           *prometheus.CounterVec
	phases                           *prometheus.HistogramVec
	copiedBytes, copiedFiles         prometheus.Counter
	poolDeleted, poolRefused         prometheus.Counter
	retries, pruned                  prometheus.Counter
	eventErrors, notificationErrors  prometheus.Counter
	lastMissed, reloadOK, reloadTime prometheus.Gauge
	start                            prometheus.Gauge
	build                            *prometheus.GaugeVec
}

func newInstruments(r prometheus.Registerer) *instruments {
	f := promauto.With(r)
	i := &instruments{
		runs:        counters(f, "runs_total", "Runs that ended, by result: done, failed, cancelled or skipped.", "result"),
		missed:      counters(f, "missed_slots_total", "Slots of schedules that passed without a run, by reason: stopped, busy or not_ready.", "reason"),
		verified:    counters(f, "verifications_total", "Backups that the daemon read again, by result: intact or damaged.", "result"),
		phases:      histograms(f, "phase_duration_seconds", "How long the phases of runs took: preflight, snapshot, mount, copy, verify, publish or release."),
		copiedBytes: counter(f, "copied_bytes_total", "Bytes that runs wrote to the BackupDisk."),
		copiedFiles: counter(f, "copied_files_total", "Files that runs wrote to the BackupDisk."),
		poolDeleted: counter(f, "pool_pressure_snapshots_deleted_total", "Own snapshots deleted before their time because a thin pool filled up."),
		poolRefused: counter(f, "pool_pressure_snapshots_refused_total", "Snapshots not taken because a thin pool was too full."),
		retries:     counter(f, "retries_total", "Steps that were tried again after a temporary error."),
		pruned:      counter(f, "pruned_backups_total", "Backups that the retention removed."),
		eventErrors: counter(f, "event_errors_total", "Events that Kubernetes did not take."),
		notificationErrors: counter(f, "notification_errors_total",
			"Summaries of slots that the ping address or the webhook did not get."),
		lastMissed: gauge(f, "last_missed_slot_timestamp_seconds", "When a missed slot was last noticed; 0 if never since the start."),
		reloadOK:   gauge(f, "config_last_reload_successful", "1 if the configuration was valid when it was last read, else 0."),
		reloadTime: gauge(f, "config_last_reload_success_timestamp_seconds", "When a valid configuration was last read."),
		start:      gauge(f, "start_time_seconds", "When the daemon started."),
		build: f.NewGaugeVec(prometheus.GaugeOpts{
			Namespace: namespace, Name: "build_info", Help: "Always 1; the labels tell the program's and Go's version.",
		}, []string{"version", "goversion"}),
	}
	i.preset()
	return i
}

// preset makes the series of all known labels, so that the first event is an
// increase and not a new series, which rate and increase do not see.
func (i *instruments) preset() {
	for _, r := range []Result{Done, Failed, Cancelled, Skipped} {
		i.runs.WithLabelValues(string(r))
	}
	for _, r := range []MissedReason{MissedStopped, MissedBusy, MissedNotReady} {
		i.missed.WithLabelValues(string(r))
	}
	for _, r := range []VerifyResult{Intact, Damaged} {
		i.verified.WithLabelValues(string(r))
	}
	for _, p := range []Phase{Preflight, Snapshot, Mount, Copy, Verify, Publish, Release} {
		i.phases.WithLabelValues(string(p))
	}
}

func counter(f promauto.Factory, name, help string) prometheus.Counter {
	return f.NewCounter(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help})
}

func counters(f promauto.Factory, name, help, label string) *prometheus.CounterVec {
	return f.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}, []string{label})
}

func gauge(f promauto.Factory, name, help string) prometheus.Gauge {
	return f.NewGauge(prometheus.GaugeOpts{Namespace: namespace, Name: name, Help: help})
}

// histograms have buckets from a quarter of a second, which a mount takes, to
// more than the four hours that a run may take.
func histograms(f promauto.Factory, name, help string) *prometheus.HistogramVec {
	return f.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: namespace, Name: name, Help: help,
		Buckets: prometheus.ExponentialBuckets(0.25, 4, 9),
	}, []string{"phase"})
}
