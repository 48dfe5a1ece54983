package manifest

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"sync/atomic"
)

// ErrIncomplete says that a scan with ScanOptions.Failed left something out.
var ErrIncomplete = errors.New("scan is incomplete")

// ErrMountPoint says that something inside the tree is on another file system.
var ErrMountPoint = errors.New("mount point inside the tree")

// ErrChanged says that a file had another length than expected when it was read.
var ErrChanged = errors.New("file changed while it was read")

// ScanOptions say what Scan reads. The zero value is the whole tree without
// hashes.
type ScanOptions struct {
	// Hash fills Entry.SHA256 or Entry.Pieces, which reads every file.
	Hash bool
	// Content, when set, says which files are read at all; the others get no digest.
	// It is asked once for each inode, with the entry of its first name.
	Content func(e *Entry) bool
	// Pieces are the files, by path, that get Entry.Pieces.
	Pieces map[string]PieceScan
	// Reference spares reading files that are also in another tree.
	Reference *Reference
	// Sub, when not empty, is the path of the only entry that is wanted, with
	// everything below. Entries keep their paths from the root.
	Sub string
	// Progress is called with the number of bytes hashed so far, or taken from
	// the Reference; calls do not overlap. It must be quick.
	Progress func(bytes int64)
	// Failed, when set, is told of each entry that cannot be read, in order and
	// from Scan's own goroutine. When it returns nil the entry and everything
	// below is left out and the scan goes on, to return ErrIncomplete at its end.
	// Without it the first such entry ends the scan.
	Failed func(*ScanError) error

	openLinks int // Instead of mostOpenLinks, for tests.
}

// PieceScan says how a file is digested piece by piece.
type PieceScan struct {
	// Size and Block are those of pieces and their blocks in bytes, as in Pieces.
	Size, Block int64
	// Known, when set, returns the digest of a piece that need not be read, 32
	// bytes, or "".
	Known func(n int) string
	// KnownBlocks, when set, is asked for other pieces. It writes the digests of their
	// blocks, 32 bytes each, of which there is one for each in known, and says in known
	// which blocks need not be read. It is called from several goroutines at a time.
	KnownBlocks func(n int, digests []byte, known []bool)
}

// Reference is a tree whose hashes are known, usually the previous backup. A
// scanned file that is the same inode as the file at the same path in the
// reference tree, with size and modification time as in the reference's
// entries, gets the hash from there and is not read.
type Reference struct {
	// Root is the folder of the reference tree.
	Root string
	// Entries is its manifest, in order. It is read once, from another goroutine.
	// An error in it ends the scan.
	Entries iter.Seq2[Entry, error]
}

// ScanError tells what could not be read. The causes are errors of the kernel,
// ErrMountPoint and ErrChanged.
type ScanError struct {
	// Root is that of the scan, Path the entry's path below it.
	Root, Path string
	// Op is what failed.
	Op string
	// Err is why.
	Err error
}

// Error names operation, path and reason.
func (e *ScanError) Error() string {
	return fmt.Sprintf("%s %q in %s: %v", e.Op, e.Path, e.Root, e.Err)
}

// Unwrap returns the reason.
func (e *ScanError) Unwrap() error { return e.Err }

// Scan reads the tree in the folder root and calls emit with each entry, in the
// order of PathLess, from the caller's goroutine. An error of emit ends the
// scan and is returned as it is.
//
// Symlinks are not followed (only root itself may be one), devices, FIFOs and
// sockets are not opened, and other file systems inside the tree are an error;
// a bind mount of the same file system cannot be told. Every entry that cannot
// be read is an error, a *ScanError.
//
// Scan holds one open file per level of folders, and in memory the names of
// what is in the folders on the way to the current entry, and one record (some
// 100 bytes and the path) for each inode of which not all names were met yet. In
// a tree that shares its inodes with another one, that would be each shared file:
// so from 20,000 records on, inodes without a second name in the tree are looked
// for, in a walk of its own, and only those with one are kept. It holds one more
// file per level.
func Scan(ctx context.Context, root string, o ScanOptions, emit func(Entry) error) error {
	if o.Sub != "" {
		if err := checkPath(o.Sub); err != nil {
			return fmt.Errorf("scan %s: %w", root, err)
		}
	}
	for path, p := range o.Pieces {
		if err := checkPieceSize(p.Size, p.Block); err != nil {
			return fmt.Errorf("scan %s: %q: %w", root, path, err)
		}
	}
	scanCtx, cancel := context.WithCancel(ctx)
	defer cancel()
	w := newWalker(scanCtx, root, o)
	var wg sync.WaitGroup
	defer wg.Wait() // After cancel, so that nothing goes on.
	defer cancel()
	wg.Go(w.run)
	h := &hasher{ctx: scanCtx, root: root, progress: o.Progress}
	for range hashers {
		wg.Go(func() { h.run(w.jobs) })
	}
	failed, err := collect(scanCtx, w.out, o.Failed, emit)
	switch {
	case err != nil:
		return err
	case ctx.Err() != nil:
		return fmt.Errorf("scan %s: %w", root, context.Cause(ctx))
	case w.err != nil:
		return w.err
	case failed > 0:
		return fmt.Errorf("%w: %d entries of %s", ErrIncomplete, failed, root)
	}
	return nil
}

// collect hands over the finished items in order and counts the failed ones.
func collect(ctx context.Context, out <-chan *item, onFail func(*ScanError) error, emit func(Entry) error) (int, error) {
	failed := 0
	for it := range out {
		it.wait()
		if ctx.Err() != nil {
			return failed, fmt.Errorf("scan: %w", context.Cause(ctx))
		}
		if it.failure == nil {
			if err := emit(it.entry); err != nil {
				return failed, err
			}
			continue
		}
		if onFail == nil {
			return failed, it.failure
		}
		if err := onFail(it.failure); err != nil {
			return failed, err
		}
		failed++
	}
	return failed, nil
}

// item is one entry on its way from the walker to the caller.
type item struct {
	entry   Entry
	failure *ScanError
	link    *link         // Of an inode with several names.
	fd      int           // For the hasher, which closes it.
	done    chan struct{} // Closed by the hasher; nil when there is none.
	pieces  *pieces       // When the hasher is to make Entry.Pieces.
}

// pieces are the digests of a file that several hashers make.
type pieces struct {
	PieceScan
	hasher *PieceHasher
	sums   []byte
	left   atomic.Int64 // Pieces without a digest, and one for the walker.
	failed atomic.Pointer[ScanError]
}

// wait waits for the hash, or takes it from the inode's first name.
func (it *item) wait() {
	if it.done != nil {
		<-it.done
	}
	switch {
	case it.link == nil:
	case it.entry.HardlinkOf == "":
		it.link.sum, it.link.pieces, it.link.failed = it.entry.SHA256, it.entry.Pieces, it.failure
	default:
		it.entry.SHA256, it.entry.Pieces = it.link.sum, it.link.pieces
		if first := it.link.failed; first != nil {
			it.failure = &ScanError{first.Root, it.entry.Path, first.Op, first.Err}
		}
	}
}
