package kube

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/fake"
)

func namespaceObject(annotations map[string]string) *corev1.Namespace {
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop", Annotations: annotations}}
}

// inAPI is one resource of the in-memory API.
func inAPI(api *fake.FakeDynamicClient, resource, namespace string) dynamic.ResourceInterface {
	r := api.Resource(schema.GroupVersionResource{Version: "v1", Resource: resource})
	if namespace == "" {
		return r
	}
	return r.Namespace(namespace)
}

func untyped(t *testing.T, object runtime.Object, kind string) *unstructured.Unstructured {
	t.Helper()
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(object)
	if err != nil {
		t.Fatal(err)
	}
	content["apiVersion"], content["kind"] = "v1", kind
	return &unstructured.Unstructured{Object: content}
}

// watching is a Cache under test.
type watching struct {
	*Cache
	t   *testing.T
	api *fake.FakeDynamicClient
}

// startWatching starts a Cache in a synctest bubble; it ends with the test.
func startWatching(t *testing.T, objects ...runtime.Object) *watching {
	t.Helper()
	c, api := fakeClient(t, objects...)
	ctx, cancel := context.WithCancel(t.Context())
	w, err := c.Watch(ctx, WatchOptions{})
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		w.Wait()
	})
	return &watching{w, t, api}
}

// fired tells whether Changed has a value, when everything has come to rest.
func (w *watching) fired() bool {
	w.t.Helper()
	synctest.Wait()
	select {
	case <-w.Changed():
		return true
	default:
		return false
	}
}

// agrees compares the Cache with what the API says, and returns the claims.
func (w *watching) agrees() []Claim {
	w.t.Helper()
	want, err := w.client.Claims(w.t.Context(), "")
	if err != nil {
		w.t.Fatal(err)
	}
	got, err := w.Claims(w.t.Context(), "")
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		w.t.Errorf("%v (-served +cached):\n%s", err, diff)
	}
	return got
}

func (w *watching) update(resource, kind string, object metav1.Object) {
	w.t.Helper()
	typed, ok := object.(runtime.Object)
	if !ok {
		w.t.Fatalf("%T", object)
	}
	_, err := inAPI(w.api, resource, object.GetNamespace()).Update(w.t.Context(), untyped(w.t, typed, kind), metav1.UpdateOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *watching) create(resource, kind string, object metav1.Object) {
	w.t.Helper()
	typed, ok := object.(runtime.Object)
	if !ok {
		w.t.Fatalf("%T", object)
	}
	_, err := inAPI(w.api, resource, object.GetNamespace()).Create(w.t.Context(), untyped(w.t, typed, kind), metav1.CreateOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
}

func TestCacheFollows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pvc, pv, ns := boundClaim(), volume(nil, glusterfs("vol_"+id)), namespaceObject(nil)
		w := startWatching(t, pvc, pv, ns)
		if w.fired() {
			t.Error("the first state is no change")
		}
		if got := w.agrees(); len(got) != 1 || got[0].Kind != File {
			t.Fatalf("claims %+v", got)
		}
		steps := []struct {
			desc   string
			change func()
			fires  bool
		}{
			{"a condition of the claim", func() {
				pvc.Status.Conditions = []corev1.PersistentVolumeClaimCondition{{Type: "Resizing", Status: "True"}}
				pvc.Annotations = map[string]string{"other.example.com/a": "b"}
				w.update(claimResource, "PersistentVolumeClaim", pvc)
			}, false},
			{"a label of the volume", func() {
				pv.Labels = map[string]string{"a": "b"}
				w.update(volumeResource, "PersistentVolume", pv)
			}, false},
			{"another annotation of the namespace", func() {
				ns.Annotations = map[string]string{"other.example.com/a": "b"}
				w.update(namespaceResource, "Namespace", ns)
			}, false},
			{"an annotation of the claim", func() {
				pvc.Annotations = map[string]string{ScheduleAnnotation: "0 3 * * *"}
				w.update(claimResource, "PersistentVolumeClaim", pvc)
			}, true},
			{"an annotation of the namespace", func() {
				ns.Annotations = map[string]string{ExcludeAnnotation: "true"}
				w.update(namespaceResource, "Namespace", ns)
			}, true},
			{"the volume", func() {
				pv.Spec.PersistentVolumeSource = iscsi(iqnPrefix + gbid)
				w.update(volumeResource, "PersistentVolume", pv)
			}, true},
			{"the claim is gone", func() {
				if err := inAPI(w.api, claimResource, "shop").Delete(t.Context(), "db", metav1.DeleteOptions{}); err != nil {
					t.Error(err)
				}
			}, true},
			{"its volume is gone", func() {
				if err := inAPI(w.api, volumeResource, "").Delete(t.Context(), "pv-1", metav1.DeleteOptions{}); err != nil {
					t.Error(err)
				}
			}, false},
		}
		for _, s := range steps {
			s.change()
			if got := w.fired(); got != s.fires {
				t.Errorf("%s: changed %t, want %t", s.desc, got, s.fires)
			}
			w.agrees()
		}
	})
}

// Many changes that nobody reads are one.
func TestCacheCoalesces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pvc := boundClaim()
		w := startWatching(t, pvc, volume(nil, glusterfs("vol_"+id)), namespaceObject(nil))
		for _, value := range []string{"a", "b", "c"} {
			pvc.Annotations = map[string]string{ScheduleAnnotation: value}
			w.update(claimResource, "PersistentVolumeClaim", pvc)
		}
		if !w.fired() || w.fired() {
			t.Error("want one value for three changes")
		}
	})
}

