package kube

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"syscall"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// What callers branch on. Each comes inside an [*Error].
var (
	// ErrNoClaim means that the API server answered and has no such claim.
	ErrNoClaim = errors.New("no such claim")
	// ErrUnauthorized means that the server does not accept the credentials.
	ErrUnauthorized = errors.New("credentials refused")
	// ErrForbidden means that the identity lacks a right.
	ErrForbidden = errors.New("not allowed")
	// ErrUnreachable means that no complete answer came, for whatever reason.
	ErrUnreachable = errors.New("API server cannot be reached")
	// ErrAnswer means that the answer is an error of the server, or not that
	// of a Kubernetes API.
	ErrAnswer = errors.New("unusable answer")
	// ErrName means that a namespace or name is malformed; nothing was sent.
	ErrName = errors.New("malformed name")
	// ErrConfig means that the kubeconfig or the service account is unusable.
	ErrConfig = errors.New("unusable configuration")

	// ErrNoSnapshotAPI means that the API server does not serve VolumeSnapshots
	// of the group that was asked for.
	ErrNoSnapshotAPI = errors.New("the snapshot API is not installed")
	// ErrNameTaken means that an object of that name exists which is not ours,
	// and has been left as it is.
	ErrNameTaken = errors.New("the name is taken")
	// ErrDeleting means that the object is being deleted, and has been left as
	// it is.
	ErrDeleting = errors.New("being deleted")
	// ErrNoNamespace means that the namespace does not exist or is being
	// deleted, so that nothing can be made in it.
	ErrNoNamespace = errors.New("no such namespace, or it is being deleted")
	// ErrNoRequest means that the tenant's request no longer exists, or is
	// being deleted.
	ErrNoRequest = errors.New("no such request")

	// errMissing is an object other than a claim that does not exist.
	errMissing = errors.New("not found")
)

// maxText bounds what an error repeats of a server's message, in bytes.
const maxText = 400

// Error is a request that failed, or a configuration that cannot be used.
type Error struct {
	// Op is what was tried, such as "list".
	Op string
	// Resource is the plural, such as "persistentvolumes", for snapshots with
	// their group, "volumesnapshots.snapshot.storage.k8s.io"; "" when the request
	// was about none.
	Resource string
	// Namespace and Name are what was asked for; "" where they do not apply.
	Namespace, Name string
	// Server is the API server's URL; "" when the configuration names none.
	Server string

	kind, cause error
	remedy      string
	temporary   bool
}

// Error implements error.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("kubernetes")
	if e.Server != "" {
		b.WriteString(" " + e.Server)
	}
	b.WriteString(": " + e.Op)
	if e.Resource != "" {
		b.WriteString(" " + e.Resource)
	}
	if object := strings.Trim(e.Namespace+"/"+e.Name, "/"); object != "" {
		fmt.Fprintf(&b, " %.520q", object)
	}
	for _, err := range e.Unwrap() {
		text := err.Error()
		if len(text) > maxText {
			text = strings.ToValidUTF8(text[:maxText], "") + "…"
		}
		b.WriteString(": " + text)
	}
	return b.String()
}

// Unwrap returns the sentinel and the cause, as far as there are any.
func (e *Error) Unwrap() []error {
	var list []error
	for _, err := range []error{e.kind, e.cause} {
		if err != nil {
			list = append(list, err)
		}
	}
	return list
}

// Remedy returns one sentence that tells the admin what to do, or "".
func (e *Error) Remedy() string { return e.remedy }

// Temporary tells whether the same request may succeed later without anybody
// changing anything: the server is busy, restarting or cannot be reached. A
// cancelled context and a refused certificate are not temporary.
func Temporary(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.temporary
}

// about makes an error without a kind.
func (c *Client) about(r request, cause error) *Error {
	resource := r.resource
	if r.group != "" {
		resource += "." + r.group
	}
	return &Error{Op: r.op, Resource: resource, Namespace: r.namespace, Name: r.name, Server: c.server, cause: cause}
}

// malformed makes the error of a request that was not sent.
func (c *Client) malformed(r request, text string) *Error {
	e := c.about(r, errors.New(text))
	e.kind = ErrName
	return e
}

// damaged makes the error of an answer that came in full and makes no sense.
func (c *Client) damaged(r request, cause error) *Error {
	e := c.about(r, cause)
	c.unusable(e)
	return e
}

// fail makes the error of a request that failed under ctx, whose own limit is limited.
func (c *Client) fail(ctx, limited context.Context, r request, err error) *Error {
	e := c.about(r, err)
	switch {
	case ctx.Err() != nil:
		e.cause = context.Cause(ctx)
	case limited.Err() != nil:
		e.cause = fmt.Errorf("no answer within %s", c.timeout)
		c.unreachable(e)
	case answered(err):
		c.classifyStatus(e, err)
	case brokenOff(err):
		c.unreachable(e)
	default:
		c.unusable(e)
	}
	return e
}

