package config

import (
	"net"
	"net/url"
	"strconv"
	"time"
)

// Metrics says where the daemon serves its Prometheus metrics and its health.
type Metrics struct {
	// Listen is the address and port for /metrics, /healthz, /readyz and
	// /status, or empty for none. They are served without a password, so that
	// the address should not be reachable from outside.
	Listen string `toml:"listen" example:"127.0.0.1:9281"`
}

func (m *Metrics) setDefaults() {
	*m = Metrics{Listen: "127.0.0.1:9280"}
}

func (m *Metrics) validate(r *report) {
	if m.Listen == "" {
		return
	}
	_, port, err := net.SplitHostPort(m.Listen)
	n, notNumber := strconv.Atoi(port)
	if err != nil || notNumber != nil || n < 1 || n > 65535 {
		r.add("metrics.listen", `want an address and a port like "127.0.0.1:9280", not %q`, m.Listen)
	}
}

// Notify says who is told of the result of each slot. The addresses may hold a
// secret; no log or error repeats them.
type Notify struct {
	// Ping is an address after the convention of healthchecks.io: it is asked
	// for when all runs of a slot succeeded, and with /fail at its end when one
	// did not. Empty means none.
	Ping string `toml:"ping" example:"https://hc.example.com/ping/uuid"`
	// Webhook is an address to which a JSON summary of each slot is posted.
	// Empty means none.
	Webhook string `toml:"webhook" example:"https://chat.example.com/hooks/backup"`
	// Timeout is how long to wait for an answer of either.
	Timeout Duration `toml:"timeout" example:"1m"`
}

func (n *Notify) setDefaults() {
	*n = Notify{Timeout: Duration(30 * time.Second)}
}

func (n *Notify) validate(r *report) {
	r.address("notify.ping", n.Ping)
	r.address("notify.webhook", n.Webhook)
	r.positive("notify.timeout", n.Timeout)
}

// address notes what is not an http address. The message does not repeat it.
func (r *report) address(key, address string) {
	u, err := url.Parse(address)
	if address != "" && (err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "") {
		r.add(key, `want an address like "https://example.com/path"`)
	}
}
