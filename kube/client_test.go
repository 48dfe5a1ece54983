package kube_test

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"

	"github.com/glusterbackupd/glusterbackupd/kube"
)

// kubeconfig writes a file that names the server and a token.
func kubeconfig(t *testing.T, server, token string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "kubeconfig")
	config := api.Config{
		Clusters:       map[string]*api.Cluster{"c": {Server: server}},
		AuthInfos:      map[string]*api.AuthInfo{"u": {Token: token}},
		Contexts:       map[string]*api.Context{"x": {Cluster: "c", AuthInfo: "u"}},
		CurrentContext: "x",
	}
	if err := clientcmd.WriteToFile(config, path); err != nil {
		t.Fatal(err)
	}
	return path
}

func newClient(t *testing.T, path string, timeout time.Duration) *kube.Client {
	t.Helper()
	c, err := kube.New(kube.Options{Kubeconfig: path, Timeout: timeout})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// remedy returns the sentence for the admin, "" without one.
func remedy(err error) string {
	if e, ok := errors.AsType[*kube.Error](err); ok {
		return e.Remedy()
	}
	return ""
}

func TestConfig(t *testing.T) {
	const token = "the-token-of-the-cluster-admin"
	files := map[string]string{
		"missing":   "",
		"no YAML":   "a: [" + token,
		"no server": "apiVersion: v1\nkind: Config\nusers:\n- name: u\n  user: {token: " + token + "}\n",
		"empty":     "{}",
		"unknown context": "apiVersion: v1\nkind: Config\ncurrent-context: x\nclusters:\n- name: c\n  cluster: {server: https://h}\n" +
			"users:\n- name: u\n  user: {token: " + token + "}\n",
		"bad certificate": "apiVersion: v1\nkind: Config\ncurrent-context: x\nclusters:\n- name: c\n  cluster: {server: https://h, certificate-authority: nowhere.pem}\n" +
			"contexts:\n- name: x\n  context: {cluster: c, user: u}\nusers:\n- name: u\n  user: {token: " + token + "}\n",
	}
	for desc, content := range files {
		t.Run(desc, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "admin.conf")
			if content != "" {
				if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			_, err := kube.New(kube.Options{Kubeconfig: path})
			if !errors.Is(err, kube.ErrConfig) || !strings.Contains(err.Error(), path) || !strings.Contains(remedy(err), path) {
				t.Errorf("%v, remedy %q; want ErrConfig and the path", err, remedy(err))
			}
			if err != nil && strings.Contains(err.Error(), token) {
				t.Errorf("the token appears in %v", err)
			}
		})
	}
}

func TestNoPod(t *testing.T) {
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	_, err := kube.New(kube.Options{})
	if !errors.Is(err, kube.ErrConfig) || !strings.Contains(remedy(err), "kubeconfig in section [kubernetes]") {
		t.Errorf("%v, remedy %q; want ErrConfig and the config key", err, remedy(err))
	}
}

func TestMalformedNames(t *testing.T) {
	var requests atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { requests.Add(1) }))
	t.Cleanup(server.Close)
	c := newClient(t, kubeconfig(t, server.URL, "t"), time.Minute)
	for _, name := range []string{"", "..", "a/b", "A", "a b", "-a", "a\n", strings.Repeat("a", 300)} {
		_, claim := c.Claim(t.Context(), "shop", name)
		_, namespace := c.Claim(t.Context(), name, "db")
		_, users := c.Users(t.Context(), "shop", name)
		_, objects := c.Objects(t.Context(), kube.Claim{Namespace: "shop", Name: name})
		for _, err := range []error{claim, namespace, users, objects} {
			if !errors.Is(err, kube.ErrName) || kube.Temporary(err) {
				t.Errorf("name %q: %v, want ErrName", name, err)
			}
		}
		if _, err := c.Claims(t.Context(), name); name != "" && !errors.Is(err, kube.ErrName) {
			t.Errorf("claims of %q: %v, want ErrName", name, err)
		}
	}
	if n := requests.Load(); n != 1 { // Claims of "" are those of all namespaces.
		t.Errorf("%d requests were sent, want one", n)
	}
}

