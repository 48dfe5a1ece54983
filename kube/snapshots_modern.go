package kube

import (
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
)

const (
	modernContents = "volumesnapshotcontents"
	// beingDeleted is what the snapshot-controller writes on a content whose
	// VolumeSnapshot is being deleted.
	beingDeleted = "snapshot.storage.kubernetes.io/volumesnapshot-being-deleted"
	// controllerPrefix begins the finalizers of the snapshot-controller.
	controllerPrefix = "snapshot.storage.kubernetes.io/"
	// contentProtection is the finalizer that it puts on contents, and that the
	// driver has to remove, which is us.
	contentProtection = controllerPrefix + "volumesnapshotcontent-bound-protection"
	// claimProtection is the finalizer that it puts on the claim of a request.
	claimProtection = controllerPrefix + "pvc-as-source-protection"
)

// modernForm is SnapshotsV1. Snapshots that nobody asked for are made content
// first, as admins make them by hand: a content with a snapshotHandle, and a
// VolumeSnapshot that names it and no claim. A tenant's request gets a content
// with a volumeHandle and the name under which the snapshot-controller looks for
// the one that it would have made itself.
type modernForm struct{ o SnapshotOptions }

func (modernForm) group() string    { return SnapshotsV1.group() }
func (modernForm) contents() string { return modernContents }
func (modernForm) kinds() (content, object string) {
	return "VolumeSnapshotContent", "VolumeSnapshot"
}
func (modernForm) finalizers() []string { return []string{SnapshotFinalizer, contentProtection} }

func (modernForm) ours(content *unstructured.Unstructured) bool {
	return text(content, "spec", "driver") == SnapshotDriver
}

// text returns a string of an object, "" when there is none.
func text(u *unstructured.Unstructured, fields ...string) string {
	value, _, _ := unstructured.NestedString(u.Object, fields...) // Of another type is not what we made.
	return value
}

func (modernForm) ref(content *unstructured.Unstructured) snapshotRef {
	return snapshotRef{
		namespace: text(content, "spec", "volumeSnapshotRef", "namespace"),
		name:      text(content, "spec", "volumeSnapshotRef", "name"),
		uid:       types.UID(text(content, "spec", "volumeSnapshotRef", "uid")),
	}
}

// bound, before the UID is known, takes an object that names the content, which
// it cannot do later: its source is immutable.
func (f modernForm) bound(content, object *unstructured.Unstructured) bool {
	if uid := f.ref(content).uid; uid != "" {
		return uid == object.GetUID()
	}
	return text(object, "spec", "source", "volumeSnapshotContentName") == content.GetName()
}

func (modernForm) answers(content *unstructured.Unstructured) bool {
	return text(content, "spec", "source", "volumeHandle") != ""
}

func (modernForm) ready(object *unstructured.Unstructured) bool {
	ready, _, _ := unstructured.NestedBool(object.Object, "status", "readyToUse")
	return ready && text(object, "status", "boundVolumeSnapshotContentName") != ""
}

func (f modernForm) asks(object *unstructured.Unstructured) (string, bool) {
	claim := text(object, "spec", "source", "persistentVolumeClaimName")
	return claim, claim != "" && f.o.Class != "" && text(object, "spec", "volumeSnapshotClassName") == f.o.Class
}

func (f modernForm) contentName(object *unstructured.Unstructured) string {
	if name := text(object, "spec", "source", "volumeSnapshotContentName"); name != "" {
		return name
	}
	return f.requestContent(object.GetUID())
}

func (modernForm) requestContent(uid types.UID) string { return "snapcontent-" + string(uid) }

func (f modernForm) content(p snapshotPlan) map[string]any {
	ref := map[string]any{"apiVersion": string(SnapshotsV1), "kind": "VolumeSnapshot", "namespace": p.Namespace, "name": p.Name, "uid": nil}
	if p.uid != "" {
		ref["uid"] = string(p.uid)
	}
	spec := map[string]any{
		"driver": SnapshotDriver, "deletionPolicy": "Retain", "sourceVolumeMode": "Filesystem", "volumeSnapshotRef": ref,
		"source": map[string]any{"snapshotHandle": handle(p)},
	}
	if f.o.Delete {
		spec["deletionPolicy"] = "Delete"
	}
	if p.request {
		// It is immutable, and a refused request may be answered later.
		spec["source"] = map[string]any{"volumeHandle": p.Namespace + "/" + p.Claim}
		spec["volumeSnapshotClassName"] = f.o.Class
	}
	return map[string]any{"metadata": f.o.contentMeta(p.VolumeSnapshot), "spec": spec}
}

func handle(p snapshotPlan) string { return p.Volume + "/" + p.Snapshot }

func (modernForm) contentStatus(p snapshotPlan) map[string]any {
	return map[string]any{"status": map[string]any{
		"snapshotHandle": handle(p), "creationTime": p.Created.UnixNano(), "restoreSize": p.Size, "readyToUse": true, "error": nil,
	}}
}

func (f modernForm) object(p snapshotPlan, _ *unstructured.Unstructured) map[string]any {
	want := map[string]any{"metadata": map[string]any{"labels": f.o.labels(p.VolumeSnapshot), "annotations": p.notes()}}
	if !p.request {
		// No class: the controller would demand that it exists.
		want["spec"] = map[string]any{"source": map[string]any{"volumeSnapshotContentName": p.content}}
	}
	return want
}

func (modernForm) objectStatus(p snapshotPlan) map[string]any {
	return map[string]any{"status": map[string]any{
		"boundVolumeSnapshotContentName": p.content, "readyToUse": true, "error": nil,
		"creationTime": p.Created.UTC().Format(time.RFC3339),
		"restoreSize":  resource.NewQuantity(p.Size, resource.BinarySI).String(),
	}}
}

// controlled tells whether a snapshot-controller has been at work on an object.
func controlled(object *unstructured.Unstructured) bool {
	if slices.ContainsFunc(object.GetFinalizers(), func(f string) bool { return strings.HasPrefix(f, controllerPrefix) }) {
		return true
	}
	status, _, _ := unstructured.NestedMap(object.Object, "status") // Of another type is none.
	return len(status) > 0
}
