package kube

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/klog/v2"
)

// What callers of [Leases] branch on.
var (
	// ErrLeaseHeld means that somebody else holds the lease; the error is a
	// [*LeaseHeldError].
	ErrLeaseHeld = errors.New("held by another")
	// ErrLeaseLost means that a lease is no longer certain to be ours.
	ErrLeaseLost = errors.New("lease lost")
	// ErrNoLeases means that the API server has no Leases, as before Kubernetes
	// 1.14.
	ErrNoLeases = errors.New("the API server has no Leases")
)

// LeaseOptions configure [Client.Leases].
type LeaseOptions struct {
	// Namespace of the Lease objects. It must exist.
	Namespace string
	// Identity of this holder, shown to the admin; required. It must be another
	// one for each process that may run at the same time. A lease that an
	// earlier process of the same identity left is taken back at once, so an
	// identity that survives a restart saves the wait for Duration.
	Identity string
	// Duration after the last renewal at which others may take a lease over; a
	// second or more. It is renewed every quarter of it, and given up when that
	// has not succeeded for three quarters: the last quarter is for stopping
	// the work. Holders may have different ones.
	Duration time.Duration
	// Logger gets failed renewals at level Debug; nil discards them.
	Logger *slog.Logger
}

// Leases takes leases by coordination.k8s.io/v1 Lease objects, so that of
// several processes that know the same API server one works on a thing at a
// time. It is safe for concurrent use, and one process needs one: it remembers
// what it has seen of others' leases.
//
// The clocks of the holders need not agree. Whether a lease has expired is
// judged by how long this process itself has seen it unchanged, so that the
// first try on a lease of a dead holder never succeeds.
//
// It is an agreement and no fence: a process that was frozen, and wakes up
// after its lease has passed on, goes on until its next renewal.
type Leases struct {
	client *Client
	api    leaseAPI
	o      LeaseOptions

	mu   sync.Mutex
	seen map[string]sighting // By object name.
	held map[string]bool     // By object name: acquired or on the way.
}

// leaseAPI is what is needed of client-go's typed client.
type leaseAPI interface {
	Get(ctx context.Context, name string, o metav1.GetOptions) (*coordinationv1.Lease, error)
	Create(ctx context.Context, l *coordinationv1.Lease, o metav1.CreateOptions) (*coordinationv1.Lease, error)
	Update(ctx context.Context, l *coordinationv1.Lease, o metav1.UpdateOptions) (*coordinationv1.Lease, error)
}

// sighting is when this process first saw a holder's renewal.
type sighting struct {
	holder  string
	renewed time.Time // The holder's clock; only compared with itself.
	at      time.Time // Ours, monotonic.
}

// Leases returns what takes leases; ErrName for options that cannot work. It
// does not ask the API server. It needs the rights get, create and update for
// leases.coordination.k8s.io in the namespace.
func (c *Client) Leases(o LeaseOptions) (*Leases, error) {
	r := request{op: "take leases", resource: leaseResource, namespace: o.Namespace}
	switch {
	case len(validation.IsDNS1123Label(o.Namespace)) != 0:
		return nil, c.malformed(r, "a namespace has lower case letters, digits and - only")
	case o.Identity == "":
		return nil, c.malformed(r, "the holder's identity is missing")
	case o.Duration < time.Second:
		return nil, c.malformed(r, fmt.Sprintf("a lease of %s is too short", o.Duration))
	}
	return newLeases(c, c.leases.Leases(o.Namespace), o), nil
}

func newLeases(c *Client, api leaseAPI, o LeaseOptions) *Leases {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Leases{client: c, api: api, o: o, seen: make(map[string]sighting), held: make(map[string]bool)}
}

// LeaseName returns the name of the Lease object for name, which is that of a
// volume or anything else: "glusterbackupd-", up to 200 bytes of the name in
// lower case with - for everything but letters and digits, and the first ten
// hexadecimal digits of the SHA-256 of the name, by which names stay apart that
// then look alike.
func LeaseName(name string) string {
	readable := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, strings.ToLower(name))
	readable = strings.Trim(readable[:min(len(readable), 200)], "-")
	if readable != "" {
		readable += "-"
	}
	hash := sha256.Sum256([]byte(name))
	return "glusterbackupd-" + readable + hex.EncodeToString(hash[:5])
}

