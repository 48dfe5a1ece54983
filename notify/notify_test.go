package notify_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/glusterbackupd/glusterbackupd/notify"
)

func good() notify.Summary {
	at := time.Date(2026, 11, 25, 1, 0, 0, 0, time.FixedZone("CET", 3600))
	return notify.Summary{
		Slot: at, Started: at.Add(3 * time.Second), Finished: at.Add(time.Hour), Host: "master1",
		Results: notify.Results{Done: 12, Excluded: 2, Uncovered: 1},
	}
}

func bad() notify.Summary {
	s := good()
	s.Results.Failed = 1
	s.Failed = []notify.Failure{{Claim: "shop/db", Volume: "vol_1", Error: "snapshot of vol_1:\n  brick is down"}}
	return s
}

// call is one request as a server saw it.
type call struct {
	Path, Type, Body string
	At               time.Duration // Since the test began.
}

// service is a server without a network, so that it works in a bubble of fake
// time. It answers in turn; the last answer is repeated.
type service struct {
	answers []answer
	start   time.Time
	calls   []call
}

type answer struct {
	status int
	header http.Header
	body   string
	err    error // The request fails.
	hang   bool  // Nothing comes until the client gives up.
}

func newService(answers ...answer) *service { return &service{answers: answers, start: time.Now()} }

func (s *service) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	if r.Method != http.MethodPost {
		return nil, fmt.Errorf("method %s", r.Method)
	}
	a := s.answers[min(len(s.calls), len(s.answers)-1)]
	s.calls = append(s.calls, call{r.URL.RequestURI(), r.Header.Get("Content-Type"), string(body), time.Since(s.start)})
	switch {
	case a.hang:
		<-r.Context().Done()
		return nil, r.Context().Err()
	case a.err != nil:
		return nil, a.err
	}
	w := httptest.NewRecorder()
	for key, values := range a.header {
		w.Header()[key] = values
	}
	w.WriteHeader(a.status)
	_, _ = w.WriteString(a.body)
	return w.Result(), nil
}

// times returns when the requests came.
func (s *service) times() []time.Duration {
	var list []time.Duration
	for _, c := range s.calls {
		list = append(list, c.At)
	}
	return list
}

const (
	ping    = "https://hc.example.com/ping/SECRET?create=1"
	webhook = "https://bot:SECRET@chat.example.com/hooks/SECRET?key=SECRET"
)

func newNotifier(t *testing.T, o notify.Options) *notify.Notifier {
	t.Helper()
	n, err := notify.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestPing(t *testing.T) {
	tests := map[string]struct {
		summary notify.Summary
		want    call
	}{
		"all succeeded": {good(), call{
			Path: "/ping/SECRET?create=1", Type: "text/plain; charset=utf-8",
			Body: "glusterbackupd on master1, slot 2026-11-25T00:00:00Z: ok. 12 done, 0 failed, 2 excluded, 1 not covered, in 59m57s.\n",
		}},
		"one failed": {bad(), call{
			Path: "/ping/SECRET/fail?create=1", Type: "text/plain; charset=utf-8",
			Body: "glusterbackupd on master1, slot 2026-11-25T00:00:00Z: FAILED. 12 done, 1 failed, 2 excluded, 1 not covered, in 59m57s.\n" +
				"shop/db (vol_1): snapshot of vol_1: brick is down\n",
		}},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newService(answer{status: 200, body: "OK"})
				n := newNotifier(t, notify.Options{Ping: ping, Client: &http.Client{Transport: s}})
				if err := n.Send(t.Context(), tt.summary); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff([]call{tt.want}, s.calls); diff != "" {
					t.Errorf("requests: want -, got +:\n%s", diff)
				}
			})
		})
	}
}

