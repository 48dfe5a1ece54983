package kube

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/uuid"
)

const secretResource = "secrets"

// ErrClaimExists means that a claim that was to be made again exists.
var ErrClaimExists = errors.New("the claim exists")

// NewClaim is a claim whose volume is there and filled, and whose objects are to
// be made.
type NewClaim struct {
	Namespace, Name string
	// WaitingUID is that of a claim that exists and waits for the volume; "" when
	// the claim is to be made too.
	WaitingUID types.UID
	// Saved is the claim as it was.
	Saved SavedClaim
	Class Class
	// HeketiID is that of the new volume or block volume.
	HeketiID string
	// Volume is the Gluster volume of a file claim, and Servers the hosts that
	// serve it.
	Volume  string
	Servers []string
	// Image is the block volume of a block claim.
	Image Image
}

// Image is a gluster-block image as initiators see it.
type Image struct {
	Name, IQN string
	// Hosts export it.
	Hosts []string
	// Credentials are those of CHAP; nil without.
	Credentials func() (user, password string)
}

// Vacant returns an error unless a claim can be made: its namespace exists, and no
// claim has the name (else ErrClaimExists).
func (c *Client) Vacant(ctx context.Context, namespace, name string) error {
	r := request{op: "read", resource: claimResource, namespace: namespace, name: name}
	if err := c.checkNames(r); err != nil {
		return err
	}
	_, err := c.get(ctx, request{op: "read", resource: namespaceResource, name: namespace})
	if errors.Is(err, errMissing) {
		e := c.about(request{op: "read", resource: namespaceResource, name: namespace}, err)
		e.kind, e.remedy = ErrNoNamespace, "Make it first: kubectl create namespace "+namespace+"."
		return e
	}
	if err != nil {
		return err
	}
	_, err = c.get(ctx, r)
	if errors.Is(err, ErrNoClaim) {
		return nil
	}
	if err != nil {
		return err
	}
	e := c.about(r, nil)
	e.kind = ErrClaimExists
	e.remedy = fmt.Sprintf("Restore into it without --new, or delete it first: kubectl -n %s delete pvc %s.", namespace, name)
	return e
}

// Build makes the objects of a claim, the claim itself last, and waits until it is
// bound. After an error what was made has been removed again, unless the error
// matches ErrHalfBuilt: then somebody may use the volume, which must stay.
//
// If the process dies, what it made stays: a PersistentVolume that is reserved for
// the claim, perhaps with Endpoints, Service or Secret, and no claim.
func (c *Client) Build(ctx context.Context, n NewClaim) error {
	if err := c.checkNames(request{op: "build", resource: claimResource, namespace: n.Namespace, name: n.Name}); err != nil {
		return err
	}
	b := &building{client: c, claim: n, suffix: string(uuid.NewUUID())}
	if err := b.build(ctx); err != nil {
		return b.undo(ctx, err)
	}
	if err := b.bound(ctx); err != nil {
		return &HalfBuiltError{n, b.volume(), err}
	}
	return nil
}

// ErrHalfBuilt means that objects of a claim were made, or may have been, and
// stay. The error is a [*HalfBuiltError].
var ErrHalfBuilt = errors.New("objects of the claim stay")

// HalfBuiltError says what stays, and why.
type HalfBuiltError struct {
	Claim  NewClaim
	Volume string // The PersistentVolume.
	Err    error
}

// Error names claim, volume and cause.
func (e *HalfBuiltError) Error() string {
	return fmt.Sprintf("claim %s/%s on PersistentVolume %s: %v", e.Claim.Namespace, e.Claim.Name, e.Volume, e.Err)
}

// Is makes the error one of ErrHalfBuilt.
func (e *HalfBuiltError) Is(target error) bool { return target == ErrHalfBuilt }

// Unwrap returns the cause.
func (e *HalfBuiltError) Unwrap() error { return e.Err }

// Remedy says what can be done.
func (e *HalfBuiltError) Remedy() string {
	return fmt.Sprintf("the data is restored in Heketi's volume %s: see kubectl get pv %s and kubectl -n %s get pvc %s; to begin again, delete these and that volume",
		e.Claim.HeketiID, e.Volume, e.Claim.Namespace, e.Claim.Name)
}

// building makes the objects of one claim.
type building struct {
	client *Client
	claim  NewClaim
	suffix string
	modes  []corev1.PersistentVolumeAccessMode // Of a claim that waits.
	made   []madeObject
}

