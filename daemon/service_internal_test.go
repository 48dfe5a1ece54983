package daemon

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/glusterbackupd/glusterbackupd/catalog"
	"github.com/glusterbackupd/glusterbackupd/kube"
	"github.com/glusterbackupd/glusterbackupd/schedule"
)

// office is what a service works on for some hours: claims that a test changes,
// runs that last as long as it says, and a BackupDisk in memory.
type office struct {
	t       *testing.T
	service *Service
	changed chan struct{}
	took    time.Duration // Of a run.
	asking  time.Duration // Of a look at the claims.
	fail    func(Candidate) error

	mu      sync.Mutex
	claims  []Candidate
	lasts   map[catalog.Key]Last
	asked   int
	runs    []string // Claims of each run, in the order of their beginning.
	working map[string]int
	most    map[string]int // The most runs at a time, by host and in all ("").
	notices []Notice
	alive   int
}

func newOffice(t *testing.T) *office {
	return &office{
		t: t, changed: make(chan struct{}, 1), took: time.Minute,
		lasts: map[catalog.Key]Last{}, working: map[string]int{}, most: map[string]int{},
	}
}

// claim adds a covered claim with a backup of yesterday.
func (o *office) claim(name, volume, host, cron string) Candidate {
	o.t.Helper()
	s, err := schedule.Parse(cron, time.UTC)
	if err != nil {
		o.t.Fatal(err)
	}
	k := catalog.Key{Namespace: "office", Claim: name}
	c := Candidate{Key: k, Coverage: Covered, Volume: volume, Hosts: []string{host}, Schedule: s, Claim: kube.Claim{UID: name}}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.claims = append(o.claims, c)
	yesterday := time.Now().Add(-24 * time.Hour)
	o.lasts[k] = Last{Record: schedule.Record{Started: yesterday, Finished: yesterday}, ID: "yesterday", Count: 1}
	return c
}

// Candidates implements Inventory.
func (o *office) Candidates(ctx context.Context, _ Rules) ([]Candidate, error) {
	o.mu.Lock()
	list := slices.Clone(o.claims)
	o.asked++
	o.mu.Unlock()
	select {
	case <-ctx.Done():
	case <-time.After(o.asking):
	}
	return list, ctx.Err()
}

// Last implements Ledger.
func (o *office) Last(k catalog.Key, _ time.Time) (Last, bool, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	last, ok := o.lasts[k]
	return last, ok, nil
}

// BackUp implements Worker.
func (o *office) BackUp(ctx context.Context, claims []Candidate) (results []Result) {
	started, host := time.Now(), claims[0].Hosts[0]
	var names []string
	for _, c := range claims {
		names = append(names, c.Key.Claim)
	}
	o.mu.Lock()
	o.runs = append(o.runs, strings.Join(names, "+"))
	for _, h := range []string{"", host} {
		o.working[h]++
		o.most[h] = max(o.most[h], o.working[h])
	}
	o.mu.Unlock()
	var cut error
	select {
	case <-ctx.Done():
		cut = context.Cause(ctx)
	case <-time.After(o.took):
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.working[""]--
	o.working[host]--
	for _, c := range claims {
		r := Result{Target: c.target(), Err: cut}
		if cut == nil && o.fail != nil {
			r.Err = o.fail(c)
		}
		if r.Err == nil {
			r.Backup.ID = started.Format(time.RFC3339)
			o.lasts[c.Key] = Last{Record: schedule.Record{Started: started, Finished: time.Now()}, ID: r.Backup.ID}
		}
		results = append(results, r)
	}
	return results
}

// Prune implements Worker.
func (*office) Prune(context.Context, Candidate) (int, error) { return 0, nil }

// open runs the service until the function returns. Each test begins at
// midnight, 2000-01-01 UTC.
func (o *office) open(set Settings, leases Leases, during func()) {
	o.t.Helper()
	s, err := NewService(ServiceOptions{
		Inventory: o, Worker: o, Ledger: o, Leases: leases, Changed: o.changed, Settings: set,
		Notice: func(n Notice) { o.locked(func() { o.notices = append(o.notices, n) }) },
		Alive:  func() { o.locked(func() { o.alive++ }) },
	})
	if err != nil {
		o.t.Fatal(err)
	}
	o.service = s
	ctx, cancel := context.WithCancel(o.t.Context())
	ended := make(chan error)
	go func() { ended <- s.Run(ctx) }()
	during()
	cancel()
	if err := <-ended; err != nil {
		o.t.Error(err)
	}
}

func (o *office) locked(f func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	f()
}

// kinds returns what the service said of a claim, without what it says of each.
func (o *office) kinds(claim string) (kinds []NoticeKind) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, n := range o.notices {
		if n.Candidate.Key.Claim == claim && n.Kind != NoticeCoverage {
			kinds = append(kinds, n.Kind)
		}
	}
	return kinds
}

func (o *office) rounds() (rounds []Round) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, n := range o.notices {
		if n.Kind == NoticeRound {
			rounds = append(rounds, n.Round)
		}
	}
	return rounds
}

// status returns how a claim stands.
func (o *office) status(claim string) ClaimStatus {
	o.t.Helper()
	for _, c := range o.service.Status().Claims {
		if c.Key.Claim == claim {
			return c
		}
	}
	o.t.Fatalf("no claim %s", claim)
	return ClaimStatus{}
}

func TestLimits(t *testing.T) {
	tests := map[string]struct {
		parallel, perHost int
		all, host         int
		minutes           time.Duration // Until all eight volumes are done.
	}{
		"one by one":        {1, 1, 1, 1, 8},
		"in all":            {3, 8, 3, 2, 3},
		"on each host":      {8, 1, 2, 1, 4},
		"both":              {3, 2, 3, 2, 3},
		"zero means one":    {0, 0, 1, 1, 8},
		"more than volumes": {64, 64, 8, 4, 1},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := newOffice(t)
				for n := range 8 {
					o.claim(fmt.Sprint("claim-", n), fmt.Sprint("vol_", n), fmt.Sprint("host-", n%2), "0 0 * * *")
				}
				o.open(Settings{Parallel: tt.parallel, PerHost: tt.perHost}, nil, func() {
					time.Sleep(tt.minutes*time.Minute + 2*time.Second)
					if got := o.service.Status().Running; got != 0 {
						t.Errorf("%d runs still work after %d minutes", got, tt.minutes)
					}
				})
				if len(o.runs) != 8 || o.most[""] != tt.all || max(o.most["host-0"], o.most["host-1"]) != tt.host {
					t.Errorf("%d runs, the most at a time %v, want 8, %d in all and %d on a host", len(o.runs), o.most, tt.all, tt.host)
				}
			})
		})
	}
}

func TestOldestBackupFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t)
		for n, days := range []int{1, 9, 3} {
			c := o.claim(fmt.Sprint("claim-", days), fmt.Sprint("vol_", n), "host", "0 0 * * *")
			last := o.lasts[c.Key]
			last.Started = time.Now().AddDate(0, 0, -days)
			last.Finished = last.Started
			o.lasts[c.Key] = last
		}
		o.open(Settings{}, nil, func() { time.Sleep(time.Hour) })
		if want := []string{"claim-9", "claim-3", "claim-1"}; !slices.Equal(o.runs, want) {
			t.Errorf("runs %v, want %v", o.runs, want)
		}
	})
}

func TestClaimsOfOneVolumeShareARun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t)
		o.claim("queue", "host_volume", "host", "0 0 * * *")
		o.claim("db", "host_volume", "host", "0 0 * * *")
		later := o.claim("noon", "host_volume", "host", "0 12 * * *")
		o.lasts[later.Key] = Last{Record: schedule.Record{Started: time.Now(), Finished: time.Now()}, ID: "now"}
		o.open(Settings{Parallel: 4, PerHost: 4}, nil, func() { time.Sleep(13 * time.Hour) })
		if want := []string{"db+queue", "noon"}; !slices.Equal(o.runs, want) {
			t.Errorf("runs %v, want %v", o.runs, want)
		}
	})
}

func TestRetriesAndThenTheNextSlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t)
		o.claim("busy", "vol_a", "host", "0 0 * * *")
		o.took = time.Second
		o.fail = func(Candidate) error { return errBusy }
		o.open(Settings{Retries: 3}, nil, func() {
			time.Sleep(2 * time.Hour)
			retry, failed := NoticeRetry, NoticeFailed
			if got, want := o.kinds("busy"), []NoticeKind{retry, retry, retry, failed}; !slices.Equal(got, want) {
				t.Errorf("notices %v, want %v", got, want)
			}
			if st := o.status("busy"); !errors.Is(st.Err, errBusy) || !st.Next.Equal(time.Date(2000, 1, 2, 0, 0, 0, 0, time.UTC)) {
				t.Errorf("after all attempts: %v, next %s", st.Err, st.Next)
			}
			o.locked(func() { o.fail = nil })
			time.Sleep(24 * time.Hour)
			if got := o.kinds("busy"); got[len(got)-1] != NoticeRecovered || len(got) != 5 {
				t.Errorf("after the next slot: %v", got)
			}
		})
		var waits []time.Duration
		for _, n := range o.notices {
			if n.Kind == NoticeRetry {
				waits = append(waits, n.Next.Sub(n.Time))
			}
		}
		if want := []time.Duration{time.Minute, 2 * time.Minute, 4 * time.Minute}; !slices.Equal(waits, want) {
			t.Errorf("waits %v, want %v", waits, want)
		}
		rounds := o.rounds()
		if len(rounds) != 2 || len(rounds[0].Failed) != 1 || rounds[1].Done != 1 {
			t.Errorf("rounds %+v", rounds)
		}
	})
}

func TestFinalErrorIsNotRepeated(t *testing.T) {
	tests := map[string]struct {
		err   error
		tries int
	}{
		"final":                   {errBoom, 1},
		"temporary":               {errBusy, 3},
		"a brick is down":         {fmt.Errorf("brick: %w", ErrNotCovered), 3},
		"the BackupDisk is away":  {&catalog.NotRepositoryError{Root: "/disk", Reason: "not mounted"}, 3},
		"cut off by its time-out": {context.DeadlineExceeded, 1},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := newOffice(t)
				o.claim("claim", "vol_a", "host", "0 0 * * *")
				o.fail = func(Candidate) error { return tt.err }
				o.open(Settings{Retries: 2}, nil, func() { time.Sleep(20 * time.Hour) })
				if len(o.runs) != tt.tries {
					t.Errorf("%d tries, want %d", len(o.runs), tt.tries)
				}
			})
		})
	}
}

// TestRoundOfARetriedClaimEnds lets a claim be tried again for so long that its
// next slot comes.
func TestRoundOfARetriedClaimEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t)
		c := o.claim("hourly", "vol_a", "host", "0 * * * *")
		o.fail = func(Candidate) error { return errBusy }
		o.open(Settings{Retries: 20}, nil, func() { time.Sleep(3*time.Hour + 30*time.Minute) })
		rounds := o.rounds()
		if len(rounds) < 2 {
			t.Fatalf("rounds %+v", rounds)
		}
		for _, r := range rounds {
			if !errors.Is(r.Failed[c.Key], errBusy) || r.Done != 0 {
				t.Errorf("slot %s: %+v", r.Slot, r)
			}
		}
	})
}

func TestSlotWhileTheRunBeforeWorksIsSkipped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t)
		o.claim("big", "vol_a", "host", "0 * * * *")
		o.took = 150 * time.Minute
		o.open(Settings{}, nil, func() { time.Sleep(4 * time.Hour) })
		if got, want := o.kinds("big"), []NoticeKind{NoticeSkipped, NoticeSkipped, NoticeDone, NoticeSkipped}; !slices.Equal(got[:3], want[:3]) {
			t.Errorf("notices %v, want %v", got, want)
		}
		if len(o.runs) != 2 {
			t.Errorf("%d runs in four hours, want the ones of 0:00 and 3:00", len(o.runs))
		}
	})
}

// elsewhere is another daemon, which has a volume until a time.
type elsewhere struct {
	until    time.Time
	meet     func()
	asked    int
	released int
}

func (e *elsewhere) Acquire(ctx context.Context, volume string) (context.Context, func(), error) {
	e.asked++
	if time.Now().Before(e.until) {
		return nil, nil, fmt.Errorf("volume %s: %w", volume, ErrHeldElsewhere)
	}
	if e.meet != nil {
		e.meet()
	}
	return ctx, func() { e.released++ }, nil
}

