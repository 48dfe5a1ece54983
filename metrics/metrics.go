// Package metrics serves what the daemon knows about itself: Prometheus
// metrics, liveness, readiness and a status in JSON.
//
// What is true now (claims, thin pools, snapshots, the BackupDisk) is asked for
// at each scrape, so that it cannot be stale; what happens is counted by
// methods of [Metrics]. The package decides nothing and knows no claim by
// itself. It has no password and no TLS: the address it listens on is the only
// protection.
//
// docs/monitoring/README.md describes each metric, and a test compares it with
// this code.
package metrics

import (
	"errors"
	"log/slog"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// Result is how a run ended.
type Result string

// The results of a run.
const (
	Done      Result = "done"
	Failed    Result = "failed"
	Cancelled Result = "cancelled"
	Skipped   Result = "skipped" // Not begun, since it had no reason to or a limit was against it.
)

// VerifyResult is what a verification found.
type VerifyResult string

// The results of a verification.
const (
	Intact  VerifyResult = "intact"
	Damaged VerifyResult = "damaged" // Or it could not be read.
)

// Phase is a part of a run.
type Phase string

// The phases of a run.
const (
	Preflight Phase = "preflight" // Bricks, quorum, limits and thin pools.
	Snapshot  Phase = "snapshot"
	Mount     Phase = "mount"
	Copy      Phase = "copy"
	Verify    Phase = "verify" // What was copied is read back.
	Publish   Phase = "publish"
	Release   Phase = "release" // Unmounting and giving the snapshot back.
)

// MissedReason is why a slot of a schedule passed without a run.
type MissedReason string

// The reasons for missed slots.
const (
	MissedStopped  MissedReason = "stopped"   // The daemon did not run at that time.
	MissedBusy     MissedReason = "busy"      // The run before was still under way.
	MissedNotReady MissedReason = "not_ready" // Something that every run needs was missing.
)

// Options configure [New].
type Options struct {
	// State returns what is true now. It is called at each scrape, from
	// several goroutines, and must answer from memory: a scrape that waits for
	// Gluster fails just when it matters. Required.
	State func() State
	// Version of the program, for glusterbackupd_build_info. Required.
	Version string
	// Start is when the daemon started; zero means now.
	Start time.Time
	// Logger gets faults of State that cost a scrape some of its metrics.
	// Optional.
	Logger *slog.Logger
}

// Metrics counts events and describes the state. Its methods are safe for
// concurrent use, do not block, and never fail.
type Metrics struct {
	registry *prometheus.Registry
	log      *slog.Logger
	*instruments
}

// New returns Metrics with a registry of its own.
func New(o Options) (*Metrics, error) {
	if o.State == nil || o.Version == "" {
		return nil, errors.New("metrics: State and Version are required")
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Start.IsZero() {
		o.Start = time.Now()
	}
	m := &Metrics{registry: prometheus.NewRegistry(), log: o.Logger}
	m.instruments = newInstruments(m.registry)
	m.build.WithLabelValues(o.Version, runtime.Version()).Set(1)
	m.start.Set(seconds(o.Start))
	m.reloadOK.Set(1) // With a configuration that is not valid there is no daemon.
	m.reloadTime.Set(seconds(o.Start))
	for _, c := range []prometheus.Collector{
		newStateCollector(o.State),
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	} {
		if err := m.registry.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// RunEnded counts a run.
func (m *Metrics) RunEnded(r Result) { m.runs.WithLabelValues(string(r)).Inc() }

// PhaseEnded notes how long a phase of one run took, whether or not it
// succeeded.
func (m *Metrics) PhaseEnded(p Phase, took time.Duration) {
	m.phases.WithLabelValues(string(p)).Observe(took.Seconds())
}

// Copied counts what a run wrote to the BackupDisk.
func (m *Metrics) Copied(files, bytes int64) {
	add(m.copiedFiles, files)
	add(m.copiedBytes, bytes)
}

// MissedSlot counts a slot without a run, at the time when that was noticed.
func (m *Metrics) MissedSlot(r MissedReason) {
	m.missed.WithLabelValues(string(r)).Inc()
	m.lastMissed.Set(seconds(time.Now()))
}

// SnapshotDeletedForPool counts a snapshot of ours that was deleted before its
// time because its thin pool filled up.
func (m *Metrics) SnapshotDeletedForPool() { m.poolDeleted.Inc() }

// SnapshotRefusedForPool counts a snapshot that was not taken because its thin
// pool was too full.
func (m *Metrics) SnapshotRefusedForPool() { m.poolRefused.Inc() }

// Verified counts a backup that was read again.
func (m *Metrics) Verified(r VerifyResult) { m.verified.WithLabelValues(string(r)).Inc() }

// Retried counts a step that is tried again after a temporary error.
func (m *Metrics) Retried() { m.retries.Inc() }

// Pruned counts backups that the retention removed.
func (m *Metrics) Pruned(backups int) { add(m.pruned, int64(backups)) }

// EventFailed counts an event that Kubernetes did not take.
func (m *Metrics) EventFailed() { m.eventErrors.Inc() }

// NotificationFailed counts a summary that somebody did not get.
func (m *Metrics) NotificationFailed() { m.notificationErrors.Inc() }

// Reloaded notes the result of reading the configuration again; that of the
// first time is known from the daemon's being there.
func (m *Metrics) Reloaded(ok bool) {
	if !ok {
		m.reloadOK.Set(0)
		return
	}
	m.reloadOK.Set(1)
	m.reloadTime.Set(seconds(time.Now()))
}

// add ignores what is not positive: a wrong number must not end the daemon, as
// a counter that is told to decrease would.
func add(c prometheus.Counter, n int64) {
	if n > 0 {
		c.Add(float64(n))
	}
}

func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }
