package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/glusterbackupd/glusterbackupd/catalog"
	"github.com/glusterbackupd/glusterbackupd/schedule"
)

// Settings are what may change while the service runs.
type Settings struct {
	Rules Rules
	// Spread is the time over which the runs of one slot begin; each volume has
	// its own place in it.
	Spread time.Duration
	// FirstBackup is the time within which a claim without a backup gets one;
	// 0 means that it waits for its schedule.
	FirstBackup time.Duration
	// Parallel and PerHost are the most runs at a time in all and on one
	// Gluster host; 0 means 1.
	Parallel, PerHost int
	// Retries is how often a run is tried again after a temporary error, before
	// its claim waits for the next slot.
	Retries int
	// Timeout is the longest run. It is only used to tell when a claim without
	// a backup of its slot is overdue.
	Timeout time.Duration
}

// ServiceOptions are the parts of the service.
type ServiceOptions struct {
	// Inventory and Worker and Ledger are required.
	Inventory Inventory
	Worker    Worker
	Ledger    Ledger
	// Leases share the work among the daemons of several masters. Optional.
	Leases Leases
	// Changed says that the claims have changed. Optional.
	Changed <-chan struct{}
	// Settings hold until Reload.
	Settings Settings
	// Notice is told what happens, from one goroutine at a time; it must not
	// block. Optional.
	Notice func(Notice)
	// HeldPause is after what time a volume that another process has is tried
	// again; 0 means half a minute. With Leases it decides how soon a dead
	// daemon's work goes on.
	HeldPause time.Duration
	// Alive is called at each turn of the loop, at least once a minute as long
	// as the service is healthy. Optional.
	Alive func()
	// Now is the wall clock, which may be stepped; nil means time.Now.
	Now func() time.Time
	// Logger gets what an admin wants to find later. Optional.
	Logger *slog.Logger
}

// Worker does what the service decides. *Daemon implements it.
type Worker interface {
	// BackUp backs up claims of one volume, with one result for each.
	BackUp(ctx context.Context, claims []Candidate) []Result
	// Prune removes the backups of a claim that its retention does not keep,
	// and returns how many.
	Prune(ctx context.Context, c Candidate) (int, error)
}

// Ledger tells what was done last. It is read from the BackupDisk each time, so
// that nothing can disagree with it.
type Ledger interface {
	// Last returns the newest backup of a claim, and false when it has none.
	// Those that a wrong clock dated far behind now do not count.
	Last(k catalog.Key, now time.Time) (Last, bool, error)
}

// Last is the newest backup of a claim.
type Last struct {
	schedule.Record
	ID string
	// Bytes is the size of the data.
	Bytes int64
	// Took is the time from the snapshot's creation to the end of copying.
	Took time.Duration
	// Volume is the Gluster volume that was copied.
	Volume string
	// Count is the number of backups of the claim.
	Count int
	// Snapshots are those of its backups that should still be on Gluster.
	Snapshots []string
}

// Leases decide which daemon works on a volume.
type Leases interface {
	// Acquire returns at once: a context that ends when the lease is lost, and
	// what gives it back; or an error that matches ErrHeldElsewhere.
	Acquire(ctx context.Context, volume string) (held context.Context, release func(), err error)
}

// ErrHeldElsewhere means that another process works on the volume now.
var ErrHeldElsewhere = errors.New("another process works on the volume")

// Service backs up every claim on its schedule. One goroutine, that of Run,
// owns the state; runs work in goroutines of their own and report to it.
type Service struct {
	o   ServiceOptions
	log *slog.Logger

	done      chan outcome
	inventory chan inventoried
	reload    chan Settings
	slots     chan slotPassed
	demands   chan demand

	// The state below belongs to the goroutine of Run; mu guards it against
	// Status.
	mu       sync.Mutex
	set      Settings
	began    time.Time
	claims   map[catalog.Key]*claimState
	running  map[string]*runState // By volume.
	held     map[string]time.Time // When a volume that another process has is tried again.
	rounds   rounds
	changed  bool      // Something that plan looks at.
	planned  time.Time // When plan looked last,
	nextDue  time.Time // and when it has to look again at the latest.
	known    error     // Why the inventory is not known; nil when it is.
	ready    bool
	asking   bool      // The inventory is being taken.
	askAt    time.Time // When it is taken again; zero when nobody wants that yet.
	stopping bool
}

