package kube

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// Annotations of PersistentVolumes, from kubernetes/kubernetes
// pkg/volume/glusterfs/glusterfs.go (up to 1.25) and
// kubernetes-retired/external-storage gluster/{block,file}/cmd.
const (
	fileIDAnnotation      = "gluster.kubernetes.io/heketi-volume-id"
	oldFileIDAnnotation   = "gluster.org/heketi-volume-id"
	blockIDAnnotation     = "gluster.org/volume-id"
	blockNameAnnotation   = "glusterBlockShare"
	createdByAnnotation   = "kubernetes.io/createdby"
	provisionedAnnotation = "pv.kubernetes.io/provisioned-by"
	betaClassAnnotation   = "volume.beta.kubernetes.io/storage-class"
)

// iqnPrefix begins the names of gluster-block's targets
// (gluster/gluster-block rpc/block_common.h).
const iqnPrefix = "iqn.2016-12.org.gluster-block:"

var (
	idPattern   = regexp.MustCompile(`^[0-9a-f]{32}$`)
	namePattern = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_-]{0,253}$`)
	gbidPattern = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)
)

// classify decides what is behind a claim. pv is the volume that the claim
// names, nil when it does not exist. What is known of the namespace is the caller's.
func classify(pvc *corev1.PersistentVolumeClaim, pv *corev1.PersistentVolume) Claim {
	c := Claim{
		Namespace:    pvc.Namespace,
		Name:         pvc.Name,
		UID:          string(pvc.UID),
		Phase:        string(pvc.Status.Phase),
		Created:      pvc.CreationTimestamp.UTC(),
		Deleting:     pvc.DeletionTimestamp != nil,
		Annotations:  ours(pvc.Annotations),
		PV:           pvc.Spec.VolumeName,
		StorageClass: storageClass(pvc),
		Size:         size(pvc),
	}
	if len(pvc.Labels) != 0 {
		c.Labels = pvc.Labels
	}
	if pv != nil {
		c.CreatedBy = pv.Annotations[createdByAnnotation]
		if c.CreatedBy == "" {
			c.CreatedBy = pv.Annotations[provisionedAnnotation]
		}
	}
	c.Kind, c.Reason = binding(pvc, pv, c.StorageClass)
	if c.Kind != "" {
		return c
	}
	switch {
	case pv.Spec.Glusterfs != nil:
		c.file(pv)
	case pv.Spec.ISCSI != nil:
		c.block(pv)
	default:
		c.foreign("%s", otherSource(pv, c.CreatedBy))
	}
	return c
}

func storageClass(pvc *corev1.PersistentVolumeClaim) string {
	if pvc.Spec.StorageClassName != nil {
		return *pvc.Spec.StorageClassName
	}
	return pvc.Annotations[betaClassAnnotation]
}

func size(pvc *corev1.PersistentVolumeClaim) int64 {
	q, ok := pvc.Status.Capacity[corev1.ResourceStorage]
	if !ok {
		q = pvc.Spec.Resources.Requests[corev1.ResourceStorage]
	}
	return q.Value()
}

// binding tells what is wrong when the claim does not have its volume; "" when
// both agree.
func binding(pvc *corev1.PersistentVolumeClaim, pv *corev1.PersistentVolume, class string) (Kind, string) {
	name := pvc.Spec.VolumeName
	switch {
	case pvc.Status.Phase == corev1.ClaimLost, pvc.Status.Phase == corev1.ClaimBound && pv == nil:
		return Lost, fmt.Sprintf("its PersistentVolume %s is gone or belongs to another claim", name)
	case name == "" && class == "":
		return Pending, "not bound: it waits for a PersistentVolume"
	case name == "":
		return Pending, fmt.Sprintf("not bound: it waits for a PersistentVolume of StorageClass %s", class)
	case pvc.Status.Phase != corev1.ClaimBound:
		return Pending, fmt.Sprintf("not bound: it waits for PersistentVolume %s", name)
	}
	ref := pv.Spec.ClaimRef
	switch {
	case ref == nil:
		return Foreign, fmt.Sprintf("PersistentVolume %s belongs to no claim (it has no claimRef)", name)
	case ref.Namespace != pvc.Namespace || ref.Name != pvc.Name:
		return Foreign, fmt.Sprintf("PersistentVolume %s belongs to claim %s/%s (its claimRef)", name, ref.Namespace, ref.Name)
	case ref.UID != "" && ref.UID != pvc.UID:
		return Foreign, fmt.Sprintf("PersistentVolume %s belongs to an earlier claim of the same name (its claimRef)", name)
	}
	return "", ""
}

func (c *Claim) foreign(format string, args ...any) {
	c.Kind, c.Reason = Foreign, fmt.Sprintf(format, args...)
}

// file fills in a glusterfs volume. The kubelet mounts HOST:PATH, so a slash
// before the volume's name makes no difference.
func (c *Claim) file(pv *corev1.PersistentVolume) {
	path := pv.Spec.Glusterfs.Path
	name := strings.TrimPrefix(path, "/")
	id, conflict := heketiID(name, "vol_", pv.Annotations[fileIDAnnotation], pv.Annotations[oldFileIDAnnotation])
	switch {
	case strings.HasPrefix(name, "snaps/"):
		c.foreign("it shows a read-only snapshot (%.200q), which belongs to the volume it was taken of", path)
	case strings.Contains(name, "/"):
		c.foreign("it is a folder of a Gluster volume (%.200q), not a whole volume", path)
	case !namePattern.MatchString(name):
		c.foreign("its path %.200q is not the name of a Gluster volume", path)
	case conflict:
		c.foreign("its path %q and its annotation name different Heketi volumes (%s)", path, id)
	default:
		c.Kind, c.VolumePath, c.HeketiID = File, name, id
	}
}

// block fills in an iSCSI volume.
func (c *Claim) block(pv *corev1.PersistentVolume) {
	iqn, name := pv.Spec.ISCSI.IQN, pv.Annotations[blockNameAnnotation]
	gbid, ours := strings.CutPrefix(iqn, iqnPrefix)
	id, conflict := heketiID(name, "blockvol_", pv.Annotations[blockIDAnnotation])
	switch {
	case !ours:
		c.foreign("its iSCSI target %.230q is not one of gluster-block", iqn)
	case !gbidPattern.MatchString(gbid):
		c.foreign("its iSCSI target %.230q has no valid gluster-block id", iqn)
	case name != "" && !namePattern.MatchString(name):
		c.foreign("its annotation %s %.200q is not the name of a block image", blockNameAnnotation, name)
	case conflict:
		c.foreign("its annotations %s (%s) and %s (%s) name different block volumes", blockNameAnnotation, name, blockIDAnnotation, id)
	default:
		c.Kind, c.BlockName, c.HeketiID, c.IQN, c.GBID = Block, name, id, iqn, gbid
	}
}

// heketiID returns the first annotation that is an id, else the id in a name
// that Heketi gave; "" when there is neither. Where both exist and differ, one
// of them must be wrong, and the wrong volume must not be backed up.
func heketiID(name, prefix string, annotations ...string) (id string, conflict bool) {
	named, ok := strings.CutPrefix(name, prefix)
	if !ok || !idPattern.MatchString(named) {
		named = ""
	}
	for _, a := range annotations {
		if idPattern.MatchString(a) {
			return a, named != "" && named != a
		}
	}
	return named, false
}

// otherSource describes a volume that is neither glusterfs nor iSCSI.
func otherSource(pv *corev1.PersistentVolume, createdBy string) string {
	source := pv.Spec.PersistentVolumeSource
	var text string
	switch {
	case source.CSI != nil:
		text = "a volume of CSI driver " + source.CSI.Driver
	case source.FlexVolume != nil:
		text = "a volume of Flex driver " + source.FlexVolume.Driver
	default:
		text = "a volume of type " + sourceType(source)
	}
	if createdBy != "" {
		text += ", made by " + createdBy
	}
	return text + ", not a Gluster volume"
}

// sourceType returns the API's name of the only field that is set.
func sourceType(source corev1.PersistentVolumeSource) string {
	var fields map[string]json.RawMessage
	content, err := json.Marshal(source)
	if err == nil {
		err = json.Unmarshal(content, &fields)
	}
	if err != nil || len(fields) == 0 {
		return "unknown"
	}
	return strings.Join(slices.Sorted(maps.Keys(fields)), " and ")
}
