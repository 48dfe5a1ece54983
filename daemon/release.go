package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// releaseTimeout bounds each release: long enough for a snapshot deletion on a
// busy cluster, short enough that a stop does not wait for a dead host.
const releaseTimeout = 2 * time.Minute

// releases is the LIFO stack of what a run has to give back. Every acquire is
// followed at once by add. It is not safe for concurrent use.
type releases struct {
	log  *slog.Logger
	list []release
}

type release struct {
	what string
	undo func(context.Context) error
}

// add registers undo, described by what for errors and logs.
func (r *releases) add(what string, undo func(context.Context) error) {
	r.list = append(r.list, release{what, undo})
}

// run gives everything back, newest first. It goes on after an error, ignores
// that ctx may be cancelled already, and returns all errors joined. A second
// call does nothing.
func (r *releases) run(ctx context.Context) error {
	ctx = context.WithoutCancel(ctx)
	var errs []error
	for i := len(r.list) - 1; i >= 0; i-- {
		step := r.list[i]
		bounded, cancel := context.WithTimeout(ctx, releaseTimeout)
		if err := step.undo(bounded); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", step.what, err))
		} else {
			r.log.Debug("released", "what", step.what)
		}
		cancel()
	}
	r.list = nil
	return errors.Join(errs...)
}
