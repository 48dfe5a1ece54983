package glusterd2

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/gluster/glusterd2/pkg/restclient"

	"github.com/glusterbackupd/glusterbackupd/gluster"
	"github.com/glusterbackupd/glusterbackupd/gluster/failover"
)

// Defaults of Options.
const (
	DefaultUser        = "glustercli"
	DefaultDialTimeout = 10 * time.Second
)

// Options are the settings of a Client. URLs is required.
type Options struct {
	// URLs are the addresses of the pool's servers, such as
	// "https://g1.example.com:24007". One is asked; the next only when it cannot
	// be reached.
	URLs []string
	// User is the issuer of the tokens, default "glustercli", the only one that
	// glusterd2 knows.
	User string
	// Secret is the content of the file auth in glusterd2's working folder; ""
	// is for a server that runs with restauth = false.
	Secret string
	// CAFile is a PEM file with the authorities that may have signed the
	// servers' certificates; "" means those of the operating system.
	CAFile string
	// DialTimeout limits a connection's set-up, TLS included, default 10 s.
	DialTimeout time.Duration
	// Timeout limits one request from its first byte to the last one of the
	// answer, default 10 min; one that changes nothing has a minute at most.
	Timeout time.Duration
	// Outages are shared by clients whose servers overlap, see gluster.Options.
	Outages *failover.Outages
	// Logger receives a warning when a server is passed over; nil discards.
	Logger *slog.Logger
}

// Format implements fmt.Formatter, so that no verb prints the secret.
func (o Options) Format(f fmt.State, _ rune) {
	secret := "none"
	if o.Secret != "" {
		secret = "hidden"
	}
	_, _ = fmt.Fprintf(f, "glusterd2 %v, user %s, secret %s, CA file %q", o.URLs, o.User, secret, o.CAFile)
}

// MarshalText implements encoding.TextMarshaler, so that neither JSON nor a
// structured log shows the secret.
func (o Options) MarshalText() ([]byte, error) { return fmt.Append(nil, o), nil }

// Client asks one pool. It is safe for concurrent use.
type Client struct {
	urls    []string
	timeout time.Duration
	base    *http.Transport
	set     *failover.Set // Of urls.
	// connect keeps user and secret in a closure, where no formatting verb
	// finds them.
	connect func(base string, h *http.Client) (*restclient.Client, error)
}

// New checks the options; it does not connect.
func New(o Options) (*Client, error) {
	urls := make([]string, len(o.URLs))
	for i, u := range o.URLs {
		var err error
		if urls[i], err = parseURL(u); err != nil {
			return nil, err
		}
	}
	if o.User == "" {
		o.User = DefaultUser
	}
	if o.DialTimeout <= 0 {
		o.DialTimeout = DefaultDialTimeout
	}
	if o.Timeout <= 0 {
		o.Timeout = gluster.DefaultTimeout
	}
	set, err := failover.New(failover.Options{Names: urls, Outages: o.Outages, Logger: o.Logger})
	if err != nil {
		return nil, fmt.Errorf("glusterd2: %w", err)
	}
	base, err := transport(o)
	if err != nil {
		return nil, err
	}
	c := &Client{urls: urls, timeout: o.Timeout, base: base, set: set}
	c.connect = func(base string, h *http.Client) (*restclient.Client, error) {
		client := &restclient.Client{}
		for _, set := range []restclient.ClientFunc{
			restclient.WithHTTPClient(h), restclient.WithBaseURL(base),
			restclient.WithUsername(o.User), restclient.WithPassword(o.Secret),
		} {
			if err := set(client); err != nil {
				return nil, err
			}
		}
		return client, nil
	}
	return c, nil
}

// transport is this package's own way to the network.
func transport(o Options) (*http.Transport, error) {
	t := &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         (&net.Dialer{Timeout: o.DialTimeout}).DialContext,
		TLSHandshakeTimeout: o.DialTimeout,
		TLSClientConfig:     &tls.Config{MinVersion: tls.VersionTLS12},
		DisableKeepAlives:   true, // glusterd2's client asks for that too.
		DisableCompression:  true,
	}
	if o.CAFile == "" {
		return t, nil
	}
	pem, err := os.ReadFile(o.CAFile)
	if err != nil {
		return nil, fmt.Errorf("glusterd2 certificate authorities: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("glusterd2 certificate authorities: no PEM certificate in %s", o.CAFile)
	}
	t.TLSClientConfig.RootCAs = pool
	return t, nil
}

// parseURL returns the base URL without a trailing slash. It never repeats a
// URL that has credentials in it.
func parseURL(s string) (string, error) {
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return "", errors.New("glusterd2: the URL cannot be parsed")
	case u.User != nil:
		return "", errors.New("glusterd2: the URL must not contain user or password")
	case u.Scheme != "http" && u.Scheme != "https", u.Hostname() == "", u.RawQuery != "", u.Fragment != "":
		return "", fmt.Errorf("glusterd2: URL %q is not of the form http://HOST:PORT or https://HOST:PORT", s)
	}
	return strings.TrimRight(u.String(), "/"), nil
}

// SnapshotPath is what glusterd2 serves an active snapshot under to those who
// mount it (gluster/glusterd2 glusterd2/servers/sunrpc/handshake_prog.go).
func SnapshotPath(snapshot, _ string) string { return "/snaps/" + snapshot }

// SnapshotPath is the function of that name.
func (*Client) SnapshotPath(snapshot, volume string) string { return SnapshotPath(snapshot, volume) }

// Ping asks for the snapshots. Success means that the server is glusterd2 and
// accepts user and secret; its own /ping would say neither.
func (c *Client) Ping(ctx context.Context) error {
	return c.do(ctx, call{op: "snapshot list", reads: true}, func(r *restclient.Client) error {
		_, err := r.SnapshotList("")
		return err
	})
}
