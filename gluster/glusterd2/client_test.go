package glusterd2_test

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/glusterbackupd/glusterbackupd/gluster"
	"github.com/glusterbackupd/glusterbackupd/gluster/glusterd2"
	"github.com/glusterbackupd/glusterbackupd/gluster/glustertest"
	"github.com/glusterbackupd/glusterbackupd/runner"
)

func serve(t *testing.T, h http.Handler) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

func newClient(t *testing.T, o glusterd2.Options) *glusterd2.Client {
	t.Helper()
	if o.Secret == "" {
		o.Secret = secret
	}
	c, err := glusterd2.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestPool(t *testing.T) {
	s := newServer()
	url := serve(t, s)
	// The impatient client's pool is one whose answers come late.
	late := serve(t, lateCreate{s})
	glustertest.TestPool(t, glustertest.Setup{
		Pool: newClient(t, glusterd2.Options{URLs: []string{url}}), Prefix: "suite-",
		Volume: "vol", Stopped: "stopped", NotThin: "thick", NoLevels: true, Path: "/snaps/s",
		Bricks:    []gluster.Brick{{Host: "g1", Path: "/bricks/vol"}, {Host: "g2", Path: "/bricks/vol"}},
		Impatient: newClient(t, glusterd2.Options{URLs: []string{late}, Timeout: time.Second}),
	})
}

// lateCreate makes a snapshot and keeps the answer to itself for a while.
type lateCreate struct{ *server }

func (l lateCreate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodPost && r.URL.Path == "/v1/snapshots" {
		l.server.ServeHTTP(httptest.NewRecorder(), r)
		<-r.Context().Done()
		return
	}
	l.server.ServeHTTP(w, r)
}

// silent is an address that refuses connections.
func silent(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return "http://" + l.Addr().String()
}

func TestNextServer(t *testing.T) {
	down, first, second := silent(t), newServer(), newServer()
	c := newClient(t, glusterd2.Options{URLs: []string{down, serve(t, first), serve(t, second)}})
	if _, err := c.Volume(t.Context(), "vol"); err != nil {
		t.Error(err)
	}
	// An answer is an answer.
	if _, err := c.Volume(t.Context(), "none"); !errors.Is(err, gluster.ErrNoVolume) || strings.Contains(err.Error(), down) {
		t.Errorf("Volume = %v", err)
	}
	if n := second.count("GET /v1/volumes/none") + second.count("GET /v1/volumes/vol"); n > 0 {
		t.Errorf("the third server was asked %d times", n)
	}
	c = newClient(t, glusterd2.Options{URLs: []string{down, silent(t)}})
	_, err := c.Volume(t.Context(), "vol")
	var e *gluster.Error
	if !errors.Is(err, runner.ErrUnreachable) || !gluster.Temporary(err) || !errors.As(err, &e) || !strings.Contains(e.Remedy(), "curl http://") {
		t.Errorf("Volume = %v, want a temporary ErrUnreachable with a remedy", err)
	}
}

// dropping breaks the connection after the request has come.
type dropping struct{ *server }

func (d dropping) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	d.server.ServeHTTP(httptest.NewRecorder(), r)
	panic(http.ErrAbortHandler)
}

// A server that dies with the request: a question is asked the next one, and of
// a command the result is looked for there, without repeating it.
func TestLostServer(t *testing.T) {
	s := newServer()
	lost, alive := serve(t, dropping{s}), serve(t, s)
	c := newClient(t, glusterd2.Options{URLs: []string{lost, alive}})
	if _, err := c.Volume(t.Context(), "vol"); err != nil {
		t.Error(err)
	}
	c = newClient(t, glusterd2.Options{URLs: []string{lost, alive}})
	made, err := c.CreateSnapshot(t.Context(), gluster.SnapshotRequest{Name: "s", Volume: "vol"})
	if err != nil || made.Name != "s" || s.count("POST /v1/snapshots") != 1 {
		t.Errorf("CreateSnapshot = %+v, %v, after %d requests", made, err, s.count("POST /v1/snapshots"))
	}
	c = newClient(t, glusterd2.Options{URLs: []string{lost, alive}})
	if err := c.DeleteSnapshot(t.Context(), "s"); err != nil || s.count("DELETE /v1/snapshots/s") != 1 {
		t.Errorf("DeleteSnapshot = %v, after %d requests", err, s.count("DELETE /v1/snapshots/s"))
	}
}

