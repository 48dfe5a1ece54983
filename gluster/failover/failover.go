// Package failover decides which of several hosts is asked: the one that
// answered last, and the next only when a host could not be reached. A host
// that is down costs one time-out, not one per question, because it is
// remembered for a while and asked last.
//
// The package knows nothing of how hosts are asked: the same rules hold for
// every transport. It never asks another host after an answer, however
// unwelcome the answer is, and it asks nobody twice.
package failover

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
)

// Verdict is what the result of asking a host means for the other hosts.
type Verdict int

const (
	// Answered means that the host spoke, or that the question may have taken
	// effect: no other host is asked.
	Answered Verdict = iota
	// Unreached means that the host was certainly not asked: the next one is.
	Unreached
	// Distrusted means that the host's identity or ours is in doubt. No other
	// host is asked, since the admin must see it.
	Distrusted
)

// Options are the settings of a Set. Names is required.
type Options struct {
	// Names are the hosts in the order in which they are asked.
	Names []string
	// Outages are shared by the sets whose hosts overlap; nil means that this
	// set remembers for itself.
	Outages *Outages
	// Logger receives a warning when a host is passed over; nil discards.
	Logger *slog.Logger
}

// Set is the hosts of one pool. It is safe for concurrent use.
type Set struct {
	opts Options
	// working is the index of the host that answered last.
	working atomic.Int64
}

// New checks the options.
func New(o Options) (*Set, error) {
	if len(o.Names) == 0 {
		return nil, errors.New("no host")
	}
	if o.Outages == nil {
		o.Outages = &Outages{}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Set{opts: o}, nil
}

// Host returns the name of the host that answered last, at first the first one.
func (s *Set) Host() string { return s.opts.Names[s.working.Load()] }

// Do calls ask with the index of one host after the other until judge finds a
// result final, and returns that one. When no host was reached, or the last one
// is distrusted, the failures of all that were asked are joined.
func (s *Set) Do(ctx context.Context, ask func(host int) error, judge func(error) Verdict) error {
	var failed []error
	pass := func(n int) (bool, error) {
		err := ask(n)
		name := s.opts.Names[n]
		verdict := Answered
		if err != nil {
			verdict = judge(err)
		}
		switch verdict {
		case Answered:
			s.working.Store(int64(n))
			s.opts.Outages.forget(name)
			return true, err
		case Distrusted:
			return true, errors.Join(append([]error{err}, failed...)...)
		case Unreached:
		}
		failed = append(failed, err)
		s.opts.Outages.note(name)
		if len(failed) < len(s.opts.Names) {
			s.opts.Logger.WarnContext(ctx, "gluster host is passed over", "host", name, "reason", err)
		}
		return false, nil
	}
	var down []int
	for _, n := range s.order() {
		if s.opts.Outages.down(s.opts.Names[n]) {
			down = append(down, n)
			continue
		}
		if done, err := pass(n); done {
			return err
		}
	}
	// All others failed; what was down a moment ago may be back.
	for _, n := range down {
		if done, err := pass(n); done {
			return err
		}
	}
	return errors.Join(failed...)
}

// order returns the indices of the hosts, beginning with the one that works.
func (s *Set) order() []int {
	first := int(s.working.Load())
	order := make([]int, len(s.opts.Names))
	for i := range order {
		order[i] = (first + i) % len(order)
	}
	return order
}
