package daemon

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/glusterbackupd/glusterbackupd/catalog"
)

// outcome is what became of a run.
type outcome struct {
	run   planned
	began time.Time
	// held is set when another process has the volume; then nothing was tried.
	held error
	// results are those of the claims that were tried, and lasts the newest
	// backups of all claims of the run as the BackupDisk says afterwards.
	results []Result
	lasts   map[catalog.Key]Last
	pruned  map[catalog.Key]int
	// prunes are errors of pruning: the backups are made all the same.
	prunes map[catalog.Key]error
}

// The wait before a run is tried again: it doubles with each attempt.
const (
	firstPause = time.Minute
	maxPause   = time.Hour
)

// start begins a run in a goroutine of its own.
func (s *Service) start(ctx context.Context, p planned, now time.Time) {
	ctx, cancel := context.WithCancelCause(ctx)
	r := &runState{volume: p.volume, host: hostOf(p.hosts), began: now, cancel: cancel}
	for _, c := range p.claims {
		r.claims = append(r.claims, c.Key)
		s.rounds.begin(c, s.claims[c.Key].err, now)
	}
	s.running[p.volume] = r
	delete(s.held, p.volume)
	go func() {
		defer cancel(nil)
		s.done <- s.work(ctx, p, now)
	}()
}

// work makes the backups of one run, unless another daemon has made or is
// making them: the lease says who works on the volume, and the BackupDisk is
// read again once it is ours.
func (s *Service) work(ctx context.Context, p planned, began time.Time) outcome {
	o := outcome{run: p, began: began, lasts: map[catalog.Key]Last{}, pruned: map[catalog.Key]int{}, prunes: map[catalog.Key]error{}}
	if s.o.Leases != nil {
		held, release, err := s.o.Leases.Acquire(ctx, p.volume)
		if err != nil {
			o.refused(err)
			return o
		}
		defer release()
		ctx = held
	}
	tasks, err := s.stillDue(p, o.lasts)
	if err != nil {
		o.refused(err)
		return o
	}
	if len(tasks) == 0 {
		return o
	}
	var open []Candidate
	for _, t := range tasks {
		open = append(open, t.Candidate)
	}
	o.results = s.o.Worker.BackUp(ctx, open)
	for n, r := range o.results {
		if heldElsewhere(r.Err) && r.Backup.ID == "" {
			o.held = r.Err
		}
		if r.Backup.ID == "" || ctx.Err() != nil {
			continue
		}
		o.pruned[open[n].Key], o.prunes[open[n].Key] = s.o.Worker.Prune(ctx, open[n])
	}
	for _, c := range open {
		// An error meets the next run too, and is told of then.
		if last, found, err := s.o.Ledger.Last(c.Key, s.o.Now()); err == nil && found {
			o.lasts[c.Key] = last
		}
	}
	return o
}

// heldElsewhere says whether another process has the volume or the claim: a
// daemon by a lease, or any process by a lock.
func heldElsewhere(err error) bool {
	return errors.Is(err, ErrHeldElsewhere) || errors.Is(err, catalog.ErrLocked)
}

// refused notes that nothing was tried, and why.
func (o *outcome) refused(err error) {
	if heldElsewhere(err) {
		o.held = err
		return
	}
	for _, c := range o.run.claims {
		o.results = append(o.results, Result{Target: c.target(), Err: fmt.Errorf("%s: %w", c.target(), err)})
	}
}

// stillDue returns the claims of a run whose slot no backup on the BackupDisk
// covers, and notes the newest backups of all.
func (s *Service) stillDue(p planned, lasts map[catalog.Key]Last) ([]task, error) {
	var open []task
	for _, c := range p.claims {
		last, found, err := s.o.Ledger.Last(c.Key, s.o.Now())
		if err != nil {
			return nil, err
		}
		if found {
			lasts[c.Key] = last
		}
		// Who asks for a backup wants one that began after that; a slot is also
		// served by one that was still being made.
		late := last.Started.Before(c.slot) && (c.demanded || last.Finished.Before(c.slot))
		if !found || !c.first && late {
			open = append(open, c)
		}
	}
	return open, nil
}

