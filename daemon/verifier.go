package daemon

import (
	"cmp"
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

	// bad are backups that were found damaged, and when.
	bad map[string]time.Time

	mu     sync.Mutex
	oldest time.Time
}

const (
	// verifyPause is the time between two looks at what is due.
	verifyPause = 10 * time.Minute
	// damagePause is after what time a damaged backup is read and told of again.
	damagePause = 24 * time.Hour
)

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
	return &Verifier{o: o, bad: map[string]time.Time{}}, nil
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
	// marked is the newest mark; zero without one. Then it is due at once, since
	// the retention may never let a backup grow old enough.
	marked, oldest time.Time
}

func (u unverified) since() time.Time { return latest(u.oldest, u.marked) }

// round verifies what is due, the longest unverified first.
func (v *Verifier) round(ctx context.Context) {
	every := v.o.Every()
	if every <= 0 {
		return
	}
	list := v.list()
	for n := range list {
		u := &list[n]
		if ctx.Err() != nil {
			return
		}
		if time.Since(u.marked) < every || time.Since(v.bad[u.newest.Key.String()+u.newest.ID]) < damagePause {
			continue
		}
		// Another daemon may have done it meanwhile.
		if again, err := v.look(u.claim); err == nil && time.Since(again.marked) < every {
			u.marked = again.marked
			continue
		}
		intact, err := v.verify(ctx, u.claim, u.newest)
		if err != nil {
			v.o.Logger.Warn("backups cannot be verified now", "claim", u.newest.Key.String(), "error", err)
			return // It is the BackupDisk's trouble, not this backup's.
		}
		if intact {
			u.marked = time.Now()
		}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.oldest = time.Time{}
	for _, u := range list {
		v.oldest = earliest(v.oldest, u.since())
	}
}

// list returns the claims that have backups, the longest unverified first.
func (v *Verifier) list() (list []unverified) {
	for _, c := range v.o.Status().Claims {
		u, err := v.look(c)
		if err != nil {
			v.o.Logger.Warn("backups of a claim cannot be verified", "claim", c.Key.String(), "error", err)
			continue
		}
		if u.newest.ID != "" {
			list = append(list, u)
		}
	}
	slices.SortStableFunc(list, func(a, b unverified) int {
		return cmp.Or(a.marked.Compare(b.marked), a.oldest.Compare(b.oldest))
	})
	return list
}

// look reads the marks of a claim.
func (v *Verifier) look(c ClaimStatus) (unverified, error) {
	u := unverified{claim: c}
	backups, err := v.o.Daemon().o.Catalog.Backups(c.Key)
	if err != nil || len(backups) == 0 {
		return u, err
	}
	u.newest, u.oldest = backups[len(backups)-1], backups[0].Time
	for _, b := range backups {
		at, err := b.Verified()
		if err != nil {
			return u, err
		}
		u.marked = latest(u.marked, at)
	}
	return u, nil
}

// verify reads a backup, notes what it finds, and says whether it is intact and noted
// as such.
// Nothing is locked while it reads: the retention may remove the backup, which
// then is no damage. An error says nothing about the backup.
func (v *Verifier) verify(ctx context.Context, c ClaimStatus, b catalog.Backup) (intact bool, err error) {
	r := v.o.Daemon().o.Catalog
	err = b.Verify(ctx, catalog.VerifyOptions{})
	if _, gone := r.Find(b.Key, b.ID); ctx.Err() != nil || errors.Is(gone, catalog.ErrNoBackup) && !errors.Is(gone, catalog.ErrDamaged) {
		return false, nil //nolint:nilerr // It was removed, or the daemon ends.
	}
	mark := r.MarkVerified
	if errors.Is(err, catalog.ErrDamaged) {
		v.bad[b.Key.String()+b.ID] = time.Now()
		mark = r.MarkDamaged
	} else if err != nil {
		return false, err
	}
	v.o.Tell(c, b, err)
	lock, noted := r.Lock("verify", catalog.ClaimScope(b.Key))
	if noted == nil {
		noted = errors.Join(mark(b, time.Now()), lock.Release())
	}
	if noted != nil {
		v.o.Logger.Warn("that a backup was verified could not be noted, it will be again", "claim", b.Key.String(), "backup", b.ID, "error", noted)
	}
	return err == nil && noted == nil, nil
}
