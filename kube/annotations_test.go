package kube_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/glusterbackupd/glusterbackupd/kube"
)

func TestPatchClaimAnnotations(t *testing.T) {
	var bodies []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		bodies = append(bodies, r.Method+" "+r.URL.Path+" "+r.Header.Get("Content-Type")+" "+string(body))
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"kind":"PersistentVolumeClaim","apiVersion":"v1","metadata":{"name":"db"}}`))
	}))
	t.Cleanup(server.Close)
	c := newClient(t, kubeconfig(t, server.URL, "t"), time.Minute)
	text := "no such <schedule>"
	values := map[string]*string{"backup.gluster.org/problem": &text, "backup.gluster.org/old": nil}
	if err := c.PatchClaimAnnotations(t.Context(), "shop", "db", values); err != nil {
		t.Fatal(err)
	}
	want := "PATCH /api/v1/namespaces/shop/persistentvolumeclaims/db application/merge-patch+json " +
		`{"metadata":{"annotations":{"backup.gluster.org/old":null,"backup.gluster.org/problem":"no such \u003cschedule\u003e"}}}`
	if len(bodies) != 1 || bodies[0] != want {
		t.Errorf("sent %q, want %q", bodies, want)
	}
	for _, key := range []string{"", "volume.kubernetes.io/selected-node", "backup.gluster.org", "backup.gluster.org/", "backup.gluster.org/a/b", "backup.gluster.org/a b"} {
		if err := c.PatchClaimAnnotations(t.Context(), "shop", "db", map[string]*string{key: &text}); !errors.Is(err, kube.ErrName) {
			t.Errorf("key %q: %v, want ErrName", key, err)
		}
	}
	if err := c.PatchClaimAnnotations(t.Context(), "shop", "db", nil); err != nil || len(bodies) != 1 {
		t.Errorf("nothing to change: %v, %d requests", err, len(bodies))
	}
}
