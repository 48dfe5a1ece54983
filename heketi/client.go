package heketi

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	api "github.com/heketi/heketi/client/api/go-client"
)

const (
	defaultUser    = "admin"
	defaultTimeout = 30 * time.Second
	// maxAnswer bounds the memory that one answer may take. A volume with
	// 1000 bricks is about 250 KiB.
	maxAnswer = 16 << 20
)

// Options configure a [Client]. All but URL may be left zero.
type Options struct {
	// URL of the server, such as "http://heketi-storage.glusterfs.svc:8080".
	URL string
	// User is the issuer of the tokens; "" means "admin". Heketi's role "user"
	// may only list volumes and is refused by every other request.
	User string
	// Key is the secret that Heketi's configuration names jwt.admin.key. ""
	// is for a server that runs with use_auth set to false.
	Key string
	// CAFile is a PEM file with the authorities that may have signed an https
	// server's certificate; "" means those of the operating system.
	CAFile string
	// Timeout of each request, from connecting to the last byte of the answer;
	// 0 means 30 seconds.
	Timeout time.Duration
}

// Format implements [fmt.Formatter], so that no verb prints the key.
func (o Options) Format(f fmt.State, _ rune) {
	key := "none"
	if o.Key != "" {
		key = "hidden"
	}
	_, _ = fmt.Fprintf(f, "heketi %s, user %s, key %s, CA file %q, timeout %s", o.URL, o.User, key, o.CAFile, o.Timeout)
}

// MarshalText implements [encoding.TextMarshaler], so that neither JSON nor a
// structured log shows the key.
func (o Options) MarshalText() ([]byte, error) { return fmt.Append(nil, o), nil }

// Client asks one Heketi server. It is safe for concurrent use. Close releases
// its idle connections.
type Client struct {
	url     string
	timeout time.Duration
	http    *http.Client
	// connect keeps user and key in a closure, where no formatting verb finds
	// them.
	connect func(api.ClientFunc) *api.Client
}

// New checks the options and returns a client. It does not connect: use
// [Client.Ping] for that.
func New(o Options) (*Client, error) {
	base, err := parseURL(o.URL)
	if err != nil {
		return nil, err
	}
	if o.User == "" {
		o.User = defaultUser
	}
	if o.Timeout <= 0 {
		o.Timeout = defaultTimeout
	}
	transport := &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		TLSClientConfig:     &tls.Config{MinVersion: tls.VersionTLS12},
		MaxIdleConnsPerHost: 2,
		IdleConnTimeout:     time.Minute,
	}
	if o.CAFile != "" {
		if transport.TLSClientConfig.RootCAs, err = readCA(o.CAFile); err != nil {
			return nil, err
		}
	}
	c := &Client{
		url:     base,
		timeout: o.Timeout,
		http: &http.Client{
			Transport:     transport,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
	c.connect = func(f api.ClientFunc) *api.Client {
		// Without retries: the client's own sleep up to 30 seconds without
		// looking at a context.
		client := api.NewClientWithOptions(base, o.User, o.Key, api.ClientOptions{})
		client.SetClientFunc(f)
		return client
	}
	return c, nil
}

// Close closes connections that are idle. Requests under way go on.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// URL returns the server's base URL, without a trailing slash.
func (c *Client) URL() string { return c.url }

// Ping asks for the list of clusters. Success means that the server is Heketi
// and accepts user and key as its administrator; /hello would say neither.
func (c *Client) Ping(ctx context.Context) error {
	_, err := c.clusterIDs(ctx)
	return err
}

// call runs one request of the go-client under ctx and the client's time-out,
// and turns its failure into an *Error.
func (c *Client) call(ctx context.Context, op, id string, request func(*api.Client) error) error {
	return c.callBounded(ctx, op, id, bounds{}, request)
}

// bounds limit a call; what is zero is as for any other.
type bounds struct {
	answer int64         // The most bytes of an answer.
	time   time.Duration // From the first connecting to the last byte.
	follow bool          // Whether redirects on the server itself are followed.
}

// callBounded is call with other bounds.
func (c *Client) callBounded(ctx context.Context, op, id string, b bounds, request func(*api.Client) error) error {
	b.answer, b.time = cmp.Or(b.answer, maxAnswer), cmp.Or(b.time, c.timeout)
	if id != "" && !idPattern.MatchString(id) {
		return c.fail(op, id, ErrName, errors.New("an id is 32 hexadecimal digits"))
	}
	limited, cancel := context.WithTimeout(ctx, b.time)
	defer cancel()
	p := &performer{ctx: limited, http: c.http, most: b.answer}
	err := request(c.connect(func(_ *tls.Config, sign api.CheckRedirectFunc) (api.HttpPerformer, error) {
		if b.follow {
			p.http = c.following(sign)
		}
		return p, nil
	}))
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return c.fail(op, id, nil, context.Cause(ctx))
	case limited.Err() != nil:
		return c.fail(op, id, ErrUnreachable, fmt.Errorf("no answer within %s", b.time))
	case p.status == 0:
		return c.fail(op, id, ErrUnreachable, innermostURL(err))
	}
	return c.answered(op, id, p.status, err)
}

// following returns a client for what Heketi ends with a redirect to the result.
// sign is the go-client's, which makes a token for the new path; no other server
// gets one.
func (c *Client) following(sign api.CheckRedirectFunc) *http.Client {
	client := *c.http
	client.CheckRedirect = func(r *http.Request, via []*http.Request) error {
		if r.URL.Host != via[0].URL.Host || r.URL.Scheme != via[0].URL.Scheme {
			return http.ErrUseLastResponse
		}
		return sign(r, via)
	}
	return &client
}

// performer sends the requests of one call with its context, which the
// go-client has no parameter for, and remembers the status, which the
// go-client's errors leave out.
type performer struct {
	ctx    context.Context
	http   *http.Client
	most   int64 // Bytes that an answer may have.
	status int
}

// Do implements the go-client's HttpPerformer.
func (p *performer) Do(r *http.Request) (*http.Response, error) {
	answer, err := p.http.Do(r.WithContext(p.ctx))
	if err != nil {
		return nil, err
	}
	p.status = answer.StatusCode
	answer.Body = http.MaxBytesReader(nil, answer.Body, p.most)
	return answer, nil
}

// parseURL returns the base URL without a trailing slash. It never repeats a
// URL that has credentials in it.
func parseURL(s string) (string, error) {
	u, err := url.Parse(s)
	switch {
	case s == "":
		return "", errors.New("heketi: no URL")
	case err != nil:
		return "", errors.New("heketi: the URL cannot be parsed")
	case u.User != nil:
		return "", errors.New("heketi: the URL must not contain user or password")
	case u.Scheme != "http" && u.Scheme != "https", u.Hostname() == "", u.RawQuery != "", u.Fragment != "":
		return "", fmt.Errorf("heketi: URL %q is not of the form http://HOST:PORT or https://HOST:PORT", s)
	}
	return strings.TrimRight(u.String(), "/"), nil
}

func readCA(path string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("heketi certificate authorities: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("heketi certificate authorities: no PEM certificate in %s", path)
	}
	return pool, nil
}

// innermostURL strips the *url.Error, whose text repeats the URL.
func innermostURL(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	return err
}
