package copier

import (
	"encoding/binary"
	"errors"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// noFD stands for a folder that is not there.
const noFD = -1

// retry calls f again while a signal interrupts it, which FUSE mounts let
// happen even to calls that are restarted elsewhere.
func retry(f func() error) error {
	for {
		if err := f(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

func openat(dir int, name string, flags int, mode uint32) (fd int, err error) {
	err = retry(func() error {
		fd, err = unix.Openat(dir, name, flags|unix.O_CLOEXEC|unix.O_NOFOLLOW, mode)
		return err
	})
	if err != nil {
		return noFD, err
	}
	return fd, nil
}

// openFolder opens a folder for listing. A symlink is no folder.
func openFolder(dir int, name string) (int, error) {
	return openat(dir, name, unix.O_RDONLY|unix.O_DIRECTORY, 0)
}

// openRoot opens the folder at an absolute path, which may be a symlink.
func openRoot(path string) (fd int, err error) {
	err = retry(func() error {
		fd, err = unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return noFD, err
	}
	return fd, nil
}

// openBelow opens a folder by its path below dir, however long that is.
func openBelow(dir int, path string) (int, error) {
	fd, err := openFolder(dir, ".")
	if path == "." {
		return fd, err
	}
	for name := range strings.SplitSeq(path, "/") {
		if err != nil {
			return noFD, err
		}
		next, openErr := openFolder(fd, name)
		closeFD(fd)
		fd, err = next, openErr
	}
	return fd, err
}

// closeFD closes a descriptor whose content is safe; it may be noFD.
func closeFD(fd int) {
	if fd >= 0 {
		_ = unix.Close(fd)
	}
}

func lstat(dir int, name string, st *unix.Stat_t) error {
	return retry(func() error { return unix.Fstatat(dir, name, st, unix.AT_SYMLINK_NOFOLLOW) })
}

func fstat(fd int, st *unix.Stat_t) error {
	return retry(func() error { return unix.Fstat(fd, st) })
}

func unlink(dir int, name string, flags int) error {
	return retry(func() error { return unix.Unlinkat(dir, name, flags) })
}

func rename(dir int, from, to string) error {
	return retry(func() error { return unix.Renameat(dir, from, dir, to) })
}

// setMTime sets the modification time of a name and leaves the access time.
func setMTime(dir int, name string, mtime unix.Timespec) error {
	times := []unix.Timespec{{Nsec: unix.UTIME_OMIT}, mtime}
	return retry(func() error { return unix.UtimesNanoAt(dir, name, times, unix.AT_SYMLINK_NOFOLLOW) })
}

// readlink returns what the symlink holds.
func readlink(dir int, name string) (string, error) {
	buf := make([]byte, unix.PathMax+1)
	var n int
	err := retry(func() (err error) {
		n, err = unix.Readlinkat(dir, name, buf)
		return err
	})
	if err != nil {
		return "", err
	}
	return string(buf[:n]), nil
}

// procPath leads to exactly the inode of a descriptor, also when that is a
// symlink.
func procPath(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }

func kind(mode uint32) uint32 { return mode & unix.S_IFMT }

func isDir(st *unix.Stat_t) bool { return kind(st.Mode) == unix.S_IFDIR }

func isFile(st *unix.Stat_t) bool { return kind(st.Mode) == unix.S_IFREG }

// joinPath joins a folder's path below the root and a name in it.
func joinPath(dir, name string) string {
	if dir == "." {
		return name
	}
	return dir + "/" + name
}

func parentPath(p string) string { return path.Dir(p) }

func baseName(p string) string { return path.Base(p) }

// listBuffer is how many bytes of a folder are read at once: some 500 names,
// which are few enough that what the kernel learnt of them beside their names
// is still good when they are asked for.
const listBuffer = 32 << 10

// listNames reads the next names of an open folder; none at its end.
func listNames(fd int, buf []byte) ([]string, error) {
	for {
		var n int
		err := retry(func() (err error) {
			n, err = unix.Getdents(fd, buf)
			return err
		})
		if err != nil || n == 0 {
			return nil, err
		}
		if names := parseNames(buf[:n]); len(names) > 0 {
			return names, nil
		}
	}
}

// parseNames reads struct linux_dirent64: inode and offset of 8 bytes each,
// length of 2, type of 1, and the name, ended by NUL.
func parseNames(buf []byte) []string {
	const header = 19
	var names []string
	for len(buf) >= header {
		length := int(binary.NativeEndian.Uint16(buf[16:]))
		if length < header || length > len(buf) {
			break
		}
		name, _, _ := strings.Cut(string(buf[header:length]), "\x00")
		if name != "." && name != ".." {
			names = append(names, name)
		}
		buf = buf[length:]
	}
	return names
}
