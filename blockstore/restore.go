package blockstore

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// tempPrefix begins the names of our temporary journals. The '.' makes
// gluster-block and Images pass over them.
const tempPrefix = ".glusterbackupd-"

// RestoreJournal puts back the journal of an image whose journal is missing;
// content comes from a backup. A fragment after its last newline is left out.
// It refuses content whose state is not Writable (ErrIncomplete), a journal that
// exists (ErrJournalExists), an image that another journal names
// (ErrAmbiguous), and an image that is missing or of another size (ErrNoFile,
// ErrSize). While it works it holds gluster-block's own lock on meta.lock;
// when a gluster-block command has it, the error is a *BusyError.
//
// Steps, and what remains when the process dies after each of them:
//
//  1. lock meta.lock, create it where it is missing: an empty file, as
//     gluster-block leaves it, too; the lock dies with the process
//  2. remove temporary journals of runs that died: nothing
//  3. create .glusterbackupd-<random>, write, fsync: that file, which
//     gluster-block and Images ignore and the next RestoreJournal removes
//  4. rename it to the name, never replacing anything: the whole journal;
//     where the file system cannot do that (FUSE): link it to the name, then
//     unlink the temporary name: the whole journal, at worst under both names,
//     of which the temporary one is ignored and removed as above
//  5. fsync the folder: before that a crash of the brick may undo step 4, so
//     that the journal is missing as before
//
// gluster-block does not export the image again by itself: its targets come
// from saveconfig.json on the hosts.
func (s *Store) RestoreJournal(name string, content []byte) error {
	content = content[:bytes.LastIndexByte(content, '\n')+1]
	j, err := restorable(name, content)
	if err != nil {
		return err
	}
	meta, err := s.folder(MetaDir, writeCapability)
	if err != nil {
		return err
	}
	defer release(meta)
	unlock, err := lockMeta(meta)
	if err != nil {
		return err
	}
	defer unlock()
	if err := unclaimed(meta, name, j.GBID); err != nil {
		return err
	}
	store, err := s.folder(StoreDir, writeCapability)
	if err != nil {
		return err
	}
	defer release(store)
	if _, err := newImage(store, name, j); err != nil {
		return err
	}
	if err := removeLeftovers(meta); err != nil {
		return err
	}
	return writeNew(meta, name, content)
}

// restorable checks what is to be written.
func restorable(name string, content []byte) (Journal, error) {
	if err := ValidName(name); err != nil {
		return Journal{}, err
	}
	j, err := parseNamed(name, content)
	if err != nil {
		return Journal{}, err
	}
	if state := j.State(); !state.Writable() {
		return Journal{}, &IncompleteError{Name: name, GBID: j.GBID, Volume: j.Volume, State: state}
	}
	return j, nil
}

// unclaimed checks that name has no journal and that no journal names gbid.
// A damaged journal may name it as well, so it is an error.
func unclaimed(meta *os.File, name, gbid string) error {
	names, err := readNames(meta)
	if err != nil {
		return err
	}
	for _, other := range names {
		if other == name {
			return fmt.Errorf("%w: %s", ErrJournalExists, path.Join(MetaDir, name))
		}
		if strings.Contains(other, ".") {
			continue
		}
		j, err := readNamed(meta, other)
		switch {
		case errors.Is(err, ErrNoImage):
			continue // it was deleted meanwhile
		case err != nil:
			return err
		case j.GBID == gbid:
			return &ImageError{Name: name, GBID: gbid, Detail: other + " names the same image", Err: ErrAmbiguous}
		}
	}
	return nil
}

func removeLeftovers(meta *os.File) error {
	names, err := readNames(meta)
	if err != nil {
		return err
	}
	for _, name := range names {
		if !strings.HasPrefix(name, tempPrefix) {
			continue
		}
		if err := unlinkAt(meta, name); err != nil {
			return err
		}
	}
	return nil
}

// writeNew makes the file under a temporary name, lasting, and then gives it
// its own.
func writeNew(meta *os.File, name string, content []byte) error {
	temp := tempPrefix + rand.Text()
	fd, err := openAt(int(meta.Fd()), temp, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW)
	if err != nil {
		return accessError(path.Join(meta.Name(), temp), writeCapability, err)
	}
	f := os.NewFile(uintptr(fd), path.Join(meta.Name(), temp))
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = publish(meta, temp, name)
	}
	if err != nil {
		return errors.Join(err, unlinkAt(meta, temp))
	}
	return meta.Sync()
}

// publish moves temp to name unless name exists. Not every file system knows
// RENAME_NOREPLACE; a link never replaces anything either.
func publish(meta *os.File, temp, name string) error {
	dir := int(meta.Fd())
	err := unix.Renameat2(dir, temp, dir, name, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EOPNOTSUPP) {
		err = linkUnlink(meta, temp, name)
	}
	if errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("%w: %s", ErrJournalExists, path.Join(MetaDir, name))
	}
	return err
}

func linkUnlink(meta *os.File, temp, name string) error {
	dir := int(meta.Fd())
	if err := unix.Linkat(dir, temp, dir, name, 0); err != nil {
		return &os.LinkError{Op: "link", Old: temp, New: name, Err: err}
	}
	return unlinkAt(meta, temp)
}

// unlinkAt removes a file; that it is gone already is no error.
func unlinkAt(dir *os.File, name string) error {
	err := unix.Unlinkat(int(dir.Fd()), name, 0)
	if err == nil || errors.Is(err, unix.ENOENT) {
		return nil
	}
	return &os.PathError{Op: "unlink", Path: path.Join(dir.Name(), name), Err: err}
}

// lockMeta takes the lock under which gluster-block runs each command
// (gluster/gluster-block utils/utils.h GB_METALOCK_OR_GOTO), without waiting.
// POSIX locks do not exclude goroutines of one process from each other; they
// use different temporary names, and the last step never replaces.
func lockMeta(meta *os.File) (unlock func(), err error) {
	p := path.Join(meta.Name(), lockFile)
	fd, err := openAt(int(meta.Fd()), lockFile, unix.O_RDWR|unix.O_CREAT|unix.O_NOFOLLOW)
	if err != nil {
		return nil, accessError(p, writeCapability, err)
	}
	f := os.NewFile(uintptr(fd), p)
	for {
		err = unix.FcntlFlock(f.Fd(), unix.F_SETLK, &unix.Flock_t{Type: unix.F_WRLCK})
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err == nil {
		return func() { release(f) }, nil // Closing gives up the lock.
	}
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
		err = &BusyError{Path: p}
	} else {
		err = &os.PathError{Op: "lock", Path: p, Err: err}
	}
	return nil, errors.Join(err, f.Close())
}

// A BusyError says that a gluster-block command is running on the volume. It
// Is ErrBusy.
type BusyError struct{ Path string }

func (e *BusyError) Error() string { return fmt.Sprintf("%v: %s is locked", ErrBusy, e.Path) }

// Is reports whether target is ErrBusy.
func (e *BusyError) Is(target error) bool { return target == ErrBusy }

// Remedy says to wait.
func (e *BusyError) Remedy() string {
	return "wait until the running gluster-block command has ended, then try again"
}
