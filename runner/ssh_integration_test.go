//go:build integration

package runner_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/glusterbackupd/glusterbackupd/runner"
)

func TestSSHArgumentsArrive(t *testing.T) {
	h := startServer(t).connect(t, runner.SSHOptions{})
	args := []string{"a b", "", "'", `"$HOME"`, "\n", "\xff", "-n", "A=b", "*", `\`}
	out, err := h.Run(t.Context(), append([]string{"printf", `%s\0`}, args...)...)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00"); !slices.Equal(got, args) {
		t.Errorf("the host got %q, want %q", got, args)
	}
}

func TestSSHExitError(t *testing.T) {
	h := startServer(t).connect(t, runner.SSHOptions{})
	out, err := h.Run(t.Context(), "sh", "-c", "echo out; echo first >&2; seq 1 100000 >&2; echo 'the reason' >&2; exit 7")
	var exit *runner.ExitError
	if !errors.As(err, &exit) {
		t.Fatalf("Run = %v, want an *ExitError", err)
	}
	if exit.Host != "127.0.0.1" || exit.Command != "sh" || exit.Code != 7 || string(out) != "out\n" {
		t.Errorf("error = %+v, output %q", exit, out)
	}
	if len(exit.Stderr) != 4096 || !strings.HasSuffix(exit.Stderr, "\n100000\nthe reason\n") {
		t.Errorf("stderr tail of %d bytes ends in %q", len(exit.Stderr), exit.Stderr[max(0, len(exit.Stderr)-40):])
	}
	if _, err := h.Run(t.Context(), "sh", "-c", "kill -9 $$"); !errors.As(err, &exit) || exit.Code != 137 {
		t.Errorf("killed command: %v, want exit code 137", err)
	}
	if _, err := h.Run(t.Context(), "no-such-command-here"); !errors.As(err, &exit) || exit.Code != 127 {
		t.Errorf("missing command: %v, want exit code 127", err)
	}
}

func TestSSHHostKeyChanged(t *testing.T) {
	s := startServer(t)
	_, other := newKey(t, "other", "")
	known := s.knownHosts(t, other, s.port)
	h := s.connect(t, runner.SSHOptions{KnownHosts: known})
	_, err := h.Run(t.Context(), "true")
	wantConnectError(t, err, runner.ErrHostKey)
	offered := ssh.FingerprintSHA256(s.hostKeys[0].PublicKey())
	if !strings.Contains(err.Error(), "has changed: "+known+":1") || !strings.Contains(err.Error(), offered) {
		t.Errorf("error %q does not name the line and the offered key", err)
	}
	wantRemedy(t, err, "ssh-keygen -R", fmt.Sprintf("[127.0.0.1]:%d", s.port), known, offered)

	// Both files are read again, so that a repaired one works at once.
	put(t, known, knownhosts.Line([]string{knownhosts.Normalize(s.addr())}, s.hostKeys[0].PublicKey())+"\n")
	if _, err := h.Run(t.Context(), "true"); err != nil {
		t.Errorf("after the repair: %v", err)
	}
}

// A host that no longer has a key of the known type is refused too.
func TestSSHHostKeyTypeChanged(t *testing.T) {
	s := startServer(t)
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ssh.NewPublicKey(&private.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	known := s.knownHosts(t, key, s.port)
	_, err = s.connect(t, runner.SSHOptions{KnownHosts: known}).Run(t.Context(), "true")
	wantConnectError(t, err, runner.ErrHostKey)
	wantRemedy(t, err, known)
}

func TestSSHUnknownHost(t *testing.T) {
	s := startServer(t)
	known := writeFile(t, "known_hosts", knownhosts.Line([]string{"elsewhere"}, s.hostKeys[0].PublicKey())+"\n")
	_, err := s.connect(t, runner.SSHOptions{KnownHosts: known}).Run(t.Context(), "true")
	wantConnectError(t, err, runner.ErrHostKey)
	if !strings.Contains(err.Error(), "not in known_hosts") {
		t.Errorf("error = %q", err)
	}
	wantRemedy(t, err, known)
}

// The host has several keys; whichever the file knows is the one asked for.
func TestSSHKnownKeyIsAskedFor(t *testing.T) {
	s := startServer(t)
	for _, key := range s.hostKeys {
		known := s.knownHosts(t, key.PublicKey(), s.port)
		if _, err := s.connect(t, runner.SSHOptions{KnownHosts: known}).Run(t.Context(), "true"); err != nil {
			t.Errorf("known by its %s key: %v", key.PublicKey().Type(), err)
		}
	}
	hashed := knownhosts.HashHostname(knownhosts.Normalize(s.addr())) + " " + string(ssh.MarshalAuthorizedKey(s.hostKeys[1].PublicKey()))
	if _, err := s.connect(t, runner.SSHOptions{KnownHosts: writeFile(t, "known_hosts", hashed)}).Run(t.Context(), "true"); err != nil {
		t.Errorf("known by a hashed line: %v", err)
	}
}

// An authority is trusted only through certificates that it has signed.
func TestSSHCertificate(t *testing.T) {
	s := startServer(t)
	_, other := newKey(t, "other", "")
	line := func(key ssh.PublicKey) string {
		return "@cert-authority * " + string(ssh.MarshalAuthorizedKey(key))
	}
	addr := knownhosts.Normalize(s.addr())
	known := writeFile(t, "known_hosts", strings.Replace(line(s.authority), "*", addr, 1))
	if _, err := s.connect(t, runner.SSHOptions{KnownHosts: known}).Run(t.Context(), "true"); err != nil {
		t.Errorf("known by its authority: %v", err)
	}
	known = writeFile(t, "known_hosts", strings.Replace(line(other), "*", addr, 1))
	_, err := s.connect(t, runner.SSHOptions{KnownHosts: known}).Run(t.Context(), "true")
	wantConnectError(t, err, runner.ErrHostKey)
}

func TestSSHKeyRefused(t *testing.T) {
	s := startServer(t)
	stranger, _ := newKey(t, "stranger", "")
	_, err := s.connect(t, runner.SSHOptions{KeyFile: stranger}).Run(t.Context(), "true")
	wantConnectError(t, err, runner.ErrAuth)
	wantRemedy(t, err, stranger, "authorized_keys", s.user)
}

func wantConnectError(t *testing.T, err, kind error) {
	t.Helper()
	var conn *runner.ConnectError
	if !errors.Is(err, kind) || !errors.As(err, &conn) || conn.Temporary() {
		t.Fatalf("Run = %v, want a final *ConnectError with %v", err, kind)
	}
}

func TestSSHReconnect(t *testing.T) {
	s := startServer(t)
	h := s.connect(t, runner.SSHOptions{})
	first := servedBy(t, h)
	kill(t, s.children(t))
	second := servedBy(t, h)
	if first == second {
		t.Errorf("both commands came over connection %s", first)
	}
}

func TestSSHConnectionLost(t *testing.T) {
	s := startServer(t)
	h := s.connect(t, runner.SSHOptions{})
	mark := filepath.Join(t.TempDir(), "pid")
	ended := make(chan error, 1)
	go func() { ended <- runLong(t.Context(), h, mark) }()
	pid := waitPID(t, mark)
	kill(t, s.children(t))
	err := <-ended
	var lost *runner.LostError
	if !errors.Is(err, runner.ErrConnectionLost) || errors.Is(err, runner.ErrUnreachable) || !errors.As(err, &lost) || !lost.Temporary() {
		t.Errorf("Run = %v, want ErrConnectionLost", err)
	}
	kill(t, []int{pid})
	servedBy(t, h)
}

// A host that falls silent is noticed by the keep-alive, and the next command
// dials again.
func TestSSHDeadConnection(t *testing.T) {
	s := startServer(t)
	r := startRelay(t, s.addr())
	h := s.connect(t, runner.SSHOptions{Port: r.port, KeepAlive: 100 * time.Millisecond})
	mark := filepath.Join(t.TempDir(), "pid")
	ended := make(chan error, 1)
	go func() { ended <- runLong(t.Context(), h, mark) }()
	pid := waitPID(t, mark)
	r.freeze()
	if err := <-ended; !errors.Is(err, runner.ErrConnectionLost) {
		t.Errorf("Run = %v, want ErrConnectionLost", err)
	}
	kill(t, []int{pid})
	servedBy(t, h)
}

// The same with nothing running: the next command does not hang, nor fail.
func TestSSHDeadIdleConnection(t *testing.T) {
	s := startServer(t)
	r := startRelay(t, s.addr())
	h := s.connect(t, runner.SSHOptions{Port: r.port, KeepAlive: 100 * time.Millisecond})
	servedBy(t, h)
	r.freeze()
	servedBy(t, h)
}

// runLong runs a command that writes its pid to mark and then takes an hour.
func runLong(ctx context.Context, h *runner.Host, mark string) error {
	_, err := h.Run(ctx, "sh", "-c", `echo $$ >"$0.new"; mv "$0.new" "$0"; exec sleep 3600`, mark)
	return err
}

func TestSSHCancel(t *testing.T) {
	s := startServer(t)
	h := s.connect(t, runner.SSHOptions{})
	first := servedBy(t, h)
	cause := errors.New("shutting down")
	ctx, cancel := context.WithCancelCause(t.Context())
	mark := filepath.Join(t.TempDir(), "pid")
	ended := make(chan error, 1)
	go func() { ended <- runLong(ctx, h, mark) }()
	pid := waitPID(t, mark)
	cancel(cause)
	if err := <-ended; !errors.Is(err, cause) {
		t.Errorf("Run = %v, want the context's cause", err)
	}
	if again := servedBy(t, h); again != first {
		t.Error("the connection was given up together with the command")
	}
	kill(t, []int{pid})
}

func TestSSHCancelWhileDialling(t *testing.T) {
	port := portOf(t, listen(t))
	h := newSSH(t, runner.SSHOptions{Port: port, DialTimeout: time.Hour}).Host("127.0.0.1")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := h.Run(ctx, "true"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Run = %v, want context.DeadlineExceeded", err)
	}
}

func TestSSHOutputTooLarge(t *testing.T) {
	h := startServer(t).connect(t, runner.SSHOptions{MaxOutput: 100_000})
	_, err := h.Run(t.Context(), "yes")
	var full *runner.OutputError
	if !errors.Is(err, runner.ErrOutputTooLarge) || !errors.As(err, &full) || full.Host != "127.0.0.1" || full.Command != "yes" {
		t.Errorf("Run = %v, want ErrOutputTooLarge", err)
	}
	if out, err := h.Run(t.Context(), "head", "-c", "100000", "/dev/zero"); err != nil || len(out) != 100_000 {
		t.Errorf("output of exactly the limit: %d bytes, %v", len(out), err)
	}
}

// More commands at a time than sshd takes sessions, on one connection.
func TestSSHConcurrent(t *testing.T) {
	s := startServer(t)
	h := s.connect(t, runner.SSHOptions{})
	var wg sync.WaitGroup
	var mu sync.Mutex
	seen := make(map[string]int)
	for i := range 40 {
		wg.Go(func() {
			out, err := h.Run(t.Context(), "sh", "-c", `echo "$SSH_CONNECTION $0"; sleep 0.01`, fmt.Sprint(i))
			if err != nil {
				t.Errorf("command %d: %v", i, err)
				return
			}
			f := strings.Fields(string(out))
			if f[len(f)-1] != fmt.Sprint(i) {
				t.Errorf("command %d got the output %q", i, out)
			}
			mu.Lock()
			defer mu.Unlock()
			seen[f[1]]++
		})
	}
	wg.Wait()
	if len(seen) != 1 {
		t.Errorf("connections by client port: %v, want one", seen)
	}
}

// servedBy runs a command and returns the client port of its connection.
func servedBy(t *testing.T, h *runner.Host) string {
	t.Helper()
	out, err := h.Run(t.Context(), "sh", "-c", "echo $SSH_CONNECTION")
	if err != nil {
		t.Fatal(err)
	}
	f := strings.Fields(string(out))
	if len(f) != 4 {
		t.Fatalf("SSH_CONNECTION is %q", out)
	}
	return f[1]
}
