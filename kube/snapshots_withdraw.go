package kube

import (
	"context"
	"errors"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"
)

// Withdraw removes both objects with our finalizers, and the snapshot-controller's
// from the content, which is the driver's to remove; what is missing is no
// error. It ends a deletion that a tenant or the end of the namespace began.
// The order keeps the content, which is marked as being deleted first, until
// nothing else is left, so that List returns it as Deleting until then,
// whatever is interrupted. An object of that name that is not ours stays.
//
// The controller's finalizers on the VolumeSnapshot are its own to remove, so
// that the object can outlive the call for a moment. One that was deinstalled
// leaves them for ever; that is for the admin.
//
// It takes two requests when there is nothing, four for what is being deleted
// already, and else eight.
func (s *Snapshots) Withdraw(ctx context.Context, v VolumeSnapshot) error {
	r := request{op: "withdraw", resource: snapshotResource, namespace: v.Namespace, name: v.Name}
	if err := s.client.checkNames(r); err != nil {
		return err
	}
	form, err := s.form(ctx)
	if err != nil || form == nil {
		return err
	}
	return s.repeat(ctx, func() error { return session{s, form, nil}.withdraw(ctx, v) })
}

func (n session) withdraw(ctx context.Context, v VolumeSnapshot) error {
	p, err := n.find(ctx, v)
	if err != nil {
		return err
	}
	contents := p.stale
	if p.content != nil {
		contents = append(contents, p.content)
	}
	for _, content := range contents {
		if err := n.markWithdrawn(ctx, content); err != nil {
			return err
		}
		if err := n.remove(ctx, n.contentRequest("delete", content.GetName()), content); err != nil {
			return err
		}
	}
	// An object without a content is ours when it names the content that only
	// we make.
	remnant := p.taken && slices.Contains(p.object.GetFinalizers(), SnapshotFinalizer) &&
		n.form.contentName(p.object) == contentNameFor(n.o.Repository, v)
	if p.object != nil && (!p.taken || remnant) {
		n.forget(p.object.GetUID())
		r := n.objectRequest("delete", v)
		if err := n.release(ctx, r, p.object, SnapshotFinalizer); err != nil {
			return err
		}
		if err := n.remove(ctx, r, p.object); err != nil {
			return err
		}
	}
	for _, content := range contents {
		if err := n.finish(ctx, content); err != nil {
			return err
		}
	}
	return nil
}

// markWithdrawn notes on a content that nobody has deleted that we do, before it
// can be taken for the wish of a tenant.
func (n session) markWithdrawn(ctx context.Context, content *unstructured.Unstructured) error {
	if deleting(content) {
		return nil
	}
	mark := map[string]any{"metadata": map[string]any{"annotations": map[string]any{withdrawnAnnotation: "true"}}}
	_, err := n.patch(ctx, n.contentRequest("withdraw", content.GetName()), mark)
	return ignoreMissing(err)
}

// letGo removes our finalizer from VolumeSnapshots that are being deleted and
// that no content, of whatever repository, is for: its content is gone, or a
// tenant copied the finalizer. So they and their namespace do not wait for us.
// What it cannot do is tried again with the next List.
func (s *Snapshots) letGo(ctx context.Context, state snapshotState) {
	bound := make(map[types.UID]bool)
	for _, content := range state.contents {
		if _, object := s.join(state, content); object != nil {
			bound[object.GetUID()] = true
		}
	}
	for _, object := range state.snapshots {
		if object.GetDeletionTimestamp() == nil || bound[object.GetUID()] || !slices.Contains(object.GetFinalizers(), SnapshotFinalizer) {
			continue
		}
		n := session{s, state.form, nil}
		r := n.request("delete", snapshotResource, object.GetNamespace(), object.GetName())
		free, err := n.contentless(ctx, object)
		if err == nil && free {
			err = n.release(ctx, r, object, SnapshotFinalizer)
		}
		if err != nil {
			s.o.Logger.Warn("a VolumeSnapshot that is being deleted keeps our finalizer", "namespace", r.namespace, "snapshot", r.name, "error", err)
		}
	}
}

// contentless tells whether an object's content is missing, or is for another.
func (n session) contentless(ctx context.Context, object *unstructured.Unstructured) (bool, error) {
	name := n.form.contentName(object)
	if name == "" {
		return true, nil
	}
	if len(validation.IsDNS1123Subdomain(name)) != 0 {
		return true, nil // A tenant wrote it; there is no such content.
	}
	content, err := n.client.get(ctx, n.contentRequest("read", name))
	if err != nil {
		return errors.Is(err, errMissing), ignoreMissing(err)
	}
	ref := n.form.ref(content)
	mine := ref.namespace == object.GetNamespace() && ref.name == object.GetName() && n.form.bound(content, object)
	return !mine, nil
}

// removeContent deletes a content, and lets it go.
func (n session) removeContent(ctx context.Context, content *unstructured.Unstructured) error {
	if err := n.remove(ctx, n.contentRequest("delete", content.GetName()), content); err != nil {
		return err
	}
	return n.finish(ctx, content)
}

// finish lets a content go that has been deleted, perhaps since it was read.
func (n session) finish(ctx context.Context, content *unstructured.Unstructured) error {
	r, uid := n.contentRequest("delete", content.GetName()), content.GetUID()
	if content.GetDeletionTimestamp() == nil {
		var err error
		if content, err = n.client.get(ctx, r); err != nil {
			return ignoreMissing(err)
		}
		if content.GetUID() != uid {
			return nil
		}
	}
	return n.release(ctx, r, content, n.form.finalizers()...)
}
