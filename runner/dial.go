package runner

import (
	"context"
	"errors"
	"net"
	"strconv"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
)

// link is one live connection. dead is closed when it has ended.
type link struct {
	client *ssh.Client
	dead   chan struct{}
}

// alive tells whether the connection has not been seen to end.
func (l *link) alive() bool {
	select {
	case <-l.dead:
		return false
	default:
		return true
	}
}

// attempt is one dial that any number of commands wait for. link and err are
// set before done is closed.
type attempt struct {
	done chan struct{}
	link *link
	err  error
}

// dial connects, checks the host key and authenticates, within DialTimeout.
func (h *Host) dial() (*link, error) {
	o := h.ssh.opts
	if err := context.Cause(h.ssh.ctx); err != nil {
		return nil, err
	}
	signer, err := readKey(o.KeyFile)
	if err != nil {
		return nil, err
	}
	known, err := readKnownHosts(o.KnownHosts)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(h.ssh.ctx, o.DialTimeout, errNoAnswer)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", h.addr())
	if err != nil {
		return nil, h.connectError(ErrUnreachable, cause(ctx, err), "")
	}
	client, err := h.handshake(ctx, conn, known, signer)
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	l := &link{client: client, dead: make(chan struct{})}
	go func() {
		_ = client.Wait() // Whatever the reason, the link is gone.
		_ = conn.Close()
		close(l.dead)
	}()
	go keepAlive(client, conn, o.KeepAlive, l.dead)
	return l, nil
}

var errNoAnswer = errors.New("no answer in time")

// handshake leaves conn to the caller when it fails.
func (h *Host) handshake(ctx context.Context, conn net.Conn, known knownHosts, signer ssh.Signer) (*ssh.Client, error) {
	var refused error
	var fingerprint string
	config := &ssh.ClientConfig{
		User:              h.ssh.opts.User,
		Auth:              []ssh.AuthMethod{ssh.PublicKeys(signer)},
		HostKeyAlgorithms: known.algorithms(h.addr()),
		HostKeyCallback: func(addr string, remote net.Addr, key ssh.PublicKey) error {
			err := known.check(addr, remote, key)
			if err != nil {
				fingerprint = ssh.FingerprintSHA256(key)
				refused = describe(err, key)
			}
			return err
		},
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	c, chans, reqs, err := ssh.NewClientConn(conn, h.addr(), config)
	switch {
	case refused != nil:
		return nil, h.connectError(ErrHostKey, refused, fingerprint)
	case err != nil:
		return nil, h.connectError(kindOf(err), cause(ctx, err), "")
	case !stop():
		return nil, h.connectError(ErrUnreachable, context.Cause(ctx), "")
	}
	return ssh.NewClient(c, chans, reqs), nil
}

// kindOf sorts a failed handshake. x/crypto/ssh has no type for a refused user
// key, only this text.
func kindOf(err error) error {
	var nego *ssh.AlgorithmNegotiationError
	switch {
	case errors.As(err, &nego) && strings.Contains(err.Error(), "host key"):
		return ErrHostKey
	case strings.Contains(err.Error(), "unable to authenticate"):
		return ErrAuth
	}
	return ErrUnreachable
}

// cause prefers the reason why ctx ended to the error that this led to.
func cause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

func (h *Host) connectError(kind, err error, fingerprint string) error {
	if errors.Is(err, ErrClosed) {
		return err
	}
	o := h.ssh.opts
	return &ConnectError{
		Host: h.name, Addr: h.addr(), User: o.User, Kind: kind, Err: err,
		keyFile: o.KeyFile, knownHosts: o.KnownHosts, fingerprint: fingerprint,
	}
}

func (h *Host) addr() string { return net.JoinHostPort(h.name, strconv.Itoa(h.ssh.opts.Port)) }

// keepAlive asks the host every interval and closes conn when an answer fails
// to come for as long. It ends with the connection.
func keepAlive(client *ssh.Client, conn net.Conn, interval time.Duration, dead <-chan struct{}) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-dead:
			return
		case <-ticker.C:
		}
		timer := time.AfterFunc(interval, func() { _ = conn.Close() })
		_, _, err := client.SendRequest("keepalive@openssh.com", true, nil)
		timer.Stop()
		if err != nil {
			_ = conn.Close()
			return
		}
	}
}