func TestFailPath(t *testing.T) {
	for address, want := range map[string]string{
		"http://hc/ping/1":         "/ping/1/fail",
		"http://hc/ping/1/":        "/ping/1/fail",
		"http://hc/ping/a%2Fb?x=y": "/ping/a%2Fb/fail?x=y",
		"http://hc":                "/fail",
	} {
		t.Run(address, func(t *testing.T) {
			s := newService(answer{status: 200})
			n := newNotifier(t, notify.Options{Ping: address, Client: &http.Client{Transport: s}})
			if err := n.Send(t.Context(), bad()); err != nil || s.calls[0].Path != want {
				t.Errorf("%v, %v; want %s", s.calls, err, want)
			}
		})
	}
}

func TestWebhook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(answer{status: 204})
		n := newNotifier(t, notify.Options{Webhook: webhook, Client: &http.Client{Transport: s}})
		if err := n.Send(t.Context(), bad()); err != nil {
			t.Fatal(err)
		}
		if len(s.calls) != 1 || s.calls[0].Path != "/hooks/SECRET?key=SECRET" || s.calls[0].Type != "application/json" {
			t.Errorf("requests: %+v", s.calls)
		}
		var got map[string]any
		if err := json.Unmarshal([]byte(s.calls[0].Body), &got); err != nil {
			t.Fatal(err)
		}
		want := map[string]any{
			"version": 1.0, "ok": false, "text": bad().Text(), "host": "master1",
			"slot": "2026-11-25T00:00:00Z", "started": "2026-11-25T00:00:03Z", "finished": "2026-11-25T01:00:00Z",
			"results": map[string]any{"done": 12.0, "failed": 1.0, "excluded": 2.0, "uncovered": 1.0},
			"failed": []any{map[string]any{
				"claim": "shop/db", "volume": "vol_1", "error": "snapshot of vol_1:\n  brick is down",
			}},
			"omitted": 0.0,
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("want -, got +:\n%s", diff)
		}
	})
}

// TestDocument sends the summary whose document the admin's guide shows.
func TestDocument(t *testing.T) {
	const name = "../docs/monitoring/README.md"
	content, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(content), "```json\n")
	block, _, _ := strings.Cut(after, "```")
	var want, got map[string]any
	if err := json.Unmarshal([]byte(block), &want); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	s := newService(answer{status: 200})
	summary := bad()
	summary.Failed[0].Error = "brick is down"
	n := newNotifier(t, notify.Options{Webhook: webhook, Client: &http.Client{Transport: s}})
	if err := n.Send(t.Context(), summary); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(s.calls[0].Body), &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("document -, code +:\n%s", diff)
	}
	for key := range got {
		if !strings.Contains(string(content), "`"+key+"`") {
			t.Errorf("%s does not explain %s", name, key)
		}
	}
}

// TestLarge wants a summary of a cluster whose Gluster is down to stay small.
func TestLarge(t *testing.T) {
	s := newService(answer{status: 200})
	n := newNotifier(t, notify.Options{Webhook: webhook, Client: &http.Client{Transport: s}})
	summary := good()
	for i := range 1000 {
		summary.Failed = append(summary.Failed, notify.Failure{
			Claim: fmt.Sprintf("shop/db%d", i), Error: "x" + strings.Repeat("é", 400),
		})
	}
	if err := n.Send(t.Context(), summary); err != nil {
		t.Fatal(err)
	}
	var got struct {
		Text    string
		Failed  []notify.Failure
		Omitted int
	}
	if err := json.Unmarshal([]byte(s.calls[0].Body), &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Failed) != 500 || got.Omitted != 500 || !strings.HasSuffix(got.Text, "\nand 980 more\n") {
		t.Errorf("%d failures, %d omitted, text ends %q", len(got.Failed), got.Omitted, got.Text[len(got.Text)-20:])
	}
	if want := "x" + strings.Repeat("é", 249) + "…"; got.Failed[0].Error != want {
		t.Errorf("error %q; want it cut between two runes", got.Failed[0].Error)
	}
}