func TestHeldElsewhere(t *testing.T) {
	for name, done := range map[string]bool{"and done there": true, "and given up there": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := newOffice(t)
				c := o.claim("shared", "vol_a", "host", "0 0 * * *")
				e := &elsewhere{until: time.Now().Add(5 * time.Minute)}
				e.meet = func() {
					if done {
						at := time.Now().Add(-time.Minute)
						o.lasts[c.Key] = Last{Record: schedule.Record{Started: at, Finished: at}, ID: "theirs"}
					}
				}
				o.open(Settings{Retries: 1}, e, func() { time.Sleep(time.Hour) })
				runs, rounds := len(o.runs), o.rounds()
				if want := map[bool]int{true: 0, false: 1}[done]; runs != want {
					t.Errorf("%d runs here, want %d", runs, want)
				}
				if len(rounds) != 1 || rounds[0].Done != 1 || len(rounds[0].Failed) > 0 {
					t.Errorf("rounds %+v", rounds)
				}
				if e.asked < 9 || e.asked > 12 || e.released != 1 {
					t.Errorf("asked %d times in five minutes, want one each %s; given back %d times", e.asked, heldPause, e.released)
				}
				if got := o.kinds("shared"); slices.Contains(got, NoticeFailed) || slices.Contains(got, NoticeRetry) {
					t.Errorf("what another one has counts as failed: %v", got)
				}
			})
		})
	}
}

// TestChangeDuringALook has a claim come while the others are looked up.
func TestChangeDuringALook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t)
		o.claim("old", "vol_a", "host", "0 0 1 1 *")
		o.asking = time.Minute
		o.open(Settings{}, nil, func() {
			time.Sleep(30 * time.Second)
			o.claim("new", "vol_b", "host", "0 0 1 1 *")
			o.changed <- struct{}{}
			time.Sleep(20 * time.Second)
			if o.alive > 5 {
				t.Errorf("the loop turned %d times while it waited for an answer", o.alive)
			}
			time.Sleep(90 * time.Second)
			o.status("new")
		})
	})
}

func TestRemovedBackupsAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t)
		c := o.claim("claim", "vol_a", "host", "0 0 * * *")
		o.open(Settings{}, nil, func() {
			time.Sleep(time.Minute + time.Second)
			if o.status("claim").Last.ID == "yesterday" {
				t.Fatal("no backup at midnight")
			}
			o.locked(func() { delete(o.lasts, c.Key) })
			time.Sleep(askAgain + time.Second)
			if last := o.status("claim").Last; last.ID != "" {
				t.Errorf("the BackupDisk is empty, but the newest backup is %q", last.ID)
			}
		})
	})
}

func TestClaimsComeAndGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t)
		c := o.claim("claim", "vol_a", "host", "0 12 * * *")
		o.lasts[c.Key] = Last{Record: schedule.Record{Started: time.Now(), Finished: time.Now()}, ID: "now"}
		change := func(f func(*Candidate)) {
			o.locked(func() { f(&o.claims[0]) })
			o.changed <- struct{}{}
			time.Sleep(settleTime + time.Second)
		}
		o.open(Settings{}, nil, func() {
			time.Sleep(time.Second)
			change(func(c *Candidate) { c.Coverage, c.Reason = Excluded, "somebody" })
			if st := o.status("claim"); !st.Next.IsZero() || st.Overdue {
				t.Errorf("an excluded claim: next %s, overdue %t", st.Next, st.Overdue)
			}
			change(func(c *Candidate) { c.Faults = []string{"no such schedule"} })
			change(func(c *Candidate) { c.Claim.UID = "another" })
			o.locked(func() { o.claims = nil })
			o.changed <- struct{}{}
			time.Sleep(settleTime + time.Second)
		})
		var got []string
		for _, n := range o.notices {
			got = append(got, strings.TrimSuffix(fmt.Sprint(n.Kind, " ", n.Candidate.Coverage), " "))
		}
		want := []string{
			"coverage covered", "ready", "coverage excluded", "annotation excluded",
			"coverage excluded", "annotation excluded", "gone excluded",
		}
		if !slices.Equal(got, want) {
			t.Errorf("notices\n%q, want\n%q", got, want)
		}
	})
}

func TestCancelVolumeEndsTheRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t)
		o.claim("claim", "vol_a", "host", "0 0 * * *")
		o.took = time.Hour
		o.open(Settings{}, nil, func() {
			time.Sleep(time.Minute)
			if o.service.CancelVolume("vol_b", errBoom) || !o.service.CancelVolume("vol_a", errBoom) {
				t.Error("only on vol_a a run works")
			}
			time.Sleep(time.Minute)
			if st := o.status("claim"); !errors.Is(st.Err, errBoom) || st.Running {
				t.Errorf("status %+v", st)
			}
		})
	})
}

// TestStop ends the service in the middle of a run: that is no failure of the
// claim, and Run waits for it.
func TestBackUpNow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t)
		o.claim("a", "vol_a", "g1", "0 0 * * *")
		o.claim("b", "vol_b", "g1", "0 0 * * *")
		o.open(Settings{Parallel: 2, PerHost: 2}, nil, func() {
			time.Sleep(time.Hour)
			began := len(o.runs)
			key, since := catalog.Key{Namespace: "office", Claim: "a"}, time.Now().Add(-time.Second/2)
			for range 3 { // As three daemons' requests, or one that looks again.
				if err := o.service.BackUpNow(t.Context(), key, since); err != nil {
					t.Fatal(err)
				}
				time.Sleep(10 * time.Minute)
			}
			if got := o.runs[began:]; !slices.Equal(got, []string{"a"}) {
				t.Errorf("runs after three equal demands: %q", got)
			}
			if last := o.lasts[key].Started; last.Before(since) {
				t.Errorf("the backup of %v is older than the demand of %v", last, since)
			}
			if err := o.service.BackUpNow(t.Context(), key, time.Now()); err != nil {
				t.Fatal(err)
			}
			if err := o.service.BackUpNow(t.Context(), catalog.Key{Namespace: "office", Claim: "unknown"}, time.Now()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Minute)
			if got := o.runs[began:]; !slices.Equal(got, []string{"a", "a"}) {
				t.Errorf("runs after another demand: %q", got)
			}
			for _, r := range o.rounds() {
				if r.Slot.Equal(since.Truncate(time.Second).Add(time.Second)) {
					t.Error("a demand is told of as a slot")
				}
			}
			o.fail = func(Candidate) error { return errors.New("final") }
			if err := o.service.BackUpNow(t.Context(), key, time.Now()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(3 * time.Hour)
			if got := len(o.runs) - began; got != 3 {
				t.Errorf("%d runs after a demand that failed for good", got-2)
			}
		})
	})
}

// TestDemandWhileARunWorks is served by another run, and then is over.
func TestDemandWhileARunWorks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t)
		o.took = 10 * time.Minute
		o.claim("a", "vol_a", "g1", "0 3 * * *")
		o.open(Settings{}, nil, func() {
			time.Sleep(3*time.Hour + 5*time.Minute)
			began := len(o.runs)
			if err := o.service.BackUpNow(t.Context(), catalog.Key{Namespace: "office", Claim: "a"}, time.Now()); err != nil {
				t.Fatal(err)
			}
			alive := o.alive
			time.Sleep(47 * time.Hour)
			if got := len(o.runs) - began; got != 2 {
				t.Errorf("%d runs after the demand, want one for it and one for the next night", got)
			}
			if turns := o.alive - alive; turns > 2*47*60 {
				t.Errorf("the loop turned %d times in 47 hours", turns)
			}
		})
	})
}

func TestStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t)
		o.claim("claim", "vol_a", "host", "0 0 * * *")
		o.took = time.Hour
		e := &elsewhere{}
		o.open(Settings{}, e, func() { time.Sleep(time.Minute) })
		if got := o.kinds("claim"); len(got) > 0 || e.released != 1 || o.working[""] != 0 {
			t.Errorf("notices %v, %d leases given back, %v at work", got, e.released, maps.Clone(o.working))
		}
	})
}

func TestReloadChangesWhatComesNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t)
		for n := range 4 {
			o.claim(fmt.Sprint("claim-", n), fmt.Sprint("vol_", n), "host", "0 0 * * *")
		}
		o.took = 10 * time.Minute
		o.open(Settings{}, nil, func() {
			time.Sleep(time.Minute)
			if err := o.service.Reload(t.Context(), Settings{Parallel: 3, PerHost: 3}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
			if got := o.service.Status().Running; got != 3 {
				t.Errorf("%d runs work after the limit became 3", got)
			}
		})
	})
}
