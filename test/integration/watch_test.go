//go:build integration

package integration_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"

	"github.com/glusterbackupd/glusterbackupd/kube"
)

// TestKubeDaemon is about what the daemon needs of Kubernetes for days: changes,
// leases and events, also over a restart of the API server.
func TestKubeDaemon(t *testing.T) {
	k := startKube(t)
	k.namespaces("shop", "office", "leases")
	k.makeClaims()
	c := kubeClient(t, k.api.Kubeconfig)
	t.Run("annotations", func(t *testing.T) { testAnnotations(t, c, k) })
	t.Run("events", func(t *testing.T) { testEvents(t, c, k) })
	t.Run("watch", func(t *testing.T) { testWatch(t, c, k) })
	t.Run("watch refused", func(t *testing.T) { testWatchRefused(t, k) })
	t.Run("lease race", func(t *testing.T) { testLeaseRace(t, c) })
	t.Run("lease of a host cut off", func(t *testing.T) { testLeaseCutOff(t, c, k) })
	t.Run("no leases", func(t *testing.T) { testNoLeases(t, c, k) })
	t.Run("restart", func(t *testing.T) { testRestart(t, c, k) })
}

func testAnnotations(t *testing.T, c *kube.Client, k *cluster) {
	k.annotate("shop", "", map[string]string{kube.RetentionAnnotation: "daily=7", "other.example.com/a": "b"})
	k.annotate("shop", "files", map[string]string{kube.ScheduleAnnotation: "0 3 * * *", "other.example.com/a": "b"})
	problem, removed := "no such schedule", "x"
	set := map[string]*string{"backup.gluster.org/problem": &problem, "backup.gluster.org/removed": &removed}
	for _, values := range []map[string]*string{set, {"backup.gluster.org/removed": nil, "backup.gluster.org/never": nil}} {
		if err := c.PatchClaimAnnotations(t.Context(), "shop", "files", values); err != nil {
			t.Fatal(err)
		}
	}
	listed := must[[]kube.Claim](t)(c.Claims(t.Context(), "shop"))
	got := must[kube.Claim](t)(c.Claim(t.Context(), "shop", "files"))
	want := map[string]string{kube.ScheduleAnnotation: "0 3 * * *", "backup.gluster.org/problem": problem}
	if diff := cmp.Diff(want, got.Annotations); diff != "" {
		t.Errorf("annotations (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]string{kube.RetentionAnnotation: "daily=7"}, got.NamespaceAnnotations); diff != "" {
		t.Errorf("annotations of the namespace (-want +got):\n%s", diff)
	}
	uid, annotations, err := c.Namespace(t.Context(), "shop")
	if err != nil || uid != got.NamespaceUID || uid == "" || annotations[kube.RetentionAnnotation] != "daily=7" {
		t.Errorf("namespace: uid %q, annotations %v, %v", uid, annotations, err)
	}
	if uid, annotations, err := c.Namespace(t.Context(), "nowhere"); uid != "" || annotations != nil || err != nil {
		t.Errorf("no such namespace: uid %q, annotations %v, %v", uid, annotations, err)
	}
	for _, claim := range listed {
		if claim.Name == "files" && !cmp.Equal(claim, got) {
			t.Errorf("claim (-listed +read):\n%s", cmp.Diff(claim, got))
		}
	}
	served, err := k.admin.CoreV1().PersistentVolumeClaims("shop").Get(t.Context(), "files", metav1.GetOptions{})
	if err != nil || served.Annotations["other.example.com/a"] != "b" {
		t.Errorf("another's annotation: %v, %v", served.Annotations, err)
	}
	if err := c.PatchClaimAnnotations(t.Context(), "shop", "nobody", set); !errors.Is(err, kube.ErrNoClaim) {
		t.Errorf("no such claim: %v, want ErrNoClaim", err)
	}
}

func testEvents(t *testing.T, c *kube.Client, k *cluster) {
	claim := must[kube.Claim](t)(c.Claim(t.Context(), "shop", "files"))
	e := c.Events(kube.EventOptions{Host: "master-1"})
	for range 3 {
		if err := e.Record(t.Context(), claim, kube.Warning, "BackupFailed", strings.Repeat("brick down ", 200)); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.Record(t.Context(), claim, kube.Normal, "BackedUp", "12 files"); err != nil {
		t.Fatal(err)
	}
	selector := "involvedObject.kind=PersistentVolumeClaim,involvedObject.name=files,involvedObject.uid=" + claim.UID
	list, err := k.admin.CoreV1().Events("shop").List(t.Context(), metav1.ListOptions{FieldSelector: selector})
	if err != nil || len(list.Items) != 2 {
		t.Fatalf("%d events, %v; want 2", len(list.Items), err)
	}
	for _, event := range list.Items {
		if event.Source.Component != "glusterbackupd" || event.Source.Host != "master-1" || event.Count != 1 || len(event.Message) > 1024 {
			t.Errorf("event %+v", event)
		}
	}
	path := k.serviceAccount("shop", "silent")
	err = kubeClient(t, path).Events(kube.EventOptions{}).Record(t.Context(), claim, kube.Normal, "BackedUp", "x")
	if !errors.Is(err, kube.ErrForbidden) || !strings.Contains(remedy(err), "events") {
		t.Errorf("without the right: %v, remedy %q; want ErrForbidden", err, remedy(err))
	}
	claim.Namespace = "no-such-namespace"
	if err := e.Record(t.Context(), claim, kube.Normal, "BackedUp", "x"); err == nil {
		t.Error("an event in no namespace was written")
	}
}

// watchKube returns a Cache that ends with the test.
func watchKube(t *testing.T, c *kube.Client) *kube.Cache {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	w := must[*kube.Cache](t)(c.Watch(ctx, kube.WatchOptions{}))
	t.Cleanup(func() { cancel(); w.Wait() })
	return w
}

// agree waits until the Cache has what the API server has.
func agree(t *testing.T, c *kube.Client, w *kube.Cache) {
	t.Helper()
	eventually(t, "the cache", func(ctx context.Context) error {
		want, err := c.Claims(ctx, "")
		if err != nil {
			return err
		}
		got, err := w.Claims(ctx, "")
		if diff := cmp.Diff(want, got); diff != "" {
			return fmt.Errorf("differs (-served +cached):\n%s", diff)
		}
		return err
	})
}

func changed(t *testing.T, w *kube.Cache, why string) {
	t.Helper()
	select {
	case <-w.Changed():
	case <-time.After(30 * time.Second):
		t.Errorf("%s was not told", why)
	}
}

func testWatch(t *testing.T, c *kube.Client, k *cluster) {
	w := watchKube(t, c)
	served := must[[]kube.Claim](t)(c.Claims(t.Context(), ""))
	cached := must[[]kube.Claim](t)(w.Claims(t.Context(), ""))
	if diff := cmp.Diff(served, cached); diff != "" || len(cached) != 6 {
		t.Errorf("at once (-served +cached):\n%s", diff)
	}
	if last, err := w.Contact(); err != nil || time.Since(last) > time.Minute {
		t.Errorf("contact %s, %v", last, err)
	}
	// Noise first: what comes after it shows that it has been handled.
	k.annotate("shop", "old", map[string]string{"other.example.com/a": "c"})
	time.Sleep(time.Second)
	select {
	case <-w.Changed():
		t.Error("another's annotation is a change")
	default:
	}
	k.annotate("shop", "old", map[string]string{kube.ExcludeAnnotation: "true"})
	changed(t, w, "an annotation of a claim")
	agree(t, c, w)
	k.annotate("office", "", map[string]string{kube.ScheduleAnnotation: "@daily"})
	changed(t, w, "an annotation of a namespace")
	agree(t, c, w)
	k.namespaces("fresh")
	k.bound("fresh", "files", nil, glusterfsSource("e", "vol_"+oldID))
	changed(t, w, "a new claim")
	agree(t, c, w)
	k.bound("fresh", "going", nil, glusterfsSource("e", "vol_"+volumeID))
	agree(t, c, w)
	k.removeVolume("pv-fresh-going")
	agree(t, c, w)
	got := must[[]kube.Claim](t)(w.Claims(t.Context(), "fresh"))
	if len(got) != 2 || got[0].Kind != kube.File || got[1].Kind != kube.Lost {
		t.Errorf("claims %+v", got)
	}
}

func testWatchRefused(t *testing.T, k *cluster) {
	path := k.serviceAccount("shop", "reader")
	c := kubeClient(t, path)
	if _, err := c.Watch(t.Context(), kube.WatchOptions{}); !errors.Is(err, kube.ErrForbidden) || !strings.Contains(err.Error(), "list") {
		t.Errorf("without rights: %v, want ErrForbidden", err)
	}
	k.grant("shop", "reader", "persistentvolumeclaims", "persistentvolumes", "namespaces", "pods")
	eventually(t, "the new rights", func(ctx context.Context) error { _, err := c.Ping(ctx); return err })
	_, err := c.Watch(t.Context(), kube.WatchOptions{})
	if !errors.Is(err, kube.ErrForbidden) || !strings.Contains(remedy(err), "the right watch") || !strings.Contains(remedy(err), path) {
		t.Errorf("without the right to watch: %v, remedy %q; want ErrForbidden", err, remedy(err))
	}
	config := must[*api.Config](t)(clientcmd.LoadFromFile(k.api.Kubeconfig))
	for _, u := range config.AuthInfos {
		u.Token = "wrong"
	}
	path = filepath.Join(t.TempDir(), "kubeconfig")
	k.check(clientcmd.WriteToFile(*config, path))
	if _, err := kubeClient(t, path).Watch(t.Context(), kube.WatchOptions{}); !errors.Is(err, kube.ErrUnauthorized) {
		t.Errorf("wrong token: %v, want ErrUnauthorized", err)
	}
	for _, s := range config.Clusters {
		s.Server = "https://127.0.0.1:1"
	}
	k.check(clientcmd.WriteToFile(*config, path))
	if _, err := kubeClient(t, path).Watch(t.Context(), kube.WatchOptions{}); !errors.Is(err, kube.ErrUnreachable) || !kube.Temporary(err) {
		t.Errorf("nobody listens: %v, want ErrUnreachable", err)
	}
}

// testRestart lets the API server be away for longer than one lease and shorter
// than another.
func testRestart(t *testing.T, c *kube.Client, k *cluster) {
	w := watchKube(t, c)
	short, long := newLeases(t, c, "a", 4*time.Second), newLeases(t, c, "a", 4*time.Minute)
	brief, lasting := must[*kube.Lease](t)(short.Acquire(t.Context(), "vol_brief")), must[*kube.Lease](t)(long.Acquire(t.Context(), "vol_lasting"))
	before := must[[]kube.Claim](t)(w.Claims(t.Context(), ""))
	k.stopAPI()
	stopped := time.Now()
	eventually(t, "the lost contact", func(context.Context) error {
		last, err := w.Contact()
		if !errors.Is(err, kube.ErrUnreachable) || !kube.Temporary(err) || !strings.Contains(remedy(err), k.api.Kubeconfig) || last.After(time.Now()) {
			return fmt.Errorf("contact %s: %w, remedy %q; want ErrUnreachable", last, err, remedy(err))
		}
		return nil
	})
	if during, err := w.Claims(t.Context(), ""); err != nil || !cmp.Equal(before, during) {
		t.Errorf("claims without the API server: %v\n%s", err, cmp.Diff(before, during))
	}
	<-brief.Context().Done()
	if cause := context.Cause(brief.Context()); !errors.Is(cause, kube.ErrLeaseLost) || time.Since(stopped) > 4*time.Second {
		t.Errorf("after %s: %v, want ErrLeaseLost within the duration", time.Since(stopped), cause)
	}
	if _, err := short.Acquire(t.Context(), "vol_other"); !errors.Is(err, kube.ErrUnreachable) {
		t.Errorf("lease without the API server: %v, want ErrUnreachable", err)
	}
	k.restart()
	k.annotate("shop", "block", map[string]string{kube.ScheduleAnnotation: "@weekly"})
	changed(t, w, "a change after the restart")
	agree(t, c, w)
	eventually(t, "the contact", func(context.Context) error { _, err := w.Contact(); return err })
	if err := lasting.Context().Err(); err != nil {
		t.Errorf("the longer lease: %v", context.Cause(lasting.Context()))
	}
	for _, h := range []*kube.Lease{brief, lasting} {
		if err := h.Release(t.Context()); err != nil {
			t.Errorf("release after the restart: %v", err)
		}
	}
}

// Whatever a proxy hides must look like an API server that does not have it.
func hide(next http.Handler, prefix string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, prefix) {
			r.URL.Path = "/apis/no.such.group/v1" + strings.TrimPrefix(r.URL.Path, prefix)
		}
		next.ServeHTTP(w, r)
	})
}