func TestRetries(t *testing.T) {
	ok, busy := answer{status: 200, body: "OK"}, answer{status: 503}
	later := answer{status: 429, header: http.Header{"Retry-After": {"5"}}}
	noNetwork := answer{err: errors.New("connection refused")}
	const second = time.Second
	tests := map[string]struct {
		answers []answer
		times   []time.Duration
		status  int // Of the error; -1 for none.
	}{
		"first time":                 {[]answer{ok}, []time.Duration{0}, -1},
		"server error, then well":    {[]answer{busy, busy, ok}, []time.Duration{0, second, 3 * second}, -1},
		"server error for ever":      {[]answer{busy}, []time.Duration{0, second, 3 * second, 7 * second}, 503},
		"no network, then well":      {[]answer{noNetwork, ok}, []time.Duration{0, second}, -1},
		"no network for ever":        {[]answer{noNetwork}, []time.Duration{0, second, 3 * second, 7 * second}, 0},
		"told when to come back":     {[]answer{later, ok}, []time.Duration{0, 5 * second}, -1},
		"told to come back too late": {[]answer{{status: 503, header: http.Header{"Retry-After": {"600"}}}, ok}, []time.Duration{0}, 503},
		"silent, then well":          {[]answer{{hang: true}, ok}, []time.Duration{0, 11 * second}, -1},
		"silent for ever":            {[]answer{{hang: true}}, []time.Duration{0, 11 * second}, 0},
		"not found":                  {[]answer{{status: 404}, ok}, []time.Duration{0}, 404},
		"bad request":                {[]answer{{status: 400}, ok}, []time.Duration{0}, 400},
		"redirect":                   {[]answer{{status: 302, header: http.Header{"Location": {"https://evil.example.com/"}}}, ok}, []time.Duration{0}, 302},
		"not recorded":               {[]answer{{status: 200, body: "OK (not found)"}, ok}, []time.Duration{0}, 200},
		"recorded later":             {[]answer{{status: 200, body: "OK (rate limited)"}, ok}, []time.Duration{0, second}, -1},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newService(tt.answers...)
				n := newNotifier(t, notify.Options{Ping: ping, Timeout: 20 * time.Second, Client: &http.Client{Transport: s}})
				err := n.Send(t.Context(), good())
				if got := s.times(); !slices.Equal(got, tt.times) {
					t.Errorf("requests at %v; want %v", got, tt.times)
				}
				if time.Since(s.start) > 20*time.Second {
					t.Errorf("Send took %s; want no more than the timeout", time.Since(s.start))
				}
				e, failed := errors.AsType[*notify.Error](err)
				switch {
				case tt.status < 0 && err != nil:
					t.Errorf("Send: %v", err)
				case tt.status >= 0 && (!failed || e.Status != tt.status || e.Attempts != len(tt.times) || e.Remedy() == ""):
					t.Errorf("Send: %v; want an Error with status %d and a remedy", err, tt.status)
				}
			})
		})
	}
}

// TestApart wants one address that is dead not to keep the other from being
// told, nor to delay it.
func TestApart(t *testing.T) {
	for _, dead := range []string{"hc.example.com", "chat.example.com"} {
		t.Run(dead, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				silent, well := newService(answer{hang: true}), newService(answer{status: 200})
				client := &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
					if r.URL.Host == dead {
						return silent.RoundTrip(r)
					}
					return well.RoundTrip(r)
				})}
				err := newNotifier(t, notify.Options{Ping: ping, Webhook: webhook, Client: client}).Send(t.Context(), good())
				if e, ok := errors.AsType[*notify.Error](err); !ok || e.Server != "https://"+dead {
					t.Errorf("Send: %v; want an Error of %s", err, dead)
				}
				if got := well.times(); !slices.Equal(got, []time.Duration{0}) {
					t.Errorf("the other was told at %v; want at once", got)
				}
			})
		})
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(answer{status: 503})
		n := newNotifier(t, notify.Options{Ping: ping, Client: &http.Client{Transport: s}})
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(1500*time.Millisecond, cancel)
		if err := n.Send(ctx, good()); !errors.Is(err, context.Canceled) {
			t.Errorf("Send: %v; want that it was cancelled", err)
		}
		if took := time.Since(s.start); took != 1500*time.Millisecond {
			t.Errorf("Send ended after %s; want at once", took)
		}
	})
}

