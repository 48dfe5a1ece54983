package copier

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"
)

// ErrInTheWay says that a folder that is not empty stands in the destination
// where the source has something else, and that Tree.Delete is not set.
var ErrInTheWay = errors.New("a folder that is not empty is in the way")

// ErrMountPoint says that something in the source is on another file system.
var ErrMountPoint = errors.New("mount point inside the source")

// ErrSourceChanged says that a file was not what it was when it was listed.
var ErrSourceChanged = errors.New("file changed while it was copied")

// maxFailures bounds TreeError.Failures.
const maxFailures = 100

// TreeError says what of a tree could not be copied.
type TreeError struct {
	// Failures are the first ones, one that stopped the copy before others.
	Failures []*fs.PathError
	// Total is how many there were.
	Total int
}

// Error names the first failure and how many others there are.
func (e *TreeError) Error() string {
	if e.Total == 1 {
		return e.Failures[0].Error()
	}
	return fmt.Sprintf("%v (and %d more of this copy failed)", e.Failures[0], e.Total-1)
}

// Unwrap returns the failures.
func (e *TreeError) Unwrap() []error {
	errs := make([]error, len(e.Failures))
	for i, f := range e.Failures {
		errs[i] = f
	}
	return errs
}

// Remedy tells the admin what to do.
func (e *TreeError) Remedy() string {
	switch first := e.Failures[0]; {
	case full(first):
		return "free space on the destination, or raise its quota, then run the command again"
	case errors.Is(first, ErrInTheWay):
		return "move the folder away, or repeat with --delete, which removes it"
	case errors.Is(first, ErrMountPoint):
		return "unmount what is mounted inside the source, or back it up on its own"
	case errors.Is(first, fs.ErrNotExist), errors.Is(first, ErrSourceChanged), errors.Is(first, unix.ESTALE):
		return "something changed the source while it was copied; make sure that it is a snapshot, then run the command again"
	case errors.Is(first, unix.EOPNOTSUPP):
		return "the destination lacks ACLs or extended attributes; use a file system that has them (XFS, ext4), or mount a Gluster volume with the option \"acl\""
	case errors.Is(first, unix.EPERM), errors.Is(first, fs.ErrPermission):
		return "run the command as root, on a file system that lets root change everything"
	}
	return "check the disk and the mount that the message names, in \"dmesg\" and in Gluster's log"
}

// full reports whether err is that of a file system that takes nothing more.
func full(err error) bool {
	return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) || errors.Is(err, unix.EROFS)
}

// failures collects what went wrong.
type failures struct {
	mu    sync.Mutex
	first []*fs.PathError
	total int
}

// add keeps err and reports whether to go on would be pointless.
func (f *failures) add(err error) (fatal bool) {
	var path *fs.PathError
	if !errors.As(err, &path) {
		path = &fs.PathError{Op: "copy", Path: "tree", Err: err}
	}
	fatal = full(err)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.total++
	switch {
	case fatal:
		f.first = append([]*fs.PathError{path}, f.first...)
	case len(f.first) < maxFailures:
		f.first = append(f.first, path)
	}
	return fatal
}

func (f *failures) err() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.total == 0 {
		return nil
	}
	return &TreeError{Failures: f.first, Total: f.total}
}

// inSource and inDest name the path that a failed call was about.
func (j *treeJob) inSource(op, path string, err error) error {
	return named(op, j.Source, path, err)
}

func (j *treeJob) inDest(op, path string, err error) error {
	return named(op, j.Dest, path, err)
}

func (j *treeJob) inReference(op, path string, err error) error {
	return named(op, j.Reference, path, err)
}

func named(op, root, path string, err error) error {
	if err == nil {
		return nil
	}
	return &fs.PathError{Op: op, Path: filepath.Join(root, path), Err: err}
}
