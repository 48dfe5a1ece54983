package kube

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"slices"

	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

const (
	storageGroup  = "storage.k8s.io"
	classResource = "storageclasses"
)

// ErrNoClass means that the StorageClass does not exist.
var ErrNoClass = errors.New("no such StorageClass")

// Class is a StorageClass.
type Class struct {
	Name, Provisioner string
	// Parameters are the provisioner's; nil when there are none.
	Parameters map[string]string
	// MountOptions of the volumes.
	MountOptions []string
	// Reclaim is the reclaim policy of the volumes: Delete or Retain.
	Reclaim string
}

// StorageClass reads one; ErrNoClass when there is none of that name. It needs
// the right get for storageclasses.
func (c *Client) StorageClass(ctx context.Context, name string) (Class, error) {
	r := request{op: "read", group: storageGroup, resource: classResource, name: name}
	if name == "" {
		return Class{}, c.malformed(r, "the name of the StorageClass is missing")
	}
	object, err := c.get(ctx, r)
	if errors.Is(err, errMissing) {
		e := c.about(r, err)
		e.kind = ErrNoClass
		e.remedy = "Make it again; .cluster/ on the BackupDisk has all StorageClasses as they were: kubectl create -f storageclasses.json."
		return Class{}, e
	}
	if err != nil {
		return Class{}, err
	}
	var class storagev1.StorageClass
	if err := c.convert(r, object, &class); err != nil {
		return Class{}, err
	}
	found := Class{
		Name: class.Name, Provisioner: class.Provisioner, Parameters: class.Parameters,
		MountOptions: class.MountOptions, Reclaim: "Delete",
	}
	if class.ReclaimPolicy != nil {
		found.Reclaim = string(*class.ReclaimPolicy)
	}
	return found, nil
}

// StorageClasses returns all StorageClasses as one List that "kubectl create"
// takes, ordered by name and without what a server adds to them, so that it is
// the same as long as they are. Their parameters name Secrets and hold none,
// except the deprecated restuserkey of kubernetes.io/glusterfs, which is blanked.
// It needs the right list for storageclasses.
func (c *Client) StorageClasses(ctx context.Context) ([]byte, error) {
	r := request{op: "list", group: storageGroup, resource: classResource}
	items := []map[string]any{}
	err := c.list(ctx, r, func(u *unstructured.Unstructured) error {
		u = u.DeepCopy()
		u.SetManagedFields(nil)
		for _, field := range []string{"uid", "resourceVersion", "generation", "creationTimestamp"} {
			unstructured.RemoveNestedField(u.Object, "metadata", field)
		}
		if key, found, _ := unstructured.NestedString(u.Object, "parameters", "restuserkey"); found && key != "" {
			if err := unstructured.SetNestedField(u.Object, "", "parameters", "restuserkey"); err != nil {
				return err
			}
		}
		u.SetAPIVersion(storageGroup + "/v1")
		u.SetKind("StorageClass")
		items = append(items, u.Object)
		return nil
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(items, func(a, b map[string]any) int {
		return cmp.Compare((&unstructured.Unstructured{Object: a}).GetName(), (&unstructured.Unstructured{Object: b}).GetName())
	})
	content, err := json.MarshalIndent(map[string]any{"apiVersion": "v1", "kind": "List", "items": items}, "", "  ")
	if err != nil {
		return nil, c.damaged(r, err)
	}
	return append(content, '\n'), nil
}
