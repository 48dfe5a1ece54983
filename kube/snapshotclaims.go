package kube

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"
)

// ErrInUse means that a pod uses the claim; the error is an [*InUseError].
var ErrInUse = errors.New("in use")

// InUseError names the pods that use a claim.
type InUseError struct {
	Namespace, Claim string
	Pods             []string
}

// Error names claim and pods.
func (e *InUseError) Error() string {
	return fmt.Sprintf("claim %s/%s is used by pod %s", e.Namespace, e.Claim, strings.Join(e.Pods, ", "))
}

// Is makes the error one of ErrInUse.
func (e *InUseError) Is(target error) bool { return target == ErrInUse }

// Remedy says what ends it.
func (e *InUseError) Remedy() string { return "it goes when the pods have ended" }

// SnapshotClaim is a claim of a tenant whose volume is a Gluster snapshot of
// another one: read-only, for pods to take files out of.
type SnapshotClaim struct {
	// Namespace and Name of the claim; the caller chooses the name.
	Namespace, Name string
	// Claim, ClaimUID and PV are what it is a snapshot of.
	Claim, ClaimUID, PV string
	// Volume and Snapshot are Gluster's names.
	Volume, Snapshot string
	// Complete says whether both its objects exist; it is what the API server
	// says, and ignored by Show.
	Complete bool
}

// SnapshotClaims shows Gluster snapshots to tenants as claims. It is safe for
// concurrent use.
//
// Each has a PersistentVolume of ours, which tenants cannot write and which
// tells what it is, and a claim that is bound to it. A claim of the same name
// that is the tenant's own is neither changed nor removed.
type SnapshotClaims struct {
	client     *Client
	repository string
}

// SnapshotClaims returns what shows snapshots of a repository as claims.
func (c *Client) SnapshotClaims(repository string) (*SnapshotClaims, error) {
	if repository == "" || len(validation.IsValidLabelValue(repository)) != 0 {
		return nil, c.malformed(request{op: "show", resource: claimResource}, fmt.Sprintf("repository %.100q cannot be the value of a label", repository))
	}
	return &SnapshotClaims{client: c, repository: repository}, nil
}