// LeaseHeldError says who holds a lease. It matches ErrLeaseHeld.
type LeaseHeldError struct {
	// Name is what was asked for; Namespace and Object name the Lease object.
	Name, Namespace, Object string
	// Holder is the other's identity, or this one's own when this process holds
	// the lease already; "" when it changed hands while it was asked for.
	Holder string
	// Until is when the lease expires unless it is renewed, by this host's
	// clock; zero for a lease of our own.
	Until time.Time
}

// Error implements error.
func (e *LeaseHeldError) Error() string {
	text := fmt.Sprintf("lease on %.260q: %v", e.Name, ErrLeaseHeld)
	if e.Holder != "" {
		text += fmt.Sprintf(", %.200q", e.Holder)
	}
	if !e.Until.IsZero() {
		text += ", until " + e.Until.UTC().Format(time.RFC3339) + " unless renewed"
	}
	return text
}

// Is tells whether target is ErrLeaseHeld.
func (e *LeaseHeldError) Is(target error) bool { return target == ErrLeaseHeld }

// Remedy returns one sentence that tells the admin what to do.
func (e *LeaseHeldError) Remedy() string {
	return "Wait until the holder is done, or look at the lease: kubectl get lease " + e.Object + " --namespace " + e.Namespace + " --output yaml."
}

// Acquire takes the lease on name, which LeaseName turns into the name of the
// object. It tries once and does not wait: a [*LeaseHeldError] says who is
// before us, ErrNoLeases that there is no such API, and an [*Error] what else
// went wrong, after which the lease may be ours without our knowing it until
// it expires; the next try finds that out.
//
// ctx bounds the request and is the parent of [Lease.Context]. Its end does not
// end the renewals: whoever holds a lease needs it for tidying up, too, and
// then must call [Lease.Release].
func (l *Leases) Acquire(ctx context.Context, name string) (*Lease, error) {
	object := LeaseName(name)
	if !l.reserve(object) {
		return nil, l.heldBy(name, l.o.Identity, time.Time{})
	}
	taken, sent, err := l.take(ctx, name, object)
	if err != nil {
		l.forget(object)
		return nil, err
	}
	return l.hold(ctx, name, taken, sent), nil
}

// reserve keeps two callers in this process apart, whose records look alike.
func (l *Leases) reserve(object string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.held[object] {
		return false
	}
	l.held[object] = true
	return true
}

func (l *Leases) forget(object string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.held, object)
}

func (l *Leases) heldBy(name, holder string, until time.Time) error {
	return &LeaseHeldError{Name: name, Namespace: l.o.Namespace, Object: LeaseName(name), Holder: holder, Until: until}
}

// take writes our record if nobody's is in force, and returns when it was sent.
func (l *Leases) take(ctx context.Context, name, object string) (*coordinationv1.Lease, time.Time, error) {
	current, err := l.get(ctx, object)
	missing := errors.Is(err, errMissing)
	if err != nil && !missing {
		return nil, time.Time{}, err
	}
	if missing {
		current = &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: l.o.Namespace, Name: object}}
	} else if until := l.expiry(current); time.Now().Before(until) {
		return nil, time.Time{}, l.heldBy(name, holder(current), until)
	}
	sent := time.Now()
	next := l.claim(current, sent, missing)
	taken, err := l.write(ctx, next)
	if !errors.Is(err, errConflict) {
		return taken, sent, err
	}
	// Somebody was faster. Who, is worth one more request.
	current, err = l.get(ctx, object)
	if err != nil && !errors.Is(err, errMissing) {
		return nil, time.Time{}, err
	}
	if err != nil {
		current = &coordinationv1.Lease{}
	}
	return nil, time.Time{}, l.heldBy(name, holder(current), l.expiry(current))
}

// claim returns the lease as it is when it is ours.
func (l *Leases) claim(current *coordinationv1.Lease, now time.Time, created bool) *coordinationv1.Lease {
	next := current.DeepCopy()
	transitions := int32(0)
	if t := current.Spec.LeaseTransitions; t != nil {
		transitions = *t
	}
	if !created && holder(current) != l.o.Identity {
		transitions++
	}
	stamp := microTime(now)
	next.Spec.HolderIdentity, next.Spec.LeaseTransitions = &l.o.Identity, &transitions
	next.Spec.AcquireTime, next.Spec.RenewTime = &stamp, &stamp
	next.Spec.LeaseDurationSeconds = l.seconds()
	return next
}

