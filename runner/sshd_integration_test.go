//go:build integration

package runner_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/glusterbackupd/glusterbackupd/runner"
)

// server is a real OpenSSH server on a free loopback port.
type server struct {
	port      int
	user      string
	key       string        // A private key that it accepts.
	hostKeys  []ssh.Signer  // ed25519, then ecdsa.
	authority ssh.PublicKey // Has signed a certificate of the ecdsa key.
	process   *os.Process   // The listening sshd.
	log       *bytes.Buffer // Its log, complete after its end.
}

// startServer runs sshd until the test ends; it is stopped by its process id.
func startServer(t *testing.T) *server {
	t.Helper()
	// sshd that runs as root insists on this folder.
	if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
		t.Fatal(err)
	}
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	key, public := newKey(t, "id", "")
	l := listen(t)
	s := &server{port: portOf(t, l), user: me.Username, key: key, log: &bytes.Buffer{}}
	l.Close()
	var config strings.Builder
	fmt.Fprintf(&config, "ListenAddress 127.0.0.1:%d\nPidFile none\nUsePAM no\nStrictModes no\nLogLevel DEBUG1\n", s.port)
	fmt.Fprintf(&config, "PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\n")
	fmt.Fprintf(&config, "AuthorizedKeysFile %s/authorized_keys\nMaxStartups 100\n", dir)
	for _, kind := range []string{"ed25519", "ecdsa"} {
		path := filepath.Join(dir, "host_"+kind)
		if out, err := exec.Command("ssh-keygen", "-q", "-t", kind, "-N", "", "-f", path).CombinedOutput(); err != nil {
			t.Fatalf("ssh-keygen: %v: %s", err, out)
		}
		fmt.Fprintf(&config, "HostKey %s\n", path)
		if kind == "ecdsa" {
			s.authority = certify(t, path)
			fmt.Fprintf(&config, "HostCertificate %s-cert.pub\n", path)
		}
		s.hostKeys = append(s.hostKeys, readSigner(t, path))
	}
	put(t, filepath.Join(dir, "authorized_keys"), string(ssh.MarshalAuthorizedKey(public)))
	put(t, filepath.Join(dir, "sshd_config"), config.String())
	s.run(t, filepath.Join(dir, "sshd_config"))
	return s
}

func (s *server) run(t *testing.T, config string) {
	t.Helper()
	cmd := exec.Command("/usr/sbin/sshd", "-D", "-e", "-f", config)
	cmd.Stderr = s.log
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s.process = cmd.Process
	t.Cleanup(func() {
		for _, pid := range s.children(t) {
			_ = syscall.Kill(pid, syscall.SIGTERM)
		}
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait() // It ends by the signal, which Wait calls an error.
		if t.Failed() {
			t.Logf("log of sshd:\n%s", s.log)
		}
	})
	for range 1000 {
		if c, err := net.Dial("tcp", s.addr()); err == nil {
			c.Close()
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("sshd does not listen")
}

func (s *server) addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }

// children returns the processes that serve connections.
func (s *server) children(t *testing.T) []int {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", s.process.Pid, s.process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	var pids []int
	for _, f := range strings.Fields(string(b)) {
		pid, err := strconv.Atoi(f)
		if err != nil {
			t.Fatal(err)
		}
		pids = append(pids, pid)
	}
	return pids
}

// knownHosts returns a file that knows the server's host key of one type for
// the given port.
func (s *server) knownHosts(t *testing.T, key ssh.PublicKey, port int) string {
	t.Helper()
	addr := knownhosts.Normalize(net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	return writeFile(t, "known_hosts", knownhosts.Line([]string{addr}, key)+"\n")
}

// connect returns a runner for the server that knows and is known.
func (s *server) connect(t *testing.T, o runner.SSHOptions) *runner.Host {
	t.Helper()
	o.User = s.user
	if o.Port == 0 {
		o.Port = s.port
	}
	if o.KeyFile == "" {
		o.KeyFile = s.key
	}
	if o.KnownHosts == "" {
		o.KnownHosts = s.knownHosts(t, s.hostKeys[0].PublicKey(), o.Port)
	}
	return newSSH(t, o).Host("127.0.0.1")
}

func readSigner(t *testing.T, path string) ssh.Signer {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.ParsePrivateKey(b)
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

func put(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// relay forwards TCP connections until it is frozen: then the connections that
// it has stay open and carry nothing, as when a host loses its power. New ones
// are forwarded again.
type relay struct {
	port int

	mu   sync.Mutex
	held []*gate
}

type gate struct {
	mu     sync.Mutex
	frozen bool
}

func startRelay(t *testing.T, to string) *relay {
	t.Helper()
	l := listen(t)
	r := &relay{port: portOf(t, l)}
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", to)
			if err != nil {
				in.Close()
				continue
			}
			g := &gate{}
			r.mu.Lock()
			r.held = append(r.held, g)
			r.mu.Unlock()
			go g.copy(in, out)
			go g.copy(out, in)
			t.Cleanup(func() { in.Close(); out.Close() })
		}
	}()
	return r
}

func (r *relay) freeze() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, g := range r.held {
		g.mu.Lock()
		g.frozen = true
		g.mu.Unlock()
	}
}

func (g *gate) copy(dst io.Writer, src io.Reader) {
	buf := make([]byte, 32<<10)
	for {
		n, err := src.Read(buf)
		g.mu.Lock()
		frozen := g.frozen
		g.mu.Unlock()
		if frozen {
			return
		}
		if err != nil {
			return
		}
		if _, err := dst.Write(buf[:n]); err != nil {
			return
		}
	}
}

// kill ends processes of this test's own server and waits for their end.
func kill(t *testing.T, pids []int) {
	t.Helper()
	if len(pids) == 0 {
		t.Fatal("no process to end")
	}
	for _, pid := range pids {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			t.Fatalf("kill %d: %v", pid, err)
		}
		waitGone(t, pid)
	}
}

// certify signs the host key at path by a new authority and returns that.
func certify(t *testing.T, path string) ssh.PublicKey {
	t.Helper()
	authority, public := newKey(t, "authority", "")
	out, err := exec.Command("ssh-keygen", "-q", "-s", authority, "-I", "host", "-h", "-n", "127.0.0.1", path+".pub").CombinedOutput()
	if err != nil {
		t.Fatalf("ssh-keygen: %v: %s", err, out)
	}
	return public
}