// List returns those that exist, also half, ordered by namespace and name. It
// takes one list of our PersistentVolumes and, when there are any, one of the
// claims with our labels.
func (s *SnapshotClaims) List(ctx context.Context) ([]SnapshotClaim, error) {
	selector := managedLabel + "=" + managedBy + "," + RepositoryLabel + "=" + s.repository
	r := request{op: "list", resource: volumeResource}
	var list []SnapshotClaim
	uids := map[string]types.UID{} // Of the claims that the volumes are for, by namespace/name.
	err := s.client.listLabeled(ctx, r, selector, func(u *unstructured.Unstructured) error {
		var pv corev1.PersistentVolume
		if err := s.client.convert(r, u, &pv); err != nil {
			return err
		}
		ref, notes := pv.Spec.ClaimRef, pv.Annotations
		if ref == nil {
			return nil // Not one that we have made.
		}
		uids[ref.Namespace+"/"+ref.Name] = ref.UID
		list = append(list, SnapshotClaim{
			Namespace: ref.Namespace, Name: ref.Name, Claim: notes[claimAnnotation], ClaimUID: notes[claimUIDAnnotation],
			Volume: notes[volumeAnnotation], Snapshot: notes[snapshotAnnotation],
		})
		return nil
	})
	if err != nil || len(list) == 0 {
		return nil, err
	}
	complete := map[string]bool{}
	err = s.client.listLabeled(ctx, request{op: "list", resource: claimResource}, selector, func(u *unstructured.Unstructured) error {
		name := u.GetNamespace() + "/" + u.GetName()
		complete[name] = u.GetUID() == uids[name]
		return nil
	})
	for n := range list {
		list[n].Complete = complete[list[n].Namespace+"/"+list[n].Name]
	}
	slices.SortFunc(list, func(a, b SnapshotClaim) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	return list, err
}

// volumeName is that of the PersistentVolume: the same one each time, so that
// what was interrupted is found again.
func (s *SnapshotClaims) volumeName(v SnapshotClaim) string {
	return managedBy + "-" + digest(strings.Join([]string{s.repository, v.ClaimUID, v.Snapshot, v.Namespace, v.Name}, "/"))
}

// own returns the claim if it is bound to our volume, or meant to be; nil when
// there is none of that name, and ErrNameTaken when it is another one.
func (s *SnapshotClaims) own(ctx context.Context, v SnapshotClaim) (*unstructured.Unstructured, error) {
	r := request{op: "read", resource: claimResource, namespace: v.Namespace, name: v.Name}
	pvc, err := s.client.get(ctx, r)
	if errors.Is(err, ErrNoClaim) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if text(pvc, "spec", "volumeName") != s.volumeName(v) {
		e := s.client.about(r, errors.New("the claim is none of ours"))
		e.kind, e.remedy = ErrNameTaken, "Its owner has to give it another name for the snapshot to be shown as a claim."
		return nil, e
	}
	return pvc, nil
}

// Show makes what is missing: the claim first, so that its volume can be for this
// very claim and for no later one of the name, which could be a stranger's. A
// volume that is for an earlier claim is made again. It takes four requests when
// it makes both objects, and four when there is nothing to do.
func (s *SnapshotClaims) Show(ctx context.Context, v SnapshotClaim) error {
	r := request{op: "show", resource: claimResource, namespace: v.Namespace, name: v.Name}
	if err := s.client.checkNames(r); err != nil {
		return err
	}
	if !namePattern.MatchString(v.Volume) || !namePattern.MatchString(v.Snapshot) || v.ClaimUID == "" {
		return s.client.malformed(r, fmt.Sprintf("%.100q of %.100q cannot be a snapshot", v.Snapshot, v.Volume))
	}
	source, err := s.client.volume(ctx, v.PV)
	if err != nil {
		return err
	}
	if source == nil || source.Spec.Glusterfs == nil {
		return s.client.about(r, fmt.Errorf("PersistentVolume %s is no glusterfs volume", v.PV))
	}
	pvc, err := s.own(ctx, v)
	if err == nil && pvc == nil {
		pvc, err = s.client.create(ctx, request{op: "create", resource: claimResource, namespace: v.Namespace, name: v.Name}, s.newClaim(v, source))
	}
	if err != nil {
		return err
	}
	old, err := s.client.volume(ctx, s.volumeName(v))
	if err != nil {
		return err
	}
	if old != nil && (old.Spec.ClaimRef == nil || old.Spec.ClaimRef.UID != pvc.GetUID()) {
		return s.client.remove(ctx, request{op: "delete", resource: volumeResource, name: s.volumeName(v)}, "") // The next call goes on.
	}
	if old != nil {
		return nil
	}
	pv := s.newVolume(v, source)
	pv.Spec.ClaimRef.UID = pvc.GetUID()
	_, err = s.client.create(ctx, request{op: "create", resource: volumeResource, name: s.volumeName(v)}, pv)
	return err
}

// newVolume is the volume of the claim with the snapshot in its place: a kubelet
// mounts HOST:/snaps/SNAPSHOT/VOLUME, with the slash in front.
func (s *SnapshotClaims) newVolume(v SnapshotClaim, source *corev1.PersistentVolume) *corev1.PersistentVolume {
	pv := &corev1.PersistentVolume{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "PersistentVolume"},
		ObjectMeta: metav1.ObjectMeta{
			Name:   s.volumeName(v),
			Labels: map[string]string{managedLabel: managedBy, RepositoryLabel: s.repository},
			Annotations: map[string]string{
				claimAnnotation: v.Claim, claimUIDAnnotation: v.ClaimUID, volumeAnnotation: v.Volume, snapshotAnnotation: v.Snapshot,
			},
		},
		Spec: corev1.PersistentVolumeSpec{
			Capacity: onlyStorage(source.Spec.Capacity), AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadOnlyMany},
			PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimRetain,
			ClaimRef:                      &corev1.ObjectReference{APIVersion: "v1", Kind: "PersistentVolumeClaim", Namespace: v.Namespace, Name: v.Name},
			PersistentVolumeSource: corev1.PersistentVolumeSource{Glusterfs: &corev1.GlusterfsPersistentVolumeSource{
				EndpointsName: source.Spec.Glusterfs.EndpointsName, EndpointsNamespace: source.Spec.Glusterfs.EndpointsNamespace,
				Path: "/snaps/" + v.Snapshot + "/" + v.Volume, ReadOnly: true,
			}},
		},
	}
	if gid, ok := source.Annotations[gidAnnotation]; ok {
		pv.Annotations[gidAnnotation] = gid // The supplemental group of pods that use it.
	}
	return pv
}

