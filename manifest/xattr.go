package manifest

import (
	"encoding/binary"
	"errors"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Names of the ACL xattrs, and the size of an ACL that has only the entries for
// owner, group and others: linux/include/uapi/linux/posix_acl_xattr.h.
const (
	aclAccess  = "system.posix_acl_access"
	aclDefault = "system.posix_acl_default"
	aclMinimal = 4 + 3*8
)

// KeepXattr reports whether an extended attribute belongs to the data of its
// owner and therefore into a manifest. Kept are user.*, POSIX ACLs, file
// capabilities, and trusted.* apart from what Gluster and XFS keep there for
// themselves. Not kept is security.selinux, and all else in security.*: labels
// and signatures come from the policy and keys of one machine, a Gluster mount
// shows the same label for all files, and the node that mounts the claim
// relabels it.
func KeepXattr(name string) bool {
	switch name {
	case "security.capability", aclAccess, aclDefault:
		return true
	}
	if rest, ok := strings.CutPrefix(name, "trusted."); ok {
		internal := func(prefix string) bool { return strings.HasPrefix(rest, prefix) }
		return !slices.ContainsFunc([]string{
			"glusterfs.", "gfid", "pgfid.", "afr.", "ec.", "bit-rot.", "tier.", "SGI_ACL_",
		}, internal)
	}
	return strings.HasPrefix(name, "user.")
}

// xattrReader reads extended attributes with buffers of its own.
type xattrReader struct {
	list, value []byte
}

func newXattrReader() *xattrReader {
	// XATTR_LIST_MAX and XATTR_SIZE_MAX of linux/include/uapi/linux/limits.h.
	return &xattrReader{list: make([]byte, 64<<10), value: make([]byte, 64<<10)}
}

// read returns the kept attributes of the file at path. A file system without
// attributes has none. An access ACL that says the same as the mode is left
// out: some file systems keep it, others turn it into the mode.
func (x *xattrReader) read(path string) (map[string][]byte, error) {
	n, err := unix.Listxattr(path, x.list)
	if errors.Is(err, unix.EOPNOTSUPP) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var xattrs map[string][]byte
	for name := range strings.SplitSeq(strings.TrimSuffix(string(x.list[:n]), "\x00"), "\x00") {
		if !KeepXattr(name) {
			continue
		}
		n, err := unix.Getxattr(path, name, x.value)
		if err != nil {
			return nil, err
		}
		if name == aclAccess && mirrorsMode(x.value[:n]) {
			continue
		}
		if xattrs == nil {
			xattrs = map[string][]byte{}
		}
		xattrs[name] = append([]byte{}, x.value[:n]...)
	}
	return xattrs, nil
}

// mirrorsMode reports whether an access ACL grants nothing but to owner, group
// and others; the kernel keeps those three and the mode the same.
func mirrorsMode(acl []byte) bool {
	return len(acl) == aclMinimal && binary.LittleEndian.Uint32(acl) == 2
}
