package kube

import (
	"context"
	"fmt"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metainternal "k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
)

// pageSize of the lists, in items.
const pageSize = 500

// feed keeps the objects of one resource in memory. It implements
// cache.ListerWatcherWithContext for its informer.
type feed struct {
	client   *Client
	resource string
	group    string // "" is the core group.
	selector string // Label selector; "" is all.
	// slim makes the typed object with only what this package reads of it. It
	// works on each page as it comes, where the informer's own transform sees a
	// list when all of it is in memory, and drops what fails.
	slim     func(*unstructured.Unstructured) (runtime.Object, error)
	informer cache.SharedIndexInformer
	handled  <-chan struct{} // Closed when the first state has been handled.
	contact  *contact
}

func newFeed(c *Client, resource string, slim func(*unstructured.Unstructured) (runtime.Object, error), example runtime.Object, index cache.Indexers) *feed {
	f := &feed{client: c, resource: resource, slim: slim, contact: newContact(c, resource)}
	f.informer = cache.NewSharedIndexInformerWithOptions(f, example, cache.SharedIndexInformerOptions{
		ObjectDescription: resource, Indexers: index,
	})
	return f
}

// stored returns an object that a feed holds, or nil.
func stored[T any](f *feed, key string) *T {
	item, _, _ := f.informer.GetStore().GetByKey(key) // In memory: its error is always nil.
	object, _ := item.(*T)
	return object
}

// wait returns when the first state has been handled and the watch is open,
// or with the first error. limited is ctx with the time-out.
func (f *feed) wait(ctx, limited context.Context, timeout time.Duration) error {
	for _, done := range []<-chan struct{}{f.handled, f.contact.opened} {
		select {
		case <-done:
		case err := <-f.contact.failed:
			return err
		case <-limited.Done():
			if ctx.Err() != nil {
				return f.client.about(f.request("watch"), context.Cause(ctx))
			}
			return f.client.late(f.request("watch"), timeout)
		}
	}
	return nil
}

func (f *feed) request(op string) request {
	return request{op: op, resource: f.resource, group: f.group}
}

// IsWatchListSemanticsUnSupported makes the reflector list, and not ask the
// watch for the first state. API servers before Kubernetes 1.19 know neither
// parameter of that kind of watch, ignore them, and never tell that the state
// is complete.
func (f *feed) IsWatchListSemanticsUnSupported() bool { return true }

// List implements cache.ListerWatcher, whose callers prefer ListWithContext.
func (f *feed) List(o metav1.ListOptions) (runtime.Object, error) {
	return f.ListWithContext(context.Background(), o)
}

// Watch implements cache.ListerWatcher, whose callers prefer WatchWithContext.
func (f *feed) Watch(o metav1.ListOptions) (watch.Interface, error) {
	return f.WatchWithContext(context.Background(), o)
}

// ListWithContext reads one page. The reflector would take any state from the
// server's cache; asking for the newest one makes three lists after each other
// as consistent as those of [Client.Claims], and makes the server heed the
// page size.
func (f *feed) ListWithContext(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
	o.ResourceVersion, o.ResourceVersionMatch, o.Limit = "", "", pageSize
	o.LabelSelector = f.selector
	f.contact.ask()
	page, err := f.client.page(ctx, f.request("list"), o)
	if err != nil {
		return nil, f.contact.fail(err)
	}
	f.contact.hear()
	list := &metainternal.List{ListMeta: metav1.ListMeta{
		ResourceVersion: page.GetResourceVersion(), Continue: page.GetContinue(),
	}}
	for i := range page.Items {
		object, err := f.slim(&page.Items[i])
		if err != nil {
			return nil, f.contact.fail(f.client.damaged(f.request("list"), err))
		}
		page.Items[i].Object = nil
		list.Items = append(list.Items, object)
	}
	return list, nil
}

