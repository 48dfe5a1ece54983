package kube

import (
	"context"
	"fmt"
	"reflect"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
)

const (
	defaultSyncTimeout = 2 * time.Minute
	// settleTime is how long a claim may be ahead of its volume or namespace,
	// which come over connections of their own.
	settleTime = 5 * time.Second
	// byVolume indexes claims by the volume that they name.
	byVolume = "volume"
)

// WatchOptions configure [Client.Watch].
type WatchOptions struct {
	// Timeout bounds the wait for the first complete state; 0 means 2 minutes.
	Timeout time.Duration
}

// Cache holds all claims of the cluster in memory and follows their changes. It
// is safe for concurrent use.
//
// When the API server is away the Cache keeps what it knew last, tries again
// every minute or sooner, and catches up. [Cache.Contact] tells that.
type Cache struct {
	client *Client
	ctx    context.Context // The life of the watches; its end is told by Contact.
	feeds  struct{ claims, volumes, namespaces *feed }

	running sync.WaitGroup
	changed chan struct{}

	mu      sync.Mutex
	started bool                 // The first state is complete.
	known   map[string]Claim     // By namespace/name: what Claims returns.
	ahead   map[string]time.Time // Claims that wait for their volume or namespace, until then.
}

// Watch begins to follow claims, PersistentVolumes and Namespaces, and returns
// when their first state is complete and changes are reported. It goes on until
// ctx ends; [Cache.Wait] then waits for the end of its goroutines.
//
// The error is an [*Error] as of other requests, of the first request that
// fails; matching ErrUnreachable when the time-out is over. Nothing is left
// running then.
func (c *Client) Watch(ctx context.Context, o WatchOptions) (*Cache, error) {
	if o.Timeout <= 0 {
		o.Timeout = defaultSyncTimeout
	}
	ctx, cancel := context.WithCancel(ctx)
	w := &Cache{
		client: c, ctx: ctx, changed: make(chan struct{}, 1),
		known: make(map[string]Claim), ahead: make(map[string]time.Time),
	}
	if err := w.start(o); err != nil {
		cancel()
		w.Wait()
		return nil, err
	}
	context.AfterFunc(ctx, cancel) // The watches live until the caller's context ends.
	return w, nil
}

