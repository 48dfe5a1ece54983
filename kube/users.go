package kube

import (
	"cmp"
	"context"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Pod is a pod that uses a claim.
type Pod struct {
	Namespace, Name string
	// Phase as Kubernetes reports it: Pending, Running or Unknown.
	Phase string
	// Node is where it runs; "" when it is not scheduled yet.
	Node string
	// Deleting is set when the pod is shutting down; it may still write.
	Deleting bool
}

// Users returns the pods that mount the claim, or may mount it without further
// notice, ordered by name: those that refer to it and have not ended. A claim
// that does not exist has no users.
//
// Pods that mount the Gluster volume without the claim, and programs outside
// of Kubernetes, are not seen.
func (c *Client) Users(ctx context.Context, namespace, claim string) ([]Pod, error) {
	if err := c.checkNames(request{op: "find pods of", resource: claimResource, namespace: namespace, name: claim}); err != nil {
		return nil, err
	}
	r := request{op: "list", resource: podResource, namespace: namespace}
	var users []Pod
	err := c.list(ctx, r, func(u *unstructured.Unstructured) error {
		var pod corev1.Pod
		if err := c.convert(r, u, &pod); err != nil {
			return err
		}
		if uses(&pod, claim) {
			users = append(users, Pod{
				Namespace: pod.Namespace, Name: pod.Name, Phase: string(pod.Status.Phase),
				Node: pod.Spec.NodeName, Deleting: pod.DeletionTimestamp != nil,
			})
		}
		return nil
	})
	slices.SortFunc(users, func(a, b Pod) int { return cmp.Compare(a.Name, b.Name) })
	return users, err
}

// uses tells whether a pod of the claim's namespace refers to the claim and
// has not ended. Volumes belong to the whole pod, so init and ephemeral
// containers are covered.
func uses(pod *corev1.Pod, claim string) bool {
	if pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed {
		return false
	}
	return slices.ContainsFunc(pod.Spec.Volumes, func(v corev1.Volume) bool {
		switch {
		case v.PersistentVolumeClaim != nil:
			return v.PersistentVolumeClaim.ClaimName == claim
		case v.Ephemeral != nil: // Its claim is named by the API's rule.
			return pod.Name+"-"+v.Name == claim
		}
		return false
	})
}