// WatchWithContext opens the stream of changes.
func (f *feed) WatchWithContext(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
	f.contact.ask()
	r := f.request("watch")
	o.LabelSelector = f.selector
	in, err := f.client.resource(r).Watch(ctx, o)
	if err != nil {
		return nil, f.contact.fail(f.client.fail(ctx, ctx, r, err))
	}
	f.contact.open()
	return newStream(in, f.event), nil
}

// event makes the typed object of a change. An object that cannot be read ends
// the watch; the list that follows has the error for the admin.
func (f *feed) event(e watch.Event) watch.Event {
	if e.Type == watch.Error {
		// An expired watch is renewed by a list, and is no failure.
		if err := apierrors.FromObject(e.Object); !apierrors.IsResourceExpired(err) && !apierrors.IsGone(err) {
			_ = f.contact.fail(f.client.damaged(f.request("watch"), err))
		}
		return e
	}
	f.contact.hear()
	err := fmt.Errorf("change of type %T", e.Object)
	if u, ok := e.Object.(*unstructured.Unstructured); ok {
		e.Object, err = f.slim(u)
	}
	if err != nil {
		status := apierrors.NewInternalError(f.contact.fail(f.client.damaged(f.request("watch"), err))).Status()
		return watch.Event{Type: watch.Error, Object: &status}
	}
	return e
}

// stream is a watch whose events pass through a function. Unlike watch.Filter
// it ends when it is stopped with an event on the way.
type stream struct {
	in   watch.Interface
	out  chan watch.Event
	done chan struct{}
	stop func()
}

func newStream(in watch.Interface, change func(watch.Event) watch.Event) *stream {
	s := &stream{in: in, out: make(chan watch.Event), done: make(chan struct{})}
	s.stop = sync.OnceFunc(func() {
		close(s.done)
		in.Stop()
	})
	go s.pass(change)
	return s
}

func (s *stream) pass(change func(watch.Event) watch.Event) {
	defer close(s.out)
	for e := range s.in.ResultChan() {
		select {
		case s.out <- change(e):
		case <-s.done:
			return
		}
	}
}

// Stop implements watch.Interface.
func (s *stream) Stop() { s.stop() }

// ResultChan implements watch.Interface.
func (s *stream) ResultChan() <-chan watch.Event { return s.out }

// contact remembers whether one watch is alive. The reflector's own error
// handler is not told of a refused connection, which it simply tries again.
type contact struct {
	client   *Client
	resource string
	opened   chan struct{} // Closed when the watch has been open once.
	failed   chan error    // The first failure.
	announce func()

	mu    sync.Mutex
	alive bool      // The watch is open.
	last  time.Time // The last answer.
	asked time.Time // The last question.
	err   error     // Of the last question, or of the open watch.
}

func newContact(c *Client, resource string) *contact {
	s := &contact{client: c, resource: resource, opened: make(chan struct{}), failed: make(chan error, 1)}
	s.announce = sync.OnceFunc(func() { close(s.opened) })
	return s
}

func (s *contact) ask() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.alive, s.asked = false, time.Now()
}

func (s *contact) hear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last = time.Now()
}

func (s *contact) open() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.alive, s.err, s.last = true, nil, time.Now()
	s.announce()
}

// fail takes down err and returns it.
func (s *contact) fail(err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.alive, s.err = false, err
	select {
	case s.failed <- err:
	default:
	}
	return err
}

// state returns when the server last answered, and why the watch is not open.
// The short gap in which it is renewed counts as open.
func (s *contact) state(timeout time.Duration) (last time.Time, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	err = s.err
	if err == nil && !s.alive && time.Since(s.asked) > timeout {
		err = s.client.late(request{op: "watch", resource: s.resource}, timeout)
	}
	return s.last, err
}

// late makes the error of what did not come within its time.
func (c *Client) late(r request, limit time.Duration) *Error {
	e := c.about(r, fmt.Errorf("no complete answer within %s", limit))
	c.unreachable(e)
	return e
}
