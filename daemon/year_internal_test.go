package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/glusterbackupd/glusterbackupd/catalog"
	"github.com/glusterbackupd/glusterbackupd/gluster"
	"github.com/glusterbackupd/glusterbackupd/retention"
	"github.com/glusterbackupd/glusterbackupd/schedule"
)

// world is what the service works on in a simulated year: a wall clock that is
// stepped, claims, and a BackupDisk in memory that outlives the service.
type world struct {
	t     *testing.T
	rand  *rand.Rand
	zone  *time.Location
	steps []step

	mu     sync.Mutex
	offset time.Duration
	made   map[catalog.Key][]made // All ever made, in the order of making.
	kept   map[catalog.Key][]made
	busy   map[string]bool
	failed map[catalog.Key][]span // Attempts that failed or were cut short.
	up     []span                 // When a service ran.
}

type made struct{ started, finished time.Time }

// step is a change of the clock, and span a time, by the wall clock.
type step struct{ before, after time.Time }

type span struct{ from, to time.Time }

func (w *world) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return time.Now().Add(w.offset).Round(0)
}

func (w *world) stepClock(by time.Duration) {
	before := w.now()
	w.mu.Lock()
	w.offset += by
	w.mu.Unlock()
	w.steps = append(w.steps, step{before, before.Add(by)})
}

// yearClaims have different schedules; two share a volume, and so a snapshot.
func (w *world) claims() []Candidate {
	var list []Candidate
	for n, expression := range []string{
		"0 0 * * *", "0 0 * * *", "30 2 * * *", "0 * * * *", "15 */6 * * *", "0 3 * * 0", "0 4 1 * *", "0 22 * * 1-5",
	} {
		s, err := schedule.Parse(expression, w.zone)
		if err != nil {
			w.t.Fatal(err)
		}
		list = append(list, Candidate{
			Key:      catalog.Key{Namespace: "year", Claim: fmt.Sprintf("claim-%d", n)},
			Coverage: Covered, Volume: fmt.Sprintf("vol_%d", max(n, 1)), Hosts: []string{"host"}, Schedule: s,
			Retention: retention.Policy{Last: 3, Daily: 7, Weekly: 4, Monthly: 6, Location: w.zone},
		})
	}
	return list
}

func (w *world) Candidates(context.Context, Rules) ([]Candidate, error) { return w.claims(), nil }

func (w *world) Last(k catalog.Key, now time.Time) (Last, bool, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var newest Last
	for _, m := range w.kept[k] {
		if m.started.After(newest.Started) && !m.started.After(now.Add(tolerance)) {
			newest = Last{Record: schedule.Record{Started: m.started, Finished: m.finished}, ID: m.started.String()}
		}
	}
	return newest, newest.ID != "", nil
}

var errFinal = errors.New("a final error")

// BackUp takes minutes, sometimes hours, and sometimes fails.
func (w *world) BackUp(ctx context.Context, claims []Candidate) []Result {
	volume, started := claims[0].Volume, w.now()
	w.mu.Lock()
	if w.busy[volume] {
		w.t.Errorf("two runs on %s at %s", volume, started)
	}
	w.busy[volume] = true
	took := time.Duration(1+w.rand.IntN(20)) * time.Minute
	var err error
	switch w.rand.IntN(40) {
	case 0:
		took = time.Duration(1+w.rand.IntN(30)) * time.Hour
	case 1, 2:
		err = fmt.Errorf("busy: %w", gluster.ErrBusy)
	case 3:
		err = errFinal
	}
	w.mu.Unlock()
	select {
	case <-ctx.Done():
		err = ctx.Err()
	case <-time.After(took):
	}
	finished := w.now()
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.busy, volume)
	var results []Result
	for _, c := range claims {
		r := Result{Target: c.target(), Err: err}
		if err == nil {
			r.Backup.ID = started.String()
			w.made[c.Key] = append(w.made[c.Key], made{started, finished})
			w.kept[c.Key] = append(w.kept[c.Key], made{started, finished})
		} else {
			w.failed[c.Key] = append(w.failed[c.Key], span{started, finished})
		}
		results = append(results, r)
	}
	return results
}

func (w *world) Prune(_ context.Context, c Candidate) (int, error) {
	now := w.now()
	w.mu.Lock()
	defer w.mu.Unlock()
	var items []retention.Item
	for _, m := range w.kept[c.Key] {
		items = append(items, retention.Item{ID: m.started.String(), Time: m.started})
	}
	var stay []made
	for _, d := range retention.Plan(items, c.Retention, now) {
		if d.Keep {
			n := slices.IndexFunc(w.kept[c.Key], func(m made) bool { return m.started.Equal(d.Time) })
			stay = append(stay, w.kept[c.Key][n])
		}
	}
	removed := len(w.kept[c.Key]) - len(stay)
	w.kept[c.Key] = stay
	return removed, nil
}

const (
	yearSpread  = 5 * time.Minute
	yearRetries = 6
)

