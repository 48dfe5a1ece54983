package runner_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"github.com/glusterbackupd/glusterbackupd/runner"
)

func podOptions(url string) runner.PodOptions {
	return runner.PodOptions{Config: &rest.Config{Host: url}, Namespace: "glusterfs", Selector: "glusterfs-node=pod", Container: "glusterfs"}
}

func TestPodOptions(t *testing.T) {
	if _, err := runner.NewPods(podOptions("https://api.example.com")); err != nil {
		t.Fatal(err)
	}
	for desc, change := range map[string]func(*runner.PodOptions){
		"no configuration": func(o *runner.PodOptions) { o.Config = nil },
		"no namespace":     func(o *runner.PodOptions) { o.Namespace = "" },
		"no container":     func(o *runner.PodOptions) { o.Container = "" },
		"any pod":          func(o *runner.PodOptions) { o.Selector = "" },
		"no selector":      func(o *runner.PodOptions) { o.Selector = "a in (b" },
	} {
		o := podOptions("https://api.example.com")
		change(&o)
		if _, err := runner.NewPods(o); err == nil {
			t.Errorf("%s: New took %+v", desc, o)
		}
	}
}

// api is a server that answers every list of pods with the same.
func api(t *testing.T, status int, body string) *runner.Pod {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet || r.URL.Path != "/api/v1/namespaces/glusterfs/pods" || r.URL.Query().Get("labelSelector") != "glusterfs-node=pod" {
			t.Errorf("request %s %s", r.Method, r.URL)
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		if _, err := w.Write([]byte(body)); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(s.Close)
	p, err := runner.NewPods(podOptions(s.URL))
	if err != nil {
		t.Fatal(err)
	}
	return p.Host("192.0.2.7")
}

func TestPodIsNotThere(t *testing.T) {
	list := func(pod string) string {
		return `{"kind":"PodList","apiVersion":"v1","items":[{"metadata":{"name":"p"},"spec":{"nodeName":"n"},"status":` + pod + `}]}`
	}
	for desc, tt := range map[string]struct {
		status int
		body   string
		kind   error
		words  string
	}{
		"no pods":      {200, `{"kind":"PodList","apiVersion":"v1","items":[]}`, runner.ErrUnreachable, "kubectl -n glusterfs get pods -l glusterfs-node=pod"},
		"other node":   {200, list(`{"hostIP":"192.0.2.8","phase":"Running"}`), runner.ErrUnreachable, "kubectl"},
		"ended":        {200, list(`{"hostIP":"192.0.2.7","phase":"Failed"}`), runner.ErrUnreachable, "kubectl"},
		"not ready":    {200, list(`{"hostIP":"192.0.2.7","phase":"Running"}`), runner.ErrUnreachable, "describe pod p"},
		"no right":     {403, `{"kind":"Status","apiVersion":"v1","status":"Failure","code":403,"reason":"Forbidden"}`, runner.ErrAuth, "pods/exec"},
		"no login":     {401, `{"kind":"Status","apiVersion":"v1","status":"Failure","code":401,"reason":"Unauthorized"}`, runner.ErrAuth, "kubeconfig"},
		"server ended": {503, `{"kind":"Status","apiVersion":"v1","status":"Failure","code":503}`, runner.ErrUnreachable, "kubectl version"},
	} {
		t.Run(desc, func(t *testing.T) {
			_, err := api(t, tt.status, tt.body).Run(t.Context(), "true")
			var e *runner.PodError
			if !errors.Is(err, tt.kind) || !errors.As(err, &e) || !strings.Contains(e.Remedy(), tt.words) || e.Temporary() != errors.Is(tt.kind, runner.ErrUnreachable) {
				t.Fatalf("Run = %v, want %v with a remedy with %q", err, tt.kind, tt.words)
			}
			if e.Host != "192.0.2.7" || !strings.Contains(err.Error(), "192.0.2.7") {
				t.Errorf("Run = %v, without the host", err)
			}
		})
	}
}

// A server that does not answer costs one time-out, and the caller's end is the
// caller's.
func TestPodSilentServer(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	t.Cleanup(s.Close)
	o := podOptions(s.URL)
	o.DialTimeout = 200 * time.Millisecond
	p, err := runner.NewPods(o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Host("n").Run(t.Context(), "true"); !errors.Is(err, runner.ErrUnreachable) {
		t.Errorf("Run = %v, want ErrUnreachable", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := p.Host("n").Run(ctx, "true"); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, runner.ErrUnreachable) {
		t.Errorf("Run = %v, want the caller's deadline", err)
	}
	for _, args := range [][]string{nil, {""}, {"a", "b\x00c"}} {
		if _, err := p.Host("n").Run(t.Context(), args...); !errors.Is(err, runner.ErrArgument) {
			t.Errorf("Run(%q) = %v, want ErrArgument", args, err)
		}
	}
}
