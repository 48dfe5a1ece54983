package runner

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
)

// Defaults of SSHOptions.
const (
	DefaultPort        = 22
	DefaultDialTimeout = 15 * time.Second
	DefaultKeepAlive   = 15 * time.Second
)

// SSHOptions are the settings of an SSH runner. KeyFile and KnownHosts are
// required.
type SSHOptions struct {
	// User is the user on the hosts, default "root".
	User string
	// KeyFile is the path of a private key without passphrase. It must not be
	// accessible to group or others, as with OpenSSH. It is read again at every
	// connection.
	KeyFile string
	// KnownHosts is the path of a known_hosts file in the format of OpenSSH
	// (sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT"), hashed names and
	// @cert-authority included. It is read again at every connection.
	KnownHosts string
	// Port is the TCP port of sshd on all hosts, default 22.
	Port int
	// DialTimeout limits the connection's set-up, from name resolution to
	// authentication, default 15 s.
	DialTimeout time.Duration
	// KeepAlive is the interval of keep-alive requests; a host that leaves one
	// unanswered for the same time is taken for dead and its connection is
	// closed. Default 15 s.
	KeepAlive time.Duration
	// MaxOutput is the limit of standard output in bytes, default 16 MiB.
	MaxOutput int64
	// Logger receives debug records of connections and commands; nil discards.
	Logger *slog.Logger
}

// SSH holds at most one connection per host. It is safe for concurrent use.
type SSH struct {
	opts SSHOptions
	// ctx ends when the runner is closed; connections outlive the contexts of
	// the commands that caused them.
	ctx    context.Context
	cancel context.CancelCauseFunc

	mu    sync.Mutex
	hosts map[string]*Host // By name.
}

// NewSSH checks the options and both files; it does not connect. The caller
// closes the runner.
func NewSSH(o SSHOptions) (*SSH, error) {
	o = o.withDefaults()
	if o.Port < 1 || o.Port > 65535 {
		return nil, fmt.Errorf("ssh port %d is not between 1 and 65535", o.Port)
	}
	if _, err := readKey(o.KeyFile); err != nil {
		return nil, err
	}
	if _, err := readKnownHosts(o.KnownHosts); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	return &SSH{opts: o, ctx: ctx, cancel: cancel, hosts: make(map[string]*Host)}, nil
}

func (o SSHOptions) withDefaults() SSHOptions {
	if o.User == "" {
		o.User = "root"
	}
	if o.Port == 0 {
		o.Port = DefaultPort
	}
	if o.DialTimeout <= 0 {
		o.DialTimeout = DefaultDialTimeout
	}
	if o.KeepAlive <= 0 {
		o.KeepAlive = DefaultKeepAlive
	}
	if o.MaxOutput <= 0 {
		o.MaxOutput = DefaultMaxOutput
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// Host returns the runner for one host; the same name yields the same Host and
// thereby the same connection. An invalid name is reported by Host.Run, as an
// error that matches ErrHostName.
func (s *SSH) Host(name string) *Host {
	s.mu.Lock()
	defer s.mu.Unlock()
	h, ok := s.hosts[name]
	if !ok {
		h = &Host{ssh: s, name: name, slots: make(chan struct{}, maxSessions)}
		s.hosts[name] = h
	}
	return h
}

// Close closes all connections; running commands fail and later ones return
// ErrClosed. It may be called more than once.
func (s *SSH) Close() error {
	s.cancel(ErrClosed)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, h := range s.hosts {
		h.disconnect()
	}
	return nil
}

// readKey reads the private key and refuses one that others can read.
func readKey(path string) (ssh.Signer, error) {
	fault := func(err error, remedy string) (ssh.Signer, error) {
		return nil, &FileError{Path: path, Kind: ErrKeyFile, Err: err, remedy: remedy}
	}
	f, err := os.Open(path)
	if err != nil {
		return fault(errors.Unwrap(err), "set gluster.ssh.key_file to a private key file; \"ssh-keygen -t ed25519 -N ''\" makes one")
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return fault(err, "check the file system that holds gluster.ssh.key_file")
	}
	if perm := info.Mode().Perm(); perm&0o077 != 0 {
		return fault(fmt.Errorf("mode %04o lets others read it", perm), fmt.Sprintf("run \"chmod 600 %s\"", path))
	}
	if !info.Mode().IsRegular() || info.Size() > 1<<20 {
		return fault(errors.New("not a key file"), "set gluster.ssh.key_file to a private key file")
	}
	pem := make([]byte, info.Size())
	if _, err := f.ReadAt(pem, 0); err != nil {
		return fault(err, "check the file system that holds gluster.ssh.key_file")
	}
	signer, err := ssh.ParsePrivateKey(pem)
	var locked *ssh.PassphraseMissingError
	switch {
	case errors.As(err, &locked):
		return fault(errors.New("protected by a passphrase"), "use a key of its own without passphrase for gluster.ssh.key_file")
	case err != nil:
		return fault(errors.New("not a private key in a known format"), "set gluster.ssh.key_file to a private key in OpenSSH or PEM format")
	}
	return signer, nil
}

// bracketed turns "host:22" into "host" and "host:2222" into "[host]:2222", the
// notation of known_hosts and of ssh-keygen -R.
func bracketed(addr string) string {
	host, ok := strings.CutSuffix(addr, ":22")
	if ok {
		return strings.Trim(host, "[]")
	}
	i := strings.LastIndexByte(addr, ':')
	return "[" + strings.Trim(addr[:i], "[]") + "]" + addr[i:]
}
