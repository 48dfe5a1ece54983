package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/glusterbackupd/glusterbackupd/catalog"
	"github.com/glusterbackupd/glusterbackupd/daemon"
	"github.com/glusterbackupd/glusterbackupd/kube"
	"github.com/glusterbackupd/glusterbackupd/metrics"
	"github.com/glusterbackupd/glusterbackupd/notify"
)

// teller tells the log, the metrics, Kubernetes and [notify] what the service
// says. Its method tell never blocks: what needs a server waits in a queue.
type teller struct {
	log      *slog.Logger
	metrics  *metrics.Metrics
	events   *kube.Events // Nil without Kubernetes.
	notifier atomic.Pointer[notify.Notifier]
	// status is asked for the counts of a summary; it is not called by tell.
	status func() daemon.Status
	queue  chan func(context.Context)
	// kick asks for a round of the janitor.
	kick func()
}

// queued is how many messages may wait for a server; more are dropped and
// counted.
const queued = 1000

// sendTimeout bounds one event. Summaries have a time-out of their own.
const sendTimeout = 30 * time.Second

// run sends what waits, until ctx ends.
func (t *teller) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case send := <-t.queue:
			send(ctx)
		}
	}
}

// flushTimeout bounds the sending of what waits when the daemon ends.
const flushTimeout = 10 * time.Second

// flush waits until what is in the queue was sent.
func (t *teller) flush() {
	sent := make(chan struct{})
	t.enqueue(func(context.Context) { close(sent) }, func() {})
	select {
	case <-sent:
	case <-time.After(flushTimeout):
	}
}

// tell is the service's Notice.
func (t *teller) tell(n daemon.Notice) {
	t.write(n)
	t.count(n)
	if reason, kind, message := eventOf(n); reason != "" {
		t.event(n.Candidate.Claim, kind, reason, message)
	}
	switch n.Kind {
	case daemon.NoticeRound:
		t.summarise(n.Round)
		t.kick() // What the runs took off the list is to be deleted.
	case daemon.NoticeGone:
		t.kick()
	case daemon.NoticeCoverage:
		if n.Candidate.Coverage == daemon.Deleting {
			t.kick()
		}
	default:
	}
}

// write logs a notice.
func (t *teller) write(n daemon.Notice) {
	c := n.Candidate
	log := t.log.With("claim", c.Key.String(), "volume", c.Volume)
	switch n.Kind {
	case daemon.NoticeRetry:
		log.Warn("backup failed and will be tried again", "next", n.Next, "error", n.Err, "remedy", remedyOf(n.Err))
	case daemon.NoticeFailed:
		log.Error("backup failed", "slot", n.Slot, "error", n.Err, "remedy", remedyOf(n.Err))
	case daemon.NoticeDone, daemon.NoticeRecovered:
		log.Info("backup done", "backup", n.Result.Backup.ID, "slot", n.Slot, "took", n.Result.Took, "removed", n.Pruned)
		if n.Err != nil {
			log.Warn("something could not be given back after the backup", "error", n.Err)
		}
	case daemon.NoticePruneFailed:
		log.Warn("old backups were not removed", "error", n.Err, "remedy", remedyOf(n.Err))
	case daemon.NoticeSkipped:
		log.Warn("slot skipped, since the run before it still works", "slot", n.Slot)
	case daemon.NoticeCoverage:
		if c.Coverage != daemon.Covered && c.Coverage != daemon.Foreign {
			log.Info("claim is not backed up", "coverage", string(c.Coverage), "reason", c.Reason)
		}
	case daemon.NoticeAnnotation:
		log.Warn("annotations are not used", "faults", strings.Join(c.Faults, "; "))
	case daemon.NoticeGone:
		log.Info("claim is gone; its backups stay", "coverage", string(c.Coverage))
	case daemon.NoticeRound:
		t.log.Info("slot is over", "slot", n.Slot, "done", n.Round.Done, "failed", len(n.Round.Failed))
	case daemon.NoticeReady, daemon.NoticePool:
	}
}

// count keeps the metrics.
func (t *teller) count(n daemon.Notice) {
	switch n.Kind {
	case daemon.NoticeDone, daemon.NoticeRecovered:
		t.metrics.RunEnded(metrics.Done)
		copied := n.Result.Backup.Info.Copied
		t.metrics.Copied(copied.FilesTransferred, copied.BytesTransferred)
		t.metrics.Pruned(n.Pruned)
	case daemon.NoticeRetry:
		t.metrics.Retried()
		t.refused(n.Err)
	case daemon.NoticeFailed:
		t.metrics.RunEnded(metrics.Failed)
		t.refused(n.Err)
	case daemon.NoticeSkipped:
		t.metrics.RunEnded(metrics.Skipped)
		t.metrics.MissedSlot(metrics.MissedBusy)
	default:
	}
}

// refused counts a snapshot that was not taken because of a thin pool.
func (t *teller) refused(err error) {
	var full *daemon.PoolFullError
	if errors.As(err, &full) {
		t.metrics.SnapshotRefusedForPool()
	}
}

