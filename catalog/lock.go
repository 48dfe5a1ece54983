package catalog

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// locksDir is the folder in metaDir with one lock file per scope that was ever
// locked. They are never deleted: a process could hold the lock of a file that
// has no name any more while another one locks its successor.
const locksDir = "locks"

// Lock is the right to change what its scopes name, or the whole BackupDisk.
// The kernel gives it up when the process ends, however it ends. While it is
// held the file system cannot be unmounted.
type Lock struct {
	repo   *Repository
	scopes []Scope    // None means the whole BackupDisk.
	files  []lockFile // The main lock first.
	done   bool       // Guarded by repo.mu.
}

// lockFile is a file that this process has locked.
type lockFile struct {
	scope  Scope
	path   string // Relative to the root.
	shared bool   // With others that have scopes; only the main lock.
	file   *os.File
	info   os.FileInfo
}

// Lock takes the lock of all the scopes or of none, and with no scope that of
// the whole BackupDisk, which excludes every other. It does not wait: if
// somebody else has one of them, also another part of this process, it returns
// a *LockedError that names it.
//
// Command tells others what the holder does; it must hold no secret. Only the
// flock counts: the text that a dead process left in a file is no lock.
//
// Where the disk is too full for the file of a scope that was never locked
// before, the whole BackupDisk is locked in its place, so that a full disk can
// be pruned.
func (r *Repository) Lock(command string, scopes ...Scope) (*Lock, error) {
	scopes, err := inOrder(scopes)
	if err != nil {
		return nil, err
	}
	dir, err := r.enter()
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	meta, err := openDir(dir, metaDir)
	if err != nil {
		return nil, err
	}
	defer meta.Close()
	l, err := r.acquire(meta, command, scopes)
	if noSpace(err) && len(scopes) > 0 {
		l, err = r.acquire(meta, command, nil)
	}
	if err != nil {
		return nil, r.full(err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.locks = append(r.locks, l)
	return l, nil
}

// Release gives the lock back. It is idempotent.
func (l *Lock) Release() error {
	r := l.repo
	r.mu.Lock()
	defer r.mu.Unlock()
	r.locks = slices.DeleteFunc(r.locks, func(held *Lock) bool { return held == l })
	if l.done {
		return nil
	}
	l.done = true
	return l.giveBack()
}

// giveBack unlocks all files, the last one first.
func (l *Lock) giveBack() error {
	var faults []error
	for _, f := range slices.Backward(l.files) {
		if !f.shared {
			// An empty file tells a reader that the text is not of now. The
			// text has no say, so that a failure here is none.
			_ = f.file.Truncate(0)
		}
		// A child of this process that has not come to its exec yet has a
		// copy of the descriptor, so that closing alone would not do.
		err := unix.Flock(int(f.file.Fd()), unix.LOCK_UN)
		faults = append(faults, os.NewSyscallError("flock", err), f.file.Close())
	}
	return errors.Join(faults...)
}

// covers says whether the lock is on the scope or on the whole BackupDisk.
func (l *Lock) covers(s Scope) bool { return len(l.scopes) == 0 || slices.Contains(l.scopes, s) }

// acquire takes the main lock in meta, shared when there are scopes, and then
// the file of each scope in their order.
func (r *Repository) acquire(meta *os.Root, command string, scopes []Scope) (_ *Lock, err error) {
	l := &Lock{repo: r, scopes: scopes}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.giveBack())
		}
	}()
	if err := l.take(meta, lockName, Scope{}, command); err != nil {
		return nil, err
	}
	if len(scopes) == 0 {
		return l, nil
	}
	dir, err := makeDir(meta, locksDir)
	if err != nil {
		return nil, fmt.Errorf("folder of locks: %w", err)
	}
	defer dir.Close()
	if err := r.step("lock: folder made"); err != nil {
		return nil, err
	}
	for _, s := range scopes {
		if err := l.take(dir, s.fileName(), s, command); err != nil {
			return nil, err
		}
	}
	if err := r.step("lock: taken"); err != nil {
		return nil, err
	}
	return l, nil
}

// take locks one file for this process alone; the main lock is shared while
// there are scopes, and its text is left to those who have it alone.
func (l *Lock) take(dir *os.Root, name string, s Scope, command string) error {
	f, err := openLock(dir, name)
	if err != nil {
		return fmt.Errorf("lock file: %w", err)
	}
	held := lockFile{scope: s, path: filepath.Join(metaDir, name), shared: s == Scope{} && len(l.scopes) > 0, file: f}
	if s != (Scope{}) {
		held.path = filepath.Join(metaDir, locksDir, name)
	}
	if err := l.flock(dir, held); err != nil {
		_ = f.Close()
		return err
	}
	if held.info, err = f.Stat(); err != nil {
		_ = f.Close()
		return err
	}
	l.files = append(l.files, held)
	if held.shared {
		return nil
	}
	if err := writeHolder(f, s, command); err != nil {
		// The lock holds without its text, also on a full disk: one that is
		// to be pruned must not refuse the lock.
		l.repo.log.Warn("no holder in the lock file", "path", f.Name(), "error", err)
	}
	return nil
}

// flock locks the file, or says who has it.
func (l *Lock) flock(dir *os.Root, want lockFile) error {
	how := unix.LOCK_EX
	if want.shared {
		how = unix.LOCK_SH
	}
	err := tryFlock(want.file, how)
	if !errors.Is(err, syscall.EWOULDBLOCK) {
		return os.NewSyscallError("flock", err)
	}
	refused := &LockedError{Root: l.repo.root, Scope: want.scope, Holder: readHolder(want.file)}
	if want.scope == (Scope{}) && !want.shared {
		// The text in the main lock is of those who had it alone, and may be
		// of a dead one.
		if h := someHolder(dir); h != (Holder{}) {
			refused.Holder = h
		}
	}
	return refused
}

// tryFlock does not wait for whoever has the lock, but for a moment for whoever
// only looks at it (holderOf) or gives it back because something else was taken.
func tryFlock(f *os.File, how int) (err error) {
	const attempts, pause = 3, 10 * time.Millisecond
	for n := range attempts {
		if n > 0 {
			time.Sleep(pause)
		}
		err = unix.Flock(int(f.Fd()), how|unix.LOCK_NB)
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
	return err
}

// openLock opens or creates a lock file, never through a symbolic link.
func openLock(dir *os.Root, name string) (*os.File, error) {
	f, err := dir.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if !errors.Is(err, os.ErrExist) {
		return f, err
	}
	info, err := dir.Lstat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: %w: not a regular file", filepath.Join(dir.Name(), name), ErrForeign)
	}
	return dir.OpenFile(name, os.O_RDWR, 0)
}
