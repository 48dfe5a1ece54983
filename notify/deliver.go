package notify

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	attempts = 4
	// backoff is the pause after the first attempt; each later one is twice as
	// long.
	backoff = time.Second
	// maxAnswer is how much of an answer is read, in bytes.
	maxAnswer = 4 << 10
)

// verdict is what one attempt means for the next.
type verdict int

const (
	refused   verdict = iota // The same request would be refused again.
	temporary                // The same request may succeed later.
	delivered
)

// deliver sends until the message is delivered or refused, or the time or the
// attempts are used up. One attempt may take half of the time, so that a server
// that accepts connections and is silent gets a second chance.
func (n *Notifier) deliver(ctx context.Context, m message) error {
	ctx, cancel := context.WithTimeout(ctx, n.timeout)
	defer cancel()
	pause := backoff
	for i := 1; ; i++ {
		a := n.attempt(ctx, m)
		if a.verdict == delivered {
			return nil
		}
		wait := max(pause, a.retryAfter)
		pause *= 2
		deadline, _ := ctx.Deadline()
		if a.verdict == refused || i == attempts || ctx.Err() != nil || time.Until(deadline) <= wait {
			return failure(m, a, i)
		}
		n.log.Info("notification is tried again",
			"target", m.target, "server", server(m.url), "attempt", i, "wait", wait, "error", a.cause)
		select {
		case <-ctx.Done():
			a.cause = context.Cause(ctx)
			return failure(m, a, i)
		case <-time.After(wait):
		}
	}
}

// attempt is the outcome of one request.
type attempt struct {
	verdict    verdict
	status     int // 0 without an answer.
	cause      error
	retryAfter time.Duration
}

func (n *Notifier) attempt(ctx context.Context, m message) attempt {
	ctx, cancel := context.WithTimeout(ctx, n.timeout/2)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, m.url.String(), bytes.NewReader(m.body))
	if err != nil {
		return attempt{verdict: refused, cause: bare(err)}
	}
	request.Header.Set("Content-Type", m.contentType)
	request.Header.Set("User-Agent", "glusterbackupd")
	response, err := n.client.Do(request)
	if err != nil {
		return attempt{verdict: temporary, cause: bare(err)}
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		text = nil // The status came: the server has the message.
	}
	return m.judge(response, string(text))
}

// judge classifies an answer. What the server says is not repeated: it may
// quote the address.
func (m message) judge(r *http.Response, text string) attempt {
	a := attempt{status: r.StatusCode, cause: fmt.Errorf("status %d %s", r.StatusCode, http.StatusText(r.StatusCode))}
	switch {
	case r.StatusCode >= 200 && r.StatusCode < 300:
		if a.verdict = m.check(text); a.verdict != delivered {
			a.cause = errors.New("the server answers OK and did not record it")
		}
	case r.StatusCode == http.StatusTooManyRequests || r.StatusCode >= 500:
		a.verdict, a.retryAfter = temporary, retryAfter(r.Header)
	}
	return a
}

// pinged knows that healthchecks.io answers 200 also when it drops a ping, and
// says so in the text.
func pinged(text string) verdict {
	switch {
	case strings.HasPrefix(text, "OK (not found)"):
		return refused
	case strings.HasPrefix(text, "OK (rate limited)"):
		return temporary
	}
	return delivered
}

// retryAfter reads the header's form in seconds; its other form, a date, needs
// a clock that agrees with the server's.
func retryAfter(h http.Header) time.Duration {
	n, err := strconv.Atoi(h.Get("Retry-After"))
	if err != nil || n < 0 {
		return 0
	}
	return time.Duration(min(n, 3600)) * time.Second
}

// bare takes the address off an error of net/http, which repeats all of it.
func bare(err error) error {
	for {
		e, ok := errors.AsType[*url.Error](err)
		if !ok {
			return err
		}
		err = e.Err
	}
}

// server is as much of an address as may be told.
func server(u *url.URL) string { return u.Scheme + "://" + u.Host }