// gidAnnotation is that of a volume whose files belong to a group of its own.
const gidAnnotation = "pv.beta.kubernetes.io/gid"

func (s *SnapshotClaims) newClaim(v SnapshotClaim, source *corev1.PersistentVolume) *corev1.PersistentVolumeClaim {
	var none string
	pvc := &corev1.PersistentVolumeClaim{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "PersistentVolumeClaim"},
		ObjectMeta: metav1.ObjectMeta{
			Namespace: v.Namespace, Name: v.Name, Labels: map[string]string{managedLabel: managedBy, RepositoryLabel: s.repository},
			Annotations: map[string]string{claimAnnotation: v.Claim, snapshotAnnotation: v.Snapshot},
		},
		Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadOnlyMany}, StorageClassName: &none, VolumeName: s.volumeName(v),
			Resources: corev1.VolumeResourceRequirements{Requests: onlyStorage(source.Spec.Capacity)},
		},
	}
	if len(validation.IsValidLabelValue(v.Claim)) == 0 {
		pvc.Labels[claimLabel] = v.Claim
	}
	return pvc
}

// Users returns the pods that use the claims of a Gluster snapshot, as an
// [*InUseError]; nil when there are none.
func (s *SnapshotClaims) Users(ctx context.Context, snapshot string) error {
	list, err := s.List(ctx)
	if err != nil {
		return err
	}
	for _, v := range list {
		if v.Snapshot != snapshot || !v.Complete {
			continue
		}
		if err := s.refuseInUse(ctx, v); err != nil {
			return err
		}
	}
	return nil
}

func (s *SnapshotClaims) refuseInUse(ctx context.Context, v SnapshotClaim) error {
	pods, err := s.client.Users(ctx, v.Namespace, v.Name)
	if err != nil || len(pods) == 0 {
		return err
	}
	e := &InUseError{Namespace: v.Namespace, Claim: v.Name}
	for _, p := range pods {
		e.Pods = append(e.Pods, p.Name)
	}
	return e
}

// Withdraw removes the claim and then its volume, or refuses with ErrInUse as
// long as a pod uses it. What is missing is no error.
func (s *SnapshotClaims) Withdraw(ctx context.Context, v SnapshotClaim) error {
	r := request{op: "delete", resource: claimResource, namespace: v.Namespace, name: v.Name}
	if err := s.client.checkNames(r); err != nil {
		return err
	}
	pvc, err := s.own(ctx, v)
	if err != nil && !errors.Is(err, ErrNameTaken) {
		return err
	}
	if pvc != nil {
		if err := s.refuseInUse(ctx, v); err != nil {
			return err
		}
		if err := s.client.remove(ctx, r, pvc.GetUID()); err != nil {
			return err
		}
	}
	return s.client.remove(ctx, request{op: "delete", resource: volumeResource, name: s.volumeName(v)}, "")
}
