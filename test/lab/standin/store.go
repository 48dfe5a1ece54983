package standin

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// store is the layout of a mounted blockhost volume.
type store struct{ root string }

func (s store) meta(name string) string  { return filepath.Join(s.root, "block-meta", name) }
func (s store) image(gbid string) string { return filepath.Join(s.root, "block-store", gbid) }

// lock makes the folders when they are missing and takes the volume-wide lock
// that gluster-block holds around each operation.
func (s store) lock() (*os.File, error) {
	for _, dir := range []string{s.meta(""), s.image("")} {
		if err := os.Mkdir(dir, 0); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, err
		}
	}
	prio, err := os.OpenFile(s.meta("prio.info"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	prio.Close()
	f, err := os.OpenFile(s.meta("meta.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.FcntlFlock(f.Fd(), unix.F_SETLKW, &unix.Flock_t{Type: unix.F_WRLCK}); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// read parses the journal of a block.
func (s store) read(volume, name string) (image, error) {
	f, err := os.Open(s.meta(name))
	if errors.Is(err, fs.ErrNotExist) {
		return image{}, &Fail{2, fmt.Sprintf("block %s/%s doesn't exist", volume, name)}
	}
	if err != nil {
		return image{}, err
	}
	defer f.Close()
	return parse(name, f)
}

// names lists the blocks: entries with a dot in their name are none.
func (s store) names() ([]string, error) {
	entries, err := os.ReadDir(s.meta(""))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var names []string
	for _, e := range entries {
		if !strings.Contains(e.Name(), ".") {
			names = append(names, e.Name())
		}
	}
	return names, err
}

// create makes journal and image up to ENTRYCREATE: SUCCESS.
func (s store) create(i image, preallocate bool) error {
	if _, err := os.Stat(s.meta(i.Name)); err == nil {
		return &Fail{17, fmt.Sprintf("BLOCK with name: '%s' already EXIST", i.Name)}
	}
	if err := s.append(i.Name, i.head()); err != nil {
		return err
	}
	f, err := os.OpenFile(s.image(i.GBID), os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	err = f.Truncate(i.Size)
	if err == nil && preallocate {
		err = unix.Fallocate(int(f.Fd()), 0, 0, i.Size)
	}
	if err := errors.Join(err, f.Close(), s.count(i.Host, 1)); err != nil {
		return err
	}
	return s.append(i.Name, i.created())
}

// append adds lines to a journal.
func (s store) append(name, text string) error {
	f, err := os.OpenFile(s.meta(name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Sync(), f.Close())
}

// remove deletes image and journal, in this order.
func (s store) remove(i image) error {
	err := os.Remove(s.image(i.GBID))
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return errors.Join(err, s.count(i.Host, -1), os.Remove(s.meta(i.Name)))
}

// count changes the number of blocks whose preferred path is host: an ASCII
// number in 1024 bytes, an extended attribute of prio.info.
func (s store) count(host string, change int) error {
	buf, name := make([]byte, 1024), "user.block."+host
	n, err := unix.Getxattr(s.meta("prio.info"), name, buf)
	if err != nil && !errors.Is(err, unix.ENODATA) {
		return fmt.Errorf("read %s of prio.info: %w", name, err)
	}
	old, _ := strconv.Atoi(strings.TrimRight(string(buf[:max(n, 0)]), "\x00"))
	value := make([]byte, 1024)
	copy(value, strconv.Itoa(max(0, old+change)))
	return unix.Setxattr(s.meta("prio.info"), name, value, 0)
}
