package kube

import (
	"context"
	"errors"
	"maps"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
)

const (
	// controllerTime is how long a VolumeSnapshot is left to a
	// snapshot-controller that has not touched it. One that runs puts a
	// finalizer on it within a second.
	controllerTime = 5 * time.Second
	// controlledTime is the same for one that a controller has touched, and may
	// have been deinstalled.
	controlledTime = time.Minute
	// attempts at objects that others change at the same time.
	attempts     = 5
	attemptPause = 100 * time.Millisecond
	// sightTime is how long it is remembered when an object was seen first.
	sightTime = time.Hour
)

// Show makes what is missing of both objects, or not as v says, in an order
// that a crash between any two requests does not hurt: the content with all that
// List needs, its status, the VolumeSnapshot, and its UID in the content.
//
// In SnapshotsV1 the status of the VolumeSnapshot is left to the common
// snapshot-controller, which copies it from the content. Whether one runs is
// told by its traces on this object, a finalizer or any status: when this
// process has seen it without traces for five seconds, or with traces and yet
// not ready for a minute, the next Show writes the status itself. Nothing
// breaks if a controller does run: it takes a status that is right as its own.
// Show does not wait for that: it returns nil, and [Snapshots.Changed] tells
// when to repeat it.
//
// ErrNameTaken means that the tenant has an object of that name which is not
// ours, which stays as it is; ErrDeleting that the objects are on their way
// out; ErrNoNamespace that the namespace is, in which case no content is left
// behind; ErrNoSnapshotAPI that there is none.
//
// It takes no requests when memory, while [Snapshots.Watch] is complete, has
// all as it should be, and then can miss what happened a moment ago; two when only the server has; and for a new snapshot six,
// and one more for the status if it comes to that.
func (s *Snapshots) Show(ctx context.Context, v VolumeSnapshot) error {
	if err := s.check("show", v); err != nil {
		return err
	}
	form, err := s.need(ctx, request{op: "show", resource: snapshotResource, namespace: v.Namespace, name: v.Name})
	if err != nil {
		return err
	}
	if live := s.complete(form); live != nil && (session{s, form, live}).show(ctx, v) == nil {
		return nil
	}
	return s.repeat(ctx, func() error { return session{s, form, nil}.show(ctx, v) })
}

// repeat does again what failed because another changed something.
func (s *Snapshots) repeat(ctx context.Context, do func() error) error {
	for i := 1; ; i++ {
		err := do()
		exists := errors.Is(err, errExists)
		if !exists && !errors.Is(err, errConflict) {
			return s.learn(err)
		}
		if i == attempts {
			if e, ok := errors.AsType[*Error](err); ok && exists {
				e.kind, e.temporary = ErrNameTaken, false
			}
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(time.Duration(i) * attemptPause):
		}
	}
}

// pair is what there is for one snapshot.
type pair struct {
	object  *unstructured.Unstructured   // The VolumeSnapshot; nil when it is missing.
	content *unstructured.Unstructured   // Nil when it is missing.
	stale   []*unstructured.Unstructured // Contents of this snapshot whose VolumeSnapshot is another or gone.
	taken   bool                         // The object is not ours.
}

// find looks for both objects, with one request each.
func (n session) find(ctx context.Context, v VolumeSnapshot) (pair, error) {
	var p pair
	contents, object, err := n.read(ctx, v)
	if err != nil {
		return p, err
	}
	p.object = object
	own := contentNameFor(n.o.Repository, v)
	for _, content := range contents {
		d := described(content)
		_, refused := content.GetAnnotations()[refusedAnnotation]
		switch {
		case refused || d.Namespace != v.Namespace || d.Name != v.Name || d.Snapshot != v.Snapshot || d.ClaimUID != v.ClaimUID:
		case object != nil && n.form.bound(content, object), object == nil && content.GetName() == own:
			p.content = content
		default:
			p.stale = append(p.stale, content)
		}
	}
	p.taken = object != nil && p.content == nil
	return p, nil
}

// read returns our contents for a VolumeSnapshot of that name, and itself.
func (n session) read(ctx context.Context, v VolumeSnapshot) ([]*unstructured.Unstructured, *unstructured.Unstructured, error) {
	if n.dry != nil {
		return n.dry.contentsOf(v), n.dry.object(v), nil
	}
	// The object first: a content that is found then is not younger than an
	// object that is not.
	object, err := n.client.get(ctx, n.objectRequest("read", v))
	if ignoreMissing(err) != nil {
		return nil, nil, err
	}
	contents, err := n.contents(ctx, n.form, objectHash(v.Namespace, v.Name))
	return contents, object, err
}

func (n session) show(ctx context.Context, v VolumeSnapshot) error {
	p, err := n.find(ctx, v)
	if err != nil {
		return err
	}
	if p.taken {
		return n.nameTaken(ctx, v, p)
	}
	for _, u := range []*unstructured.Unstructured{p.content, p.object} {
		if u != nil && u.GetDeletionTimestamp() != nil || u != nil && u == p.content && deleting(u) {
			return n.failed(n.objectRequest("show", v), ErrDeleting)
		}
	}
	plan := snapshotPlan{VolumeSnapshot: v, content: contentNameFor(n.o.Repository, v)}
	if p.content != nil {
		plan.content, plan.request = p.content.GetName(), n.form.answers(p.content)
	}
	if p.object != nil {
		plan.uid = p.object.GetUID()
	}
	object, err := n.complement(ctx, plan, p)
	if err != nil {
		return err
	}
	return n.settle(ctx, plan, object)
}