// The pace of the service.
const (
	// longestNap is the time after which the loop looks at the clock again in
	// any case: a clock that was stepped, or a host that slept, moves no timer.
	longestNap = time.Minute
	// settleTime lets a burst of changes of claims pass.
	settleTime = 2 * time.Second
	// askAgain is when claims are looked up again that nobody told of a change
	// of, and askSoon the same while something could not be looked up.
	askAgain = 10 * time.Minute
	askSoon  = time.Minute
	// heldPause is when a volume that another process has is tried again.
	heldPause = 30 * time.Second
)

// NewService returns a service that Run starts.
func NewService(o ServiceOptions) (*Service, error) {
	if o.Inventory == nil || o.Worker == nil || o.Ledger == nil {
		return nil, errors.New("daemon: Inventory, Worker and Ledger are required")
	}
	if o.Notice == nil {
		o.Notice = func(Notice) {}
	}
	if o.Alive == nil {
		o.Alive = func() {}
	}
	if o.HeldPause <= 0 {
		o.HeldPause = heldPause
	}
	if o.Now == nil {
		// Without the monotonic reading, in which a clock that was set back goes on.
		o.Now = func() time.Time { return time.Now().Round(0) }
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Service{
		o: o, log: o.Logger, set: o.Settings.normal(),
		done: make(chan outcome), inventory: make(chan inventoried), reload: make(chan Settings), slots: make(chan slotPassed), demands: make(chan demand),
		claims: map[catalog.Key]*claimState{}, running: map[string]*runState{}, held: map[string]time.Time{},
		rounds: rounds{},
	}, nil
}

func (s Settings) normal() Settings {
	s.Parallel, s.PerHost = max(s.Parallel, 1), max(s.PerHost, 1)
	return s
}

// Run works until ctx ends, and then waits until every run has given back what
// it holds. It returns an error only when it cannot begin.
func (s *Service) Run(ctx context.Context) error {
	ticker, err := newTicker(ctx, s.slots, s.log)
	if err != nil {
		return fmt.Errorf("schedule: %w", err)
	}
	defer ticker.stop()
	s.began = s.o.Now()
	s.mu.Lock()
	s.askAt = s.began
	s.mu.Unlock()
	for ctx.Err() == nil {
		s.o.Alive()
		s.mu.Lock()
		nap := s.turn(ctx, ticker)
		s.mu.Unlock()
		s.wait(ctx, nap)
	}
	s.drain()
	return nil
}

// turn starts what is due and returns how long nothing will be.
func (s *Service) turn(ctx context.Context, t *ticker) time.Duration {
	now := s.o.Now()
	if !s.asking && !now.Before(s.askAt) {
		// What changes from here on may come too late for this answer.
		s.asking, s.askAt = true, time.Time{}
		go s.takeInventory(ctx, s.set.Rules, now)
	}
	if s.changed {
		t.watch(ctx, s.schedules())
	}
	for _, r := range s.plan(now) {
		s.start(ctx, r, now)
	}
	wake := s.nextDue
	if !s.asking { // Else its answer ends the nap.
		wake = earliest(wake, s.askAt)
	}
	return min(max(wake.Sub(now), 0), longestNap)
}

// wait sleeps until something happens, and takes note of it.
func (s *Service) wait(ctx context.Context, nap time.Duration) {
	timer := time.NewTimer(max(nap, time.Millisecond))
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	case <-s.o.Changed:
		s.locked(func() { s.askAt = earliest(s.askAt, s.o.Now().Add(settleTime)) })
	case p := <-s.slots:
		s.locked(func() { s.slotPassed(p) })
	case i := <-s.inventory:
		s.locked(func() { s.inventoried(i) })
	case o := <-s.done:
		s.locked(func() {
			s.stopping = s.stopping || ctx.Err() != nil
			s.finish(o)
		})
	case d := <-s.demands:
		s.locked(func() { s.demanded(d) })
	case set := <-s.reload:
		s.locked(func() { s.set, s.askAt = set.normal(), s.o.Now() })
	}
}

