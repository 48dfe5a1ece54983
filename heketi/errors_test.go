package heketi_test

import (
	"context"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/glusterbackupd/glusterbackupd/heketi"
)

// remedy returns the sentence for the admin, "" without one.
func remedy(err error) string {
	if r, ok := errors.AsType[interface {
		error
		Remedy() string
	}](err); ok {
		return r.Remedy()
	}
	return ""
}

func TestErrors(t *testing.T) {
	tests := map[string]struct {
		answer    answer
		want      error
		temporary bool
		remedy    string
	}{
		"missing id":         {answer{status: 404, body: "Id not found\n"}, heketi.ErrNotFound, false, "heketi-cli"},
		"some other server":  {answer{status: 404, body: "404 page not found"}, heketi.ErrAnswer, false, "url"},
		"wrong key":          {answer{status: 401, body: "Invalid JWT token: signature is invalid (client and server secrets may not match)"}, heketi.ErrUnauthorized, false, "key_file"},
		"clock ahead":        {answer{status: 401, body: "Invalid JWT token: Token used before issued (client and server clocks may differ)"}, heketi.ErrUnauthorized, false, "clocks"},
		"clock behind":       {answer{status: 401, body: "Invalid JWT token: Token is expired by 1h0m0s"}, heketi.ErrUnauthorized, false, "clocks"},
		"role user":          {answer{status: 401, body: "Administrator access required"}, heketi.ErrUnauthorized, false, "admin"},
		"unknown user":       {answer{status: 401, body: "Invalid JWT token: Unknown user"}, heketi.ErrUnauthorized, false, "user"},
		"proxy changes path": {answer{status: 401, body: "Invalid qsh claim in token"}, heketi.ErrUnauthorized, false, "proxy"},
		"throttled":          {answer{status: 429, body: "Server busy. Retry operation later."}, heketi.ErrThrottled, true, "max_inflight_operations"},
		"restarting route":   {answer{status: 503, body: "<html>"}, heketi.ErrAnswer, true, "url"},
		"server's fault":     {answer{status: 500, body: "oops"}, heketi.ErrAnswer, false, "log"},
		"redirect":           {answer{status: 302, header: http.Header{"Location": {"/elsewhere"}}}, heketi.ErrAnswer, false, "url"},
		"broken off":         {answer{header: http.Header{"Content-Length": {"100"}}, body: `{"id":`}, heketi.ErrUnreachable, true, "url"},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			tt.answer.header = tt.answer.header.Clone()
			server := record(t, map[string]answer{"/volumes/" + volumeID: tt.answer})
			_, err := newClient(t, heketi.Options{URL: server.URL}).Volume(t.Context(), volumeID)
			if !errors.Is(err, tt.want) || heketi.Temporary(err) != tt.temporary || !strings.Contains(remedy(err), tt.remedy) {
				t.Errorf("%v, temporary %t, remedy %q; want %v, %t, %q",
					err, heketi.Temporary(err), remedy(err), tt.want, tt.temporary, tt.remedy)
			}
			for _, other := range []error{heketi.ErrNotFound, heketi.ErrUnauthorized, heketi.ErrThrottled, heketi.ErrUnreachable} {
				if !errors.Is(other, tt.want) && errors.Is(err, other) {
					t.Errorf("%v is also %v", err, other)
				}
			}
			if server.asked() != "/volumes/"+volumeID {
				t.Errorf("requests %q, want one", server.asked())
			}
			if e, ok := errors.AsType[*heketi.Error](err); !ok || e.ID != volumeID || e.URL != server.URL {
				t.Errorf("facts are missing in %#v", err)
			}
		})
	}
}

// A busy server may ask for hours; go-client would sleep that long.
func TestThrottledReturnsAtOnce(t *testing.T) {
	server := record(t, map[string]answer{"/clusters": {status: 429, header: http.Header{"Retry-After": {"3600"}}}})
	err := newClient(t, heketi.Options{URL: server.URL}).Ping(t.Context())
	if !errors.Is(err, heketi.ErrThrottled) || server.asked() != "/clusters" {
		t.Errorf("%v after %q, want ErrThrottled after one request", err, server.asked())
	}
}

func TestUnreachable(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	silent := "http://" + listener.Addr().String() // Accepts in the kernel's backlog, never answers.
	t.Cleanup(func() { listener.Close() })
	plain := record(t, nil)
	secure := httptest.NewUnstartedServer(http.NotFoundHandler())
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.StartTLS()
	t.Cleanup(secure.Close)
	tests := map[string]struct {
		url, text, remedy string
		want              error
		temporary         bool
	}{
		"silent":              {silent, "no answer within", "/hello", heketi.ErrUnreachable, true},
		"nobody listens":      {"http://127.0.0.1:1", "connection refused", "/hello", heketi.ErrUnreachable, true},
		"unknown certificate": {secure.URL, "certificate", "ca_file", heketi.ErrUnreachable, false},
		"http not https":      {strings.Replace(plain.URL, "http:", "https:", 1), "HTTP response", "http://", heketi.ErrUnreachable, false},
		"https not http":      {strings.Replace(secure.URL, "https:", "http:", 1), "https", "https://", heketi.ErrAnswer, false},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			timeout := time.Minute
			if tt.url == silent {
				timeout = 20 * time.Millisecond
			}
			err := newClient(t, heketi.Options{URL: tt.url, Timeout: timeout}).Ping(t.Context())
			if !errors.Is(err, tt.want) || heketi.Temporary(err) != tt.temporary ||
				!strings.Contains(remedy(err), tt.remedy) || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("%v, temporary %t, remedy %q; want %v (%s), %t, %q",
					err, heketi.Temporary(err), remedy(err), tt.want, tt.text, tt.temporary, tt.remedy)
			}
		})
	}
}

func TestCAFile(t *testing.T) {
	r := &recording{}
	server := httptest.NewTLSServer(r.handler(map[string]answer{"/clusters": {body: `{"clusters":[]}`}}))
	t.Cleanup(server.Close)
	dir := t.TempDir()
	good, empty := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "empty.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := errors.Join(os.WriteFile(good, block, 0o600), os.WriteFile(empty, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	if err := newClient(t, heketi.Options{URL: server.URL, CAFile: good}).Ping(t.Context()); err != nil {
		t.Errorf("with its authority: %v", err)
	}
	for _, path := range []string{empty, filepath.Join(dir, "missing.pem")} {
		if _, err := heketi.New(heketi.Options{URL: server.URL, CAFile: path}); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("New with %s: %v, want an error that names it", path, err)
		}
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
	err := newClient(t, heketi.Options{URL: server.URL}).Ping(ctx)
	if err == nil || !strings.Contains(err.Error(), "shutdown") || errors.Is(err, heketi.ErrUnreachable) || heketi.Temporary(err) {
		t.Errorf("cancelled under way: %v, want the context's cause only", err)
	}
	done, stop := context.WithCancel(t.Context())
	stop()
	if _, err := newClient(t, heketi.Options{URL: server.URL}).Volumes(done); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled before: %v, want context.Canceled", err)
	}
}

func TestURL(t *testing.T) {
	for _, url := range []string{"", "heketi:8080", "ftp://heketi", "http://", "http://:8080", "http://h/?a=b", "http://h/#x", "http://h\n", "http://admin:" + key + "@h", "http://admin:" + key + "@h:x"} {
		_, err := heketi.New(heketi.Options{URL: url})
		if err == nil || strings.Contains(err.Error(), key) {
			t.Errorf("New with URL %q: %v, want an error without the credentials", url, err)
		}
	}
}
