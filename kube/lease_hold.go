package kube

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
)

// Lease is a lease that this process has acquired. It is safe for concurrent
// use.
type Lease struct {
	leases *Leases
	name   string
	ctx    context.Context // What Context returns.
	cancel context.CancelCauseFunc

	record *coordinationv1.Lease // As last written by us. The renewing goroutine's, then Release's.
	until  time.Time             // When it is lost without a renewal; that goroutine's.

	renewing context.Context // Of the requests of that goroutine.
	stop     context.CancelFunc
	stopped  chan struct{}
	release  func(context.Context) error
}

// hold begins to renew a lease that was taken by a request sent at that time.
func (l *Leases) hold(ctx context.Context, name string, record *coordinationv1.Lease, sent time.Time) *Lease {
	h := &Lease{leases: l, name: name, record: record, until: sent.Add(l.o.Duration - l.o.Duration/4), stopped: make(chan struct{})}
	h.ctx, h.cancel = context.WithCancelCause(ctx)
	h.renewing, h.stop = context.WithCancel(context.WithoutCancel(ctx))
	var once sync.Once
	var err error
	h.release = func(ctx context.Context) error {
		once.Do(func() { err = h.giveBack(ctx) })
		return err
	}
	go h.renew()
	return h
}

// Name returns what the lease was acquired for.
func (h *Lease) Name() string { return h.name }

// Context returns a child of the context given to Acquire that ends when the
// lease is lost, with a cause that is an [*Error] and matches ErrLeaseLost, or
// when it is released. Whatever must not be done by two at a time has to be
// done under it.
//
// The lease is lost when it has not been renewed for three quarters of its
// duration, counted from before the last renewal was sent, or as soon as
// somebody else is seen to have it.
func (h *Lease) Context() context.Context { return h.ctx }

// Release ends [Lease.Context] and the renewals, and gives the lease back if
// it is still ours, so that others can take it at once. Only an error of the
// API is one, and then the lease expires by itself; somebody else's is left
// alone. ctx bounds the requests. Every call after the first returns what that
// did. Nothing of the lease is running when it returns.
func (h *Lease) Release(ctx context.Context) error { return h.release(ctx) }

func (h *Lease) giveBack(ctx context.Context) error {
	h.cancel(context.Canceled)
	h.stop()
	<-h.stopped
	defer h.leases.forget(h.record.Name)
	for {
		current, err := h.leases.get(ctx, h.record.Name)
		if errors.Is(err, errMissing) {
			return nil
		}
		if err != nil {
			return err
		}
		if !h.ours(current) {
			return nil
		}
		next := current.DeepCopy()
		nobody, now := "", microTime(time.Now())
		next.Spec.HolderIdentity, next.Spec.RenewTime = &nobody, &now
		// A conflict is our own last renewal, on its way when it was stopped,
		// or an admin's edit: see again.
		if _, err = h.leases.write(ctx, next); !errors.Is(err, errConflict) {
			return err
		}
	}
}

// ours tells whether a record is this very lease, and not one that another
// process of the same identity took later.
func (h *Lease) ours(lease *coordinationv1.Lease) bool {
	mine, theirs := h.record.Spec.AcquireTime, lease.Spec.AcquireTime
	return holder(lease) == h.leases.o.Identity && theirs != nil && mine.Time.Equal(theirs.Time)
}

// renew keeps the lease until it is stopped or lost.
func (h *Lease) renew() {
	defer close(h.stopped)
	duration := h.leases.o.Duration
	pause := duration / 4
	var last error // The latest failure that had all the time it needed.
	for {
		if !h.sleep(min(pause, time.Until(h.until))) {
			return
		}
		if !time.Now().Before(h.until) {
			h.cancel(h.lost(fmt.Errorf("not renewed within %s: %w", duration-duration/4, last)))
			return
		}
		ctx, cancel := context.WithDeadline(h.renewing, h.until)
		sent := time.Now()
		err := h.tryRenew(ctx)
		if last == nil || ctx.Err() == nil {
			last = err
		}
		cancel()
		switch {
		case err == nil:
			h.until, pause = sent.Add(duration-duration/4), duration/4
			continue
		case h.renewing.Err() != nil:
			return
		case errors.Is(err, ErrLeaseLost):
			h.cancel(err)
			return
		}
		h.leases.o.Logger.Debug("lease not renewed yet", "lease", h.record.Name, "until", h.until, "error", err)
		pause = duration / 16
	}
}

// sleep waits; false when the renewals are to end.
func (h *Lease) sleep(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-h.renewing.Done():
		return false
	}
}

// tryRenew writes a new renewTime. The object may have changed without being
// taken: by an admin, by a renewal of ours whose answer got lost, or by being
// deleted.
func (h *Lease) tryRenew(ctx context.Context) error {
	err := h.write(ctx, h.record)
	if errors.Is(err, errMissing) {
		fresh := h.record.DeepCopy()
		fresh.ResourceVersion, fresh.UID = "", ""
		err = h.write(ctx, fresh)
	}
	if !errors.Is(err, errConflict) {
		return err
	}
	current, err := h.leases.get(ctx, h.record.Name)
	if err != nil {
		return err
	}
	if !h.ours(current) {
		return h.lost(fmt.Errorf("it is held by %.200q now", holder(current)))
	}
	return h.write(ctx, current)
}

func (h *Lease) write(ctx context.Context, lease *coordinationv1.Lease) error {
	next := lease.DeepCopy()
	now := microTime(time.Now())
	next.Spec.RenewTime, next.Spec.LeaseDurationSeconds = &now, h.leases.seconds()
	written, err := h.leases.write(ctx, next)
	if err == nil {
		h.record = written
	}
	return err
}

// lost makes the cause of the context's end.
func (h *Lease) lost(cause error) error {
	r := request{op: "renew", resource: leaseResource, namespace: h.leases.o.Namespace, name: h.record.Name}
	e := h.leases.client.about(r, cause)
	e.kind, e.temporary = ErrLeaseLost, true
	e.remedy = "Check that this host reaches the API server in " + h.leases.client.source() + " and that no other holder has the identity " + h.leases.o.Identity + "."
	return e
}
