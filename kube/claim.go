package kube

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/validation"
)

// Kind says what is behind a claim.
type Kind string

// The kinds of claims.
const (
	// File is a whole Gluster volume.
	File Kind = "file"
	// Block is an image of gluster-block.
	Block Kind = "block"
	// Foreign is nothing that can be backed up here; Reason says why.
	Foreign Kind = "foreign"
	// Pending has no volume yet; Reason says what it waits for.
	Pending Kind = "pending"
	// Lost had a volume, which no longer exists; Reason names it.
	Lost Kind = "lost"
)

// Claim is a PersistentVolumeClaim with what its PersistentVolume says. Names
// of volumes, images and ids in it have the form that Gluster and Heketi give
// them, so that they are safe for paths and commands.
type Claim struct {
	Namespace, Name, UID string
	// NamespaceUID tells the namespace from an earlier one of the same name.
	NamespaceUID string
	// Phase as Kubernetes reports it: Pending, Bound or Lost.
	Phase string
	// Created is when the claim was made, by the API server's clock, in UTC to
	// the second.
	Created time.Time
	// Deleting is set when the claim is on its way out, perhaps held up by a
	// pod that uses it.
	Deleting bool
	// Labels of the claim. Like the two maps below it is nil when empty, may
	// be shared with other readers, and must not be changed.
	Labels map[string]string
	// Annotations of the claim, and NamespaceAnnotations of its namespace,
	// whose keys begin with AnnotationPrefix.
	Annotations, NamespaceAnnotations map[string]string
	// Kind, and for kinds other than File and Block the Reason for the admin.
	Kind   Kind
	Reason string
	// PV is the name of the PersistentVolume; "" without one.
	PV           string
	StorageClass string
	// Size in bytes that the volume has, or that an unbound claim asks for.
	Size int64
	// CreatedBy is what made the PersistentVolume, such as
	// "heketi-dynamic-provisioner"; "" for one made by hand.
	CreatedBy string

	// HeketiID is the id of the volume or block volume; "" for a volume that
	// the PersistentVolume does not connect with Heketi.
	HeketiID string
	// VolumePath is the Gluster volume's name, for kind File. Heketi's volume
	// with HeketiID must have the same name.
	VolumePath string
	// BlockName is gluster-block's name of the image, for kind Block; "" when
	// the PersistentVolume does not tell.
	BlockName string
	// IQN is the iSCSI target and GBID the image's file name, for kind Block.
	IQN, GBID string
}

// Claims returns the claims of one namespace, or of all with "", ordered by
// namespace and name, from one list each of claims, volumes and namespaces. For
// the objects themselves see [Client.Objects].
func (c *Client) Claims(ctx context.Context, namespace string) ([]Claim, error) {
	r := request{op: "list", resource: claimResource, namespace: namespace}
	if namespace != "" {
		if err := c.checkNames(r); err != nil {
			return nil, err
		}
	}
	var claims []corev1.PersistentVolumeClaim
	err := c.list(ctx, r, func(u *unstructured.Unstructured) error {
		var pvc corev1.PersistentVolumeClaim
		err := c.convert(r, u, &pvc)
		claims = append(claims, pvc)
		return err
	})
	if err != nil {
		return nil, err
	}
	// After the claims, so that the volume of every bound one existed at that
	// time.
	volumes, err := c.volumes(ctx)
	if err != nil {
		return nil, err
	}
	namespaces, err := c.namespaces(ctx, namespace)
	if err != nil {
		return nil, err
	}
	result := make([]Claim, 0, len(claims))
	for i := range claims {
		claim := classify(&claims[i], volumes[claims[i].Spec.VolumeName])
		namespaces[claim.Namespace].describe(&claim)
		result = append(result, claim)
	}
	order(result)
	return result, nil
}

