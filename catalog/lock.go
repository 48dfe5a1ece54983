package catalog

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Holder says who has the lock of a BackupDisk.
type Holder struct {
	Host    string    `json:"host"`
	PID     int       `json:"pid"`
	Command string    `json:"command"`
	Since   time.Time `json:"since"`
}

// String names everything that an admin needs to find the process.
func (h Holder) String() string {
	return fmt.Sprintf("%q, process %d on %s, since %s", h.Command, h.PID, h.Host, h.Since.Format(time.RFC3339))
}

// Lock is the exclusive right to change a BackupDisk. The kernel gives it up
// when the process ends, however it ends. While it is held the file system
// cannot be unmounted.
type Lock struct {
	repo *Repository
	file *os.File
	info os.FileInfo
}

// Lock takes the lock of the BackupDisk or returns a *LockedError at once.
// Command tells others what the holder does; it must hold no secret. Only the
// flock counts: the text that a dead process left in the file is no lock.
func (r *Repository) Lock(command string) (*Lock, error) {
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
	l, err := r.acquire(meta, command)
	if err != nil {
		return nil, r.full(err)
	}
	r.mu.Lock()
	r.lock = l
	r.mu.Unlock()
	return l, nil
}

// Release gives the lock back. It is idempotent.
func (l *Lock) Release() error {
	r := l.repo
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.lock == l {
		r.lock = nil
	}
	// An empty file tells a reader that the text is not of now. The text has
	// no say, so that a failure here is none.
	_ = l.file.Truncate(0)
	if err := l.file.Close(); !errors.Is(err, os.ErrClosed) {
		return err
	}
	return nil
}

// acquire takes the flock on the lock file in meta.
func (r *Repository) acquire(meta *os.Root, command string) (*Lock, error) {
	f, err := openLock(meta)
	if err != nil {
		return nil, fmt.Errorf("lock file: %w", err)
	}
	l, err := r.flock(f, command)
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return l, nil
}

// openLock opens or creates the lock file, never through a symbolic link.
func openLock(meta *os.Root) (*os.File, error) {
	f, err := meta.OpenFile(lockName, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if !errors.Is(err, os.ErrExist) {
		return f, err
	}
	info, err := meta.Lstat(lockName)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: %w: not a regular file", filepath.Join(meta.Name(), lockName), ErrForeign)
	}
	return meta.OpenFile(lockName, os.O_RDWR, 0)
}

func (r *Repository) flock(f *os.File, command string) (*Lock, error) {
	err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	switch {
	case errors.Is(err, syscall.EWOULDBLOCK):
		return nil, &LockedError{Root: r.root, Holder: readHolder(f)}
	case err != nil:
		return nil, os.NewSyscallError("flock", err)
	}
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if err := writeHolder(f, command); err != nil {
		// The lock holds without its text, also on a full disk: one that is
		// to be pruned must not refuse the lock.
		r.log.Warn("no holder in the lock file", "path", f.Name(), "error", err)
	}
	return &Lock{repo: r, file: f, info: info}, nil
}

// readHolder returns the zero Holder for anything that is not a whole text.
func readHolder(f *os.File) Holder {
	var h Holder
	text, err := io.ReadAll(io.NewSectionReader(f, 0, 1<<16))
	if err != nil || json.Unmarshal(text, &h) != nil {
		return Holder{}
	}
	return h
}

// writeHolder overwrites before it cuts, so that a block that the file has is
// used again and a full disk does not matter.
func writeHolder(f *os.File, command string) error {
	host, err := os.Hostname()
	if err != nil {
		return err
	}
	const most = 200
	h := Holder{host, os.Getpid(), command[:min(len(command), most)], time.Now().UTC().Truncate(time.Second)}
	text, err := json.Marshal(h)
	if err != nil {
		return err
	}
	text = append(text, '\n')
	if _, err := f.WriteAt(text, 0); err != nil {
		return errors.Join(err, f.Truncate(0))
	}
	return f.Truncate(int64(len(text)))
}
