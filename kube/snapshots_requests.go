package kube

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"
)

const (
	// opFree is the removal of the snapshot-controller's finalizer from a claim.
	opFree = "free"
	// refusalTime is how long a refused request is not returned.
	refusalTime = time.Hour
	// handledTime is how long memory may be behind an answer.
	handledTime = time.Minute
	// freePause is how often a refused request's claim is looked at, at most.
	freePause = 30 * time.Second
)

// SnapshotRequest is a tenant's VolumeSnapshot that asks for a snapshot of a
// claim in its namespace.
type SnapshotRequest struct {
	Namespace, Name, UID string
	// Claim is what the tenant wrote; it need not exist.
	Claim string
	// Created is when the tenant asked, by the API server's clock.
	Created time.Time
}

// Requests returns the requests that have not been answered, the oldest first:
// in SnapshotsV1 VolumeSnapshots of a claim with our class, in SnapshotsLegacy
// all of a claim without data and conditions. Nothing else in them is looked
// at, and those whose claim's name is too long for any are left out. A refused one is not returned for an hour in SnapshotsV1, and not before
// its conditions are removed in SnapshotsLegacy; one that another daemon has
// answered is not either.
//
// It takes as many requests as [Snapshots.List], and looks after what Refuse
// left: it removes the refusals of objects that are gone (four requests each),
// and looks at the claims of the others every half minute (one each).
func (s *Snapshots) Requests(ctx context.Context) ([]SnapshotRequest, error) {
	if s.o.Class == "" {
		return nil, nil
	}
	state, err := s.state(ctx)
	if err != nil || state.form == nil {
		return nil, err
	}
	answers := make(map[types.UID]*unstructured.Unstructured)
	for _, content := range state.contents {
		answers[state.form.ref(content).uid] = content
	}
	var list []SnapshotRequest
	waiting := make(map[string]bool) // Claims, by namespace/name.
	for _, object := range state.snapshots {
		claim, asks := state.form.asks(object)
		if !asks || len(claim) > validation.DNS1123SubdomainMaxLength || object.GetDeletionTimestamp() != nil || s.answered(object, answers[object.GetUID()]) {
			continue
		}
		s.sight(object.GetUID())
		waiting[object.GetNamespace()+"/"+claim] = true
		list = append(list, SnapshotRequest{
			Namespace: object.GetNamespace(), Name: object.GetName(), UID: string(object.GetUID()),
			Claim: claim, Created: object.GetCreationTimestamp().UTC(),
		})
	}
	slices.SortFunc(list, func(a, b SnapshotRequest) int {
		return cmp.Or(a.Created.Compare(b.Created), strings.Compare(a.Namespace+"/"+a.Name, b.Namespace+"/"+b.Name))
	})
	s.sweep(ctx, state, waiting)
	return list, nil
}

// answered tells whether nothing is to be done about a request for now.
func (s *Snapshots) answered(object, content *unstructured.Unstructured) bool {
	s.mu.Lock()
	at, handled := s.handled[object.GetUID()]
	s.mu.Unlock()
	if handled && time.Since(at) < handledTime {
		return true
	}
	if content == nil {
		return text(object, "status", "boundVolumeSnapshotContentName") != ""
	}
	return !refusalOver(content)
}

// refusalOver tells whether a content is a refusal that is old enough.
func refusalOver(content *unstructured.Unstructured) bool {
	notes := content.GetAnnotations()
	if _, refused := notes[refusedAnnotation]; !refused {
		return false
	}
	at, err := time.Parse(time.RFC3339, notes[refusedAtAnnotation])
	age := time.Since(at)
	return err != nil || age < -refusalTime || age > refusalTime
}

// handle takes down that a request needs nothing more for now.
func (s *Snapshots) handle(uid types.UID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	maps.DeleteFunc(s.handled, func(_ types.UID, at time.Time) bool { return now.Sub(at) > handledTime })
	s.handled[uid] = now
}

// Answer makes the request's object ready, and a VolumeSnapshot for v whose
// namespace, name and claim are those of the request. From then on List returns
// it, with Request, and Show completes it when Answer was interrupted or has to
// wait for the snapshot-controller, as described there. The request's object
// gets our labels, annotations and finalizer.
//
// In SnapshotsV1 the content has the name under which the controller looks for
// the one that it would have made, so that it binds the object to it and takes
// its finalizer off the claim, also when it has reported an error before.
// Neither works while the VolumeSnapshotClass does not exist.
//
// ErrNoRequest means that the object is gone, another or being deleted;
// ErrNameTaken that somebody else has answered. It takes five requests, and
// one for the status if nobody else writes it.
func (s *Snapshots) Answer(ctx context.Context, q SnapshotRequest, v VolumeSnapshot) error {
	v.Namespace, v.Name, v.Claim = q.Namespace, q.Name, q.Claim
	if err := s.check("answer", v); err != nil {
		return err
	}
	form, err := s.need(ctx, request{op: "answer", resource: snapshotResource, namespace: q.Namespace, name: q.Name})
	if err != nil {
		return err
	}
	err = s.repeat(ctx, func() error { return session{s, form, nil}.answer(ctx, q, v) })
	if err == nil {
		s.handle(types.UID(q.UID))
	}
	return err
}

