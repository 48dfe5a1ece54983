package catalog

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Holder says who has a lock.
type Holder struct {
	Scope   string    `json:"scope,omitempty"` // What the lock is on; empty for the whole BackupDisk.
	Host    string    `json:"host"`
	PID     int       `json:"pid"`
	Command string    `json:"command"`
	Since   time.Time `json:"since"`
}

// String names everything that an admin needs to find the process.
func (h Holder) String() string {
	return fmt.Sprintf("%q, process %d on %s, since %s", h.Command, h.PID, h.Host, h.Since.Format(time.RFC3339))
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
func writeHolder(f *os.File, s Scope, command string) error {
	host, err := os.Hostname()
	if err != nil {
		return err
	}
	const most = 200
	h := Holder{Host: host, PID: os.Getpid(), Command: command[:min(len(command), most)], Since: time.Now().UTC().Truncate(time.Second)}
	if s != (Scope{}) {
		h.Scope = s.String()
	}
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

// someHolder returns a process that has the lock of some scope, for one that
// wanted the whole BackupDisk. Texts of the dead are told apart by trying the
// file's lock, shared with others who look.
func someHolder(meta *os.Root) Holder {
	dir, err := openDir(meta, locksDir)
	if err != nil {
		return Holder{}
	}
	defer dir.Close()
	list, err := names(dir)
	if err != nil {
		return Holder{}
	}
	for _, name := range list {
		if h, held := holderOf(dir, name); held {
			return h
		}
	}
	return Holder{}
}

// holderOf reads a lock file without keeping it locked.
func holderOf(dir *os.Root, name string) (h Holder, held bool) {
	f, err := openFile(dir, name)
	if err != nil {
		return Holder{}, false
	}
	defer f.Close()
	if h = readHolder(f); h == (Holder{}) {
		return h, false
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB)
	if err == nil {
		err = unix.Flock(int(f.Fd()), unix.LOCK_UN)
	}
	return h, errors.Is(err, syscall.EWOULDBLOCK)
}
