package heketi_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/glusterbackupd/glusterbackupd/heketi"
)

const (
	volumeID = "dfe9c3289d058ad0b1252c95b868c144"
	nodeID   = "15b00c7efab5d2b575c026d63e5f05ef"
	plainID  = "894eff0265e1564eb4dc153a75e503ee"
	authID   = "fdc92cea5438c4962852722353bcf586"
	key      = "the-key-of-the-administrator"
)

// recording is an HTTP server that plays back recorded or made-up answers by
// path; it is not Heketi and checks no token. Tests against Heketi itself are
// in test/integration.
type recording struct {
	*httptest.Server
	mu    sync.Mutex
	paths []string
}

// answer is what a recording says to one path.
type answer struct {
	status int
	header http.Header
	body   string
}

func record(t *testing.T, answers map[string]answer) *recording {
	t.Helper()
	r := &recording{}
	r.Server = httptest.NewServer(r.handler(answers))
	t.Cleanup(r.Close)
	return r
}

func (r *recording) handler(answers map[string]answer) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		r.mu.Lock()
		r.paths = append(r.paths, q.URL.Path)
		r.mu.Unlock()
		a, ok := answers[q.URL.Path]
		if !ok {
			a = answer{status: http.StatusNotFound, body: "Id not found"}
		}
		for name, values := range a.header {
			w.Header()[name] = values
		}
		if a.status != 0 {
			w.WriteHeader(a.status)
		}
		_, _ = io.WriteString(w, a.body)
	})
}

// asked returns the paths of the requests so far.
func (r *recording) asked() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.paths, " ")
}

func fixture(t *testing.T, name string) string {
	t.Helper()
	content, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func newClient(t *testing.T, o heketi.Options) *heketi.Client {
	t.Helper()
	if o.Key == "" {
		o.Key = key
	}
	if o.Timeout == 0 {
		o.Timeout = time.Minute
	}
	c, err := heketi.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}