func TestNothingToDo(t *testing.T) {
	if err := newNotifier(t, notify.Options{}).Send(t.Context(), bad()); err != nil {
		t.Errorf("Send without addresses: %v", err)
	}
}

// TestSecrets lets everything fail over a real network, and looks for the
// addresses in what comes out.
func TestSecrets(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", "/elsewhere"+r.URL.Path)
		switch {
		case strings.Contains(r.URL.Path, "redirect"):
			w.WriteHeader(http.StatusTemporaryRedirect)
		case strings.Contains(r.URL.Path, "busy"):
			w.WriteHeader(http.StatusBadGateway)
		case strings.Contains(r.URL.Path, "cut"):
			panic(http.ErrAbortHandler)
		default:
			w.WriteHeader(http.StatusForbidden)
		}
		fmt.Fprintf(w, "you asked for %s", r.URL) // As many servers do.
	}))
	closed := httptest.NewServer(http.NotFoundHandler())
	closed.Close()
	t.Cleanup(server.Close)
	for _, address := range []string{
		server.URL + "/SECRET", server.URL + "/redirect/SECRET", server.URL + "/busy/SECRET?k=SECRET",
		server.URL + "/cut/SECRET", closed.URL + "/SECRET", strings.Replace(server.URL, "http:", "https:", 1) + "/SECRET",
		strings.Replace(server.URL, "http://", "http://user:SECRET@", 1),
	} {
		t.Run(address, func(t *testing.T) {
			var log bytes.Buffer
			n := newNotifier(t, notify.Options{
				Ping: address, Webhook: address, Timeout: 3 * time.Second, // One repetition.
				Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})),
			})
			err := n.Send(t.Context(), good())
			if err == nil {
				t.Fatal("Send succeeded")
			}
			e, ok := errors.AsType[*notify.Error](err)
			if !ok {
				t.Fatalf("Send: %v; want an Error", err)
			}
			out := fmt.Sprintf("%v %+v %s %s", err, e, e.Remedy(), &log)
			for cause := error(e); cause != nil; cause = errors.Unwrap(cause) {
				out += fmt.Sprintf("%#v", cause)
			}
			if strings.Contains(out, "SECRET") {
				t.Errorf("the address is told:\n%s", out)
			}
			if e.Server == "" || !strings.Contains(err.Error(), e.Server) {
				t.Errorf("%v; want the server's name", err)
			}
		})
	}
}

func TestPrinting(t *testing.T) {
	o := notify.Options{Ping: ping, Webhook: webhook, Timeout: time.Second}
	n := newNotifier(t, o)
	marshalled, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	const want = "ping https://hc.example.com, webhook https://chat.example.com, timeout 1s"
	for _, got := range []string{
		fmt.Sprint(o), fmt.Sprintf("%+v", &o), fmt.Sprintf("%#v", o), fmt.Sprint(n), fmt.Sprintf("%#v", n),
		strings.Trim(string(marshalled), `"`),
	} {
		if got != want {
			t.Errorf("%s; want %s", got, want)
		}
	}
	if got := fmt.Sprint(notify.Options{Ping: "http://h/%zzSECRET"}); got != "ping malformed, webhook none, timeout 0s" {
		t.Error(got)
	}
}

func TestNewRefuses(t *testing.T) {
	for _, address := range []string{"hc.example.com/SECRET", "ftp://h/SECRET", "http:///SECRET", "http://h/%zzSECRET", "http://h\x7f/SECRET"} {
		for _, o := range []notify.Options{{Ping: address}, {Webhook: address}} {
			_, err := notify.New(o)
			e, ok := errors.AsType[*notify.Error](err)
			if !ok || strings.Contains(e.Error()+e.Remedy(), "SECRET") || !strings.Contains(e.Remedy(), e.Target) {
				t.Errorf("New: %v; want an Error without the address", err)
			}
		}
	}
}