// target is the candidate as far as it is known before the run.
func (c Candidate) target() Target {
	return Target{Key: c.Key, Volume: c.Volume, Hosts: c.Hosts, Image: c.Image}
}

// finish takes over what became of a run.
func (s *Service) finish(o outcome) {
	now := s.o.Now()
	delete(s.running, o.run.volume)
	if o.held != nil {
		s.held[o.run.volume] = now.Add(s.o.HeldPause)
	}
	results := map[catalog.Key]Result{}
	for _, r := range o.results {
		results[r.Target.Key] = r
	}
	for _, c := range o.run.claims {
		state := s.claims[c.Key]
		if state == nil {
			state = &claimState{Candidate: c.Candidate} // It is gone; what happened is told all the same.
		}
		if last, ok := o.lasts[c.Key]; ok {
			state.last, state.ended = last, now
		}
		result, tried := results[c.Key]
		switch {
		case tried && result.Backup.ID != "":
			s.succeeded(state, c, o, result)
		case tried && !heldElsewhere(result.Err):
			s.failed(state, c, result, now)
		case o.held == nil: // Another daemon has done it.
			state.attempts, state.err = 0, nil
			if c.demanded {
				state.handled = latest(state.handled, c.slot)
			}
			s.rounds.end(c, nil)
		}
	}
	s.closeRounds(now)
}

func (s *Service) succeeded(c *claimState, t task, o outcome, r Result) {
	kind := NoticeDone
	if c.err != nil {
		kind = NoticeRecovered
	}
	c.attempts, c.err, c.handled = 0, nil, latest(c.handled, t.slot)
	s.rounds.end(t, nil)
	s.say(Notice{Kind: kind, Candidate: c.Candidate, Slot: t.slot, Result: r, Pruned: o.pruned[c.Key], Err: r.Err})
	if err := o.prunes[c.Key]; err != nil {
		s.say(Notice{Kind: NoticePruneFailed, Candidate: c.Candidate, Err: err})
	}
}

// failed decides whether the claim is tried again before its next slot. A run
// that ended because the service ends has not failed.
func (s *Service) failed(c *claimState, t task, r Result, now time.Time) {
	if s.stopping || errors.Is(r.Err, context.Canceled) {
		return
	}
	c.err = r.Err
	if again(r.Err) && c.attempts < s.set.Retries {
		c.attempts++
		c.retryAt = now.Add(pause(c.attempts))
		s.say(Notice{Kind: NoticeRetry, Candidate: c.Candidate, Slot: t.slot, Result: r, Err: r.Err, Next: c.retryAt})
		return
	}
	c.attempts, c.handled = 0, latest(t.slot, c.handled)
	s.rounds.end(t, r.Err)
	s.say(Notice{Kind: NoticeFailed, Candidate: c.Candidate, Slot: t.slot, Result: r, Err: r.Err})
}

// again says whether an error may be gone in some minutes: a server that did
// not answer, but also a brick that was restarted, a pool that was extended or
// a BackupDisk that was mounted again.
func again(err error) bool {
	return temporary(err) || errors.Is(err, ErrNotCovered) || errors.Is(err, catalog.ErrNotRepository)
}

// pause is the wait after so many failed attempts.
func pause(attempts int) time.Duration {
	p := firstPause
	for range attempts - 1 {
		p = min(2*p, maxPause)
	}
	return p
}

// slotPassed counts the claims whose earlier run still works: that slot is
// skipped.
func (s *Service) slotPassed(p slotPassed) {
	for _, r := range s.running {
		for _, k := range r.claims {
			c := s.claims[k]
			if c != nil && c.Schedule == p.schedule && r.began.Before(p.slot) {
				s.say(Notice{Kind: NoticeSkipped, Candidate: c.Candidate, Slot: p.slot})
			}
		}
	}
}

// CancelVolume ends the run on a volume, if one works, for that cause.
func (s *Service) CancelVolume(volume string, cause error) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.running[volume]
	if r == nil {
		return false
	}
	r.cancel(cause)
	return true
}
