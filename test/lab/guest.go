package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"al.essio.dev/pkg/shellescape"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/glusterbackupd/glusterbackupd/test/lab/servers"
)

// Lab is a lab that runs. Its methods may be called from several goroutines;
// its State is the caller's to guard.
type Lab struct {
	State

	mu     sync.Mutex
	client *ssh.Client // Opened by the first command, reopened when it broke.
}

// Enter prefixes a command so that it runs in the lab's network namespace and
// in the host's mount namespace: what it mounts is seen by everybody.
func (l *Lab) Enter(args ...string) []string {
	return append([]string{"nsenter", "--net=" + servers.NetNSPath(l.NetNS), "--"}, args...)
}

// Host runs a command on the host, inside the lab's network namespace, and
// returns its standard output.
func (l *Lab) Host(ctx context.Context, args ...string) ([]byte, error) {
	args = l.Enter(args...)
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.WaitDelay = 5 * time.Second
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return out, fmt.Errorf("%s: %w: %s", strings.Join(args[3:], " "), err, strings.TrimSpace(stderr.String()))
	}
	return out, nil
}

// Guest runs a command in the guest as root and returns its standard output.
func (l *Lab) Guest(ctx context.Context, args ...string) ([]byte, error) {
	return l.GuestInput(ctx, nil, args...)
}

// Script runs a POSIX shell script in the guest, with arguments $1, $2 and so
// on. The script comes on standard input, so what it holds shows in no process
// list.
func (l *Lab) Script(ctx context.Context, script string, args ...string) ([]byte, error) {
	return l.GuestInput(ctx, strings.NewReader(script), append([]string{"sh", "-eu", "-s", "--"}, args...)...)
}

// GuestInput is Guest with a standard input.
func (l *Lab) GuestInput(ctx context.Context, stdin io.Reader, args ...string) ([]byte, error) {
	session, err := l.session(ctx)
	if err != nil {
		return nil, err
	}
	defer session.Close()
	defer context.AfterFunc(ctx, func() { session.Close() })()
	var stdout, stderr bytes.Buffer
	session.Stdin, session.Stdout, session.Stderr = stdin, &stdout, &stderr
	if err := session.Run(shellescape.QuoteCommand(args)); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return stdout.Bytes(), fmt.Errorf("guest: %s: %w: %s", args[0], err, strings.TrimSpace(stderr.String()))
	}
	return stdout.Bytes(), nil
}

// session opens a session on the one connection, dialling when there is none
// or when the old one no longer answers.
func (l *Lab) session(ctx context.Context) (*ssh.Session, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.client != nil {
		if session, err := l.client.NewSession(); err == nil {
			return session, nil
		}
		l.client.Close()
		l.client = nil
	}
	client, err := l.dial(ctx)
	if err != nil {
		return nil, fmt.Errorf("guest: %w", err)
	}
	l.client = client
	return client.NewSession()
}

func (l *Lab) dial(ctx context.Context) (*ssh.Client, error) {
	pem, err := os.ReadFile(l.SSHKey)
	if err != nil {
		return nil, err
	}
	key, err := ssh.ParsePrivateKey(pem)
	if err != nil {
		return nil, err
	}
	hosts, err := knownhosts.New(l.KnownHosts)
	if err != nil {
		return nil, err
	}
	address := net.JoinHostPort(l.Address, "22")
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	conn, err := servers.Env{NetNS: l.NetNS}.Dial(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	c, channels, requests, err := ssh.NewClientConn(conn, address, &ssh.ClientConfig{
		User: l.SSHUser, Auth: []ssh.AuthMethod{ssh.PublicKeys(key)},
		HostKeyCallback: hosts, HostKeyAlgorithms: []string{ssh.KeyAlgoED25519},
	})
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return ssh.NewClient(c, channels, requests), nil
}

// Close ends the connection to the guest. The lab stays up.
func (l *Lab) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.client == nil {
		return nil
	}
	err := l.client.Close()
	l.client = nil
	return err
}
