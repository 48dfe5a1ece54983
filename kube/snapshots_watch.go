package kube

import (
	"context"
	"errors"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
)

const (
	// byObject indexes contents by the VolumeSnapshot that they are for.
	byObject = "object"
	// watchPause is how often it is looked whether the API is still there.
	watchPause = 5 * time.Second
)

// snapshotFeeds keep our contents, and all VolumeSnapshots, in memory. What
// they hand out is shared and must not be changed.
type snapshotFeeds struct {
	form                snapshotForm
	contents, snapshots *feed
}

// Watch keeps our contents and all VolumeSnapshots of the API in use in memory
// and follows their changes, until ctx ends; it returns when none of its
// goroutines is left. Where there is no API, or it goes away, it waits for one.
// A server that is away is tried again every minute or sooner, and meanwhile
// List and the others ask it themselves. Only one Watch may run at a time.
func (s *Snapshots) Watch(ctx context.Context) {
	for ctx.Err() == nil {
		form, err := s.form(ctx)
		if err == nil && form != nil {
			err = s.follow(ctx, form)
		}
		if err != nil {
			s.o.Logger.Debug("VolumeSnapshots are not watched", "error", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(apiPause):
		}
	}
}

// follow watches one API until ctx ends or the API is gone.
func (s *Snapshots) follow(ctx context.Context, form snapshotForm) error {
	ctx, cancel := context.WithCancel(ctx)
	live := &snapshotFeeds{
		form: form,
		contents: newFeed(s.client, form.contents(), slimSnapshot, &unstructured.Unstructured{}, cache.Indexers{
			byObject: func(object any) ([]string, error) {
				u, _ := object.(*unstructured.Unstructured)
				return []string{u.GetAnnotations()[objectLabel]}, nil
			},
		}),
		snapshots: newFeed(s.client, snapshotResource, slimSnapshot, &unstructured.Unstructured{}, nil),
	}
	live.contents.selector = s.selector("")
	done := make(chan struct{}, 2)
	running := 0
	defer func() {
		s.setLive(nil)
		cancel()
		for range running {
			<-done
		}
		s.notify()
	}()
	for _, f := range []*feed{live.contents, live.snapshots} {
		f.group = form.group()
		registration, err := f.informer.AddEventHandlerWithOptions(s.handler(form), cache.HandlerOptions{Logger: &s.client.log})
		if err != nil {
			return s.client.about(f.request("watch"), err)
		}
		f.handled = registration.HasSyncedChecker().Done()
		running++
		go func() {
			defer func() { done <- struct{}{} }()
			f.informer.RunWithContext(klog.NewContext(ctx, s.client.log))
		}()
	}
	return s.attend(ctx, live)
}

// attend lets the others read from memory once all is there, and returns when
// the API is gone or ctx ends.
func (s *Snapshots) attend(ctx context.Context, live *snapshotFeeds) error {
	ticker := time.NewTicker(watchPause)
	defer ticker.Stop()
	handled := []<-chan struct{}{live.contents.handled, live.snapshots.handled}
	for {
		var first <-chan struct{} // Nil, and never ready, when all has been handled.
		if len(handled) > 0 {
			first = handled[0]
		}
		select {
		case <-ctx.Done():
			return nil
		case <-first:
			if handled = handled[1:]; len(handled) == 0 {
				s.setLive(live)
				s.notify()
			}
		case <-ticker.C:
			if err := live.err(s.client.timeout); errors.Is(err, ErrNoSnapshotAPI) {
				return s.learn(err)
			}
		}
	}
}

func (s *Snapshots) setLive(live *snapshotFeeds) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.live = live
}

// complete returns what is in memory, if that is all of this API and current.
func (s *Snapshots) complete(form snapshotForm) *snapshotFeeds {
	s.mu.Lock()
	live := s.live
	s.mu.Unlock()
	if live == nil || live.form.group() != form.group() || live.err(s.client.timeout) != nil {
		return nil
	}
	return live
}

// handler tells Changed what happens.
func (s *Snapshots) handler(form snapshotForm) cache.ResourceEventHandler {
	return cache.ResourceEventHandlerDetailedFuncs{
		AddFunc: func(_ any, initial bool) {
			if !initial {
				s.notify()
			}
		},
		UpdateFunc: func(before, after any) {
			a, _ := before.(*unstructured.Unstructured) // They are what slimSnapshot returned.
			b, _ := after.(*unstructured.Unstructured)
			_, asked := form.asks(a)
			_, asks := form.asks(b)
			if deleting(a) != deleting(b) || a.GetUID() != b.GetUID() || asked != asks {
				s.notify()
			}
		},
		DeleteFunc: func(any) { s.notify() },
	}
}

// slimSnapshot keeps all but the largest part that nobody reads.
func slimSnapshot(u *unstructured.Unstructured) (runtime.Object, error) {
	kept := &unstructured.Unstructured{Object: u.Object} // The caller empties its own.
	kept.SetManagedFields(nil)
	return kept, nil
}

// err tells why memory may be behind.
func (l *snapshotFeeds) err(timeout time.Duration) error {
	for _, f := range []*feed{l.contents, l.snapshots} {
		if _, err := f.contact.state(timeout); err != nil {
			return err
		}
	}
	return nil
}

func (l *snapshotFeeds) state() snapshotState {
	state := snapshotState{form: l.form, snapshots: make(map[string]*unstructured.Unstructured)}
	for _, item := range l.contents.informer.GetStore().List() {
		if u, ok := item.(*unstructured.Unstructured); ok && l.form.ours(u) {
			state.contents = append(state.contents, u)
		}
	}
	for _, item := range l.snapshots.informer.GetStore().List() {
		if u, ok := item.(*unstructured.Unstructured); ok {
			state.snapshots[u.GetNamespace()+"/"+u.GetName()] = u
		}
	}
	return state
}

// contentsOf returns our contents for a VolumeSnapshot of that name.
func (l *snapshotFeeds) contentsOf(v VolumeSnapshot) []*unstructured.Unstructured {
	items, _ := l.contents.informer.GetIndexer().ByIndex(byObject, v.Namespace+"/"+v.Name) // The index exists.
	var list []*unstructured.Unstructured
	for _, item := range items {
		if u, ok := item.(*unstructured.Unstructured); ok && l.form.ours(u) {
			list = append(list, u)
		}
	}
	return list
}

func (l *snapshotFeeds) object(v VolumeSnapshot) *unstructured.Unstructured {
	return stored[unstructured.Unstructured](l.snapshots, v.Namespace+"/"+v.Name)
}
