package kube

import (
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
)

const (
	legacyContents = "volumesnapshotdatas"
	// legacyRequest begins the names of contents for tenants' objects.
	legacyRequest = managedBy + "-request-"
	uidLength     = 36
)

// legacyForm is SnapshotsLegacy. There is no status resource: status is written
// with the object, and of its conditions the last one counts. A content names
// its VolumeSnapshot in one string, <namespace>/<name>-<uid>.
type legacyForm struct{ o SnapshotOptions }

func (legacyForm) group() string    { return SnapshotsLegacy.group() }
func (legacyForm) contents() string { return legacyContents }
func (legacyForm) kinds() (content, object string) {
	return "VolumeSnapshotData", "VolumeSnapshot"
}
func (legacyForm) finalizers() []string { return []string{SnapshotFinalizer} }

func (legacyForm) ours(content *unstructured.Unstructured) bool {
	return text(content, "metadata", "annotations", objectLabel) != ""
}

// ref takes namespace and name from our annotation, and the UID from the
// string, which has none before the VolumeSnapshot exists.
func (legacyForm) ref(content *unstructured.Unstructured) snapshotRef {
	object := content.GetAnnotations()[objectLabel]
	namespace, name, _ := strings.Cut(object, "/")
	ref := snapshotRef{namespace: namespace, name: name}
	if uid, ok := strings.CutPrefix(text(content, "spec", "volumeSnapshotRef", "name"), object+"-"); ok && len(uid) == uidLength {
		ref.uid = types.UID(uid)
	}
	return ref
}

func (f legacyForm) bound(content, object *unstructured.Unstructured) bool {
	if uid := f.ref(content).uid; uid != "" {
		return uid == object.GetUID()
	}
	return text(object, "spec", "snapshotDataName") == content.GetName()
}

func (legacyForm) answers(content *unstructured.Unstructured) bool {
	return content.GetKind() == "VolumeSnapshotData" && strings.HasPrefix(content.GetName(), legacyRequest)
}

func (legacyForm) ready(object *unstructured.Unstructured) bool {
	list := conditions(object)
	if len(list) == 0 {
		return false
	}
	last, _ := list[len(list)-1].(map[string]any)
	return last["type"] == "Ready" && last["status"] == "True"
}

func conditions(u *unstructured.Unstructured) []any {
	list, _, _ := unstructured.NestedSlice(u.Object, "status", "conditions") // Of another type is none.
	return list
}

func (f legacyForm) asks(object *unstructured.Unstructured) (string, bool) {
	claim := text(object, "spec", "persistentVolumeClaimName")
	return claim, claim != "" && f.o.Class != "" && text(object, "spec", "snapshotDataName") == "" && len(conditions(object)) == 0
}

// contentName takes what the object says, for the objects that are on their
// way out only: its tenant can change that.
func (legacyForm) contentName(object *unstructured.Unstructured) string {
	return text(object, "spec", "snapshotDataName")
}

func (legacyForm) requestContent(uid types.UID) string { return legacyRequest + string(uid) }

func (f legacyForm) content(p snapshotPlan) map[string]any {
	ref := p.Namespace + "/" + p.Name
	if p.uid != "" {
		ref += "-" + string(p.uid)
	}
	spec := map[string]any{
		"glusterSnapshotVolume": map[string]any{"snapshotId": p.Snapshot},
		"volumeSnapshotRef":     map[string]any{"kind": "VolumeSnapshot", "name": ref},
	}
	if p.pv != "" {
		spec["persistentVolumeRef"] = map[string]any{"kind": "PersistentVolume", "name": p.pv}
	}
	return map[string]any{"metadata": f.o.contentMeta(p.VolumeSnapshot), "spec": spec, "status": map[string]any{
		"creationTimestamp": seconds(p.Created), "conditions": []any{readyCondition(p.Created)},
	}}
}

func seconds(t time.Time) string { return t.UTC().Format(time.RFC3339) }

func readyCondition(at time.Time) map[string]any {
	return map[string]any{
		"type": "Ready", "status": "True", "lastTransitionTime": seconds(at),
		"reason": "SnapshotReady", "message": "Snapshot created successfully and it is ready",
	}
}

func (legacyForm) contentStatus(snapshotPlan) map[string]any { return nil }

func (f legacyForm) object(p snapshotPlan, old *unstructured.Unstructured) map[string]any {
	labels := f.o.labels(p.VolumeSnapshot)
	labels["SnapshotMetadata-Timestamp"] = strconv.FormatInt(p.Created.UnixNano(), 10)
	if p.pv != "" && len(p.pv) <= 63 {
		labels["SnapshotMetadata-PVName"] = p.pv
	}
	spec := map[string]any{"snapshotDataName": p.content}
	if !p.request {
		spec["persistentVolumeClaimName"] = p.Claim
	}
	want := map[string]any{"metadata": map[string]any{"labels": labels, "annotations": p.notes()}, "spec": spec}
	status := map[string]any{"creationTimestamp": seconds(p.Created)}
	switch {
	case old == nil:
		status["conditions"] = []any{readyCondition(p.Created)}
	case !f.ready(old):
		status["conditions"] = append(conditions(old), readyCondition(p.Created))
	}
	want["status"] = status
	return want
}

func (legacyForm) objectStatus(snapshotPlan) map[string]any { return nil }