// The binder makes volume and claim agree in two steps, and each is watched by
// itself: a claim must not seem lost in between.
func TestCacheWaitsForVolume(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pvc := boundClaim()
		pvc.Spec.VolumeName, pvc.Status.Phase = "", corev1.ClaimPending
		w := startWatching(t, pvc, namespaceObject(nil))
		pvc = boundClaim()
		w.update(claimResource, "PersistentVolumeClaim", pvc)
		if w.fired() {
			t.Error("changed before the volume came")
		}
		if got, err := w.Claims(t.Context(), "shop"); err != nil || len(got) != 1 || got[0].Kind != Pending {
			t.Errorf("before the volume came: %+v, %v; want it as it was", got, err)
		}
		time.Sleep(settleTime / 2)
		w.create(volumeResource, "PersistentVolume", volume(nil, glusterfs("vol_"+id)))
		if !w.fired() || w.agrees()[0].Kind != File {
			t.Error("not changed when the volume came")
		}
		time.Sleep(2 * settleTime)
		if w.fired() {
			t.Error("changed once more")
		}
		// One that does not come is missing.
		if err := inAPI(w.api, volumeResource, "").Delete(t.Context(), "pv-1", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(settleTime - time.Nanosecond)
		if w.fired() {
			t.Error("changed too early")
		}
		time.Sleep(time.Nanosecond)
		if !w.fired() || w.agrees()[0].Kind != Lost {
			t.Error("not changed when the volume is gone")
		}
	})
}

// A claim of a namespace that is not known yet could lack its exclusion.
func TestCacheWaitsForNamespace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := startWatching(t, volume(nil, glusterfs("vol_"+id)))
		w.create(claimResource, "PersistentVolumeClaim", boundClaim())
		if got, err := w.Claims(t.Context(), ""); w.fired() || err != nil || len(got) != 0 {
			t.Errorf("claims %+v, %v; want none before their namespace", got, err)
		}
		w.create(namespaceResource, "Namespace", namespaceObject(map[string]string{ExcludeAnnotation: "true"}))
		if !w.fired() || w.agrees()[0].NamespaceAnnotations[ExcludeAnnotation] != "true" {
			t.Error("not changed when the namespace came")
		}
	})
}

func TestCacheEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // Which fails when a goroutine is left.
		c, _ := fakeClient(t, boundClaim())
		ctx, cancel := context.WithCancelCause(t.Context())
		w, err := c.Watch(ctx, WatchOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if last, err := w.Contact(); err != nil || !last.Equal(time.Now()) {
			t.Errorf("contact %s, %v", last, err)
		}
		cancel(errors.New("shutdown"))
		w.Wait()
		if _, err := w.Contact(); err == nil || !errors.Is(err, context.Cause(ctx)) {
			t.Errorf("contact after the end: %v", err)
		}
		if _, err := w.Claims(ctx, ""); !errors.Is(err, context.Cause(ctx)) {
			t.Errorf("claims under a context that ended: %v", err)
		}
		if _, err := w.Claims(t.Context(), "../x"); !errors.Is(err, ErrName) {
			t.Errorf("malformed namespace: %v, want ErrName", err)
		}
		if _, err := c.Watch(ctx, WatchOptions{}); !errors.Is(err, context.Cause(ctx)) {
			t.Errorf("watch under a context that ended: %v", err)
		}
	})
}

// What is kept must be all that classify reads.
func TestSlimLosesNothing(t *testing.T) {
	claims, volumes := boundClaim(), []*corev1.PersistentVolume{
		nil,
		volume(map[string]string{fileIDAnnotation: id, createdByAnnotation: "x"}, glusterfs("vol_"+id)),
		volume(map[string]string{oldFileIDAnnotation: id, provisionedAnnotation: "x"}, glusterfs("v")),
		volume(map[string]string{blockIDAnnotation: id, blockNameAnnotation: "blockvol_" + id}, iscsi(iqnPrefix+gbid)),
		volume(nil, corev1.PersistentVolumeSource{CSI: &corev1.CSIPersistentVolumeSource{Driver: "d", VolumeHandle: "h"}}),
		volume(nil, corev1.PersistentVolumeSource{FlexVolume: &corev1.FlexPersistentVolumeSource{Driver: "d"}}),
		volume(nil, corev1.PersistentVolumeSource{NFS: &corev1.NFSVolumeSource{Server: "s"}}),
	}
	claims.Labels = map[string]string{"app": "db"}
	claims.CreationTimestamp = metav1.NewTime(time.Unix(1700000000, 0))
	now := metav1.NewTime(time.Unix(1700000001, 0))
	claims.DeletionTimestamp = &now
	claims.Spec.StorageClassName = nil
	claims.Annotations = map[string]string{betaClassAnnotation: "old", RetentionAnnotation: "r", "other": "o"}
	slim := func(kind string, object runtime.Object, convert func(*unstructured.Unstructured) (runtime.Object, error)) runtime.Object {
		slim, err := convert(untyped(t, object, kind))
		if err != nil {
			t.Fatal(err)
		}
		return slim
	}
	pvc, _ := slim("PersistentVolumeClaim", claims, slimClaim).(*corev1.PersistentVolumeClaim)
	if pvc.Annotations["other"] != "" {
		t.Error("another's annotation is kept")
	}
	for _, full := range volumes {
		var pv *corev1.PersistentVolume
		if full != nil {
			pv, _ = slim("PersistentVolume", full, slimVolume).(*corev1.PersistentVolume)
		}
		if diff := cmp.Diff(classify(claims, full), classify(pvc, pv)); diff != "" {
			t.Errorf("claim (-full +slim):\n%s", diff)
		}
	}
}
