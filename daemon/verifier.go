package daemon

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/glusterbackupd/glusterbackupd/catalog"
)

// VerifierOptions are the parts of a Verifier. All but Tell and Logger are
// required.
type VerifierOptions struct {
	// Daemon returns the one that holds the policies of now.
	Daemon func() *Daemon
	// Status is that of the Service.
	Status func() Status
	// Every is the longest time between two verifications of a claim; 0 means
	// never. It may change.
	Every func() time.Duration
	// Tell is told of each verification that came to an end; err is nil for an
	// intact backup.
	Tell   func(c ClaimStatus, b catalog.Backup, err error)
	Logger *slog.Logger
}

// Verifier reads the newest backup of each claim again, in its turn, and compares
// it with its manifest: a disk that loses data says so by itself to nobody. It
// reads one backup at a time. What was verified when is noted beside the backup,
// so that several daemons share the work.
type Verifier struct {
	o VerifierOptions

	mu     sync.Mutex
	oldest time.Time
}

// verifyPause is the time between two looks at what is due.
const verifyPause = 10 * time.Minute

// NewVerifier returns a Verifier that Run starts.
func NewVerifier(o VerifierOptions) (*Verifier, error) {
	if o.Daemon == nil || o.Status == nil || o.Every == nil {
		return nil, errors.New("daemon: Daemon, Status and Every are required")
	}
	if o.Tell == nil {
		o.Tell = func(ClaimStatus, catalog.Backup, error) {}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Verifier{o: o}, nil
}

// Run works until ctx ends.
func (v *Verifier) Run(ctx context.Context) {
	for ctx.Err() == nil {
		pause := time.NewTimer(verifyPause)
		select {
		case <-ctx.Done():
		case <-pause.C:
			v.round(ctx)
		}
		pause.Stop()
	}
}

// Oldest returns when the claim was verified whose last verification is the
// longest ago; the zero time while that is not known. A claim that was never
// verified counts from its oldest backup.
func (v *Verifier) Oldest() time.Time {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.oldest
}

// unverified is a claim whose newest backup is to be read.
type unverified struct {
	claim  ClaimStatus
	newest catalog.Backup
	since  time.Time
}

// round verifies what is due, the longest unverified first.
func (v *Verifier) round(ctx context.Context) {
	list, err := v.list()
	if err != nil {
		v.o.Logger.Warn("backups to be verified are not known", "error", err)
		return
	}
	every := v.o.Every()
	for n := range list {
		u := &list[n]
		if every <= 0 || time.Since(u.since) < every || ctx.Err() != nil {
			break
		}
		if v.verify(ctx, u.claim, u.newest) {
			u.since = time.Now()
		}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.oldest = time.Time{}
	for _, u := range list {
		v.oldest = earliest(v.oldest, u.since)
	}
}

// list returns the claims that have backups.
func (v *Verifier) list() (list []unverified, err error) {
	for _, c := range v.o.Status().Claims {
		backups, err := v.o.Daemon().o.Catalog.Backups(c.Key)
		if err != nil {
			return nil, err
		}
		if len(backups) == 0 {
			continue
		}
		u := unverified{claim: c, newest: backups[len(backups)-1], since: backups[0].Time}
		for _, b := range backups {
			at, err := b.Verified()
			if err != nil {
				return nil, err
			}
			u.since = latest(u.since, at)
		}
		list = append(list, u)
	}
	slices.SortStableFunc(list, func(a, b unverified) int { return a.since.Compare(b.since) })
	return list, nil
}

// verify reads a backup, and says whether it is intact and noted as such.
// Nothing is locked while it reads: the retention may remove the backup, which
// then is no damage.
func (v *Verifier) verify(ctx context.Context, c ClaimStatus, b catalog.Backup) bool {
	r := v.o.Daemon().o.Catalog
	err := b.Verify(ctx, "", nil)
	if _, gone := r.Find(b.Key, b.ID); ctx.Err() != nil || errors.Is(gone, catalog.ErrNoBackup) && !errors.Is(gone, catalog.ErrDamaged) {
		return false
	}
	v.o.Tell(c, b, err)
	if err != nil {
		return false
	}
	lock, err := r.Lock("verify", catalog.ClaimScope(b.Key))
	if err == nil {
		err = errors.Join(r.MarkVerified(b, time.Now()), lock.Release())
	}
	if err != nil {
		v.o.Logger.Warn("that a backup was verified could not be noted, it will be again", "claim", b.Key.String(), "backup", b.ID, "error", err)
	}
	return err == nil
}
