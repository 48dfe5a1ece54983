package kube

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"
)

const (
	// SnapshotDriver is the driver of our contents and of the admin's
	// VolumeSnapshotClass.
	SnapshotDriver = "backup.gluster.org"
	// SnapshotFinalizer keeps an object that somebody deletes until
	// [Snapshots.Withdraw].
	SnapshotFinalizer = AnnotationPrefix + "snapshot"
	// RepositoryLabel says of which repository an object is.
	RepositoryLabel = AnnotationPrefix + "repository"

	managedLabel = "app.kubernetes.io/managed-by"
	managedBy    = "glusterbackupd"
	claimLabel   = AnnotationPrefix + "claim"
	// objectLabel of a content finds it by the VolumeSnapshot that it is for.
	objectLabel = AnnotationPrefix + "object"

	// The annotations; those from claim-uid on only on contents, but for the
	// reason of a refusal.
	claimAnnotation     = AnnotationPrefix + "claim"
	volumeAnnotation    = AnnotationPrefix + "volume"
	snapshotAnnotation  = AnnotationPrefix + "snapshot"
	backupAnnotation    = AnnotationPrefix + "backup"
	claimUIDAnnotation  = AnnotationPrefix + "claim-uid"
	createdAnnotation   = AnnotationPrefix + "created"
	sizeAnnotation      = AnnotationPrefix + "size"
	blockAnnotation     = AnnotationPrefix + "block"
	refusedAnnotation   = AnnotationPrefix + "refused"
	refusedAtAnnotation = AnnotationPrefix + "refused-at"
	// withdrawnAnnotation tells our own deletion from one by somebody else.
	withdrawnAnnotation = AnnotationPrefix + "withdrawn"

	// snapshotResource is the plural in both APIs.
	snapshotResource = "volumesnapshots"
	// maxHandle bounds names that come from Gluster.
	maxHandle = 255
)

// snapshotForm is how one of the APIs says things. Its maps have the fields
// that are ours; nil in them is a field that must not be there.
type snapshotForm interface {
	group() string
	// contents is the plural of the cluster-scoped resource.
	contents() string
	// ours tells whether a content that our labels select is one of ours.
	ours(content *unstructured.Unstructured) bool
	// ref is the VolumeSnapshot that a content is for.
	ref(content *unstructured.Unstructured) snapshotRef
	// bound tells whether a content, whose ref has the object's name, is for
	// this very object.
	bound(content, object *unstructured.Unstructured) bool
	// answers tells whether a content was made for a tenant's object.
	answers(content *unstructured.Unstructured) bool
	// ready tells what the object says.
	ready(object *unstructured.Unstructured) bool
	// asks tells whether an object is a request, and for which claim.
	asks(object *unstructured.Unstructured) (claim string, ok bool)
	// contentName is the name of the content that an object has, or would have.
	contentName(object *unstructured.Unstructured) string
	// requestContent is the name of the content for a tenant's object.
	requestContent(uid types.UID) string
	// content, contentStatus, object and objectStatus are what is wanted; status
	// is nil where it is no resource of its own. old is nil for a new object.
	content(p snapshotPlan) map[string]any
	contentStatus(p snapshotPlan) map[string]any
	object(p snapshotPlan, old *unstructured.Unstructured) map[string]any
	objectStatus(p snapshotPlan) map[string]any
	// kinds are those of a content and of a VolumeSnapshot.
	kinds() (content, object string)
	// finalizers of a content that only we remove.
	finalizers() []string
}

// snapshotRef names a VolumeSnapshot; uid is "" until it is known.
type snapshotRef struct {
	namespace, name string
	uid             types.UID
}

// snapshotPlan is what the objects of one snapshot are made of.
type snapshotPlan struct {
	VolumeSnapshot
	content string    // Name.
	uid     types.UID // Of the VolumeSnapshot; "" while there is none.
	request bool      // The VolumeSnapshot is a tenant's.
	pv      string    // Name of the PersistentVolume, where it is wanted and known.
}

// described reads back from a content what [contentMeta] says.
func described(content *unstructured.Unstructured) VolumeSnapshot {
	notes := content.GetAnnotations()
	namespace, name, _ := strings.Cut(notes[objectLabel], "/")
	v := VolumeSnapshot{
		Namespace: namespace, Name: name,
		Claim: notes[claimAnnotation], ClaimUID: notes[claimUIDAnnotation],
		Volume: notes[volumeAnnotation], Snapshot: notes[snapshotAnnotation],
		Backup: notes[backupAnnotation], Schedule: notes[ScheduleAnnotation],
		Block: notes[blockAnnotation] == "true", Withdrawn: notes[withdrawnAnnotation] == "true",
	}
	v.Created, _ = time.Parse(time.RFC3339Nano, notes[createdAnnotation]) // Ours; zero when an admin broke it.
	v.Size, _ = strconv.ParseInt(notes[sizeAnnotation], 10, 64)
	if formAnswers(content) {
		v.Request = name
	}
	return v
}