func TestAuthentication(t *testing.T) {
	other := newServer()
	for desc, o := range map[string]glusterd2.Options{
		"wrong secret": {Secret: "guessed"},
		"wrong user":   {User: "admin"},
	} {
		o.URLs = []string{serve(t, newServer()), serve(t, other)}
		err := newClient(t, o).Ping(t.Context())
		var e *gluster.Error
		if !errors.Is(err, runner.ErrAuth) || gluster.Temporary(err) || !errors.As(err, &e) || !strings.Contains(e.Remedy(), "secret_file") {
			t.Errorf("%s: Ping = %v, want a final ErrAuth with a remedy", desc, err)
		}
	}
	if n := other.count("GET /v1/snapshots"); n > 0 {
		t.Errorf("a refused secret was shown to the next server %d times", n)
	}
	c, err := glusterd2.New(glusterd2.Options{URLs: []string{serve(t, newServer())}})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Ping(t.Context()); !errors.Is(err, runner.ErrAuth) {
		t.Errorf("without a secret: Ping = %v, want ErrAuth", err)
	}
}

func TestTLS(t *testing.T) {
	s := newServer()
	secure := httptest.NewTLSServer(s)
	t.Cleanup(secure.Close)
	secure.Config.ErrorLog = nil
	ca := filepath.Join(t.TempDir(), "ca.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw})
	if err := os.WriteFile(ca, block, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := newClient(t, glusterd2.Options{URLs: []string{secure.URL}, CAFile: ca}).Ping(t.Context()); err != nil {
		t.Error(err)
	}
	err := newClient(t, glusterd2.Options{URLs: []string{secure.URL, serve(t, newServer())}}).Ping(t.Context())
	if !errors.Is(err, gluster.ErrCertificate) || gluster.Temporary(err) {
		t.Errorf("without the authority Ping = %v, want a final ErrCertificate", err)
	}
	plain := strings.Replace(serve(t, newServer()), "http:", "https:", 1)
	var e *gluster.Error
	if err := newClient(t, glusterd2.Options{URLs: []string{plain}}).Ping(t.Context()); !errors.As(err, &e) || !strings.Contains(e.Remedy(), "http://") || gluster.Temporary(err) {
		t.Errorf("https to a plain server: Ping = %v", err)
	}
	for _, file := range []string{"/nonexistent", os.DevNull} {
		if _, err := glusterd2.New(glusterd2.Options{URLs: []string{secure.URL}, CAFile: file}); err == nil {
			t.Errorf("New took %s for certificates", file)
		}
	}
}

// glusterd2's client changes http.DefaultTransport when it is made its way.
func TestDefaultTransportIsLeftAlone(t *testing.T) {
	before, ok := http.DefaultTransport.(*http.Transport)
	if !ok {
		t.Fatalf("DefaultTransport is a %T", http.DefaultTransport)
	}
	compression, tls := before.DisableCompression, before.TLSClientConfig
	if err := newClient(t, glusterd2.Options{URLs: []string{serve(t, newServer())}}).Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	if before.DisableCompression != compression || before.TLSClientConfig != tls {
		t.Error("http.DefaultTransport has changed")
	}
}

// says is a server that says always the same.
func says(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", "http://192.0.2.1/")
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}
}

func TestKinds(t *testing.T) {
	message := func(text string) string { return `{"errors":[{"code":1,"message":"` + text + `"}]}` }
	for desc, tt := range map[string]struct {
		status    int
		body      string
		kind      error
		temporary bool
	}{
		"locked":              {409, message("could not obtain lock: another conflicting transaction may be in progress"), gluster.ErrBusy, true},
		"brick offline":       {500, `{"errors":[{"code":2,"message":"a txn step failed","fields":{"step":"s","peer-id":"p","error":"one or more brick is offline"}}]}`, gluster.ErrBrickDown, false},
		"pool is full":        {500, message("one or more brick is not compatable in size"), gluster.ErrPoolFull, false},
		"node is down":        {500, message("node 7a65c4 is probably down"), gluster.ErrNodeDown, false},
		"name is refused":     {400, message("invalid snapshot name"), gluster.ErrName, false},
		"route without code":  {501, message("Snapshot Config Get"), gluster.ErrUnsupported, false},
		"unknown":             {500, message("remote procedure cannot decode params"), gluster.ErrFailed, false},
		"starting up":         {503, "<html>", gluster.ErrNoDaemon, true},
		"proxy without a way": {502, "<html>", gluster.ErrTimeout, true},
		"glusterd, or a site": {404, "404 page not found\n", gluster.ErrAnswer, false},
		"site":                {200, "<html></html>", gluster.ErrAnswer, false},
		"redirection":         {302, "", gluster.ErrAnswer, false},
		"other JSON":          {200, `{"a":`, gluster.ErrAnswer, false},
		"empty":               {200, `{}`, gluster.ErrAnswer, false},
		"other snapshot": {
			200, `{"snapinfo":{"name":"x","id":"7a65c4b6-8f3e-4d6b-9a2e-0d2c5e7f8a9b","state":"Created"},"parentname":"v","created-at":"2018-12-11T07:52:49Z"}`,
			gluster.ErrAnswer, false,
		},
	} {
		t.Run(desc, func(t *testing.T) {
			c := newClient(t, glusterd2.Options{URLs: []string{serve(t, says(tt.status, tt.body))}})
			s, err := c.SnapshotInfo(t.Context(), "s")
			if !errors.Is(err, tt.kind) || gluster.Temporary(err) != tt.temporary {
				t.Errorf("SnapshotInfo = %+v, %v, temporary %v; want %v, %v", s, err, gluster.Temporary(err), tt.kind, tt.temporary)
			}
		})
	}
}

func TestTooLarge(t *testing.T) {
	url := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		block := make([]byte, 1<<20)
		for range 40 {
			if _, err := w.Write(block); err != nil {
				return
			}
		}
	}))
	if _, err := newClient(t, glusterd2.Options{URLs: []string{url}}).SnapshotInfo(t.Context(), "s"); !errors.Is(err, gluster.ErrAnswer) {
		t.Errorf("SnapshotInfo = %v, want ErrAnswer", err)
	}
}