// live runs the service for a while.
func (w *world) live(d time.Duration) {
	s, err := NewService(ServiceOptions{
		Inventory: w, Worker: w, Ledger: w, Now: w.now, Logger: slog.New(slog.DiscardHandler),
		Settings: Settings{Spread: yearSpread, FirstBackup: 10 * time.Minute, Parallel: 8, PerHost: 8, Retries: yearRetries},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	from := w.now()
	ctx, cancel := context.WithTimeout(w.t.Context(), d)
	defer cancel()
	if err := s.Run(ctx); err != nil {
		w.t.Fatal(err)
	}
	w.up = append(w.up, span{from, w.now()})
}

// TestYear lets services live for a year with restarts, pauses and clock steps
// at random, and then looks at what was made.
func TestYear(t *testing.T) {
	for _, name := range []string{"Europe/Amsterdam", "America/New_York"} {
		for _, steps := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, clock steps %t", name, steps), func(t *testing.T) {
				zone, err := time.LoadLocation(name)
				if err != nil {
					t.Fatal(err)
				}
				synctest.Test(t, func(t *testing.T) {
					w := &world{
						t: t, rand: rand.New(rand.NewPCG(1, uint64(len(name)))), zone: zone,
						made: map[catalog.Key][]made{}, kept: map[catalog.Key][]made{}, busy: map[string]bool{},
						failed: map[catalog.Key][]span{},
					}
					w.pass(steps)
					for _, c := range w.claims() {
						w.judge(c)
					}
				})
			})
		}
	}
}

// pass lets the year pass.
func (w *world) pass(steps bool) {
	for end := time.Now().AddDate(1, 0, 0); time.Now().Before(end); {
		w.live(time.Duration(1+w.rand.IntN(20*24*60)) * time.Minute)
		if w.rand.IntN(3) == 0 {
			time.Sleep(time.Duration(w.rand.IntN(3*24*60)) * time.Minute)
		}
		if steps && w.rand.IntN(2) == 0 {
			w.stepClock([]time.Duration{
				-20 * time.Minute, -50 * time.Minute, 90 * time.Minute, 26 * time.Hour, -time.Second, time.Second,
			}[w.rand.IntN(6)])
		}
	}
}

// judge holds what was made of a claim against its slots, which are walked one
// by one: each slot has at most one backup that began in its period, none has
// another reason than its slot, and none is missing without a reason.
func (w *world) judge(c Candidate) {
	w.t.Helper()
	list := w.made[c.Key]
	if len(list) == 0 {
		w.t.Errorf("%s: no backup in a year", c.Key)
		return
	}
	backups, skipped, missed, excused := 0, 0, 0, 0
	first := list[0].started
	for slot := c.Schedule.Next(first); slot.Before(w.now().Add(-48 * time.Hour)); {
		next := c.Schedule.Next(slot)
		n := 0
		for _, m := range list {
			if !m.started.Before(slot) && m.started.Before(next) {
				n++
			}
		}
		during := slices.ContainsFunc(list, func(m made) bool { return m.started.Before(slot) && !m.finished.Before(slot) })
		switch {
		case n > 1:
			w.t.Errorf("%s: %d backups of the slot %s", c.Key, n, slot)
		case n == 1 && !during:
			backups++
		case n == 1:
			w.t.Errorf("%s: the slot %s came while a run worked, and was backed up all the same", c.Key, slot)
		case during:
			skipped++
		case w.excuse(c, slot, next):
			excused++
		default:
			missed++
			w.t.Errorf("%s: nobody backed up the slot %s", c.Key, slot)
		}
		slot = next
	}
	w.t.Logf("%-10s %-14q: %4d backed up, %2d skipped, %2d excused", c.Key.Claim, c.Schedule.String(), backups, skipped, excused)
	w.judgeKept(c)
}

// excuse says whether a slot may be without a backup: no service ran between
// its beginning and its end, for longer than a run waits and takes; a run
// that worked then failed or was cut short; or the clock jumped over it.
func (w *world) excuse(c Candidate, slot, next time.Time) bool {
	for _, f := range w.failed[c.Key] {
		if f.from.Before(next) && !f.to.Before(slot) {
			return true
		}
	}
	for _, s := range w.steps {
		if s.before.Before(next) && s.after.After(slot) || s.after.Before(next) && s.before.After(slot) {
			return true
		}
	}
	for _, u := range w.up {
		from, to := latest(u.from, slot), earliest(u.to, next)
		if to.Sub(from) > yearSpread+2*longestNap {
			return false
		}
	}
	return true
}

// judgeKept holds what was kept against what the policy keeps of everything
// that was ever made, worked out in one go and in another way.
func (w *world) judgeKept(c Candidate) {
	w.t.Helper()
	if len(w.steps) > 0 {
		return // Which of two backups is the newer one is a matter of taste then.
	}
	all := slices.Clone(w.made[c.Key])
	want := map[time.Time]bool{}
	for n := range all {
		if n >= len(all)-c.Retention.Last {
			want[all[n].started] = true
		}
	}
	keepNewest := func(count int, period func(time.Time) string) {
		periods := map[string]bool{}
		for _, m := range slices.Backward(all) {
			if p := period(m.started.In(w.zone)); !periods[p] && len(periods) < count {
				periods[p] = true
				want[m.started] = true
			}
		}
	}
	keepNewest(c.Retention.Daily, func(t time.Time) string { return t.Format(time.DateOnly) })
	keepNewest(c.Retention.Weekly, func(t time.Time) string { y, n := t.ISOWeek(); return fmt.Sprint(y, n) })
	keepNewest(c.Retention.Monthly, func(t time.Time) string { return t.Format("2006-01") })
	got := map[time.Time]bool{}
	for _, m := range w.kept[c.Key] {
		got[m.started] = true
		if !want[m.started] {
			w.t.Errorf("%s: backup %s is kept for no reason", c.Key, m.started)
		}
	}
	for started := range want {
		if !got[started] {
			w.t.Errorf("%s: backup %s should be kept", c.Key, started)
		}
	}
}