// formAnswers tells whether a content of either API answers a request.
func formAnswers(content *unstructured.Unstructured) bool {
	return modernForm{}.answers(content) || legacyForm{}.answers(content)
}

// labels that both objects have.
func (o SnapshotOptions) labels(v VolumeSnapshot) map[string]any {
	labels := map[string]any{managedLabel: managedBy, RepositoryLabel: o.Repository}
	if len(validation.IsValidLabelValue(v.Claim)) == 0 {
		labels[claimLabel] = v.Claim
	}
	return labels
}

// notes are the annotations for readers.
func (v VolumeSnapshot) notes() map[string]any {
	notes := map[string]any{
		claimAnnotation: v.Claim, volumeAnnotation: v.Volume, snapshotAnnotation: v.Snapshot,
		backupAnnotation: v.Backup, ScheduleAnnotation: v.Schedule, refusedAnnotation: nil,
	}
	for key, value := range notes {
		if value == "" {
			notes[key] = nil
		}
	}
	return notes
}

// contentMeta is the metadata of a content, with all that List returns.
func (o SnapshotOptions) contentMeta(v VolumeSnapshot) map[string]any {
	labels, notes := o.labels(v), v.notes()
	labels[objectLabel] = objectHash(v.Namespace, v.Name)
	maps.Copy(notes, map[string]any{
		objectLabel: v.Namespace + "/" + v.Name, claimUIDAnnotation: v.ClaimUID,
		createdAnnotation: v.Created.UTC().Format(time.RFC3339Nano), sizeAnnotation: strconv.FormatInt(v.Size, 10),
		blockAnnotation: nil, withdrawnAnnotation: nil, refusedAtAnnotation: nil,
	})
	if v.Block {
		notes[blockAnnotation] = "true"
	}
	return map[string]any{"labels": labels, "annotations": notes}
}

// objectHash fits into a label, as namespace and name may not.
func objectHash(namespace, name string) string { return digest(namespace + "/" + name) }

// contentNameFor is the name of the content of a snapshot that nobody asked
// for. One snapshot under one name has one, so that what was interrupted is
// found again.
func contentNameFor(repository string, v VolumeSnapshot) string {
	readable := strings.Trim(strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, strings.ToLower(repository[:min(len(repository), 8)])), "-")
	if readable != "" {
		readable += "-"
	}
	return managedBy + "-" + readable + digest(strings.Join([]string{repository, v.ClaimUID, v.Snapshot, v.Namespace, v.Name}, "/"))
}

func digest(text string) string {
	hash := sha256.Sum256([]byte(text))
	return hex.EncodeToString(hash[:16])
}

// deleting tells whether somebody asked to delete a content or what it is for, or
// Withdraw has begun.
func deleting(content *unstructured.Unstructured) bool {
	notes := content.GetAnnotations()
	return content.GetDeletionTimestamp() != nil || notes[beingDeleted] == "yes" || notes[withdrawnAnnotation] == "true"
}

// covers tells whether an object has all that is wanted.
func covers(has, want map[string]any) bool {
	for key, value := range want {
		inner, isMap := value.(map[string]any)
		old, exists := has[key]
		switch {
		case value == nil:
			if exists && old != nil {
				return false
			}
		case isMap:
			oldMap, _ := old.(map[string]any) // Nil has nothing.
			if !covers(oldMap, inner) {
				return false
			}
		case !reflect.DeepEqual(old, value):
			return false
		}
	}
	return true
}

// withoutNil copies what is wanted for a new object.
func withoutNil(want map[string]any) map[string]any {
	object := make(map[string]any, len(want))
	for key, value := range want {
		if inner, ok := value.(map[string]any); ok {
			object[key] = withoutNil(inner)
		} else if value != nil {
			object[key] = value
		}
	}
	return object
}

// errStale means that memory alone does not suffice.
var errStale = errors.New("not as it should be in memory")

// session is one attempt at something with both objects. One that is dry reads
// from memory, and what would have to be written fails with errStale.
type session struct {
	*Snapshots

	form snapshotForm
	dry  *snapshotFeeds
}

