package copier

import (
	"bytes"
	"encoding/binary"
	"errors"
	"maps"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/glusterbackupd/glusterbackupd/manifest"
)

// Names of the ACL xattrs, and the size of an ACL that has only the entries for
// owner, group and others: linux/include/uapi/linux/posix_acl_xattr.h.
const (
	aclAccess  = "system.posix_acl_access"
	aclDefault = "system.posix_acl_default"
	aclMinimal = 4 + 3*8
)

// maxXattr is XATTR_LIST_MAX and XATTR_SIZE_MAX of linux/include/uapi/linux/limits.h.
const maxXattr = 64 << 10

// xattrs are those that manifest.KeepXattr keeps, by name.
type xattrs map[string][]byte

// attributes are what belongs to an inode beside its content and time.
type attributes struct {
	st     *unix.Stat_t
	xattrs xattrs
}

// equal compares everything, the modification time included.
func (a attributes) equal(b attributes) bool {
	return a.st.Mode == b.st.Mode && a.st.Uid == b.st.Uid && a.st.Gid == b.st.Gid &&
		a.st.Mtim == b.st.Mtim && maps.EqualFunc(a.xattrs, b.xattrs, bytes.Equal)
}

// apply gives the inode of fd owner, xattrs and mode of a; have is what it has.
// The order matters: a change of the owner takes setuid bits and capabilities
// away, and an ACL sets bits of the mode.
func (a attributes) apply(fd int, have attributes) error {
	path := procPath(fd)
	moved := a.st.Uid != have.st.Uid || a.st.Gid != have.st.Gid
	changed := moved
	if moved {
		err := retry(func() error {
			return unix.Fchownat(fd, "", int(a.st.Uid), int(a.st.Gid), unix.AT_EMPTY_PATH)
		})
		if err != nil {
			return err
		}
	}
	for name := range have.xattrs {
		if _, kept := a.xattrs[name]; kept {
			continue
		}
		changed = true
		err := retry(func() error { return unix.Removexattr(path, name) })
		if err != nil && !errors.Is(err, unix.ENODATA) {
			return err
		}
	}
	for name, value := range a.xattrs {
		if old, there := have.xattrs[name]; there && !moved && bytes.Equal(old, value) {
			continue
		}
		changed = true
		if err := retry(func() error { return unix.Setxattr(path, name, value, 0) }); err != nil {
			return err
		}
	}
	if kind(a.st.Mode) == unix.S_IFLNK || !changed && a.st.Mode == have.st.Mode {
		return nil // The mode of a symlink means nothing and cannot be set.
	}
	return retry(func() error { return unix.Chmod(path, a.st.Mode&0o7777) })
}

// readXattrs reads the attributes that are kept. A file system without
// attributes has none. An access ACL that says the same as the mode is left
// out: some file systems keep it, others turn it into the mode.
func readXattrs(fd int) (xattrs, error) {
	path := procPath(fd)
	list, err := growing(func(buf []byte) (int, error) { return unix.Listxattr(path, buf) })
	if errors.Is(err, unix.EOPNOTSUPP) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var found xattrs
	for name := range strings.SplitSeq(strings.TrimSuffix(string(list), "\x00"), "\x00") {
		if !manifest.KeepXattr(name) {
			continue
		}
		value, err := growing(func(buf []byte) (int, error) { return unix.Getxattr(path, name, buf) })
		if err != nil {
			return nil, err
		}
		if name == aclAccess && len(value) == aclMinimal && binary.LittleEndian.Uint32(value) == 2 {
			continue
		}
		if found == nil {
			found = xattrs{}
		}
		found[name] = value
	}
	return found, nil
}

// growing calls read with a small buffer, and with the largest if that is too
// small.
func growing(read func([]byte) (int, error)) ([]byte, error) {
	for _, size := range []int{256, maxXattr} {
		buf := make([]byte, size)
		var n int
		err := retry(func() (err error) {
			n, err = read(buf)
			return err
		})
		if err == nil {
			return buf[:n], nil
		}
		if !errors.Is(err, unix.ERANGE) || size == maxXattr {
			return nil, err
		}
	}
	return nil, unix.ERANGE
}

func hasXattr(fd int, name string) (bool, error) {
	err := retry(func() error {
		_, err := unix.Getxattr(procPath(fd), name, nil)
		return err
	})
	if errors.Is(err, unix.ENODATA) || errors.Is(err, unix.EOPNOTSUPP) {
		return false, nil
	}
	return err == nil, err
}
