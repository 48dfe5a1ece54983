package daemon

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/glusterbackupd/glusterbackupd/catalog"
	"github.com/glusterbackupd/glusterbackupd/schedule"
)

// claimState is what the service knows of a claim beyond its candidate.
type claimState struct {
	Candidate
	// seen is when this process first met the claim.
	seen time.Time
	last Last
	// ended is when the newest run on it ended, which read last again.
	ended time.Time
	// handled is the newest slot of which the claim will not be tried again: it
	// was backed up, or has failed for good.
	handled time.Time
	// attempts counts what failed since the last success or slot, and retryAt is
	// when the next one begins.
	attempts int
	retryAt  time.Time
	// demanded is when somebody asked for a backup at once.
	demanded time.Time
	// err is why the newest attempt failed; nil after a success.
	err error
}

// runState is a run that works now.
type runState struct {
	volume, host string
	began        time.Time
	claims       []catalog.Key
	cancel       func(cause error)
}

// task is a claim that is to be backed up, and the slot that it is for.
type task struct {
	Candidate
	slot time.Time
	// first says that the claim has no backup and does not wait for a slot:
	// slot is when it was met.
	first bool
	// demanded says that somebody asked for it: slot is when.
	demanded bool
}

// slotless says whether the task belongs to no slot of a schedule.
func (t task) slotless() bool { return t.first || t.demanded }

// due is a claim whose next backup may begin at a time.
type due struct {
	task
	state *claimState
	at    time.Time
}

// planned is a run to be started: claims of one volume.
type planned struct {
	volume string
	hosts  []string
	claims []task
	// oldest is when the oldest of the claims' newest backups began.
	oldest time.Time
}

// schedules returns the schedules in use.
func (s *Service) schedules() []schedule.Schedule {
	used := map[schedule.Schedule]bool{}
	for _, c := range s.claims {
		if c.Coverage == Covered {
			used[c.Schedule] = true
		}
	}
	return slices.Collect(maps.Keys(used))
}

// dueOf says when the next backup of a claim may begin, and for which slot. A
// claim that is not covered never is due.
func (s *Service) dueOf(c *claimState, now time.Time) (due, bool) {
	if c.Coverage != Covered {
		return due{}, false
	}
	d, ready := due{task: task{Candidate: c.Candidate}, state: c}, false
	if c.wanted() {
		d.slot, d.demanded, d.at = c.demanded, true, latest(c.demanded, c.retryAt)
		return d, true
	}
	place := schedule.Offset(c.Volume, s.set.Spread)
	if c.last.ID == "" {
		f := schedule.First{Name: c.Volume, Seen: c.seen, Within: s.set.FirstBackup}
		d.slot, ready = c.Schedule.FirstDue(f, c.handled, now)
		d.first = !d.slot.Equal(c.Schedule.Last(now))
	} else {
		d.slot, ready = c.Schedule.Due(c.last.Record, c.handled, now)
	}
	switch {
	case ready && d.first:
		d.at = d.slot // Its place in the time for first backups is in it already.
	case ready:
		d.at = latest(d.slot, s.began).Add(place)
	default:
		d.slot, d.first = s.upcoming(c, now)
		if d.at = d.slot; !d.first {
			d.at = d.slot.Add(place)
		}
	}
	if c.attempts > 0 {
		d.at = latest(d.at, c.retryAt)
	}
	return d, !d.slot.IsZero()
}

// wanted says whether somebody has asked for a backup that was not made, or tried
// to the end, since.
func (c *claimState) wanted() bool {
	return c.last.Started.Before(c.demanded) && c.handled.Before(c.demanded)
}

// upcoming returns the slot after now of a claim that is not due, or the moment
// of its first backup.
func (s *Service) upcoming(c *claimState, now time.Time) (slot time.Time, first bool) {
	slot = c.Schedule.Next(now)
	if c.last.ID != "" || s.set.FirstBackup == 0 {
		return slot, false
	}
	moment := c.seen.Add(schedule.Offset(c.Volume, s.set.FirstBackup))
	if moment.After(now) && (slot.IsZero() || moment.Before(slot)) {
		return moment, true
	}
	return slot, false
}

func latest(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// plan returns the runs that may begin now, within the limits, and the time at
// which the next one becomes due. Claims of one volume that are due share a run.
func (s *Service) plan(now time.Time) []planned {
	if s.stopping || (!s.changed && !now.Before(s.planned) && now.Before(s.nextDue)) {
		return nil // Nothing has changed, nor has the clock been set back.
	}
	s.changed, s.planned, s.nextDue = false, now, now.Add(askAgain)
	volumes := map[string]*planned{}
	for _, c := range s.claims {
		d, ok := s.dueOf(c, now)
		if !ok || s.running[c.Volume] != nil {
			continue
		}
		if at := latest(d.at, s.held[c.Volume]); at.After(now) {
			s.nextDue = earliest(s.nextDue, at)
			continue
		}
		if volumes[c.Volume] == nil {
			volumes[c.Volume] = &planned{volume: c.Volume, hosts: c.Hosts}
		}
		volumes[c.Volume].add(d)
	}
	var runs []planned
	for _, p := range volumes {
		slices.SortFunc(p.claims, func(a, b task) int { return byKey(a.Candidate, b.Candidate) })
		runs = append(runs, *p)
	}
	slices.SortFunc(runs, byUrgency)
	return s.limited(runs)
}

func (p *planned) add(d due) {
	p.claims = append(p.claims, d.task)
	if began := d.state.last.Started; len(p.claims) == 1 || began.Before(p.oldest) {
		p.oldest = began
	}
}

// byUrgency puts the volume first whose newest backup is the oldest.
func byUrgency(a, b planned) int {
	return cmp.Or(a.oldest.Compare(b.oldest), strings.Compare(a.volume, b.volume))
}

// limited returns those that may work now beside what works already.
func (s *Service) limited(runs []planned) (allowed []planned) {
	total, hosts := len(s.running), map[string]int{}
	for _, r := range s.running {
		hosts[r.host]++
	}
	for _, p := range runs {
		host := hostOf(p.hosts)
		if total >= s.set.Parallel || (host != "" && hosts[host] >= s.set.PerHost) {
			continue
		}
		total++
		hosts[host]++
		allowed = append(allowed, p)
	}
	return allowed
}

// hostOf returns the host that a run's volume is asked on first.
func hostOf(hosts []string) string {
	if len(hosts) == 0 {
		return ""
	}
	return hosts[0]
}