func (n session) request(op, resource, namespace, name string) request {
	return request{op: op, resource: resource, namespace: namespace, name: name, group: n.form.group()}
}

func (n session) contentRequest(op, name string) request {
	return n.request(op, n.form.contents(), "", name)
}

func (n session) objectRequest(op string, v VolumeSnapshot) request {
	return n.request(op, snapshotResource, v.Namespace, v.Name)
}

// create makes a new object with our finalizer.
func (n session) create(ctx context.Context, r request, kind string, want map[string]any) (*unstructured.Unstructured, error) {
	if n.dry != nil {
		return nil, errStale
	}
	u := &unstructured.Unstructured{Object: withoutNil(want)}
	u.SetAPIVersion(n.form.group() + "/v1")
	u.SetKind(kind)
	u.SetNamespace(r.namespace)
	u.SetName(r.name)
	u.SetFinalizers([]string{SnapshotFinalizer})
	limited, cancel := n.client.limit(ctx)
	defer cancel()
	made, err := n.client.resource(r).Create(limited, u, metav1.CreateOptions{})
	if err == nil {
		return made, nil
	}
	e := n.client.fail(ctx, limited, r, err)
	if apierrors.IsAlreadyExists(err) {
		e.kind = errExists
	}
	return nil, e
}

// errExists means that an object is there that was not when it was looked for.
var errExists = errors.New("exists already")

// apply changes an object if it lacks something, and returns it as it then is.
func (n session) apply(ctx context.Context, r request, old *unstructured.Unstructured, want map[string]any, sub ...string) (*unstructured.Unstructured, error) {
	if covers(old.Object, want) {
		return old, nil
	}
	return n.patch(ctx, r, want, sub...)
}

func (n session) patch(ctx context.Context, r request, want map[string]any, sub ...string) (*unstructured.Unstructured, error) {
	if n.dry != nil {
		return nil, errStale
	}
	body, err := json.Marshal(want)
	if err != nil {
		return nil, n.client.about(r, err)
	}
	limited, cancel := n.client.limit(ctx)
	defer cancel()
	changed, err := n.client.resource(r).Patch(limited, r.name, types.MergePatchType, body, metav1.PatchOptions{}, sub...)
	if err != nil {
		return nil, n.client.fail(ctx, limited, r, err)
	}
	return changed, nil
}

// hold adds our finalizer to what is wanted of an object, on the condition that
// nobody changes the object at the same time: finalizers are one list.
func hold(old *unstructured.Unstructured, want map[string]any) map[string]any {
	if slices.Contains(old.GetFinalizers(), SnapshotFinalizer) {
		return want
	}
	return setFinalizers(old, append(slices.Clone(old.GetFinalizers()), SnapshotFinalizer), want)
}

func setFinalizers(old *unstructured.Unstructured, list []string, want map[string]any) map[string]any {
	metadata, _ := want["metadata"].(map[string]any)
	metadata = maps.Clone(metadata)
	if metadata == nil {
		metadata = make(map[string]any)
	}
	values := make([]any, len(list))
	for i, f := range list {
		values[i] = f
	}
	metadata["finalizers"], metadata["resourceVersion"] = values, old.GetResourceVersion()
	want = maps.Clone(want)
	if want == nil {
		want = make(map[string]any)
	}
	want["metadata"] = metadata
	return want
}

// release removes finalizers from an object; one that is gone is fine.
func (n session) release(ctx context.Context, r request, old *unstructured.Unstructured, finalizers ...string) error {
	left := slices.DeleteFunc(slices.Clone(old.GetFinalizers()), func(f string) bool { return slices.Contains(finalizers, f) })
	if len(left) == len(old.GetFinalizers()) {
		return nil
	}
	_, err := n.patch(ctx, r, setFinalizers(old, left, nil))
	return ignoreMissing(err)
}

// remove deletes this very object; one that is gone or goes already is fine.
func (n session) remove(ctx context.Context, r request, old *unstructured.Unstructured) error {
	if old.GetDeletionTimestamp() != nil {
		return nil
	}
	limited, cancel := n.client.limit(ctx)
	defer cancel()
	uid := old.GetUID()
	err := n.client.resource(r).Delete(limited, r.name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid}})
	if err != nil {
		return ignoreMissing(n.client.fail(ctx, limited, r, err))
	}
	return nil
}

func ignoreMissing(err error) error {
	if errors.Is(err, errMissing) {
		return nil
	}
	return err
}
