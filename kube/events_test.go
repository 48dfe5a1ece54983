package kube

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic/fake"
	clienttesting "k8s.io/client-go/testing"
)

// fakeClient returns a client of client-go's in-memory API.
func fakeClient(t *testing.T, objects ...runtime.Object) (*Client, *fake.FakeDynamicClient) {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := corev1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	api := fake.NewSimpleDynamicClient(scheme, objects...)
	return &Client{server: "https://api", timeout: 30 * time.Second, core: api, log: quiet(slog.New(slog.DiscardHandler))}, api
}

func events(t *testing.T, c *Client) []corev1.Event {
	t.Helper()
	list, err := c.core.Resource(schema.GroupVersionResource{Version: "v1", Resource: "events"}).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	all := make([]corev1.Event, len(list.Items))
	for i := range list.Items {
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(list.Items[i].Object, &all[i]); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

var shopDB = Claim{Namespace: "shop", Name: "db", UID: "u-1"}

func TestEventRepeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, api := fakeClient(t)
		e := c.Events(EventOptions{Host: "master-1"})
		first := time.Now()
		for range 120 { // Every half minute for an hour.
			if err := e.Record(t.Context(), shopDB, Warning, "BackupFailed", "brick down"); err != nil {
				t.Fatal(err)
			}
			time.Sleep(30 * time.Second)
		}
		all := events(t, c)
		if len(all) != 1 {
			t.Fatalf("%d events, want 1", len(all))
		}
		got := all[0]
		if got.Count != 119 || !got.FirstTimestamp.Time.Equal(first) || !got.LastTimestamp.Time.Equal(first.Add(118*30*time.Second)) {
			t.Errorf("count %d from %s to %s", got.Count, got.FirstTimestamp, got.LastTimestamp)
		}
		if got.Namespace != "shop" || got.Type != "Warning" || got.Reason != "BackupFailed" || got.Message != "brick down" ||
			got.Source.Component != "glusterbackupd" || got.Source.Host != "master-1" {
			t.Errorf("event %+v", got)
		}
		want := corev1.ObjectReference{APIVersion: "v1", Kind: "PersistentVolumeClaim", Namespace: "shop", Name: "db", UID: "u-1"}
		if got.InvolvedObject != want {
			t.Errorf("about %+v, want %+v", got.InvolvedObject, want)
		}
		if n := len(api.Actions()); n != 1+59+1 { // Created, then once a minute, then the list above.
			t.Errorf("%d requests", n)
		}
		time.Sleep(time.Hour)
		if err := e.Record(t.Context(), shopDB, Warning, "BackupFailed", "brick down"); err != nil || len(events(t, c)) != 2 {
			t.Errorf("after an hour: %v, %d events, want a second one", err, len(events(t, c)))
		}
	})
}

func TestEventsDiffer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := fakeClient(t)
		e := c.Events(EventOptions{})
		again := shopDB
		again.UID = "u-2" // A new claim of the same name.
		for _, err := range []error{
			e.Record(t.Context(), shopDB, Warning, "BackupFailed", "a"),
			e.Record(t.Context(), shopDB, Warning, "BackupFailed", "b"),
			e.Record(t.Context(), shopDB, Warning, "RestoreFailed", "a"),
			e.Record(t.Context(), shopDB, Normal, "BackupFailed", "a"),
			e.Record(t.Context(), again, Warning, "BackupFailed", "a"),
		} {
			if err != nil {
				t.Error(err)
			}
		}
		if n := len(events(t, c)); n != 5 {
			t.Errorf("%d events, want 5", n)
		}
	})
}

// A message that is never the same must not flood, and must not keep another
// claim's from being told.
func TestEventRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := fakeClient(t)
		e := c.Events(EventOptions{})
		refused := 0
		for i := range 60 { // Every minute for an hour.
			err := e.Record(t.Context(), shopDB, Warning, "BackupFailed", fmt.Sprint("attempt ", i))
			if err != nil && !errors.Is(err, ErrEventRate) {
				t.Fatal(err)
			}
			if err != nil {
				refused++
			}
			time.Sleep(time.Minute)
		}
		if n := len(events(t, c)); n != 60-refused || n < 19 || n > 20 {
			t.Errorf("%d events, %d refused; want ten and then one in six minutes", n, refused)
		}
		other := Claim{Namespace: "shop", Name: "web", UID: "u-9"}
		if err := e.Record(t.Context(), other, Normal, "BackedUp", "done"); err != nil {
			t.Errorf("another claim: %v", err)
		}
		time.Sleep(2 * time.Hour)
		if err := e.Record(t.Context(), other, Normal, "BackedUp", "done again"); err != nil || len(e.recent) != 1 || len(e.rates) != 1 {
			t.Errorf("%v, %d events and %d rates are remembered, want one each", err, len(e.recent), len(e.rates))
		}
	})
}

func TestEventDeletedMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, api := fakeClient(t)
		e := c.Events(EventOptions{})
		for round := range 2 {
			if err := e.Record(t.Context(), shopDB, Normal, "BackedUp", "done"); err != nil {
				t.Fatal(err)
			}
			all := events(t, c)
			if len(all) != 1 {
				t.Fatalf("round %d: %d events, want 1", round, len(all))
			}
			err := api.Resource(schema.GroupVersionResource{Version: "v1", Resource: "events"}).Namespace("shop").Delete(t.Context(), all[0].Name, metav1.DeleteOptions{})
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(2 * time.Minute)
		}
	})
}

func TestEventErrors(t *testing.T) {
	c, api := fakeClient(t)
	e := c.Events(EventOptions{})
	api.PrependReactor("create", "events", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, apierrors.NewForbidden(schema.GroupResource{Resource: "events"}, "x", errors.New("no"))
	})
	err := e.Record(t.Context(), shopDB, Normal, "BackedUp", "done")
	if k, ok := errors.AsType[*Error](err); !errors.Is(err, ErrForbidden) || !ok || !strings.Contains(k.Remedy(), "create and patch for events") {
		t.Errorf("%v, want ErrForbidden", err)
	}
	if err := e.Record(t.Context(), Claim{Namespace: "..", Name: "x"}, Normal, "BackedUp", "done"); !errors.Is(err, ErrName) {
		t.Errorf("malformed claim: %v, want ErrName", err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("shutdown"))
	if err := e.Record(ctx, shopDB, Normal, "BackedUp", "again"); err == nil || !strings.Contains(err.Error(), "shutdown") {
		t.Errorf("cancelled: %v, want the context's cause", err)
	}
}

func TestEventBounds(t *testing.T) {
	c, _ := fakeClient(t)
	e := c.Events(EventOptions{})
	long := shopDB
	long.Name = strings.Repeat("a", 219) + ".b" + strings.Repeat("c", 30)
	if err := e.Record(t.Context(), long, Normal, "BackedUp", strings.Repeat("ü", 2000)); err != nil {
		t.Fatal(err)
	}
	got := events(t, c)[0]
	if len(got.Message) > 1024 || len(got.Message) < 1020 || !utf8.ValidString(got.Message) || !strings.HasSuffix(got.Message, "ü…") {
		t.Errorf("message of %d bytes ends in %q", len(got.Message), got.Message[len(got.Message)-9:])
	}
	if len(got.Name) > 253 || strings.Contains(got.Name, "..") {
		t.Errorf("name %q", got.Name)
	}
}
