package catalog

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// All access below the root goes through os.Root: a descriptor of the parent
// and one name. Neither a symbolic link nor ".." can lead out of the disk, and
// a disk that is unmounted and replaced meanwhile is not written to by
// accident.

// openDir opens the folder name in parent. A symbolic link or a file of that
// name is an error that matches ErrForeign, a missing one fs.ErrNotExist.
func openDir(parent *os.Root, name string) (*os.Root, error) {
	want, err := parent.Lstat(name)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(parent.Name(), name)
	if !want.IsDir() {
		return nil, fmt.Errorf("%s: %w: %s instead of a folder", path, ErrForeign, kindOf(want.Mode()))
	}
	dir, err := parent.OpenRoot(name)
	if err != nil {
		return nil, err
	}
	got, err := dir.Stat(".")
	if err == nil && !os.SameFile(want, got) {
		err = fmt.Errorf("%s: %w: it was replaced while it was opened", path, ErrForeign)
	}
	if err != nil {
		_ = dir.Close()
		return nil, err
	}
	return dir, nil
}

func kindOf(m fs.FileMode) string {
	switch {
	case m&fs.ModeSymlink != 0:
		return "a symbolic link"
	case m.IsDir():
		return "a folder"
	case m.IsRegular():
		return "a file"
	}
	return "a special file"
}

// makeDir opens the folder name in parent and creates it if it is missing.
// The new name is on the disk when it returns.
func makeDir(parent *os.Root, name string) (*os.Root, error) {
	err := parent.Mkdir(name, 0o700)
	switch {
	case err == nil:
		if err := syncDir(parent); err != nil {
			return nil, err
		}
	case !errors.Is(err, fs.ErrExist):
		return nil, err
	}
	return openDir(parent, name)
}

// openFile opens the regular file name in dir for reading, never a link.
func openFile(dir *os.Root, name string) (*os.File, error) {
	want, err := dir.Lstat(name)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir.Name(), name)
	if !want.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: %w: not a regular file", path, ErrForeign)
	}
	f, err := dir.Open(name)
	if err != nil {
		return nil, err
	}
	got, err := f.Stat()
	if err == nil && !os.SameFile(want, got) {
		err = fmt.Errorf("%s: %w: it was replaced while it was opened", path, ErrForeign)
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// readFile reads the regular file name, which may have limit bytes.
func readFile(dir *os.Root, name string, limit int64) ([]byte, error) {
	f, err := openFile(dir, name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("%s: more than %d bytes", f.Name(), limit)
	}
	return b, err
}

// writeFile creates the file name with mode 0600 and waits until its content
// is on the disk. It never replaces a file. The name itself needs syncDir.
func writeFile(dir *os.Root, name string, content []byte) error {
	f, err := dir.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// syncDir waits until the names in dir are on the disk. File systems that
// cannot sync a folder say EINVAL or ENOTSUP and do it on their own.
func syncDir(dir *os.Root) error {
	f, err := dir.Open(".")
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) && !errors.Is(err, syscall.ENOTSUP) {
		return err
	}
	return nil
}

// syncFS writes everything that the file system of dir holds in memory.
func syncFS(dir *os.Root) error {
	f, err := dir.Open(".")
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.Syncfs(int(f.Fd())); err != nil {
		return os.NewSyscallError("syncfs", err)
	}
	return nil
}

// names returns the sorted names in dir.
func names(dir *os.Root) ([]string, error) {
	f, err := dir.Open(".")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	list, err := f.Readdirnames(-1)
	slices.Sort(list)
	return list, err
}

// exists reports whether name stands in dir, as whatever.
func exists(dir *os.Root, name string) (bool, error) {
	_, err := dir.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// remove deletes one name that may be missing.
func remove(dir *os.Root, name string) error {
	if err := dir.Remove(name); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// sameDevice refuses a folder that is a mount point of something else.
func sameDevice(parent, dir *os.Root) error {
	above, err := device(parent)
	if err != nil {
		return err
	}
	if here, err := device(dir); err != nil || here != above {
		return errors.Join(err, fmt.Errorf("%s: %w: another file system is mounted there", dir.Name(), ErrForeign))
	}
	return nil
}

func device(dir *os.Root) (uint64, error) {
	info, err := dir.Stat(".")
	if err != nil {
		return 0, err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, fmt.Errorf("%s: %w: no device number", dir.Name(), errors.ErrUnsupported)
	}
	return st.Dev, nil
}

// random returns n random bytes in hex.
func random(n int) string {
	b := make([]byte, n)
	rand.Read(b) // It never fails: crypto/rand ends the process instead.
	return hex.EncodeToString(b)
}