func (n session) answer(ctx context.Context, q SnapshotRequest, v VolumeSnapshot) error {
	object, content, err := n.requested(ctx, "answer", q)
	if err != nil {
		return err
	}
	plan := snapshotPlan{VolumeSnapshot: v, content: n.form.requestContent(object.GetUID()), uid: object.GetUID(), request: true}
	if content == nil {
		plan.pv = n.volumeName(ctx, v)
	}
	if _, err := n.showContent(ctx, plan, content); err != nil {
		return err
	}
	object, err = n.showObject(ctx, plan, object)
	if errors.Is(err, errMissing) {
		return n.failed(n.objectRequest("answer", v), ErrNoRequest)
	}
	if err != nil {
		return err
	}
	return n.settle(ctx, plan, object)
}

// requested reads the object of a request and its content, which is nil when
// there is none.
func (n session) requested(ctx context.Context, op string, q SnapshotRequest) (object, content *unstructured.Unstructured, err error) {
	r := n.request(op, snapshotResource, q.Namespace, q.Name)
	object, err = n.client.get(ctx, r)
	if ignoreMissing(err) != nil {
		return nil, nil, err
	}
	if err != nil || string(object.GetUID()) != q.UID || object.GetDeletionTimestamp() != nil {
		return nil, nil, n.failed(r, ErrNoRequest)
	}
	r = n.contentRequest(op, n.form.requestContent(object.GetUID()))
	content, err = n.client.get(ctx, r)
	switch {
	case err != nil:
		return object, nil, ignoreMissing(err)
	case !n.form.ours(content) || content.GetLabels()[RepositoryLabel] != n.o.Repository || n.form.ref(content).uid != object.GetUID():
		return nil, nil, n.failed(r, ErrNameTaken)
	case content.GetDeletionTimestamp() != nil:
		return nil, nil, n.failed(r, ErrDeleting)
	}
	return object, content, nil
}

// Refuse says on the request's object why there is no snapshot, and keeps it
// from Requests for a time that is said there.
//
// In SnapshotsV1 the refusal is a content that never becomes ready and has the
// reason as its error: a snapshot-controller copies the error to the object, and
// stops to try a snapshot of its own, and with that to put its finalizer on the
// claim. The controller itself would take that off when the object is ready or
// deleted only, so that the claim could not be deleted as long as the refused
// object exists; so it is taken off here, and again by Requests if need be.
// The reason is written in the object's status here, too, for clusters without a
// controller, and in its annotation backup.gluster.org/refused, for those where
// the class is missing: there the controller insists on its own error. The
// tenant can delete the object at any time; the refusal follows it.
//
// In SnapshotsLegacy the reason is a condition of type Error.
//
// ErrNoRequest means that there is nothing to refuse. It takes up to eight
// requests, two in SnapshotsLegacy.
func (s *Snapshots) Refuse(ctx context.Context, q SnapshotRequest, reason string) error {
	r := request{op: "refuse", resource: snapshotResource, namespace: q.Namespace, name: q.Name}
	if err := s.client.checkNames(r); err != nil {
		return err
	}
	form, err := s.need(ctx, r)
	if err != nil {
		return err
	}
	if reason == "" {
		reason = "refused"
	}
	if len(reason) > maxMessage {
		reason = strings.ToValidUTF8(reason[:maxMessage], "")
	}
	err = s.repeat(ctx, func() error {
		if form.contents() == legacyContents {
			return session{s, form, nil}.refuseLegacy(ctx, q, reason)
		}
		return session{s, form, nil}.refuse(ctx, q, reason)
	})
	if err == nil {
		s.handle(types.UID(q.UID))
	}
	return err
}