// seconds is Duration rounded up: others may only be too patient.
func (l *Leases) seconds() *int32 {
	n := int32(min(math.Ceil(l.o.Duration.Seconds()), math.MaxInt32))
	return &n
}

// microTime has the precision that the API keeps, so that it compares equal
// with what is read back.
func microTime(t time.Time) metav1.MicroTime {
	return metav1.NewMicroTime(t.UTC().Truncate(time.Microsecond))
}

func holder(lease *coordinationv1.Lease) string {
	if h := lease.Spec.HolderIdentity; h != nil {
		return *h
	}
	return ""
}

// expiry returns until when a lease is another's; the past when it is free, or
// ours from before.
func (l *Leases) expiry(lease *coordinationv1.Lease) time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := sighting{holder: holder(lease), at: time.Now()}
	if now.holder == "" || now.holder == l.o.Identity {
		delete(l.seen, lease.Name)
		return time.Time{}
	}
	if t := lease.Spec.RenewTime; t != nil {
		now.renewed = t.Time
	}
	if before, ok := l.seen[lease.Name]; ok && before.holder == now.holder && before.renewed.Equal(now.renewed) {
		now.at = before.at
	}
	l.seen[lease.Name] = now
	duration := l.o.Duration // Of a record that says none, which somebody made by hand.
	if s := lease.Spec.LeaseDurationSeconds; s != nil {
		duration = time.Duration(*s) * time.Second
	}
	return now.at.Add(duration)
}

// errConflict means that the object has changed since it was read.
var errConflict = errors.New("changed by another")

func (l *Leases) get(ctx context.Context, object string) (*coordinationv1.Lease, error) {
	var lease *coordinationv1.Lease
	err := l.ask(ctx, "read", object, func(ctx context.Context) (err error) {
		lease, err = l.api.Get(ctx, object, metav1.GetOptions{})
		return err
	})
	return lease, err
}

// write creates a lease that has not been read, and else updates it, provided
// that it has not changed since: the resourceVersion sees to that.
func (l *Leases) write(ctx context.Context, lease *coordinationv1.Lease) (*coordinationv1.Lease, error) {
	var written *coordinationv1.Lease
	err := l.ask(ctx, "write", lease.Name, func(ctx context.Context) (err error) {
		if lease.ResourceVersion == "" {
			written, err = l.api.Create(ctx, lease, metav1.CreateOptions{})
		} else {
			written, err = l.api.Update(ctx, lease, metav1.UpdateOptions{})
		}
		return err
	})
	return written, err
}

// ask makes one request. No request may take longer than a quarter of the
// duration: three have to fit into it.
func (l *Leases) ask(ctx context.Context, op, object string, do func(context.Context) error) error {
	limit := min(l.client.timeout, l.o.Duration/4)
	limited, cancel := context.WithTimeout(klog.NewContext(ctx, l.client.log), limit)
	defer cancel()
	err := do(limited)
	if err == nil {
		return nil
	}
	r := request{op: op, resource: leaseResource, namespace: l.o.Namespace, name: object}
	e := l.client.fail(ctx, limited, r, err)
	switch {
	case limited.Err() != nil && ctx.Err() == nil:
		e.cause = fmt.Errorf("no answer within %s", limit)
	case apierrors.IsConflict(err), apierrors.IsAlreadyExists(err):
		e.kind = errConflict
	case !apierrors.IsNotFound(err):
	case notServed(err):
		e.kind, e.temporary = ErrNoLeases, false
		e.remedy = "Run one daemon only, or upgrade the cluster to Kubernetes 1.14 or later."
	case missingKind(err) == "namespaces":
		e.kind, e.cause = ErrAnswer, fmt.Errorf("there is no namespace %s", l.o.Namespace)
		e.remedy = "Create the namespace, or set lease_namespace in section [kubernetes] to one that exists: kubectl create namespace " + l.o.Namespace + "."
	}
	return e
}

// notServed tells a missing API from a missing object: its "not found" comes
// from no storage and names nothing.
func notServed(err error) bool {
	return apierrors.HasStatusCause(err, metav1.CauseTypeUnexpectedServerResponse) || missingKind(err) == ""
}

// missingKind returns the plural of what an answer says does not exist.
func missingKind(err error) string {
	var status apierrors.APIStatus // Not an error by its type, as AsType wants.
	if !errors.As(err, &status) {
		return ""
	}
	details := status.Status().Details
	if details == nil || details.Name == "" {
		return ""
	}
	return details.Kind
}
