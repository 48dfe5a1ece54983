package runner

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// knownHosts is a known_hosts file at one time.
type knownHosts struct {
	check ssh.HostKeyCallback
	// authorities holds the numbers of the @cert-authority lines.
	authorities map[int]bool
}

func readKnownHosts(path string) (knownHosts, error) {
	check, err := knownhosts.New(path)
	if err == nil {
		var content []byte
		if content, err = os.ReadFile(path); err == nil {
			return knownHosts{check: check, authorities: authorityLines(content)}, nil
		}
	}
	var perr *os.PathError
	if errors.As(err, &perr) {
		err = perr.Err
	}
	return knownHosts{}, &FileError{
		Path: path, Kind: ErrKnownHosts, Err: err,
		remedy: "set gluster.ssh.known_hosts to a file with the Gluster hosts' keys; \"ssh-keyscan HOST\" prints them, compare them on the hosts",
	}
}

func authorityLines(content []byte) map[int]bool {
	lines := make(map[int]bool)
	n := 0
	for line := range bytes.Lines(content) {
		n++
		if bytes.HasPrefix(bytes.TrimSpace(line), []byte("@cert-authority")) {
			lines[n] = true
		}
	}
	return lines
}

// algorithms returns the host key algorithms under which the host at addr can
// prove a key that the file knows. Without this the host would offer whichever
// of its keys it likes best, and a host that is known by another one would look
// like an impostor. A host that the file does not know is asked for a plain key,
// whose fingerprint helps the admin more than a certificate's.
func (k knownHosts) algorithms(addr string) []string {
	var keyErr *knownhosts.KeyError
	if !errors.As(k.check(addr, anyAddr{}, nobody{}), &keyErr) {
		return nil
	}
	var algos []string
	for _, want := range keyErr.Want {
		for _, a := range k.algorithmsOf(want) {
			if !slices.Contains(algos, a) {
				algos = append(algos, a)
			}
		}
	}
	if len(algos) == 0 {
		return []string{
			ssh.KeyAlgoED25519, ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384,
			ssh.KeyAlgoECDSA521, ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256,
		}
	}
	return algos
}

func (k knownHosts) algorithmsOf(key knownhosts.KnownKey) []string {
	if k.authorities[key.Line] {
		// The authority's own key type says nothing about the hosts' types.
		return []string{
			ssh.CertAlgoED25519v01, ssh.CertAlgoECDSA256v01, ssh.CertAlgoECDSA384v01,
			ssh.CertAlgoECDSA521v01, ssh.CertAlgoRSASHA512v01, ssh.CertAlgoRSASHA256v01,
		}
	}
	if key.Key.Type() == ssh.KeyAlgoRSA {
		return []string{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256}
	}
	return []string{key.Key.Type()}
}

// describe turns a refusal of the file into words, with the offered key's
// fingerprint.
func describe(err error, key ssh.PublicKey) error {
	offered := fmt.Sprintf("%s %s", key.Type(), ssh.FingerprintSHA256(key))
	var keyErr *knownhosts.KeyError
	var revoked *knownhosts.RevokedError
	switch {
	case errors.As(err, &keyErr) && len(keyErr.Want) == 0:
		return fmt.Errorf("the host is not in known_hosts; it offers %s: %w", offered, err)
	case errors.As(err, &keyErr):
		want := keyErr.Want[0]
		return fmt.Errorf("the host key has changed: %s:%d has %s %s, the host offers %s: %w",
			want.Filename, want.Line, want.Key.Type(), ssh.FingerprintSHA256(want.Key), offered, err)
	case errors.As(err, &revoked):
		return fmt.Errorf("the host offers the revoked key %s: %w", offered, err)
	}
	return fmt.Errorf("the host offers %s: %w", offered, err)
}

// nobody is a public key that no known_hosts file contains.
type nobody struct{}

func (nobody) Type() string                        { return "nobody" }
func (nobody) Marshal() []byte                     { return []byte("nobody") }
func (nobody) Verify([]byte, *ssh.Signature) error { return errors.New("not a key") }

// anyAddr stands for the remote address, which the file's lookup by name does
// not use.
type anyAddr struct{}

func (anyAddr) Network() string { return "tcp" }
func (anyAddr) String() string  { return "0.0.0.0:0" }

var (
	_ ssh.PublicKey = nobody{}
	_ net.Addr      = anyAddr{}
)