// An HTTP server with made-up answers stands in for servers that are not a
// Kubernetes API, and for one in trouble.
func TestOtherServers(t *testing.T) {
	tests := map[string]struct {
		status    int
		kind      string
		body      string
		temporary bool
	}{
		"not found page":  {status: 404, kind: "text/html", body: "<html>no such page</html>"},
		"web page":        {status: 200, kind: "text/html", body: "<html>welcome</html>"},
		"other JSON":      {status: 200, kind: "application/json", body: `{"a":1}`},
		"in trouble":      {status: 500, kind: "text/plain", body: strings.Repeat("oops", 1000)},
		"starting":        {status: 503, kind: "text/plain", body: "starting", temporary: true},
		"busy, status":    {status: 429, kind: "application/json", body: `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"TooManyRequests","code":429}`, temporary: true},
		"length is wrong": {status: 200, kind: "application/json", body: "", temporary: true},
		"gateway waiting": {status: 504, kind: "text/plain", body: "slow", temporary: true},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", tt.kind)
				if desc == "length is wrong" {
					w.Header().Set("Content-Length", "100")
				}
				w.WriteHeader(tt.status)
				_, _ = w.Write([]byte(tt.body))
			}))
			t.Cleanup(server.Close)
			path := kubeconfig(t, server.URL, "t")
			c := newClient(t, path, time.Minute)
			_, ping := c.Ping(t.Context())
			_, claim := c.Claim(t.Context(), "shop", "db")
			_, claims := c.Claims(t.Context(), "")
			for _, err := range []error{ping, claim, claims} {
				want := kube.ErrAnswer
				if desc == "length is wrong" {
					want = kube.ErrUnreachable
				}
				if !errors.Is(err, want) || kube.Temporary(err) != tt.temporary {
					t.Errorf("%v, temporary %t; want %v, %t", err, kube.Temporary(err), want, tt.temporary)
				}
				if errors.Is(err, kube.ErrNoClaim) || len(err.Error()) > 1000 || !strings.Contains(remedy(err), path) {
					t.Errorf("%v, remedy %q", err, remedy(err))
				}
			}
		})
	}
}

func TestUnreachable(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	silent := "http://" + listener.Addr().String() // Accepts in the kernel's backlog, never answers.
	secure := httptest.NewUnstartedServer(http.NotFoundHandler())
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.StartTLS()
	t.Cleanup(secure.Close)
	tests := map[string]struct {
		url, text, remedy string
		temporary         bool
	}{
		"silent":              {silent, "no answer within", "version", true},
		"nobody listens":      {"http://127.0.0.1:1", "connection refused", "version", true},
		"unknown certificate": {secure.URL, "certificate", "certificate-authority", false},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			timeout := time.Minute
			if tt.url == silent {
				timeout = 20 * time.Millisecond
			}
			path := kubeconfig(t, tt.url, "t")
			c := newClient(t, path, timeout)
			_, ping := c.Ping(t.Context())
			_, users := c.Users(t.Context(), "shop", "db")
			for _, err := range []error{ping, users} {
				if !errors.Is(err, kube.ErrUnreachable) || kube.Temporary(err) != tt.temporary ||
					!strings.Contains(err.Error(), tt.text) || !strings.Contains(remedy(err), tt.remedy) || !strings.Contains(remedy(err), path) {
					t.Errorf("%v, temporary %t, remedy %q; want ErrUnreachable (%s), %t, %q",
						err, kube.Temporary(err), remedy(err), tt.text, tt.temporary, tt.remedy)
				}
			}
		})
	}
}

func TestContext(t *testing.T) {
	release := make(chan struct{})
	ctx, cancel := context.WithCancelCause(t.Context())
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		cancel(errors.New("shutdown"))
		<-release
	}))
	t.Cleanup(server.Close)
	t.Cleanup(func() { close(release) })
	c := newClient(t, kubeconfig(t, server.URL, "t"), time.Minute)
	_, under := c.Claims(ctx, "")
	_, after := c.Claims(ctx, "")
	_, users := c.Users(ctx, "shop", "db")
	for _, err := range []error{under, after, users} {
		if err == nil || !strings.Contains(err.Error(), "shutdown") || errors.Is(err, kube.ErrUnreachable) || kube.Temporary(err) {
			t.Errorf("cancelled: %v, want the context's cause only", err)
		}
	}
}
