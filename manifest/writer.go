package manifest

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/klauspost/compress/zstd"
)

// Summary counts what a manifest holds.
type Summary struct {
	// Entries is the number of names, the root included.
	Entries int64 `json:"entries"`
	// Files and Dirs are the numbers of names of regular files and of folders.
	Files int64 `json:"files"`
	Dirs  int64 `json:"dirs"`
	// Bytes is the sum of the sizes of all regular files; an inode with several
	// names counts once.
	Bytes int64 `json:"bytes"`
	// SHA256 is the digest of the manifest file's bytes, lower case hex.
	SHA256 string `json:"sha256"`
}

// Writer writes entries as a manifest file. It is for one goroutine.
type Writer struct {
	zw      *zstd.Encoder
	digest  hash.Hash
	order   sequence
	summary Summary
	err     error // The first error; a writer that failed stays failed.
}

var errClosed = errors.New("manifest writer is closed")

// NewWriter starts a manifest file on w. The caller syncs and closes w after
// Close. A Writer that is not closed needs no release, but leaves a file that
// Reader refuses.
func NewWriter(w io.Writer) (*Writer, error) {
	digest := sha256.New()
	zw, err := zstd.NewWriter(io.MultiWriter(w, digest), zstd.WithEncoderConcurrency(1))
	if err != nil {
		return nil, fmt.Errorf("start zstd: %w", err)
	}
	mw := &Writer{zw: zw, digest: digest}
	return mw, mw.line(header{formatName, formatVersion})
}

// Write appends an entry. Entries come in the order of PathLess, each but the
// first after the folder that it is in; anything else is ErrOrder. After an
// error the manifest is lost: every later call returns that error.
func (w *Writer) Write(e Entry) error {
	if w.err != nil {
		return w.err
	}
	w.err = w.write(&e)
	return w.err
}

func (w *Writer) write(e *Entry) error {
	if err := e.check(); err != nil {
		return fmt.Errorf("manifest entry %q: %w", e.Path, err)
	}
	if err := w.order.next(e); err != nil {
		return err
	}
	if err := w.line(newLine(e)); err != nil {
		return fmt.Errorf("manifest entry %q: %w", e.Path, err)
	}
	w.summary.Entries++
	switch e.Type {
	case File:
		w.summary.Files++
		if e.HardlinkOf == "" {
			w.summary.Bytes += e.Size
		}
	case Dir:
		w.summary.Dirs++
	case Symlink, FIFO, Socket, Char, Block:
	}
	return nil
}

// Close ends the manifest. Only its success makes the file a whole manifest.
func (w *Writer) Close() (Summary, error) {
	if w.err != nil {
		return Summary{}, w.err
	}
	w.err = errClosed
	if err := w.line(line{End: &w.summary.Entries}); err != nil {
		return Summary{}, fmt.Errorf("end manifest: %w", err)
	}
	if err := w.zw.Close(); err != nil {
		return Summary{}, fmt.Errorf("end manifest: %w", err)
	}
	w.summary.SHA256 = hex.EncodeToString(w.digest.Sum(nil))
	return w.summary, nil
}

func (w *Writer) line(value any) error {
	text, err := marshal(value)
	if err != nil {
		return err
	}
	_, err = w.zw.Write(text)
	return err
}