// start starts the watches and waits for them. Claims come first, so that
// what they name exists when the others are listed.
func (w *Cache) start(o WatchOptions) error {
	limited, cancel := context.WithTimeout(w.ctx, o.Timeout)
	defer cancel()
	w.feeds.claims = newFeed(w.client, claimResource, slimClaim, &corev1.PersistentVolumeClaim{}, cache.Indexers{
		byVolume: volumeOf, cache.NamespaceIndex: cache.MetaNamespaceIndexFunc,
	})
	w.feeds.volumes = newFeed(w.client, volumeResource, slimVolume, &corev1.PersistentVolume{}, nil)
	w.feeds.namespaces = newFeed(w.client, namespaceResource, slimNamespace, &corev1.Namespace{}, nil)
	steps := [][]watched{
		{{w.feeds.claims, w.refresh}},
		{{w.feeds.volumes, w.refreshAll(byVolume)}, {w.feeds.namespaces, w.refreshAll(cache.NamespaceIndex)}},
	}
	for _, step := range steps {
		for _, s := range step {
			if err := w.run(s); err != nil {
				return err
			}
		}
		for _, s := range step {
			if err := s.feed.wait(w.ctx, limited, o.Timeout); err != nil {
				return err
			}
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.started = true
	return nil
}

// volumeOf indexes a claim by the volume that it names.
func volumeOf(object any) ([]string, error) {
	if pvc, ok := object.(*corev1.PersistentVolumeClaim); ok && pvc.Spec.VolumeName != "" {
		return []string{pvc.Spec.VolumeName}, nil
	}
	return nil, nil
}

// watched is a feed with what to do about each key that changed.
type watched struct {
	feed    *feed
	refresh func(key string)
}

// run starts one feed.
func (w *Cache) run(s watched) error {
	changed := func(object any) {
		// It knows the marker of an object whose deletion was missed, too; it
		// fails on objects without metadata only, and ours are typed.
		if key, err := cache.DeletionHandlingMetaNamespaceKeyFunc(object); err == nil {
			s.refresh(key)
		}
	}
	registration, err := s.feed.informer.AddEventHandlerWithOptions(cache.ResourceEventHandlerFuncs{
		AddFunc:    changed,
		UpdateFunc: func(_, object any) { changed(object) },
		DeleteFunc: changed,
	}, cache.HandlerOptions{Logger: &w.client.log})
	if err != nil {
		return w.client.about(s.feed.request("watch"), err)
	}
	s.feed.handled = registration.HasSyncedChecker().Done()
	w.running.Go(func() { s.feed.informer.RunWithContext(klog.NewContext(w.ctx, w.client.log)) })
	return nil
}

// Wait returns when the context of [Client.Watch] has ended and no goroutine of
// the Cache is left.
func (w *Cache) Wait() { w.running.Wait() }

// Claims returns what [Client.Claims] would, as far as the API server has told
// it, without asking; the errors are ErrName and the end of ctx. Whether what
// it returns is current is known by [Cache.Contact].
//
// A claim that is ahead of its volume or namespace, which are told apart from
// it, appears up to five seconds late, and until then as it was before.
func (w *Cache) Claims(ctx context.Context, namespace string) ([]Claim, error) {
	r := request{op: "list", resource: claimResource, namespace: namespace}
	if ctx.Err() != nil {
		return nil, w.client.about(r, context.Cause(ctx))
	}
	if namespace != "" {
		if err := w.client.checkNames(r); err != nil {
			return nil, err
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	claims := make([]Claim, 0, len(w.known))
	for _, claim := range w.known {
		if namespace == "" || namespace == claim.Namespace {
			claims = append(claims, claim)
		}
	}
	order(claims)
	return claims, nil
}

// Changed returns the channel that gets a value after [Cache.Claims] has begun
// to return something else: one value for all changes since the last one was
// received. It is for one reader, and is never closed.
func (w *Cache) Changed() <-chan struct{} { return w.changed }

// Contact tells whether the watches are alive: err is nil while all are, and
// else an [*Error] that says which is not, and why. last is when the API server
// last told anything, for the watch that has waited longest; on a quiet
// cluster that is minutes ago without anything being wrong, at most ten.
func (w *Cache) Contact() (last time.Time, err error) {
	for _, f := range []*feed{w.feeds.claims, w.feeds.volumes, w.feeds.namespaces} {
		heard, e := f.contact.state(w.client.timeout)
		if last.IsZero() || heard.Before(last) {
			last = heard
		}
		if e != nil && err == nil {
			err = e
		}
	}
	if w.ctx.Err() != nil {
		err = w.client.about(request{op: "watch"}, context.Cause(w.ctx))
	}
	return last, err
}

// refreshAll returns what refreshes all claims that an index finds for a
// volume or namespace.
func (w *Cache) refreshAll(index string) func(string) {
	return func(name string) {
		keys, err := w.feeds.claims.informer.GetIndexer().IndexKeys(index, name)
		if err != nil {
			panic(fmt.Sprintf("index %s: %v", index, err)) // It is added in start.
		}
		for _, key := range keys {
			w.refresh(key)
		}
	}
}

// refresh brings one claim up to date from the objects at hand. What is
// compared is what Claims returned before, not the object that changed: of two
// objects that change together, neither may matter alone.
func (w *Cache) refresh(key string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	old, listed := w.known[key]
	pvc := stored[corev1.PersistentVolumeClaim](w.feeds.claims, key)
	if pvc == nil {
		delete(w.ahead, key)
		delete(w.known, key)
		w.notify(listed)
		return
	}
	pv := stored[corev1.PersistentVolume](w.feeds.volumes, pvc.Spec.VolumeName)
	namespace := stored[corev1.Namespace](w.feeds.namespaces, pvc.Namespace)
	if w.wait(key, namespace == nil || pv == nil && pvc.Spec.VolumeName != "" && pvc.Status.Phase != corev1.ClaimLost) {
		return
	}
	claim := classify(pvc, pv)
	if namespace != nil {
		factsOf(namespace).describe(&claim)
	}
	w.known[key] = claim
	w.notify(!listed || !reflect.DeepEqual(old, claim))
}

// wait tells whether to leave a claim as it is for the time being, because
// something it refers to is not here yet. If that stays so, it is the truth.
func (w *Cache) wait(key string, incomplete bool) bool {
	if !incomplete {
		delete(w.ahead, key)
		return false
	}
	if !w.started {
		return false // The others come next, and nobody reads before.
	}
	until, waits := w.ahead[key]
	if !waits {
		until = time.Now().Add(settleTime)
		w.ahead[key] = until
		time.AfterFunc(settleTime, func() { w.refresh(key) })
	}
	return time.Now().Before(until)
}

// notify tells the reader of Changed, unless it has not even read the last.
func (w *Cache) notify(changed bool) {
	if !changed || !w.started {
		return
	}
	select {
	case w.changed <- struct{}{}:
	default:
	}
}