// order sorts claims by namespace and name.
func order(claims []Claim) {
	slices.SortFunc(claims, func(a, b Claim) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
}

// namespaceFacts are what a claim is told of its namespace.
type namespaceFacts struct {
	uid         string
	annotations map[string]string
}

func factsOf(namespace metav1.Object) namespaceFacts {
	return namespaceFacts{uid: string(namespace.GetUID()), annotations: ours(namespace.GetAnnotations())}
}

func (f namespaceFacts) describe(c *Claim) {
	c.NamespaceUID, c.NamespaceAnnotations = f.uid, f.annotations
}

// namespaces returns the facts of one namespace, or of all with "", by the
// namespace's name. One that does not exist has none.
func (c *Client) namespaces(ctx context.Context, namespace string) (map[string]namespaceFacts, error) {
	r := request{op: "list", resource: namespaceResource}
	facts := make(map[string]namespaceFacts)
	if namespace == "" {
		err := c.list(ctx, r, func(u *unstructured.Unstructured) error {
			facts[u.GetName()] = factsOf(u)
			return nil
		})
		return facts, err
	}
	r.op, r.name = "read", namespace
	object, err := c.get(ctx, r)
	if errors.Is(err, errMissing) {
		return facts, nil
	}
	if err != nil {
		return nil, err
	}
	facts[namespace] = factsOf(object)
	return facts, nil
}

// Namespace returns the UID of a namespace, and those of its annotations whose
// keys begin with AnnotationPrefix; "" when it does not exist.
func (c *Client) Namespace(ctx context.Context, name string) (uid string, annotations map[string]string, err error) {
	if err := c.checkNames(request{op: "read", resource: namespaceResource, namespace: name, name: name}); err != nil {
		return "", nil, err
	}
	facts, err := c.namespaces(ctx, name)
	return facts[name].uid, facts[name].annotations, err
}

// volumes returns all PersistentVolumes by name.
func (c *Client) volumes(ctx context.Context) (map[string]*corev1.PersistentVolume, error) {
	r := request{op: "list", resource: volumeResource}
	volumes := make(map[string]*corev1.PersistentVolume)
	err := c.list(ctx, r, func(u *unstructured.Unstructured) error {
		pv := new(corev1.PersistentVolume)
		volumes[u.GetName()] = pv
		return c.convert(r, u, pv)
	})
	return volumes, err
}

// Claim returns one claim; ErrNoClaim when there is none of that name.
func (c *Client) Claim(ctx context.Context, namespace, name string) (Claim, error) {
	r := request{op: "read", resource: claimResource, namespace: namespace, name: name}
	if err := c.checkNames(r); err != nil {
		return Claim{}, err
	}
	object, err := c.get(ctx, r)
	if err != nil {
		return Claim{}, err
	}
	var pvc corev1.PersistentVolumeClaim
	if err := c.convert(r, object, &pvc); err != nil {
		return Claim{}, err
	}
	pv, err := c.volume(ctx, pvc.Spec.VolumeName)
	if err != nil {
		return Claim{}, err
	}
	namespaces, err := c.namespaces(ctx, namespace)
	if err != nil {
		return Claim{}, err
	}
	claim := classify(&pvc, pv)
	namespaces[namespace].describe(&claim)
	return claim, nil
}

// volume reads a PersistentVolume; it returns nil when there is none of that
// name, or no name.
func (c *Client) volume(ctx context.Context, name string) (*corev1.PersistentVolume, error) {
	if name == "" {
		return nil, nil
	}
	r := request{op: "read", resource: volumeResource, name: name}
	object, err := c.get(ctx, r)
	if errors.Is(err, errMissing) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	pv := new(corev1.PersistentVolume)
	return pv, c.convert(r, object, pv)
}

// checkNames refuses what cannot be a namespace or the name of a claim.
func (c *Client) checkNames(r request) error {
	if len(validation.IsDNS1123Label(r.namespace)) != 0 {
		return c.malformed(r, "a namespace has lower case letters, digits and - only")
	}
	if r.name != "" && len(validation.IsDNS1123Subdomain(r.name)) != 0 {
		return c.malformed(r, "a claim's name has lower case letters, digits, - and . only")
	}
	if r.name == "" && r.op != "list" {
		return c.malformed(r, "the claim's name is missing")
	}
	return nil
}