func (n session) refuse(ctx context.Context, q SnapshotRequest, reason string) error {
	object, content, err := n.requested(ctx, "refuse", q)
	if err != nil {
		return err
	}
	if content != nil && content.GetAnnotations()[refusedAnnotation] == "" {
		return n.failed(n.request("refuse", snapshotResource, q.Namespace, q.Name), ErrNoRequest) // It is answered.
	}
	now := time.Now()
	v := VolumeSnapshot{Namespace: q.Namespace, Name: q.Name, Claim: q.Claim, Created: now}
	plan := snapshotPlan{VolumeSnapshot: v, content: n.form.requestContent(object.GetUID()), uid: object.GetUID(), request: true}
	want := modernForm{SnapshotOptions{Repository: n.o.Repository, Class: n.o.Class}}.content(plan) // Policy Retain: the object need not wait for us.
	want["metadata"] = map[string]any{"labels": n.o.contentMeta(v)["labels"], "annotations": map[string]any{
		objectLabel: q.Namespace + "/" + q.Name, claimAnnotation: q.Claim,
		refusedAnnotation: reason, refusedAtAnnotation: seconds(now),
	}}
	r := n.contentRequest("create", plan.content)
	if content == nil {
		kind, _ := n.form.kinds()
		content, err = n.create(ctx, r, kind, want)
	} else {
		content, err = n.apply(ctx, r, content, want)
	}
	if err != nil {
		return err
	}
	failure := map[string]any{"readyToUse": false, "error": map[string]any{"message": reason, "time": seconds(now)}}
	r.op = "update status of"
	if _, err := n.apply(ctx, r, content, map[string]any{"status": failure}, "status"); err != nil {
		return err
	}
	note := map[string]any{"metadata": map[string]any{"annotations": map[string]any{refusedAnnotation: reason}}}
	if _, err := n.apply(ctx, n.objectRequest("update", v), object, note); ignoreMissing(err) != nil {
		return err
	}
	// The same that a controller copies, so that it does not matter who is first.
	failure["boundVolumeSnapshotContentName"] = plan.content
	if _, err := n.patch(ctx, n.objectRequest("update status of", v), map[string]any{"status": failure}, "status"); ignoreMissing(err) != nil {
		return err
	}
	time.AfterFunc(freePause, n.notify) // For Requests, should the controller have been faster.
	return n.free(ctx, q.Namespace, q.Claim)
}

func (n session) refuseLegacy(ctx context.Context, q SnapshotRequest, reason string) error {
	r := n.request("refuse", snapshotResource, q.Namespace, q.Name)
	object, err := n.client.get(ctx, r)
	if ignoreMissing(err) != nil {
		return err
	}
	if err != nil || string(object.GetUID()) != q.UID || object.GetDeletionTimestamp() != nil {
		return n.failed(r, ErrNoRequest)
	}
	condition := map[string]any{
		"type": "Error", "status": "True", "lastTransitionTime": seconds(time.Now()), "reason": "SnapshotRefused", "message": reason,
	}
	want := map[string]any{"status": map[string]any{"conditions": append(conditions(object), condition)}}
	_, err = n.patch(ctx, r, setFinalizers(object, object.GetFinalizers(), want))
	return err
}

// free takes the snapshot-controller's finalizer off a claim.
func (n session) free(ctx context.Context, namespace, name string) error {
	r := request{op: opFree, resource: claimResource, namespace: namespace, name: name}
	if len(validation.IsDNS1123Subdomain(name)) != 0 {
		return nil // A tenant wrote it; there is no such claim.
	}
	claim, err := n.client.get(ctx, r)
	if err != nil {
		if errors.Is(err, ErrNoClaim) {
			return nil
		}
		return err
	}
	err = n.release(ctx, r, claim, claimProtection)
	if errors.Is(err, ErrNoClaim) {
		return nil
	}
	return err
}

// sweep looks after refusals: it removes those whose object is gone, and frees
// claims that no other request waits for.
func (s *Snapshots) sweep(ctx context.Context, state snapshotState, waiting map[string]bool) {
	n := session{s, state.form, nil}
	for _, content := range state.contents {
		notes := content.GetAnnotations()
		if _, refused := notes[refusedAnnotation]; !refused {
			continue
		}
		ref := state.form.ref(content)
		claim := ref.namespace + "/" + notes[claimAnnotation]
		var err error
		switch {
		case uidOf(state.snapshots[ref.namespace+"/"+ref.name]) != ref.uid:
			err = n.dropRefusal(ctx, ref, content)
		case !waiting[claim] && s.due(claim):
			err = n.free(ctx, ref.namespace, notes[claimAnnotation])
		}
		if err != nil {
			s.o.Logger.Warn("a refused VolumeSnapshot is not tidied up", "namespace", ref.namespace, "snapshot", ref.name, "error", err)
		}
	}
}

// uidOf returns the UID of an object that may be missing.
func uidOf(u *unstructured.Unstructured) types.UID {
	if u == nil {
		return ""
	}
	return u.GetUID()
}

// dropRefusal removes a refusal whose object is gone from the server, too.
func (n session) dropRefusal(ctx context.Context, ref snapshotRef, content *unstructured.Unstructured) error {
	object, err := n.client.get(ctx, n.request("read", snapshotResource, ref.namespace, ref.name))
	if ignoreMissing(err) != nil || err == nil && object.GetUID() == ref.uid {
		return ignoreMissing(err)
	}
	return n.removeContent(ctx, content)
}

// due tells whether it is time to look at a claim.
func (s *Snapshots) due(claim string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	maps.DeleteFunc(s.freed, func(_ string, at time.Time) bool { return now.Sub(at) >= freePause })
	_, early := s.freed[claim]
	if !early {
		s.freed[claim] = now
	}
	return !early
}