type madeObject struct {
	request
	uid types.UID
}

func (b *building) build(ctx context.Context) error {
	if err := b.meet(ctx); err != nil {
		return err
	}
	source, notes, err := b.source(ctx)
	if err != nil {
		return err
	}
	name := b.volume()
	pv := b.claim.Saved.volume(b.claim, name, source, notes)
	if b.claim.WaitingUID != "" {
		pv.Spec.AccessModes = b.modes // Else it would not be bound.
	}
	if err := b.make(ctx, request{resource: volumeResource, name: name}, pv); err != nil {
		return err
	}
	if b.claim.WaitingUID != "" {
		return nil
	}
	r := request{resource: claimResource, namespace: b.claim.Namespace, name: b.claim.Name}
	return b.make(ctx, r, b.claim.Saved.claim(b.claim, name))
}

// meet makes sure that a claim that waits is there and still waits: another daemon
// may have given it a volume.
func (b *building) meet(ctx context.Context) error {
	if b.claim.WaitingUID == "" {
		return nil
	}
	r := request{op: "read", resource: claimResource, namespace: b.claim.Namespace, name: b.claim.Name}
	object, err := b.client.get(ctx, r)
	if err != nil {
		return err
	}
	var pvc corev1.PersistentVolumeClaim
	if err := b.client.convert(r, object, &pvc); err != nil {
		return err
	}
	if pvc.UID != b.claim.WaitingUID || pvc.Spec.VolumeName != "" || pvc.DeletionTimestamp != nil {
		return b.client.about(r, errors.New("it does not wait for a volume any more"))
	}
	b.modes = pvc.Spec.AccessModes
	return nil
}

// volume is the name of the PersistentVolume.
func (b *building) volume() string { return "pvc-" + b.suffix }

// make makes one object and remembers it. One of which nobody knows whether it was
// made can be in use, and so can the volume once somebody else has made a claim of
// the name.
func (b *building) make(ctx context.Context, r request, object any) error {
	r.op = "create"
	made, err := b.client.create(ctx, r, object)
	if errors.Is(err, ErrUnreachable) || ctx.Err() != nil && err != nil || apierrors.IsAlreadyExists(err) {
		return &HalfBuiltError{b.claim, b.volume(), err}
	}
	if err != nil {
		return err
	}
	b.made = append(b.made, madeObject{r, made.GetUID()})
	return nil
}

// undo removes what was made, the newest first, unless it has to stay, and returns
// the cause.
func (b *building) undo(ctx context.Context, cause error) error {
	if errors.Is(cause, ErrHalfBuilt) {
		return cause
	}
	ctx = context.WithoutCancel(ctx)
	slices.Reverse(b.made)
	for _, m := range b.made {
		m.op = "delete"
		if err := b.client.remove(ctx, m.request, m.uid); err != nil {
			return &HalfBuiltError{b.claim, b.volume(), errors.Join(cause, err)}
		}
	}
	return cause
}

// source makes what the PersistentVolume points to and returns its source and the
// annotations that go with it.
func (b *building) source(ctx context.Context) (corev1.PersistentVolumeSource, map[string]string, error) {
	if b.claim.Saved.Block() {
		return b.iscsi(ctx)
	}
	return b.glusterfs(ctx)
}

func (b *building) glusterfs(ctx context.Context) (s corev1.PersistentVolumeSource, notes map[string]string, err error) {
	n := b.claim
	m := metav1.ObjectMeta{
		Namespace: n.Namespace, Name: "glusterfs-dynamic-" + b.suffix,
		Labels: map[string]string{"gluster.kubernetes.io/provisioned-for-pvc": labelValue(n.Name)},
	}
	addresses, err := addressesOf(ctx, n.Servers)
	if err != nil {
		return s, nil, err
	}
	const port = 1 // Nobody connects to it; an entry without a port is not kept.
	service := &corev1.Service{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Service"}, ObjectMeta: m,
		Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: port, Protocol: corev1.ProtocolTCP}}},
	}
	r := request{resource: serviceResource, namespace: n.Namespace, name: m.Name}
	if err := b.make(ctx, r, service); err != nil {
		return s, nil, err
	}
	//nolint:staticcheck // Endpoints are deprecated, but what a glusterfs volume names.
	endpoints := &corev1.Endpoints{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Endpoints"}, ObjectMeta: m,
		Subsets: []corev1.EndpointSubset{{
			Addresses: addresses, Ports: []corev1.EndpointPort{{Port: port, Protocol: corev1.ProtocolTCP}},
		}},
	}
	r.resource = endpointsResource
	if err := b.make(ctx, r, endpoints); err != nil {
		return s, nil, err
	}
	s.Glusterfs = &corev1.GlusterfsPersistentVolumeSource{EndpointsName: m.Name, EndpointsNamespace: &n.Namespace, Path: n.Volume}
	return s, map[string]string{fileIDAnnotation: n.HeketiID}, nil
}

