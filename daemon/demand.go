package daemon

import (
	"context"
	"time"

	"github.com/glusterbackupd/glusterbackupd/catalog"
)

// demand is a wish for a backup that begins at that time or later.
type demand struct {
	key   catalog.Key
	since time.Time
}

// BackUpNow makes the next backup of a claim due at once, whatever its schedule
// says, unless one has begun since then. So one backup serves all who ask before
// it begins, also those who ask other daemons. For a claim that is not covered
// it does nothing.
func (s *Service) BackUpNow(ctx context.Context, k catalog.Key, since time.Time) error {
	if whole := since.Truncate(time.Second); whole.Before(since) {
		since = whole.Add(time.Second) // Backups carry whole seconds.
	}
	select {
	case s.demands <- demand{k, since}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// demanded notes that somebody wants a backup now. A run that works on the claim
// froze its data before that, and does not count.
func (s *Service) demanded(d demand) {
	if c := s.claims[d.key]; c != nil && !c.wanted() && d.since.After(c.demanded) {
		c.demanded, c.attempts, c.retryAt = d.since, 0, time.Time{}
	}
}
