package daemon

import (
	"context"
	"slices"
	"time"

	"github.com/glusterbackupd/glusterbackupd/catalog"
)

// ClaimStatus is how one claim stands.
type ClaimStatus struct {
	Candidate
	// Last is the newest backup; its ID is empty when there is none.
	Last Last
	// Next is when the next backup begins at the earliest; zero when none will.
	Next time.Time
	// Interval is the time between two slots around now.
	Interval time.Duration
	// Overdue is set when a slot has passed and should have a backup by now.
	Overdue bool
	// Running, Attempts and Err are known to the service alone: whether a run
	// works on the claim, how many attempts failed since, and why.
	Running  bool
	Attempts int
	Err      error
	// Tried is the newest slot, or moment of a demand, that will not be tried
	// again.
	Tried time.Time
}

// Status is how the service stands.
type Status struct {
	Claims []ClaimStatus
	// Running is the number of runs that work.
	Running int
	// Ready is set once every claim was looked up.
	Ready bool
	// Err is why the claims are not known; nil when they are.
	Err error
}

// Status returns how every claim stands. It may be called by any goroutine, but
// not from Notice.
func (s *Service) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.o.Now()
	st := Status{Running: len(s.running), Ready: s.ready, Err: s.known}
	for _, c := range s.claims {
		st.Claims = append(st.Claims, s.statusOf(c, now))
	}
	slices.SortFunc(st.Claims, func(a, b ClaimStatus) int { return byKey(a.Candidate, b.Candidate) })
	return st
}

// Candidates returns the claims in no order, and whether they are known. It takes
// a small part of the time of Status, and may be called where that may be.
func (s *Service) Candidates() (list []Candidate, known bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	list = make([]Candidate, 0, len(s.claims))
	for _, c := range s.claims {
		list = append(list, c.Candidate)
	}
	return list, s.ready && s.known == nil
}

func (s *Service) statusOf(c *claimState, now time.Time) ClaimStatus {
	st := ClaimStatus{Candidate: c.Candidate, Last: c.last, Attempts: c.attempts, Err: c.err, Tried: c.handled}
	if r := s.running[c.Volume]; r != nil {
		st.Running = slices.Contains(r.claims, c.Key)
	}
	if d, ok := s.dueOf(c, now); ok {
		st.Next = latest(d.at, s.held[c.Volume])
	}
	if c.Coverage == Covered {
		st.Interval = c.Schedule.Interval(now)
		st.Overdue = s.overdue(c, now)
	}
	return st
}

// overdue says whether the slot whose run must have ended by now, even if it
// was the last one to begin and took as long as a run may, has no backup.
func (s *Service) overdue(c *claimState, now time.Time) bool {
	grace := s.set.Spread + s.set.Timeout
	if interval := c.Schedule.Interval(now); interval > 0 {
		grace = min(grace, interval)
	}
	since := c.last.Started
	if c.last.ID == "" {
		if since = c.Created; since.IsZero() {
			since = c.seen
		}
		grace += s.set.FirstBackup
	}
	return since.Before(c.Schedule.Last(now.Add(-grace)))
}

// StatusNow tells how every claim stands without a running service, from the
// claims and the BackupDisk alone. What only a service knows is left out.
func StatusNow(ctx context.Context, i Inventory, l Ledger, set Settings) (Status, error) {
	now := time.Now()
	s := &Service{set: set.normal(), claims: map[catalog.Key]*claimState{}, o: ServiceOptions{Now: time.Now}}
	list, err := i.Candidates(ctx, set.Rules)
	if err != nil {
		return Status{}, err
	}
	for _, c := range list {
		last, _, err := l.Last(c.Key, now)
		if err != nil {
			return Status{}, err
		}
		s.claims[c.Key] = &claimState{Candidate: c, seen: now, last: last}
	}
	s.ready = true
	return s.Status(), nil
}
