package runner_test

import (
	"crypto/ed25519"
	"encoding/pem"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/glusterbackupd/glusterbackupd/runner"
)

// newKey writes a new private key to a file and returns its path and public key.
func newKey(t *testing.T, name, passphrase string) (string, ssh.PublicKey) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	var block *pem.Block
	if passphrase == "" {
		block, err = ssh.MarshalPrivateKey(private, name)
	} else {
		block, err = ssh.MarshalPrivateKeyWithPassphrase(private, name, []byte(passphrase))
	}
	if err != nil {
		t.Fatal(err)
	}
	path := writeFile(t, name, string(pem.EncodeToMemory(block)))
	key, err := ssh.NewPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return path, key
}

func writeFile(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

type remedier interface{ Remedy() string }

// wantRemedy fails unless err has a remedy that mentions all words.
func wantRemedy(t *testing.T, err error, words ...string) {
	t.Helper()
	var r remedier
	if !errors.As(err, &r) {
		t.Errorf("%v has no remedy", err)
		return
	}
	for _, w := range words {
		if !strings.Contains(r.Remedy(), w) {
			t.Errorf("remedy %q does not mention %q", r.Remedy(), w)
		}
	}
}

func TestNewSSHRefusesKeyFile(t *testing.T) {
	known := writeFile(t, "known_hosts", "")
	open, _ := newKey(t, "id_open", "")
	if err := os.Chmod(open, 0o640); err != nil {
		t.Fatal(err)
	}
	locked, _ := newKey(t, "id_locked", "secret words")
	tests := map[string]struct{ path, remedy string }{
		"missing":    {filepath.Join(t.TempDir(), "none"), "ssh-keygen"},
		"open":       {open, "chmod 600 " + open},
		"passphrase": {locked, "without passphrase"},
		"no key":     {writeFile(t, "id_text", "SECRET text\n"), "OpenSSH or PEM"},
		"folder":     {t.TempDir(), "key_file"},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			_, err := runner.NewSSH(runner.SSHOptions{KeyFile: tt.path, KnownHosts: known})
			if !errors.Is(err, runner.ErrKeyFile) {
				t.Fatalf("NewSSH = %v, want ErrKeyFile", err)
			}
			if desc != "folder" {
				wantRemedy(t, err, tt.remedy)
			}
			if strings.Contains(err.Error(), "SECRET") {
				t.Errorf("the error %q shows the file's contents", err)
			}
		})
	}
}

func TestNewSSHRefusesKnownHosts(t *testing.T) {
	key, _ := newKey(t, "id", "")
	for desc, path := range map[string]string{
		"missing": filepath.Join(t.TempDir(), "none"),
		"damaged": writeFile(t, "known_hosts", "g1 ssh-ed25519 nonsense\n"),
	} {
		_, err := runner.NewSSH(runner.SSHOptions{KeyFile: key, KnownHosts: path})
		if !errors.Is(err, runner.ErrKnownHosts) {
			t.Errorf("%s: NewSSH = %v, want ErrKnownHosts", desc, err)
			continue
		}
		wantRemedy(t, err, "known_hosts")
	}
}

func TestHostNames(t *testing.T) {
	for _, name := range []string{"g1", "g1.example.com", "192.168.77.10", "::1", "fe80::1%eth0", "_a", "9", strings.Repeat("a", 253)} {
		if err := runner.ValidHost(name); err != nil {
			t.Errorf("ValidHost(%q) = %v", name, err)
		}
	}
	s := newSSH(t, runner.SSHOptions{Port: 1})
	for _, name := range []string{
		"", "-oProxyCommand=id", "-g1", "g1-", "a b", "a\nb", "a;b", "$(id)", "user@g1", "g1:22", "[::1]", "a/b", ".", "g1\x00",
		"fe80::1%$(id)", strings.Repeat("a", 254),
	} {
		if _, err := s.Host(name).Run(t.Context(), "true"); !errors.Is(err, runner.ErrHostName) {
			t.Errorf("Run on %q = %v, want ErrHostName", name, err)
		}
	}
}

func TestClosed(t *testing.T) {
	s := newSSH(t, runner.SSHOptions{})
	for range 2 {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Host("127.0.0.1").Run(t.Context(), "true"); !errors.Is(err, runner.ErrClosed) {
		t.Errorf("Run = %v, want ErrClosed", err)
	}
}

// newSSH fills in the files that the test does not care about.
func newSSH(t *testing.T, o runner.SSHOptions) *runner.SSH {
	t.Helper()
	if o.KeyFile == "" {
		o.KeyFile, _ = newKey(t, "id", "")
	}
	if o.KnownHosts == "" {
		o.KnownHosts = writeFile(t, "known_hosts", "")
	}
	s, err := runner.NewSSH(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestNothingListens(t *testing.T) {
	l := listen(t)
	port := portOf(t, l)
	l.Close()
	_, err := newSSH(t, runner.SSHOptions{Port: port}).Host("127.0.0.1").Run(t.Context(), "true")
	var conn *runner.ConnectError
	if !errors.Is(err, runner.ErrUnreachable) || !errors.As(err, &conn) || !conn.Temporary() {
		t.Fatalf("Run = %v, want a temporary ErrUnreachable", err)
	}
	wantRemedy(t, err, "127.0.0.1:"+strconv.Itoa(port), "gluster.ssh.port")
}

// A host that takes the connection and says nothing costs the dial time-out.
func TestSilentHost(t *testing.T) {
	port := portOf(t, listen(t))
	_, err := newSSH(t, runner.SSHOptions{Port: port, DialTimeout: 50 * time.Millisecond}).Host("127.0.0.1").Run(t.Context(), "true")
	if !errors.Is(err, runner.ErrUnreachable) || !strings.Contains(err.Error(), "no answer in time") {
		t.Errorf("Run = %v, want ErrUnreachable without answer", err)
	}
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func portOf(t *testing.T, l net.Listener) int {
	t.Helper()
	addr, ok := l.Addr().(*net.TCPAddr)
	if !ok {
		t.Fatalf("%v is no TCP address", l.Addr())
	}
	return addr.Port
}