// complement makes what is missing, and returns the VolumeSnapshot.
func (n session) complement(ctx context.Context, plan snapshotPlan, p pair) (*unstructured.Unstructured, error) {
	if p.content == nil && n.dry == nil {
		plan.pv = n.volumeName(ctx, plan.VolumeSnapshot)
	}
	content, err := n.showContent(ctx, plan, p.content)
	if err != nil {
		return nil, err
	}
	object, err := n.showObject(ctx, plan, p.object)
	if errors.Is(err, ErrNoNamespace) {
		return nil, errors.Join(err, n.removeContent(ctx, content))
	}
	if err != nil {
		return nil, err
	}
	if plan.uid == "" {
		plan.uid = object.GetUID()
		if _, err := n.apply(ctx, n.contentRequest("bind", plan.content), content, n.form.content(plan)); err != nil {
			return nil, err
		}
	}
	for _, stale := range p.stale {
		if n.dry != nil {
			return nil, errStale
		}
		if err := n.removeContent(ctx, stale); err != nil {
			return nil, err
		}
	}
	return object, nil
}

// showContent makes the content, or what it lacks, with its status.
func (n session) showContent(ctx context.Context, plan snapshotPlan, old *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	r := n.contentRequest("create", plan.content)
	want, err := n.form.content(plan), error(nil)
	if old == nil {
		kind, _ := n.form.kinds()
		old, err = n.create(ctx, r, kind, want)
	} else {
		r.op = "update"
		old, err = n.apply(ctx, r, old, hold(old, want))
	}
	if status := n.form.contentStatus(plan); err == nil && status != nil {
		r.op = "update status of"
		old, err = n.apply(ctx, r, old, status, "status")
	}
	return old, err
}

// showObject makes the VolumeSnapshot, or what it lacks but its status.
func (n session) showObject(ctx context.Context, plan snapshotPlan, old *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	r := n.objectRequest("create", plan.VolumeSnapshot)
	want := n.form.object(plan, old)
	if old == nil {
		_, kind := n.form.kinds()
		return n.create(ctx, r, kind, want)
	}
	r.op = "update"
	return n.apply(ctx, r, old, hold(old, want))
}

// settle writes the status of a VolumeSnapshot if nobody else does.
func (n session) settle(ctx context.Context, plan snapshotPlan, object *unstructured.Unstructured) error {
	status := n.form.objectStatus(plan)
	if status == nil || n.form.ready(object) {
		n.forget(object.GetUID())
		return nil
	}
	if wait := n.patience(object); wait > 0 {
		time.AfterFunc(wait, n.notify)
		return nil
	}
	_, err := n.patch(ctx, n.objectRequest("update status of", plan.VolumeSnapshot), status, "status")
	return err
}

// patience returns how long to wait yet for a snapshot-controller to care for
// an object.
func (s *Snapshots) patience(object *unstructured.Unstructured) time.Duration {
	limit := controllerTime
	if controlled(object) {
		limit = controlledTime
	}
	return limit - time.Since(s.sight(object.GetUID()))
}

// sight returns when this process saw an object that is not ready first. It
// asks its own clock only.
func (s *Snapshots) sight(uid types.UID) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	maps.DeleteFunc(s.seen, func(_ types.UID, at time.Time) bool { return now.Sub(at) > sightTime })
	if first, known := s.seen[uid]; known {
		return first
	}
	s.seen[uid] = now
	return now
}

func (s *Snapshots) forget(uid types.UID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.seen, uid)
}

// nameTaken makes the error for an object that is not ours, and removes a
// content that was made for it and has never had one.
func (n session) nameTaken(ctx context.Context, v VolumeSnapshot, p pair) error {
	r := n.objectRequest("show", v)
	if n.dry != nil {
		return errStale
	}
	if p.object.GetDeletionTimestamp() != nil && n.form.contentName(p.object) == contentNameFor(n.o.Repository, v) {
		return n.failed(r, ErrDeleting) // Ours, of a Withdraw that is not over.
	}
	err := error(n.failed(r, ErrNameTaken))
	for _, content := range p.stale {
		if n.form.ref(content).uid == "" {
			err = errors.Join(err, n.removeContent(ctx, content))
		}
	}
	return err
}

func (n session) failed(r request, kind error) *Error {
	e := n.client.about(r, nil)
	e.kind, e.temporary = kind, errors.Is(kind, ErrDeleting)
	return e
}

// volumeName returns the claim's PersistentVolume, for SnapshotsLegacy; "" when
// the claim is gone or another, or cannot be read.
func (n session) volumeName(ctx context.Context, v VolumeSnapshot) string {
	if n.form.group() != SnapshotsLegacy.group() {
		return ""
	}
	claim, err := n.client.get(ctx, request{op: "read", resource: claimResource, namespace: v.Namespace, name: v.Claim})
	if err != nil || string(claim.GetUID()) != v.ClaimUID {
		return ""
	}
	return text(claim, "spec", "volumeName")
}
