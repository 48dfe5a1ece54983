package metrics

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// A scrape that takes longer is answered with 503; more scrapes at once wait
// for nothing and are refused.
const (
	scrapeTimeout = 10 * time.Second
	maxScrapes    = 4
)

// HealthChecks are what a [Metrics.Handler] asks at each request. They are
// called from several goroutines and must answer from memory. Their texts are
// shown to everybody who can reach the address.
type HealthChecks struct {
	// Alive returns an error when only a restart can help. Nil means that the
	// daemon is alive as long as it answers.
	Alive func() error
	// Ready returns what is missing for runs to succeed, a line each, and
	// nothing when all is there. Nil means always ready.
	Ready func() []string
	// Status returns a value that encoding/json can marshal. Nil means that
	// there is no /status.
	Status func() any
}

// Handler serves /metrics, /healthz, /readyz and, with a Status, /status. Only
// GET and HEAD are answered.
func (m *Metrics) Handler(h HealthChecks) http.Handler {
	if h.Alive == nil {
		h.Alive = func() error { return nil }
	}
	if h.Ready == nil {
		h.Ready = func() []string { return nil }
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", m.scrape(h))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		if err := h.Alive(); err != nil {
			answer(w, http.StatusServiceUnavailable, "not alive: "+err.Error())
			return
		}
		answer(w, http.StatusOK, "ok")
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if missing := h.Ready(); len(missing) > 0 {
			answer(w, http.StatusServiceUnavailable, "not ready:\n"+strings.Join(missing, "\n"))
			return
		}
		answer(w, http.StatusOK, "ok")
	})
	if h.Status != nil {
		mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) { m.status(w, h.Status) })
	}
	return plain(mux)
}

// scrape serves the metrics and whether the daemon is ready. That one has a
// registry of its own, so that Handler may be called more than once. A fault in
// some metrics costs these and not the others.
func (m *Metrics) scrape(h HealthChecks) http.Handler {
	own := prometheus.NewRegistry()
	promauto.With(own).NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: namespace, Name: "ready", Help: "1 if runs can succeed, 0 if /readyz tells what is missing.",
	}, func() float64 {
		if len(h.Ready()) > 0 {
			return 0
		}
		return 1
	})
	return promhttp.HandlerFor(prometheus.Gatherers{m.registry, own}, promhttp.HandlerOpts{
		ErrorLog:            scrapeLog{m.log},
		ErrorHandling:       promhttp.ContinueOnError,
		Registry:            own,
		MaxRequestsInFlight: maxScrapes,
		Timeout:             scrapeTimeout,
	})
}

// scrapeLog passes promhttp's errors on.
type scrapeLog struct{ log *slog.Logger }

// Println implements promhttp.Logger.
func (l scrapeLog) Println(v ...any) {
	l.log.Error("scrape is not complete", "error", strings.TrimSpace(fmt.Sprintln(v...)))
}

// status marshals first, so that a fault does not end in half an answer.
func (m *Metrics) status(w http.ResponseWriter, value func() any) {
	var body bytes.Buffer
	e := json.NewEncoder(&body)
	e.SetIndent("", "  ")
	if err := e.Encode(value()); err != nil {
		m.log.Error("status cannot be shown", "error", err)
		answer(w, http.StatusInternalServerError, "the status cannot be shown; the log of glusterbackupd tells why")
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = body.WriteTo(w) // A client that has gone away needs no answer.
}

func answer(w http.ResponseWriter, code int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(code)
	_, _ = io.WriteString(w, text+"\n") // As in status.
}

// plain forbids browsers to guess and proxies to keep what is true only now.
func plain(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}