// brokenOff tells whether the connection failed, before or within an answer.
func brokenOff(err error) bool {
	_, transport := errors.AsType[*url.Error](err)
	return transport || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET)
}

func answered(err error) bool {
	var status apierrors.APIStatus
	return errors.As(err, &status)
}

// classifyStatus fills in what the answer of an API server means.
func (c *Client) classifyStatus(e *Error, err error) {
	alien := apierrors.HasStatusCause(err, metav1.CauseTypeUnexpectedServerResponse)
	switch {
	case apierrors.IsUnauthorized(err):
		e.kind = ErrUnauthorized
		e.remedy = "Renew the credentials in " + c.source() + "."
	case snapshotGroup(e.Resource) != "" && c.classifySnapshot(e, err):
	case apierrors.IsForbidden(err):
		e.kind = ErrForbidden
		e.remedy = "Give the identity in " + c.source() + " " + e.rights() + ": kubectl create clusterrolebinding."
	case apierrors.IsNotFound(err) && !alien && e.Name != "":
		e.kind, e.cause = errMissing, nil
		if e.Resource == claimResource {
			e.kind = ErrNoClaim
			e.remedy = "List the claims of the namespace: kubectl get persistentvolumeclaims --namespace " + e.Namespace + "."
		}
	default:
		c.unusable(e)
		e.temporary = apierrors.IsTooManyRequests(err) || apierrors.IsServerTimeout(err) ||
			apierrors.IsTimeout(err) || apierrors.IsServiceUnavailable(err)
	}
}

// rights names what the identity needs for the request and the others that go
// with it.
func (e *Error) rights() string {
	switch {
	case snapshotGroup(e.Resource) != "":
		return snapshotRights(e.Resource)
	case e.Op == opFree:
		return "the rights get and patch for " + claimResource + " in the whole cluster"
	case e.Resource == leaseResource:
		return "the rights get, create and update for leases.coordination.k8s.io in namespace " + e.Namespace
	case e.Resource == eventResource:
		return "the rights create and patch for events in the whole cluster"
	case e.Op == "annotate":
		return "the right patch for " + claimResource + " in the whole cluster"
	case e.Op == "watch":
		return "the right watch for " + strings.Join([]string{claimResource, volumeResource, namespaceResource}, ", ") + " in the whole cluster"
	}
	return "the rights get and list for " +
		strings.Join([]string{claimResource, volumeResource, namespaceResource, podResource, endpointsResource, serviceResource}, ", ") +
		" in the whole cluster"
}

func (c *Client) unusable(e *Error) {
	e.kind = ErrAnswer
	e.remedy = "Check that " + c.source() + " names a Kubernetes API server: " + c.kubectl() + " version."
}

// unreachable fills in why no answer came, by the cause.
func (c *Client) unreachable(e *Error) {
	e.kind, e.temporary = ErrUnreachable, true
	if u, ok := errors.AsType[*url.Error](e.cause); ok {
		e.cause = u.Err // The outer text repeats the URL.
	}
	e.remedy = "Check that the API server in " + c.source() + " runs: " + c.kubectl() + " version."
	if _, ok := errors.AsType[*tls.CertificateVerificationError](e.cause); ok {
		e.temporary = false
		e.remedy = "Set certificate-authority of the cluster in " + c.source() + " to the authority that signed the API server's certificate."
	}
	if dns, ok := errors.AsType[*net.DNSError](e.cause); ok && dns.IsNotFound {
		e.temporary = false
	}
}

// misconfigured makes the error of a configuration that cannot be used.
func (c *Client) misconfigured(err error) *Error {
	e := &Error{
		Op: "load the service account", kind: ErrConfig, cause: err,
		remedy: "Set kubeconfig in section [kubernetes] to a file such as /etc/kubernetes/admin.conf; without one, the program must run in a pod.",
	}
	if c.kubeconfig != "" {
		e.Op = "load kubeconfig " + c.kubeconfig
		e.remedy = "Set kubeconfig in section [kubernetes] to a file that this command can read: " + c.kubectl() + " config view."
	}
	return e
}

// source names where the credentials come from.
func (c *Client) source() string {
	if c.kubeconfig == "" {
		return "the pod's service account"
	}
	return "kubeconfig " + c.kubeconfig
}

func (c *Client) kubectl() string {
	if c.kubeconfig == "" {
		return "kubectl"
	}
	return "kubectl --kubeconfig " + c.kubeconfig
}
