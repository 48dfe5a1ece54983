package glusterd2

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptrace"
	"time"

	"github.com/gluster/glusterd2/pkg/restclient"

	"github.com/glusterbackupd/glusterbackupd/gluster"
	"github.com/glusterbackupd/glusterbackupd/gluster/failover"
	"github.com/glusterbackupd/glusterbackupd/runner"
)

// maxAnswer bounds the memory that one answer may take. A snapshot of a volume
// with 100 bricks is about 40 KiB.
const maxAnswer = 32 << 20

// readTimeout limits questions that change nothing: glusterd, the older daemon,
// listens on the same port and may leave an HTTP request unanswered.
const readTimeout = time.Minute

// call is one request and what errors say about it.
type call struct {
	op               string // Such as "snapshot create".
	volume, snapshot string
	reads            bool // It changes nothing, so that it may be asked twice.
}

// error returns an *gluster.Error about the call.
func (q call) error(host string, kind, cause error) *gluster.Error {
	return &gluster.Error{Op: q.op, Volume: q.volume, Snapshot: q.snapshot, Host: host, Kind: kind, Err: cause}
}

// odd returns the error of an answer that is not what glusterd2 says.
func (q call) odd(host, format string, args ...any) error {
	return q.error(host, gluster.ErrAnswer, fmt.Errorf(format, args...))
}

// do makes the request at the server that answered last, or at the next one
// that can be reached. Only servers that have certainly not got it are passed
// over; a question that changes nothing they may have got.
func (c *Client) do(ctx context.Context, q call, request func(*restclient.Client) error) error {
	return c.set.Do(ctx, func(i int) error { return c.ask(ctx, c.urls[i], q, request) }, func(err error) failover.Verdict {
		switch {
		case errors.Is(err, runner.ErrAuth), errors.Is(err, gluster.ErrCertificate):
			return failover.Distrusted
		case errors.Is(err, runner.ErrUnreachable), q.reads && errors.Is(err, runner.ErrConnectionLost):
			return failover.Unreached
		}
		return failover.Answered
	})
}

// ask makes the request at one server, under ctx and the client's time-out.
func (c *Client) ask(ctx context.Context, base string, q call, request func(*restclient.Client) error) error {
	limit := c.timeout
	if q.reads {
		limit = min(limit, readTimeout)
	}
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	p := &performer{ctx: limited, base: c.base}
	client, err := c.connect(base, &http.Client{
		Transport: p,
		// The token must not follow a redirection to somebody else.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	})
	if err != nil {
		return err
	}
	err = request(client)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("%s on %s: %w", q.op, base, context.Cause(ctx))
	case p.status != 0:
		return answered(q, base, p, err)
	case !p.connected:
		return unconnected(q, base, err)
	case limited.Err() != nil:
		return q.error(base, gluster.ErrTimeout, fmt.Errorf("no answer within %v", limit))
	}
	return q.error(base, gluster.ErrTimeout, &runner.LostError{Host: base, Command: q.op, Err: innermost(err)})
}

// performer sends one request with the context that glusterd2's client has no
// parameter for, and remembers what its errors leave out.
type performer struct {
	ctx       context.Context //nolint:containedctx // It lives for one request.
	base      http.RoundTripper
	connected bool // A connection was made: the server may have got the request.
	status    int  // Of the answer, 0 when none came.
}

// RoundTrip implements http.RoundTripper.
func (p *performer) RoundTrip(r *http.Request) (*http.Response, error) {
	trace := &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { p.connected = true }}
	answer, err := p.base.RoundTrip(r.WithContext(httptrace.WithClientTrace(p.ctx, trace)))
	if err != nil {
		return nil, err
	}
	p.status = answer.StatusCode
	answer.Body = http.MaxBytesReader(nil, answer.Body, maxAnswer)
	return answer, nil
}
