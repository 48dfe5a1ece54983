package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/hex"
	"encoding/pem"
	"os"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// keyPair is an ssh key made for one lab.
type keyPair struct {
	private []byte // OpenSSH's PEM form.
	public  ssh.PublicKey
}

func newKeyPair(comment string) (keyPair, error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return keyPair{}, err
	}
	block, err := ssh.MarshalPrivateKey(private, comment)
	if err != nil {
		return keyPair{}, err
	}
	sshPublic, err := ssh.NewPublicKey(public)
	return keyPair{pem.EncodeToMemory(block), sshPublic}, err
}

// authorized is the line of an authorized_keys file.
func (k keyPair) authorized() []byte { return ssh.MarshalAuthorizedKey(k.public) }

// writeKnownHosts writes the guest's host key, which is made on the host, so
// that it is never learnt from the network.
func writeKnownHosts(name string, key ssh.PublicKey, addresses ...string) error {
	return os.WriteFile(name, []byte(knownhosts.Line(addresses, key)+"\n"), 0o600)
}

// randomKey is a shared secret of 128 bits.
func randomKey() string {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // Never fails.
	return hex.EncodeToString(b)
}