// The caller's context ends a request under way; that is not temporary.
func TestContext(t *testing.T) {
	url := serve(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err := newClient(t, glusterd2.Options{URLs: []string{url}}).Volume(ctx, "vol")
	if !errors.Is(err, context.DeadlineExceeded) || gluster.Temporary(err) {
		t.Errorf("Volume = %v, want the caller's deadline", err)
	}
	_, err = newClient(t, glusterd2.Options{URLs: []string{url}, Timeout: 100 * time.Millisecond}).Volume(t.Context(), "vol")
	if !errors.Is(err, gluster.ErrTimeout) || !gluster.Temporary(err) {
		t.Errorf("Volume = %v, want ErrTimeout", err)
	}
}

func TestOptions(t *testing.T) {
	for _, urls := range [][]string{nil, {""}, {"g1:24007"}, {"ftp://g1"}, {"http://u:p@g1:24007"}, {"http://g1/?a=b"}} {
		if _, err := glusterd2.New(glusterd2.Options{URLs: urls}); err == nil || strings.Contains(err.Error(), "u:p") {
			t.Errorf("New(%q) = %v", urls, err)
		}
	}
	o := glusterd2.Options{URLs: []string{"http://g1:24007"}, Secret: secret}
	c := newClient(t, o)
	for _, text := range []string{fmt.Sprintf("%v %+v %#v %s", o, o, o, o), fmt.Sprintf("%+v %#v", c, c)} {
		if strings.Contains(text, secret) {
			t.Errorf("the secret shows in %s", text)
		}
	}
}

// What the daemon asks for by glusterd's names is found under them.
func TestOptionNames(t *testing.T) {
	v, err := newClient(t, glusterd2.Options{URLs: []string{serve(t, newServer())}}).Volume(t.Context(), "vol")
	if err != nil || v.Options["features.shard"] != "on" || v.Type != "Replicate" || v.ReplicaCount != 2 {
		t.Errorf("Volume = %+v, %v", v, err)
	}
}
