// Package notify tells somebody outside how a slot of the schedule went: a
// check after the convention of healthchecks.io, and a webhook that takes JSON.
// Both also notice by silence that the daemon is gone, which no message from
// it can tell.
//
// It sends what it is given. It does not decide when a slot is over or what
// counts as a failure of a run, keeps no queue, and forgets a summary that
// could not be delivered within its time.
//
// The addresses may hold secrets. Nothing that leaves this package, errors and
// logs included, has more of them than scheme and host, and redirects are not
// followed, since they would pass the address on to another server.
package notify

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"sync"
	"time"
)

// defaultTimeout is the time for one address, all attempts included.
const defaultTimeout = 30 * time.Second

// Options configure [New].
type Options struct {
	// Ping and Webhook are http or https addresses; "" means none.
	Ping, Webhook string
	// Timeout bounds the delivery to one address with all attempts; 0 means
	// 30 seconds. Both addresses are served at the same time.
	Timeout time.Duration
	// Client sends the requests; nil means one with net/http's default
	// transport. Redirects are not followed whatever it says.
	Client *http.Client
	// Logger gets attempts that are repeated. Optional.
	Logger *slog.Logger
}

// Format implements [fmt.Formatter], so that no verb prints an address.
func (o Options) Format(f fmt.State, _ rune) {
	tell := func(address string) string {
		u, err := parse("", address)
		if err != nil {
			return "malformed"
		}
		return told(u)
	}
	_, _ = fmt.Fprintf(f, "ping %s, webhook %s, timeout %s", tell(o.Ping), tell(o.Webhook), o.Timeout)
}

// MarshalText implements [encoding.TextMarshaler], so that neither JSON nor a
// structured log shows an address.
func (o Options) MarshalText() ([]byte, error) { return fmt.Append(nil, o), nil }

// Notifier sends summaries. It is safe for concurrent use.
type Notifier struct {
	ping, fail, webhook *url.URL // Nil means none.
	timeout             time.Duration
	client              *http.Client
	log                 *slog.Logger
}

// Format implements [fmt.Formatter], so that no verb prints an address.
func (n *Notifier) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "ping %s, webhook %s, timeout %s", told(n.ping), told(n.webhook), n.timeout)
}

// told is as much of an address as may be shown; nil is none.
func told(u *url.URL) string {
	if u == nil {
		return "none"
	}
	return server(u)
}

// New checks the options. It does not connect.
func New(o Options) (*Notifier, error) {
	ping, err := parse("ping", o.Ping)
	if err != nil {
		return nil, err
	}
	webhook, err := parse("webhook", o.Webhook)
	if err != nil {
		return nil, err
	}
	n := &Notifier{ping: ping, webhook: webhook, timeout: o.Timeout, client: &http.Client{}, log: o.Logger}
	if ping != nil {
		n.fail = ping.JoinPath("fail") // Keeps the query.
	}
	if n.timeout <= 0 {
		n.timeout = defaultTimeout
	}
	if o.Client != nil {
		*n.client = *o.Client
	}
	n.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	if n.log == nil {
		n.log = slog.New(slog.DiscardHandler)
	}
	return n, nil
}

func parse(target, address string) (*url.URL, error) {
	if address == "" {
		return nil, nil //nolint:nilnil // No address is a valid setting, and the zero value of its type.
	}
	u, err := url.Parse(address)
	// The error of url.Parse repeats the address.
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "" {
		return nil, &Error{
			Target: target, cause: errors.New("malformed address"),
			remedy: `Set ` + target + ` in section [notify] to an address like "https://example.com/path", or to "" for none.`,
		}
	}
	return u, nil
}

// Send delivers the summary to every address there is, and returns when all
// have it or have failed. The error joins an [*Error] for each that failed; one
// address never keeps the other from being told.
func (n *Notifier) Send(ctx context.Context, s Summary) error {
	var messages []message
	if n.ping != nil {
		messages = append(messages, n.pingMessage(s))
	}
	if n.webhook != nil {
		m, err := n.webhookMessage(s)
		if err != nil {
			return err
		}
		messages = append(messages, m)
	}
	errs := make([]error, len(messages))
	var wg sync.WaitGroup
	for i, m := range messages {
		wg.Go(func() { errs[i] = n.deliver(ctx, m) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// message is one request that may have to be repeated.
type message struct {
	target      string // "ping" or "webhook", as in the configuration.
	url         *url.URL
	contentType string
	body        []byte
	// check looks at the text of an answer with status 2xx.
	check func(text string) verdict
}

// pingMessage follows healthchecks.io: a POST to the address means success, and
// one to the address with /fail failure; the body is kept for people. /start is
// not sent: a slot that takes long is not a fault.
func (n *Notifier) pingMessage(s Summary) message {
	m := message{target: "ping", url: n.ping, contentType: "text/plain; charset=utf-8", body: []byte(s.Text()), check: pinged}
	if !s.OK() {
		m.url = n.fail
	}
	return m
}

func (n *Notifier) webhookMessage(s Summary) (message, error) {
	body, err := s.document()
	if err != nil {
		return message{}, err
	}
	return message{
		target: "webhook", url: n.webhook, contentType: "application/json", body: body,
		check: func(string) verdict { return delivered },
	}, nil
}
