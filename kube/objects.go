package kube

import (
	"context"
	"encoding/json"
	"errors"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Names in the map that [Client.Objects] returns.
const (
	ClaimObject     = "pvc.json"
	VolumeObject    = "pv.json"
	EndpointsObject = "endpoints.json"
	ServiceObject   = "service.json"
)

// Objects returns the claim, its PersistentVolume and, for a glusterfs volume,
// the Endpoints and the Service of the same name as they are served now, as
// indented JSON without metadata.managedFields. What does not exist is left
// out, except the claim itself: ErrNoClaim, also when another claim of the
// same name has taken its place.
//
// It is apart from [Client.Claims], since it takes up to four requests and a
// backup wants the objects as they are when it runs.
func (c *Client) Objects(ctx context.Context, claim Claim) (map[string][]byte, error) {
	r := request{op: "read", resource: claimResource, namespace: claim.Namespace, name: claim.Name}
	if err := c.checkNames(r); err != nil {
		return nil, err
	}
	pvc, err := c.get(ctx, r)
	if err != nil {
		return nil, err
	}
	if string(pvc.GetUID()) != claim.UID {
		e := c.about(r, errors.New("another claim of that name exists now"))
		e.kind = ErrNoClaim
		return nil, e
	}
	objects := make(map[string][]byte)
	if err := c.add(objects, ClaimObject, r, pvc); err != nil || claim.PV == "" {
		return objects, err
	}
	return objects, c.addVolume(ctx, objects, claim)
}

// addVolume adds the claim's PersistentVolume and what is mounted through.
func (c *Client) addVolume(ctx context.Context, objects map[string][]byte, claim Claim) error {
	r := request{op: "read", resource: volumeResource, name: claim.PV}
	object, err := c.addRead(ctx, objects, VolumeObject, r)
	if err != nil || object == nil {
		return err
	}
	var pv corev1.PersistentVolume
	if err := c.convert(r, object, &pv); err != nil {
		return err
	}
	g := pv.Spec.Glusterfs
	if g == nil {
		return nil
	}
	namespace := claim.Namespace
	if g.EndpointsNamespace != nil && *g.EndpointsNamespace != "" {
		namespace = *g.EndpointsNamespace
	}
	r = request{op: "read", resource: endpointsResource, namespace: namespace, name: g.EndpointsName}
	if _, err := c.addRead(ctx, objects, EndpointsObject, r); err != nil {
		return err
	}
	r.resource = serviceResource
	_, err = c.addRead(ctx, objects, ServiceObject, r)
	return err
}

// addRead reads an object and adds it; it returns nil when there is none.
func (c *Client) addRead(ctx context.Context, objects map[string][]byte, name string, r request) (*unstructured.Unstructured, error) {
	object, err := c.get(ctx, r)
	if errors.Is(err, errMissing) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return object, c.add(objects, name, r, object)
}

func (c *Client) add(objects map[string][]byte, name string, r request, object *unstructured.Unstructured) error {
	object = object.DeepCopy()
	object.SetManagedFields(nil)
	content, err := json.MarshalIndent(object.Object, "", "  ")
	if err != nil {
		return c.damaged(r, err)
	}
	objects[name] = append(content, '\n')
	return nil
}