// locked changes the state, after which plan looks at it again.
func (s *Service) locked(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.changed = true
	f()
}

// drain waits for what was started. Their contexts are over, so that they give
// back what they hold and end.
func (s *Service) drain() {
	s.locked(func() { s.stopping = true })
	for {
		s.mu.Lock()
		busy := len(s.running) > 0 || s.asking
		s.mu.Unlock()
		if !busy {
			return
		}
		s.o.Alive()
		s.wait(context.Background(), longestNap)
	}
}

// Reload replaces the settings. Runs that work go on with the old ones.
func (s *Service) Reload(ctx context.Context, set Settings) error {
	select {
	case s.reload <- set:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// inventoried is an answer of the inventory.
type inventoried struct {
	asked time.Time
	list  []Candidate
	lasts map[catalog.Key]Last
	err   error
}

// takeInventory looks up all claims and what was done last, apart from the loop:
// Heketi may take its time.
func (s *Service) takeInventory(ctx context.Context, r Rules, now time.Time) {
	i := inventoried{asked: now, lasts: map[catalog.Key]Last{}}
	i.list, i.err = s.o.Inventory.Candidates(ctx, r)
	for _, c := range i.list {
		last, found, err := s.o.Ledger.Last(c.Key, s.o.Now())
		if err != nil {
			i.err = errors.Join(i.err, err)
			break
		}
		if found {
			i.lasts[c.Key] = last
		}
	}
	s.inventory <- i
}

// inventoried takes over what the inventory says. After an error the claims
// that were known before stay.
func (s *Service) inventoried(i inventoried) {
	now := s.o.Now()
	s.asking, s.known = false, i.err
	s.askAt = earliest(s.askAt, now.Add(askAgain))
	if i.err != nil {
		s.askAt = earliest(s.askAt, now.Add(askSoon))
		if !s.stopping {
			s.log.Warn("claims are not known", "error", i.err)
		}
		return
	}
	exist := map[catalog.Key]bool{}
	for _, c := range i.list {
		exist[c.Key] = true
		if c.Coverage == NotCovered {
			s.askAt = earliest(s.askAt, now.Add(askSoon))
		}
		s.meet(c, i, now)
	}
	for k, c := range s.claims {
		if !exist[k] {
			delete(s.claims, k)
			s.say(Notice{Kind: NoticeGone, Candidate: c.Candidate})
		}
	}
	if !s.ready {
		s.ready = true
		s.say(Notice{Kind: NoticeReady})
	}
}

// meet takes over what is said of one claim.
func (s *Service) meet(c Candidate, i inventoried, now time.Time) {
	known, ok := s.claims[c.Key]
	if ok && known.Claim.UID != c.Claim.UID {
		ok = false // Another claim of the same name.
	}
	if !ok {
		known = &claimState{seen: now}
		s.claims[c.Key] = known
	}
	before := known.Candidate
	known.Candidate = c
	if !known.ended.After(i.asked) { // Else a run knows better.
		known.last = i.lasts[c.Key]
	}
	if before.Coverage != c.Coverage || before.Reason != c.Reason {
		s.say(Notice{Kind: NoticeCoverage, Candidate: c})
	}
	if len(c.Faults) > 0 && fmt.Sprint(before.Faults) != fmt.Sprint(c.Faults) {
		s.say(Notice{Kind: NoticeAnnotation, Candidate: c})
	}
}

func (s *Service) say(n Notice) {
	n.Time = s.o.Now()
	s.o.Notice(n)
}

// earliest returns the earlier time; a zero time is no time.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || (!b.IsZero() && b.Before(a)) {
		return b
	}
	return a
}
