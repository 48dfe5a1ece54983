package runner

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
)

// maxSessions bounds the commands that run at a time on one connection; sshd's
// MaxSessions is 10 by default and an eleventh would fail.
const maxSessions = 8

// Host runs commands on one host, all over one connection, which is made by the
// first command and made again by the next one after it broke. It is safe for
// concurrent use.
type Host struct {
	ssh   *SSH
	name  string
	slots chan struct{}

	mu      sync.Mutex
	current *link
	dialing *attempt
}

// Name returns the host's name as given to SSH.Host.
func (h *Host) Name() string { return h.name }

// Run runs args on the host and returns the standard output. A command that ran
// and failed yields its output together with an *ExitError. A *ConnectError
// means that it was not started; a *LostError, or an error that matches the
// context's cause, means that it may have run or may still be running there.
// One that wrote too much yields an error that matches ErrOutputTooLarge.
func (h *Host) Run(ctx context.Context, args ...string) ([]byte, error) {
	if err := checkArgs(args); err != nil {
		return nil, err
	}
	if err := ValidHost(h.name); err != nil {
		return nil, err
	}
	name := commandName(args)
	// Below, a context that has ended would only win most of the time.
	if err := context.Cause(ctx); err != nil {
		return nil, fmt.Errorf("%s on %s: %w", name, h.name, err)
	}
	start := time.Now()
	out, err := h.run(ctx, args)
	h.ssh.opts.Logger.DebugContext(ctx, "command ended", "host", h.name, "args", args, "duration", time.Since(start), "ok", err == nil)
	var exit *ssh.ExitError
	var full *OutputError
	var lost *LostError
	switch {
	case err == nil:
		return out.stdout.Bytes(), nil
	case errors.As(err, &full):
		return nil, err
	case ctx.Err() != nil:
		return nil, fmt.Errorf("%s on %s: %w", name, h.name, context.Cause(ctx))
	case errors.As(err, &exit):
		return out.stdout.Bytes(), &ExitError{Host: h.name, Command: name, Code: exit.ExitStatus(), Stderr: out.stderr.String()}
	case errors.As(err, &lost):
		lost.Command = name
	}
	return nil, err
}

// output is what one command wrote.
type output struct {
	stdout *bounded
	stderr *tail
}

// run waits for a free slot and a connection, then runs args on it.
func (h *Host) run(ctx context.Context, args []string) (*output, error) {
	select {
	case h.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	release := func() { <-h.slots }
	session, err := h.session(ctx)
	if err != nil {
		release()
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	limit := h.ssh.opts.MaxOutput
	out := &output{stderr: &tail{}, stdout: &bounded{
		limit: limit,
		full:  func() { cancel(&OutputError{Host: h.name, Command: commandName(args), Limit: limit}) },
	}}
	session.Stdout, session.Stderr = out.stdout, out.stderr
	ended := make(chan error, 1)
	go func() {
		// The slot stays taken as long as the host's side of the session does.
		defer release()
		defer session.Close()
		ended <- session.Run(quote(args))
	}()
	select {
	case err = <-ended:
	case <-ctx.Done():
		go abandon(session)
		return nil, context.Cause(ctx)
	}
	var exit *ssh.ExitError
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case err != nil && !errors.As(err, &exit):
		return nil, &LostError{Host: h.name, Err: err}
	}
	return out, err
}

// abandon ends a session without waiting: on a dead connection both requests
// block until the keep-alive closes it. The signal reaches the command only
// where sshd allows it.
func abandon(session *ssh.Session) {
	_ = session.Signal(ssh.SIGTERM)
	_ = session.Close()
}

// session opens a session on the current connection. When that one turns out to
// be broken, nothing was started yet, so it is replaced once.
func (h *Host) session(ctx context.Context) (*ssh.Session, error) {
	for last := false; ; last = true {
		l, err := h.connect(ctx)
		if err != nil {
			return nil, err
		}
		session, err := openSession(ctx, l)
		if err == nil {
			return session, nil
		}
		var refused *ssh.OpenChannelError
		switch {
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case last, errors.As(err, &refused):
			return nil, h.connectError(ErrUnreachable, fmt.Errorf("open a session: %w", err), "")
		}
		h.forget(l)
	}
}

func openSession(ctx context.Context, l *link) (*ssh.Session, error) {
	type result struct {
		session *ssh.Session
		err     error
	}
	opened := make(chan result, 1)
	go func() {
		s, err := l.client.NewSession()
		opened <- result{s, err}
	}()
	select {
	case r := <-opened:
		return r.session, r.err
	case <-ctx.Done():
		go func() {
			if r := <-opened; r.err == nil {
				_ = r.session.Close()
			}
		}()
		return nil, context.Cause(ctx)
	}
}

// connect returns the live connection or waits for a new one. The dial itself
// does not depend on ctx: others may be waiting for it too.
func (h *Host) connect(ctx context.Context) (*link, error) {
	h.mu.Lock()
	if h.current != nil && h.current.alive() {
		defer h.mu.Unlock()
		return h.current, nil
	}
	a := h.dialing
	if a == nil {
		a = &attempt{done: make(chan struct{})}
		h.dialing = a
		go h.attempt(a) //nolint:contextcheck // Others may wait for this dial after ctx has ended.
	}
	h.mu.Unlock()
	select {
	case <-a.done:
		return a.link, a.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func (h *Host) attempt(a *attempt) {
	start := time.Now()
	a.link, a.err = h.dial()
	h.ssh.opts.Logger.Debug("ssh connection", "host", h.name, "duration", time.Since(start), "ok", a.err == nil)
	h.mu.Lock()
	h.current, h.dialing = a.link, nil
	h.mu.Unlock()
	if a.link != nil && h.ssh.ctx.Err() != nil {
		// Close may have looked before this connection was there.
		_ = a.link.client.Close()
	}
	close(a.done)
}

// forget closes a broken connection, so that the next command dials again.
func (h *Host) forget(l *link) {
	h.mu.Lock()
	if h.current == l {
		h.current = nil
	}
	h.mu.Unlock()
	go func() { _ = l.client.Close() }()
}

func (h *Host) disconnect() {
	h.mu.Lock()
	l := h.current
	h.current = nil
	h.mu.Unlock()
	if l != nil {
		_ = l.client.Close()
	}
}
