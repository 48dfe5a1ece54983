package copier

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
)

// Digests say of each file that a copy wrote what its content was when it was
// read from the source, so that whoever reads the copy back has something to
// compare with. They take 32 bytes on the disk for each file and next to nothing
// in memory. A nil one knows no file.
type Digests struct{ set *fingerprints }

// Check reports whether the copy wrote content under path, a path below the
// tree's root, and whether that had the digest sum, in hex.
func (d *Digests) Check(path, sum string) (written, equal bool) {
	if d == nil || !d.set.has(writtenMark(path)) {
		return false, false
	}
	raw, err := hex.DecodeString(sum)
	return true, err == nil && d.set.has(contentMark(path, raw))
}

// Close gives the space on the disk back.
func (d *Digests) Close() error {
	if d == nil {
		return nil
	}
	return d.set.f.Close()
}

// writtenMark and contentMark begin differently, so that neither can be taken
// for the other.
func writtenMark(path string) fingerprint { return markOf('w', nil, path) }

func contentMark(path string, sum []byte) fingerprint { return markOf('c', sum, path) }

func markOf(kind byte, sum []byte, path string) fingerprint {
	all := sha256.Sum256(append(append([]byte{kind}, sum...), path...))
	return fingerprint(all[:fingerprintSize])
}

// digester collects Digests. A nil one collects nothing.
type digester struct{ w *fingerprintWriter }

// newDigester makes a file without a name, by way of path.
func newDigester(path string) (*digester, error) {
	if path == "" {
		return nil, nil
	}
	w, err := newFingerprintWriter(path)
	if err != nil {
		return nil, err
	}
	if err := os.Remove(path); err != nil {
		w.discard()
		return nil, err
	}
	return &digester{w}, nil
}

func (d *digester) add(path string, sum []byte) error {
	if d == nil {
		return nil
	}
	if err := d.w.add(writtenMark(path)); err != nil {
		return err
	}
	return d.w.add(contentMark(path, sum))
}

func (d *digester) finish() (*Digests, error) {
	if d == nil {
		return nil, nil
	}
	counts, err := d.w.write()
	if err != nil {
		return nil, err
	}
	set := &fingerprints{f: d.w.f, index: make([]uint32, fingerprintIndex)}
	for i, n := range counts {
		set.index[i+1] = set.index[i] + n
	}
	d.w.f = nil
	return &Digests{set}, nil
}

// discard gives back what finish did not take over.
func (d *digester) discard() {
	if d != nil {
		d.w.discard()
	}
}
