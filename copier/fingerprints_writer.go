package copier

import (
	"errors"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// fingerprintWriter makes a file of fingerprints. They come in any order and
// are kept, sorted by their first byte, in blocks of a file beside it, so that
// memory holds one block for each first byte and at the end one 256th of all. A
// nil one drops what it gets. It may be used by several goroutines.
type fingerprintWriter struct {
	path string
	mu   sync.Mutex
	f    *os.File
	// scratch has no name once it is open, and is gone with the process.
	scratch *os.File
	parts   [256]part
	blocks  int64
}

// part is what begins with the same byte.
type part struct {
	open   []byte  // Not written yet.
	blocks []int64 // Numbers of full blocks in scratch.
}

const scratchBlock = 4096

func newFingerprintWriter(path string) (*fingerprintWriter, error) {
	const flags = os.O_RDWR | os.O_CREATE | os.O_EXCL | unix.O_NOFOLLOW
	f, err := os.OpenFile(path, flags, 0o600)
	if err != nil {
		return nil, err
	}
	w := &fingerprintWriter{path: path, f: f}
	if w.scratch, err = os.OpenFile(path+".tmp", flags, 0o600); err == nil {
		err = os.Remove(path + ".tmp")
	}
	if err != nil {
		w.discard()
		return nil, err
	}
	return w, nil
}

// add keeps one.
func (w *fingerprintWriter) add(fp fingerprint) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	p := &w.parts[fp[0]]
	p.open = append(p.open, fp[:]...)
	if len(p.open) < scratchBlock {
		return nil
	}
	if _, err := w.scratch.WriteAt(p.open, w.blocks*scratchBlock); err != nil {
		return err
	}
	p.blocks = append(p.blocks, w.blocks)
	p.open = p.open[:0]
	w.blocks++
	return nil
}

// finish writes the file. It is not synced.
func (w *fingerprintWriter) finish() error {
	if w == nil {
		return nil
	}
	if _, err := w.write(); err != nil {
		return err
	}
	err := errors.Join(w.f.Close(), w.scratch.Close())
	if err == nil {
		w.path, w.f, w.scratch = "", nil, nil
	}
	return err
}

// write writes the whole file and returns how many fingerprints begin with each
// 16 bits.
func (w *fingerprintWriter) write() ([]uint32, error) {
	counts := make([]uint32, fingerprintIndex-1)
	if _, err := w.f.Seek(fingerprintHead, 0); err != nil {
		return nil, err
	}
	for i := range w.parts {
		all, err := w.read(&w.parts[i])
		if err != nil {
			return nil, err
		}
		if err := writeSorted(w.f, all, counts); err != nil {
			return nil, err
		}
	}
	if _, err := w.f.WriteAt(header(counts), 0); err != nil {
		return nil, err
	}
	sum, err := sumOf(w.f)
	if err != nil {
		return nil, err
	}
	_, err = w.f.Write(sum)
	return counts, err
}

// read returns all of one part.
func (w *fingerprintWriter) read(p *part) ([]fingerprint, error) {
	raw := make([]byte, scratchBlock)
	all := make([]fingerprint, 0, (len(p.blocks)*scratchBlock+len(p.open))/fingerprintSize)
	split := func(b []byte) {
		for ; len(b) > 0; b = b[fingerprintSize:] {
			all = append(all, fingerprint(b[:fingerprintSize]))
		}
	}
	for _, n := range p.blocks {
		if _, err := w.scratch.ReadAt(raw, n*scratchBlock); err != nil {
			return nil, err
		}
		split(raw)
	}
	split(p.open)
	return all, nil
}

// discard removes what was not finished.
func (w *fingerprintWriter) discard() {
	if w == nil || w.path == "" {
		return
	}
	if w.f != nil {
		_ = w.f.Close()
	}
	if w.scratch != nil {
		_ = w.scratch.Close()
	}
	_ = os.Remove(w.path)
}
