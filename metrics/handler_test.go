package metrics_test

import (
	"context"
	"errors"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/glusterbackupd/glusterbackupd/metrics"
)

// gatherer reads what the handler serves, so that nothing which it adds or
// loses escapes a test.
func gatherer(t *testing.T, m *metrics.Metrics) prometheus.Gatherer {
	t.Helper()
	return prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) {
		_, body := get(t, m.Handler(metrics.HealthChecks{}), "/metrics")
		parser := expfmt.NewTextParser(model.UTF8Validation)
		families, err := parser.TextToMetricFamilies(strings.NewReader(body))
		list := make([]*dto.MetricFamily, 0, len(families))
		for _, f := range families {
			list = append(list, f)
		}
		return list, err
	})
}

func TestHealth(t *testing.T) {
	var (
		alive   error
		missing []string
	)
	h := newMetrics(t, full).Handler(metrics.HealthChecks{
		Alive:  func() error { return alive },
		Ready:  func() []string { return missing },
		Status: func() any { return map[string]int{"claims": 3} },
	})
	expect := func(path string, code int, body string) {
		t.Helper()
		if c, b := get(t, h, path); c != code || b != body {
			t.Errorf("%s: %d %q; want %d %q", path, c, b, code, body)
		}
	}
	ready := func(want string) {
		t.Helper()
		if _, body := get(t, h, "/metrics"); !strings.Contains(body, "\nglusterbackupd_ready "+want+"\n") {
			t.Errorf("glusterbackupd_ready is not %s", want)
		}
	}
	expect("/healthz", 200, "ok\n")
	expect("/readyz", 200, "ok\n")
	expect("/status", 200, "{\n  \"claims\": 3\n}\n")
	ready("1")
	alive, missing = errors.New("the scheduler has stopped"), []string{"BackupDisk is not mounted", "Heketi does not answer"}
	expect("/healthz", 503, "not alive: the scheduler has stopped\n")
	expect("/readyz", 503, "not ready:\nBackupDisk is not mounted\nHeketi does not answer\n")
	ready("0")
}

func TestHandlerRefuses(t *testing.T) {
	h := newMetrics(t, full).Handler(metrics.HealthChecks{Status: func() any { return math.NaN() }})
	tests := map[string]struct {
		method, path string
		want         int
	}{
		"another path":         {http.MethodGet, "/", 404},
		"no profiles":          {http.MethodGet, "/debug/pprof/", 404},
		"writing":              {http.MethodPost, "/metrics", 405},
		"status without JSON":  {http.MethodGet, "/status", 500},
		"the head of a scrape": {http.MethodHead, "/metrics", 200},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequest(tt.method, tt.path, nil))
			if w.Code != tt.want {
				t.Errorf("%s %s: %d; want %d", tt.method, tt.path, w.Code, tt.want)
			}
		})
	}
	if code, _ := get(t, newMetrics(t, full).Handler(metrics.HealthChecks{}), "/status"); code != 404 {
		t.Errorf("/status without a Status: %d; want 404", code)
	}
}

func startServer(t *testing.T, listen string, h http.Handler) *metrics.Server {
	t.Helper()
	s, err := metrics.NewServer(metrics.ServerOptions{Listen: listen, Handler: h})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestServer(t *testing.T) {
	begun, finish := make(chan struct{}), make(chan struct{})
	s := startServer(t, "127.0.0.1:0", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(begun)
		<-finish
		_, _ = io.WriteString(w, "complete")
	}))
	answered := make(chan string, 1)
	go func() {
		response, err := http.Get("http://" + s.Addr())
		if err != nil {
			answered <- err.Error()
			return
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		if err != nil {
			body = []byte(err.Error())
		}
		answered <- string(body)
	}()
	<-begun
	stopped := make(chan error, 1)
	go func() { stopped <- s.Shutdown(t.Context()) }()
	select {
	case err := <-stopped:
		t.Fatalf("Shutdown did not wait for the request under way: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	close(finish)
	if got := <-answered; got != "complete" {
		t.Errorf("answer %q; want the whole of it", got)
	}
	if err := <-stopped; err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	<-s.Done()
	if response, err := http.Get("http://" + s.Addr()); err == nil {
		response.Body.Close()
		t.Error("the server still answers")
	}
}

// TestShutdownEnds wants a request that never ends to be cut off.
func TestShutdownEnds(t *testing.T) {
	begun := make(chan struct{})
	s, err := metrics.NewServer(metrics.ServerOptions{
		Listen: "127.0.0.1:0",
		Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			close(begun)
			<-r.Context().Done()
		}),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	cut := make(chan error, 1)
	go func() {
		response, err := http.Get("http://" + s.Addr())
		if err == nil {
			response.Body.Close()
		}
		cut <- err
	}()
	<-begun
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := s.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Shutdown: %v; want that its time was over", err)
	}
	if err := <-cut; err == nil {
		t.Error("the request under way was answered")
	}
}

func TestListenErrors(t *testing.T) {
	taken := startServer(t, "127.0.0.1:0", http.NotFoundHandler()).Addr()
	_, port, _ := strings.Cut(taken, ":")
	tests := map[string]struct {
		listen, remedy string
		cause          error
	}{
		"taken port":      {taken, "ss -ltnp 'sport = :" + port + "'", syscall.EADDRINUSE},
		"foreign address": {"192.0.2.1:9280", "does not have the address", syscall.EADDRNOTAVAIL},
		"no port":         {"127.0.0.1", "such as \"127.0.0.1:9280\"", nil},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			s, err := metrics.NewServer(metrics.ServerOptions{Listen: tt.listen, Handler: http.NotFoundHandler()})
			if err != nil {
				t.Fatal(err)
			}
			err = s.Start(t.Context())
			e, ok := errors.AsType[*metrics.ListenError](err)
			if !ok || !strings.Contains(e.Error(), tt.listen) || !strings.Contains(e.Remedy(), tt.remedy) {
				t.Fatalf("Start: %v; want a ListenError with %s and the remedy %q", err, tt.listen, tt.remedy)
			}
			if tt.cause != nil && !errors.Is(err, tt.cause) {
				t.Errorf("Start: %v; want %v", err, tt.cause)
			}
			if err := s.Shutdown(t.Context()); err != nil {
				t.Errorf("Shutdown of a server that did not start: %v", err)
			}
		})
	}
}

func TestNewServerRefuses(t *testing.T) {
	for _, o := range []metrics.ServerOptions{{Listen: "127.0.0.1:0"}, {Handler: http.NotFoundHandler()}} {
		if _, err := metrics.NewServer(o); err == nil {
			t.Errorf("NewServer(%+v) is accepted", o)
		}
	}
}
