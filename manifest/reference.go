package manifest

import (
	"fmt"
	"iter"

	"golang.org/x/sys/unix"
)

// noFolder stands for a folder that the reference tree does not have.
const noFolder = -1

// reference walks through the entries of a Reference beside the scan. A nil
// reference knows nothing.
type reference struct {
	next    func() (Entry, error, bool)
	stop    func()
	current Entry
	more    bool
}

// newReference opens the reference tree. The caller closes folder and calls
// stop.
func newReference(r *Reference) (ref *reference, folder int, err error) {
	if r == nil {
		return nil, noFolder, nil
	}
	folder, err = unix.Open(r.Root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, noFolder, fmt.Errorf("open reference %s: %w", r.Root, err)
	}
	ref = &reference{}
	ref.next, ref.stop = iter.Pull2(r.Entries)
	return ref, folder, ref.advance()
}

func (r *reference) advance() error {
	e, err, more := r.next()
	if err != nil {
		return fmt.Errorf("reference manifest: %w", err)
	}
	if more && r.more && !PathLess(r.current.Path, e.Path) {
		return fmt.Errorf("reference manifest: %w: %q after %q", ErrOrder, e.Path, r.current.Path)
	}
	r.current, r.more = e, more
	return nil
}

// sum returns the hash of the scanned file e when the reference tree has the
// same inode, st, as name in folder and its manifest has the same size and
// time. Otherwise it returns "". Paths come in order.
func (r *reference) sum(e *Entry, st *unix.Stat_t, folder int, name string) (string, error) {
	if r == nil {
		return "", nil
	}
	for r.more && PathLess(r.current.Path, e.Path) {
		if err := r.advance(); err != nil {
			return "", err
		}
	}
	c := &r.current
	if !r.more || folder == noFolder || c.Path != e.Path || c.Type != File || c.Size != e.Size || !c.MTime.Equal(e.MTime) {
		return "", nil
	}
	var other unix.Stat_t
	statErr := unix.Fstatat(folder, name, &other, unix.AT_SYMLINK_NOFOLLOW)
	if statErr == nil && other.Dev == st.Dev && other.Ino == st.Ino {
		return c.SHA256, nil
	}
	return "", nil // Another file, or none any more: it is read instead.
}

// subfolder opens a folder of the reference tree, if it is there.
func subfolder(folder int, name string) int {
	if folder == noFolder {
		return noFolder
	}
	fd, err := unix.Openat(folder, name, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return noFolder // What is in it is read instead.
	}
	return fd
}

// closeFD closes a descriptor that was only read from; it may be noFolder.
func closeFD(fd int) {
	if fd >= 0 {
		_ = unix.Close(fd)
	}
}
