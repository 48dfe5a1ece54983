package runner

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// ErrPod means that the Kubernetes API answers, but that commands cannot run in
// the pods as they are configured; the command was not started.
var ErrPod = errors.New("pod cannot be used")

// What is wrong with the pods of a selector.
var (
	errNoPods   = errors.New("no pod matches the selector")
	errNotThere = errors.New("no pod of the selector runs on this node")
	errNotReady = errors.New("the pod is not ready")
)

// PodError reports a command that was not started in a pod. It matches Kind and
// Err in errors.Is.
type PodError struct {
	Host                string // The node's name as the caller gave it.
	Namespace, Selector string // Where the pod was looked for.
	Pod                 string // Its name, as soon as it was found.
	Kind                error  // ErrUnreachable, ErrAuth or ErrPod.
	Err                 error  // The cause.

	remedy string
}

// Error names the node, the pod or its selector, kind and cause.
func (e *PodError) Error() string {
	pod := "selector " + e.Selector
	if e.Pod != "" {
		pod = "pod " + e.Pod
	}
	return fmt.Sprintf("node %s, %s in namespace %s: %v: %v", e.Host, pod, e.Namespace, e.Kind, e.Err)
}

// Unwrap returns the kind and the cause.
func (e *PodError) Unwrap() []error { return []error{e.Kind, e.Err} }

// Temporary tells whether the same command may succeed later without any change
// in the configuration.
func (e *PodError) Temporary() bool { return errors.Is(e.Kind, ErrUnreachable) }

// Remedy says what the admin can do.
func (e *PodError) Remedy() string { return e.remedy }

// fail sorts a command that was not started by the status of the API's answer, 0
// when none came.
func (p *Pods) fail(host, pod string, status int, err error) error {
	o := p.opts
	e := &PodError{Host: host, Namespace: o.Namespace, Selector: o.Selector, Pod: pod, Kind: ErrUnreachable, Err: withoutURL(err)}
	_, certificate := errors.AsType[*tls.CertificateVerificationError](err)
	switch {
	case certificate:
		e.Kind = ErrPod
		e.remedy = "use a kubeconfig (gluster.pod.kubeconfig) with the authority of the API server's certificate"
	case status == http.StatusUnauthorized:
		e.Kind = ErrAuth
		e.remedy = "use a kubeconfig (gluster.pod.kubeconfig) whose credentials the API server accepts"
	case status == http.StatusForbidden:
		e.Kind = ErrAuth
		e.remedy = fmt.Sprintf("grant \"list\" on pods and \"create\" on pods/exec in namespace %s; docs/transports.md has the Role", o.Namespace)
	case status == http.StatusBadRequest:
		e.Kind = ErrPod
		e.remedy = fmt.Sprintf("check that the pod has a container %q (gluster.pod.container): kubectl -n %s get pod %s -o jsonpath='{.spec.containers[*].name}'",
			o.Container, o.Namespace, pod)
	case errors.Is(err, errNoPods), errors.Is(err, errNotThere):
		e.remedy = fmt.Sprintf("compare with \"kubectl -n %s get pods -l %s -o wide\"; if Gluster runs on the nodes themselves, use the transport ssh",
			o.Namespace, o.Selector)
	case pod != "":
		e.remedy = fmt.Sprintf("see \"kubectl -n %s describe pod %s\" and whether kubelet runs on its node", o.Namespace, pod)
	default:
		e.remedy = "check that the API server of gluster.pod.kubeconfig can be reached: kubectl version"
	}
	return e
}

// statusOf returns the status of an API server's refusal, 0 for other errors.
func statusOf(err error) int {
	if s, ok := errors.AsType[*apierrors.StatusError](err); ok {
		return int(s.ErrStatus.Code)
	}
	return 0
}
