package kube_test

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/glusterbackupd/glusterbackupd/kube"
)

// A program's stderr is its own: what client-go says about a connection that
// breaks goes to the logger, and is no more than Debug there, for the error
// that is returned tells it too.
func TestQuiet(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "s") {
			w.Header().Set("Content-Length", "100")
		}
	}))
	t.Cleanup(server.Close)
	var log lockedBuffer
	handler := slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})
	c, err := kube.New(kube.Options{Kubeconfig: kubeconfig(t, server.URL, "t"), Timeout: time.Minute, Logger: slog.New(handler)})
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.Create(filepath.Join(t.TempDir(), "stderr"))
	if err != nil {
		t.Fatal(err)
	}
	old := os.Stderr
	os.Stderr = file
	_, claims := c.Claims(t.Context(), "")
	_, watch := c.Watch(t.Context(), kube.WatchOptions{})
	os.Stderr = old
	if claims == nil || watch == nil {
		t.Errorf("errors %v and %v, want both", claims, watch)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(file.Name()); err != nil || len(text) != 0 {
		t.Errorf("on stderr: %s, %v", text, err)
	}
	lines := strings.Split(strings.TrimSpace(log.String()), "\n")
	for _, line := range lines {
		if !strings.Contains(line, "level=DEBUG") {
			t.Errorf("not of level Debug: %s", line)
		}
	}
	if len(lines) < 2 {
		t.Errorf("logged %q, want something about both requests", lines)
	}
}

// lockedBuffer is written by the goroutines of a watch.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
