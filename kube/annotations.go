package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"
)

// AnnotationPrefix begins the keys of all annotations that this program reads
// from claims and namespaces, or writes to claims.
const AnnotationPrefix = "backup.gluster.org/"

// The annotations by which tenants say what they want, on a claim or, for all
// of its claims, on a namespace. The package hands them on and does not look
// at the values.
const (
	// ScheduleAnnotation says when to back up, as [backup] schedule does.
	ScheduleAnnotation = AnnotationPrefix + "schedule"
	// RetentionAnnotation says which backups to keep, instead of [retention].
	RetentionAnnotation = AnnotationPrefix + "retention"
	// ExcludeAnnotation says that there is to be no backup.
	ExcludeAnnotation = AnnotationPrefix + "exclude"
)

// RestoreAnnotation is a tenant's wish to have the claim restored: which backup,
// and after a colon, perhaps, which path of it.
const RestoreAnnotation = AnnotationPrefix + "restore"

// RestoreFromAnnotation is a tenant's wish to have a new claim filled from the
// backup of another one: CLAIM@BACKUP, or NAMESPACE/CLAIM@BACKUP where that
// namespace allows it.
const RestoreFromAnnotation = AnnotationPrefix + "restore-from"

// RestoreToAnnotation on a namespace names others, separated by commas, whose
// tenants may have new claims filled from its backups.
const RestoreToAnnotation = AnnotationPrefix + "restore-to"

// RestoreProvisioner is the provisioner of StorageClasses whose claims wait for a
// volume that is filled as RestoreFromAnnotation says.
const RestoreProvisioner = AnnotationPrefix + "restore"

// The annotations by which tenants are told on a claim how it stands.
const (
	// RestoreStatusAnnotation says what became of the wish in RestoreAnnotation.
	RestoreStatusAnnotation = AnnotationPrefix + "restore-status"
	// BackupsAnnotation lists the ids of the claim's backups, the newest first.
	BackupsAnnotation = AnnotationPrefix + "backups"
	// HiddenAnnotation lists the ids of those whose VolumeSnapshot a tenant has
	// deleted, so that it is not made again.
	HiddenAnnotation = AnnotationPrefix + "hidden-snapshots"
)

// ours returns the annotations whose keys begin with AnnotationPrefix; nil when
// there are none.
func ours(annotations map[string]string) map[string]string {
	var own map[string]string
	for key, value := range annotations {
		if strings.HasPrefix(key, AnnotationPrefix) {
			if own == nil {
				own = make(map[string]string)
			}
			own[key] = value
		}
	}
	return own
}

// PatchClaimAnnotations sets annotations of a claim, and removes those whose
// value is nil. Others stay as they are, also when somebody changes them at
// the same moment. Keys outside of AnnotationPrefix and malformed ones are
// refused with ErrName, a claim that does not exist with ErrNoClaim. It needs
// the right patch for persistentvolumeclaims.
func (c *Client) PatchClaimAnnotations(ctx context.Context, namespace, name string, values map[string]*string) error {
	r := request{op: "annotate", resource: claimResource, namespace: namespace, name: name}
	if err := c.checkNames(r); err != nil {
		return err
	}
	for _, key := range slices.Sorted(maps.Keys(values)) {
		if !strings.HasPrefix(key, AnnotationPrefix) || len(validation.IsQualifiedName(key)) != 0 {
			return c.malformed(r, fmt.Sprintf("annotation %.200q is none of %s", key, AnnotationPrefix))
		}
	}
	if len(values) == 0 {
		return nil
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": values}})
	if err != nil {
		return c.about(r, err)
	}
	limited, cancel := c.limit(ctx)
	defer cancel()
	if _, err := c.resource(r).Patch(limited, name, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		return c.fail(ctx, limited, r, err)
	}
	return nil
}
