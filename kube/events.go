package kube

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
)

const (
	// component is the source of the events.
	component = "glusterbackupd"
	// maxMessage is what the API server takes of an event's message, in bytes.
	maxMessage = 1024
	// repeatTime is how long the same event raises the count of the last one.
	repeatTime = time.Hour
	// countTime is how often that count is written at most.
	countTime = time.Minute
	// eventBurst new events about one claim are written at once, later ones at
	// one in each eventPause.
	eventBurst = 10
	eventPause = 6 * time.Minute
)

// ErrEventRate means that an event was not written, since too many different
// ones about the same claim came before it. It comes inside an [*Error].
var ErrEventRate = errors.New("too many events about the claim")

// EventType says how much attention an event wants.
type EventType string

// The types of events that Kubernetes knows.
const (
	Normal  = EventType(corev1.EventTypeNormal)
	Warning = EventType(corev1.EventTypeWarning)
)

// EventOptions configure [Client.Events].
type EventOptions struct {
	// Host is shown as where the events come from; "" leaves that out.
	Host string
}

// Events writes events about claims, for kubectl describe, one after the other.
// It is safe for concurrent use; one per process, since it remembers what it
// wrote.
//
// client-go's own recorder is not used: it writes in the background and only
// logs what it could not write.
type Events struct {
	client *Client
	host   string

	mu     sync.Mutex // Held over requests of one event after the other.
	recent map[eventKey]*written
	rates  map[string]*rate // By the claim's UID.
}

// eventKey is what makes two events the same.
type eventKey struct {
	uid             string
	kind            EventType
	reason, message string
}

// written is an event object that was made.
type written struct {
	namespace, name string
	count           int32
	last            time.Time // The last occurrence.
	stored          time.Time // When count and last were written last.
}

// rate is a bucket of events.
type rate struct {
	left float64
	at   time.Time
}

// Events returns what writes events. It needs the rights create and patch for
// events in the namespaces of the claims.
func (c *Client) Events(o EventOptions) *Events {
	return &Events{client: c, host: o.Host, recent: make(map[eventKey]*written), rates: make(map[string]*rate)}
}

// Record writes an event in the claim's namespace. reason is one word in
// CamelCase; of message the first 1024 bytes are kept.
//
// The same claim, type, reason and message within an hour of its last
// occurrence raises the count of the event that exists, which is written at
// most once a minute; later occurrences count with the next. Of different
// events about one claim ten are written at once and then one in six minutes;
// for others the error matches ErrEventRate. Other errors are those of any
// request, and the occurrence is then not counted.
func (e *Events) Record(ctx context.Context, claim Claim, kind EventType, reason, message string) error {
	r := request{op: "read", resource: eventResource, namespace: claim.Namespace, name: claim.Name}
	if err := e.client.checkNames(r); err != nil {
		return err
	}
	if len(message) > maxMessage {
		const more = "…"
		message = strings.ToValidUTF8(message[:maxMessage-len(more)], "") + more
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	now := time.Now()
	e.expire(now)
	key := eventKey{claim.UID, kind, reason, message}
	if w := e.recent[key]; w != nil {
		err := e.repeat(ctx, w, now)
		if !errors.Is(err, errMissing) {
			return err
		}
		delete(e.recent, key) // Kubernetes forgets events after an hour, or as configured.
	}
	return e.create(ctx, claim, key, now)
}

// expire forgets what can no longer matter.
func (e *Events) expire(now time.Time) {
	maps.DeleteFunc(e.recent, func(_ eventKey, w *written) bool { return now.Sub(w.last) >= repeatTime })
	maps.DeleteFunc(e.rates, func(_ string, r *rate) bool { return now.Sub(r.at) >= eventBurst*eventPause })
}

// repeat counts another occurrence.
func (e *Events) repeat(ctx context.Context, w *written, now time.Time) error {
	if now.Sub(w.stored) >= countTime {
		r := request{op: "count", resource: eventResource, namespace: w.namespace, name: w.name}
		patch := fmt.Appendf(nil, `{"count":%d,"lastTimestamp":%q}`, w.count+1, now.UTC().Format(time.RFC3339))
		limited, cancel := e.client.limit(ctx)
		defer cancel()
		if _, err := e.client.resource(r).Patch(limited, w.name, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
			return e.client.fail(ctx, limited, r, err)
		}
		w.stored = now
	}
	w.count++
	w.last = now
	return nil
}

// create makes a new event object.
func (e *Events) create(ctx context.Context, claim Claim, key eventKey, now time.Time) error {
	// Names may have 253 bytes; what keeps them apart is random.
	name := strings.TrimRight(claim.Name[:min(len(claim.Name), 220)], "-.") + "." + strings.ToLower(rand.Text())
	r := request{op: "create", resource: eventResource, namespace: claim.Namespace, name: name}
	bucket := e.bucket(claim.UID, now)
	if bucket.left < 1 {
		err := e.client.about(r, fmt.Errorf("%s is not told", key.reason))
		err.kind, err.temporary = ErrEventRate, true
		return err
	}
	object, err := runtime.DefaultUnstructuredConverter.ToUnstructured(e.event(claim, key, name, now))
	if err != nil {
		return e.client.about(r, err)
	}
	limited, cancel := e.client.limit(ctx)
	defer cancel()
	if _, err := e.client.resource(r).Create(limited, &unstructured.Unstructured{Object: object}, metav1.CreateOptions{}); err != nil {
		return e.client.fail(ctx, limited, r, err)
	}
	bucket.left--
	e.recent[key] = &written{namespace: claim.Namespace, name: name, count: 1, last: now, stored: now}
	return nil
}

// bucket returns the claim's, filled up to now.
func (e *Events) bucket(uid string, now time.Time) *rate {
	b := e.rates[uid]
	if b == nil {
		b = &rate{left: eventBurst, at: now}
		e.rates[uid] = b
	}
	b.left = min(eventBurst, b.left+now.Sub(b.at).Seconds()/eventPause.Seconds())
	b.at = now
	return b
}

func (e *Events) event(claim Claim, key eventKey, name string, now time.Time) *corev1.Event {
	stamp := metav1.NewTime(now)
	return &corev1.Event{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Event"},
		ObjectMeta: metav1.ObjectMeta{Namespace: claim.Namespace, Name: name},
		InvolvedObject: corev1.ObjectReference{
			APIVersion: "v1", Kind: "PersistentVolumeClaim",
			Namespace: claim.Namespace, Name: claim.Name, UID: types.UID(claim.UID),
		},
		Type: string(key.kind), Reason: key.reason, Message: key.message,
		Source:              corev1.EventSource{Component: component, Host: e.host},
		ReportingController: component, ReportingInstance: e.host,
		FirstTimestamp: stamp, LastTimestamp: stamp, Count: 1,
	}
}
