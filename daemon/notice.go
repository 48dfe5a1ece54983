package daemon

import (
	"cmp"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/glusterbackupd/glusterbackupd/catalog"
)

// NoticeKind is what a notice is about.
type NoticeKind string

// The kinds of notices.
const (
	// NoticeReady: every claim is known, the schedule runs.
	NoticeReady NoticeKind = "ready"
	// NoticeDone: a backup was made; Result has it.
	NoticeDone NoticeKind = "done"
	// NoticeRecovered is NoticeDone after a failure.
	NoticeRecovered NoticeKind = "recovered"
	// NoticeRetry: a backup failed and is tried again at Next.
	NoticeRetry NoticeKind = "retry"
	// NoticeFailed: a backup failed, and the claim waits for its next slot.
	NoticeFailed NoticeKind = "failed"
	// NoticeSkipped: a slot came while the run of an earlier one still works.
	NoticeSkipped NoticeKind = "skipped"
	// NoticeCoverage: the claim was met, or its coverage changed.
	NoticeCoverage NoticeKind = "coverage"
	// NoticeAnnotation: annotations of the claim are not understood.
	NoticeAnnotation NoticeKind = "annotation"
	// NoticeGone: the claim no longer exists.
	NoticeGone NoticeKind = "gone"
	// NoticePruneFailed: backups that the retention does not keep are still
	// there.
	NoticePruneFailed NoticeKind = "prune failed"
	// NoticeRound: all runs of a slot have ended; Round has the result.
	NoticeRound NoticeKind = "round"
	// NoticePool: a thin pool is so full that snapshots of ours were deleted;
	// Pressure has them.
	NoticePool NoticeKind = "pool"
)

// Notice tells what happened. Which fields are set depends on its kind.
type Notice struct {
	Kind      NoticeKind
	Time      time.Time
	Candidate Candidate
	Slot      time.Time
	Next      time.Time
	Result    Result
	Err       error
	Pruned    int
	Round     Round
	Pressure  Pressure
}

// Round sums up the runs of one slot.
type Round struct {
	Slot, Began, Ended time.Time
	Done               int
	// Failed are the claims without a backup of this slot, and why.
	Failed map[catalog.Key]error
}

// rounds are the slots whose runs have not all ended, by their Unix time. First
// backups have no slot; they are told of one by one.
type rounds map[int64]*openRound

// errSuperseded is why a claim has no backup of a slot that nobody has tried to
// the end before the next one came.
var errSuperseded = errors.New("the next slot came before a backup was made")

type openRound struct {
	Round
	open map[catalog.Key]bool
}

// begin notes that a claim is tried for a slot. If an earlier slot still waits
// for it, since it is tried again all the time, that one has failed by err.
func (r rounds) begin(t task, err error, now time.Time) {
	if t.slotless() {
		return
	}
	for slot, o := range r {
		if slot < t.slot.Unix() && o.open[t.Key] {
			delete(o.open, t.Key)
			o.Failed[t.Key] = cmp.Or(err, errSuperseded)
		}
	}
	o := r[t.slot.Unix()]
	if o == nil {
		o = &openRound{Round: Round{Slot: t.slot, Began: now, Failed: map[catalog.Key]error{}}, open: map[catalog.Key]bool{}}
		r[t.slot.Unix()] = o
	}
	o.open[t.Key] = true
}

// end notes the result of a claim: nil for a backup.
func (r rounds) end(t task, err error) {
	o := r[t.slot.Unix()]
	if o == nil || t.slotless() || !o.open[t.Key] {
		return
	}
	delete(o.open, t.Key)
	if err != nil {
		o.Failed[t.Key] = err
		return
	}
	o.Done++
}

// closeRounds tells of the slots that are over: nothing of them works or waits,
// and no volume has its place in the spread still before it.
func (s *Service) closeRounds(now time.Time) {
	for _, slot := range slices.Sorted(maps.Keys(s.rounds)) {
		o := s.rounds[slot]
		for k := range o.open {
			if s.claims[k] == nil {
				delete(o.open, k)
			}
		}
		if len(o.open) > 0 || s.waiting(o.Slot, now) {
			continue
		}
		delete(s.rounds, slot)
		o.Ended = now
		s.say(Notice{Kind: NoticeRound, Slot: o.Slot, Round: o.Round})
	}
}

// waiting says whether a claim still waits for its place in that slot.
func (s *Service) waiting(slot, now time.Time) bool {
	for _, c := range s.claims {
		d, ok := s.dueOf(c, now)
		if ok && !d.slotless() && d.slot.Equal(slot) {
			return true
		}
	}
	return false
}
