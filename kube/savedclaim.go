package kube

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// SavedClaim is a claim and its PersistentVolume as a backup keeps them.
type SavedClaim struct {
	pvc corev1.PersistentVolumeClaim
	pv  corev1.PersistentVolume
}

// ParseSavedClaim reads what [Client.Objects] returned at the time of a backup
// under [ClaimObject] and [VolumeObject].
func ParseSavedClaim(claim, volume []byte) (SavedClaim, error) {
	var s SavedClaim
	if err := json.Unmarshal(claim, &s.pvc); err != nil {
		return s, fmt.Errorf("%s: %w", ClaimObject, err)
	}
	if err := json.Unmarshal(volume, &s.pv); err != nil {
		return s, fmt.Errorf("%s: %w", VolumeObject, err)
	}
	switch {
	case s.pvc.Name == "" || s.pv.Name == "":
		return s, errors.New("the saved objects are no claim and PersistentVolume")
	case s.pv.Spec.Glusterfs == nil && s.pv.Spec.ISCSI == nil:
		return s, fmt.Errorf("PersistentVolume %s was no Gluster volume", s.pv.Name)
	case s.Size() <= 0:
		return s, fmt.Errorf("PersistentVolume %s has no capacity", s.pv.Name)
	}
	return s, nil
}

// Block says whether the claim was a block image.
func (s SavedClaim) Block() bool { return s.pv.Spec.ISCSI != nil }

// Size is the capacity of the volume in bytes.
func (s SavedClaim) Size() int64 {
	q := s.pv.Spec.Capacity[corev1.ResourceStorage]
	return q.Value()
}

// Grown returns the claim with a volume of at least so many bytes. An image stays
// as it is, and one that is too small is an error.
func (s SavedClaim) Grown(bytes int64) (SavedClaim, error) {
	if bytes <= s.Size() {
		return s, nil
	}
	if s.Block() {
		return s, fmt.Errorf("it asks for %d bytes, but an image is restored in its own size, %d bytes", bytes, s.Size())
	}
	capacity := corev1.ResourceList{corev1.ResourceStorage: *resource.NewQuantity(bytes, resource.BinarySI)}
	s.pv.Spec.Capacity = capacity
	return s, nil
}

// Class is the StorageClass; "" for a volume that was made without one.
func (s SavedClaim) Class() string { return storageClass(&s.pvc) }

// GID is the group that the volume's root belonged to; 0 when none was noted.
func (s SavedClaim) GID() int64 {
	gid, err := strconv.ParseInt(s.pv.Annotations[gidAnnotation], 10, 64)
	if err != nil || gid < 0 {
		return 0
	}
	return gid
}

// CHAP says whether initiators had to log in to the image with a password.
func (s SavedClaim) CHAP() bool { return s.Block() && s.pv.Spec.ISCSI.SessionCHAPAuth }

// claim is the claim to be made again, which names its volume so that no other
// one is bound to it. What servers and provisioners noted on the old one is left
// out, and so is what a tenant wished of it.
func (s SavedClaim) claim(n NewClaim, volume string) *corev1.PersistentVolumeClaim {
	old := s.pvc
	pvc := &corev1.PersistentVolumeClaim{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "PersistentVolumeClaim"},
		ObjectMeta: metav1.ObjectMeta{Namespace: n.Namespace, Name: n.Name, Labels: old.Labels, Annotations: kept(old.Annotations)},
		Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes: old.Spec.AccessModes, Resources: old.Spec.Resources,
			VolumeMode: old.Spec.VolumeMode, VolumeName: volume,
		},
	}
	class := n.Class.Name
	pvc.Spec.StorageClassName = &class
	return pvc
}

// volume is the PersistentVolume to be made again, reserved for the claim. source
// is what it consists of, and notes replace annotations of the old one.
func (s SavedClaim) volume(n NewClaim, name string, source corev1.PersistentVolumeSource, notes map[string]string) *corev1.PersistentVolume {
	old := s.pv
	pv := &corev1.PersistentVolume{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "PersistentVolume"},
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: old.Labels, Annotations: kept(old.Annotations)},
		Spec: corev1.PersistentVolumeSpec{
			PersistentVolumeSource: source, Capacity: onlyStorage(old.Spec.Capacity), AccessModes: old.Spec.AccessModes,
			PersistentVolumeReclaimPolicy: old.Spec.PersistentVolumeReclaimPolicy, StorageClassName: n.Class.Name,
			MountOptions: old.Spec.MountOptions, VolumeMode: old.Spec.VolumeMode,
			ClaimRef: &corev1.ObjectReference{
				APIVersion: "v1", Kind: "PersistentVolumeClaim", Namespace: n.Namespace, Name: n.Name, UID: n.WaitingUID,
			},
		},
	}
	if by, ok := old.Annotations[provisionedAnnotation]; ok {
		pv.Annotations[provisionedAnnotation] = by // Who deletes the volume with its claim.
	}
	maps.Copy(pv.Annotations, notes)
	return pv
}

// kept returns the annotations that are for the new object too.
func kept(old map[string]string) map[string]string {
	list := map[string]string{}
	for key, value := range old {
		switch {
		case strings.HasPrefix(key, "pv.kubernetes.io/"), strings.HasPrefix(key, "kubectl.kubernetes.io/"),
			key == betaClassAnnotation, strings.HasSuffix(key, "kubernetes.io/storage-provisioner"),
			key == RestoreAnnotation, key == RestoreFromAnnotation, key == RestoreStatusAnnotation,
			key == BackupsAnnotation, key == HiddenAnnotation:
		default:
			list[key] = value
		}
	}
	return list
}