// eventOf is what tenants are told on their claim: what went wrong, and that it
// is right again. That a backup was made is no event.
func eventOf(n daemon.Notice) (reason string, kind kube.EventType, message string) {
	c := n.Candidate
	switch n.Kind {
	case daemon.NoticeRecovered:
		return "BackupRecovered", kube.Normal, "backup " + n.Result.Backup.ID + " was made after a failure"
	case daemon.NoticeFailed, daemon.NoticeRetry:
		if errors.Is(n.Err, daemon.ErrNotCovered) {
			return "NotCovered", kube.Warning, "not covered because " + n.Err.Error()
		}
		if n.Kind == daemon.NoticeFailed {
			return "BackupFailed", kube.Warning, n.Err.Error()
		}
	case daemon.NoticeCoverage:
		switch c.Coverage {
		case daemon.Excluded:
			return "Excluded", kube.Normal, "not backed up: excluded by " + c.Reason
		case daemon.NotCovered:
			return "NotCovered", kube.Warning, "not covered because " + c.Reason
		default:
		}
	case daemon.NoticeAnnotation:
		return "AnnotationInvalid", kube.Warning, strings.Join(c.Faults, "; ")
	default:
	}
	return "", "", ""
}

// verified tells what a verification found. What a tenant can do about damage is
// to know that the newest backup cannot be relied on.
func (t *teller) verified(c daemon.ClaimStatus, b catalog.Backup, err error) {
	log := t.log.With("claim", b.Key.String(), "backup", b.ID)
	if err == nil {
		t.metrics.Verified(metrics.Intact)
		log.Info("backup verified", "bytes", b.Summary.Bytes)
		return
	}
	t.metrics.Verified(metrics.Damaged)
	log.Error("backup is damaged", "error", err, "remedy", remedyOf(err))
	t.event(c.Claim, kube.Warning, "BackupDamaged", "backup "+b.ID+": "+err.Error())
}

// restored tells how a restore ended that a tenant asked for.
func (t *teller) restored(claim kube.Claim, done bool, message string) {
	if done {
		t.event(claim, kube.Normal, "Restored", message)
		return
	}
	t.event(claim, kube.Warning, "RestoreFailed", message)
}

// event puts an event about the claim into the queue.
func (t *teller) event(claim kube.Claim, kind kube.EventType, reason, message string) {
	if t.events == nil || claim.UID == "" {
		return
	}
	t.enqueue(func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(ctx, sendTimeout)
		defer cancel()
		if err := t.events.Record(ctx, claim, kind, reason, message); err != nil {
			t.metrics.EventFailed()
			t.log.Warn("event was not written", "claim", claim.Namespace+"/"+claim.Name, "reason", reason, "error", err)
		}
	}, t.metrics.EventFailed)
}

func (t *teller) enqueue(send func(context.Context), dropped func()) {
	select {
	case t.queue <- send:
	default:
		dropped()
	}
}

// pool tells of a look at thin pools, if anything had to be done.
func (t *teller) pool(p daemon.Pressure) {
	if p.Cause == nil {
		return
	}
	for range p.Deleted {
		t.metrics.SnapshotDeletedForPool()
	}
	message := p.Cause.Error() + "; deleted: " + strings.Join(p.Deleted, ", ")
	if p.Cancelled {
		message = p.Cause.Error() + "; the backup that was being made was given up"
	}
	t.log.Error("thin pool fills up", "volume", p.Volume, "deleted", p.Deleted, "cancelled", p.Cancelled,
		"cause", p.Cause, "remedy", remedyOf(p.Cause))
	for _, c := range t.status().Claims {
		if c.Volume == p.Volume {
			t.event(c.Claim, kube.Warning, "ThinPoolFilling", message)
		}
	}
}

// summarise sends the summary of a slot.
func (t *teller) summarise(r daemon.Round) {
	n := t.notifier.Load()
	if n == nil {
		return
	}
	t.enqueue(func(ctx context.Context) {
		s := notify.Summary{Slot: r.Slot, Started: r.Began, Finished: r.Ended}
		s.Host, _ = os.Hostname() // The summary is of use without it.
		s.Results.Done, s.Results.Failed = r.Done, len(r.Failed)
		for _, c := range t.status().Claims {
			if err := r.Failed[c.Key]; err != nil {
				s.Failed = append(s.Failed, notify.Failure{Claim: c.Key.String(), Volume: c.Volume, Error: err.Error()})
			}
			switch c.Coverage {
			case daemon.Excluded:
				s.Results.Excluded++
			case daemon.NotCovered:
				s.Results.Uncovered++
			default:
			}
		}
		slices.SortFunc(s.Failed, func(a, b notify.Failure) int { return strings.Compare(a.Claim, b.Claim) })
		if err := n.Send(ctx, s); err != nil {
			t.metrics.NotificationFailed()
			t.log.Warn("summary of a slot was not delivered", "error", err, "remedy", remedyOf(err))
		}
	}, t.metrics.NotificationFailed)
}