// labelValue returns a claim's name as far as a label can hold it.
func labelValue(s string) string {
	const longest = 63
	return strings.TrimRight(s[:min(len(s), longest)], "-.")
}

// addressesOf resolves hosts: Endpoints hold addresses only.
func addressesOf(ctx context.Context, hosts []string) (list []corev1.EndpointAddress, err error) {
	for _, h := range hosts {
		if _, err := netip.ParseAddr(h); err == nil {
			list = append(list, corev1.EndpointAddress{IP: h})
			continue
		}
		found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", h)
		if err != nil {
			return nil, fmt.Errorf("address of Gluster host %s: %w", h, err)
		}
		list = append(list, corev1.EndpointAddress{IP: found[0].Unmap().String()})
	}
	if len(list) == 0 {
		return nil, errors.New("no Gluster host is known for the volume")
	}
	return list, nil
}

func (b *building) iscsi(ctx context.Context) (s corev1.PersistentVolumeSource, notes map[string]string, err error) {
	n, old := b.claim, b.claim.Saved.pv.Spec.ISCSI
	if len(n.Image.Hosts) == 0 {
		return s, nil, fmt.Errorf("no host exports image %s", n.Image.Name)
	}
	s.ISCSI = &corev1.ISCSIPersistentVolumeSource{
		TargetPortal: n.Image.Hosts[0], Portals: n.Image.Hosts[1:], IQN: n.Image.IQN, Lun: 0,
		FSType: old.FSType, ISCSIInterface: old.ISCSIInterface, SessionCHAPAuth: n.Image.Credentials != nil,
	}
	notes = map[string]string{blockNameAnnotation: n.Image.Name, blockIDAnnotation: n.HeketiID, "AccessKey": "", "AccessKeyNs": ""}
	if n.Image.Credentials == nil {
		return s, notes, nil
	}
	name := "glusterblk-" + strings.TrimPrefix(n.Image.IQN, iqnPrefix) + "-secret"
	user, password := n.Image.Credentials()
	secret := &corev1.Secret{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"},
		ObjectMeta: metav1.ObjectMeta{Namespace: n.Namespace, Name: name}, Type: "kubernetes.io/iscsi-chap",
		StringData: map[string]string{"node.session.auth.username": user, "node.session.auth.password": password},
	}
	if err := b.make(ctx, request{resource: secretResource, namespace: n.Namespace, name: name}, secret); err != nil {
		return s, nil, err
	}
	s.ISCSI.SecretRef = &corev1.SecretReference{Name: name, Namespace: n.Namespace}
	notes["AccessKey"], notes["AccessKeyNs"] = name, n.Namespace
	return s, notes, nil
}

const (
	// bindTimeout bounds the wait for Kubernetes to bind a claim, and bindPause is
	// the time between two looks.
	bindTimeout = 2 * time.Minute
	bindPause   = time.Second
)

// bound waits until the claim has the volume.
func (b *building) bound(ctx context.Context) error {
	volume := b.volume()
	r := request{op: "read", resource: claimResource, namespace: b.claim.Namespace, name: b.claim.Name}
	ctx, cancel := context.WithTimeoutCause(ctx, bindTimeout, fmt.Errorf("Kubernetes did not bind it to PersistentVolume %s within %s", volume, bindTimeout))
	defer cancel()
	for {
		pvc, err := b.client.get(ctx, r)
		if err != nil {
			return err
		}
		if text(pvc, "status", "phase") == string(corev1.ClaimBound) {
			if text(pvc, "spec", "volumeName") == volume {
				return nil
			}
			return b.client.about(r, errors.New("it was bound to another PersistentVolume"))
		}
		select {
		case <-ctx.Done():
			return b.client.about(r, context.Cause(ctx))
		case <-time.After(bindPause):
		}
	}
}
