package tree

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"
)

// Tags of a POSIX ACL entry as in linux/include/uapi/linux/posix_acl.h.
const (
	aclUserObj  = 0x01
	aclUser     = 0x02
	aclGroupObj = 0x04
	aclGroup    = 0x08
	aclMask     = 0x10
	aclOther    = 0x20

	aclNoID = 0xffffffff
)

type aclEntry struct {
	tag, perm uint16
	id        uint32
}

// encodeACL gives the value of a system.posix_acl_* xattr, as in
// linux/include/uapi/linux/posix_acl_xattr.h, version 2.
func encodeACL(entries []aclEntry) []byte {
	out := binary.LittleEndian.AppendUint32(nil, 2)
	for _, e := range entries {
		out = binary.LittleEndian.AppendUint16(out, e.tag)
		out = binary.LittleEndian.AppendUint16(out, e.perm)
		out = binary.LittleEndian.AppendUint32(out, e.id)
	}
	return out
}

// sampleACL grants a user and a group of their own.
func sampleACL(user, group uint32) []byte {
	return encodeACL([]aclEntry{
		{aclUserObj, 6, aclNoID},
		{aclUser, 4, user},
		{aclUser, 7, user + 1},
		{aclGroupObj, 5, aclNoID},
		{aclGroup, 6, group},
		{aclMask, 7, aclNoID},
		{aclOther, 0, aclNoID},
	})
}

// acls makes a file with an access ACL and a folder with access and default
// ACLs, in which a file and a folder inherit them.
func (b *builder) acls(section string) error {
	file, err := b.file(section, "file", 100)
	if err != nil {
		return err
	}
	folder, err := b.folder(section, "folder")
	if err != nil {
		return err
	}
	for _, set := range []struct {
		path, name string
		value      []byte
	}{
		{file, "system.posix_acl_access", sampleACL(1000, 70_000)},
		{folder, "system.posix_acl_access", sampleACL(70_001, 1001)},
		{folder, "system.posix_acl_default", sampleACL(80_000, 80_001)},
	} {
		err := setXattr(set.path, set.name, set.value)
		if errors.Is(err, unix.EOPNOTSUPP) {
			return fmt.Errorf("%s: %w", set.path, ErrNoACL)
		}
		if err != nil {
			return err
		}
	}
	inherits, err := os.Create(filepath.Join(folder, "inherits"))
	if err != nil {
		return err
	}
	if err := inherits.Close(); err != nil {
		return err
	}
	return os.Mkdir(filepath.Join(folder, "inherits-too"), 0o755)
}

// xattrs makes files and folders with user xattrs: text, binary, empty, large.
func (b *builder) xattrs(section string) error {
	large := make([]byte, 2000)
	_, _ = b.source.Read(large)
	file, err := b.file(section, "file", 100)
	if err != nil {
		return err
	}
	folder, err := b.folder(section, "folder")
	if err != nil {
		return err
	}
	values := map[string][]byte{
		"user.text": []byte("a value"), "user.binary": {0, 0xff, '\n', 0, '%'}, "user.empty": {},
		"user.large": large, "user.name with space": []byte("x"), "user.zeros": bytes.Repeat([]byte{0}, 64),
	}
	for _, path := range []string{file, folder} {
		for _, name := range sortedKeys(values) {
			if err := setXattr(path, name, values[name]); err != nil {
				return err
			}
		}
	}
	return nil
}

func setXattr(path, name string, value []byte) error {
	if err := unix.Lsetxattr(path, name, value, 0); err != nil {
		return &fs.PathError{Op: "lsetxattr " + name, Path: path, Err: err}
	}
	return nil
}

// modes makes files and folders with each special bit, without any bit, and
// folders that their owner may not write to.
func (b *builder) modes(section string) error {
	files := []uint32{0, 0o001, 0o400, 0o444, 0o777, 0o4755, 0o4000, 0o2755, 0o2644, 0o6711, 0o1644, 0o7777}
	for _, mode := range files {
		path, err := b.file(section, fmt.Sprintf("file-%04o", mode), 60)
		if err != nil {
			return err
		}
		if err := unix.Chmod(path, mode); err != nil {
			return &fs.PathError{Op: "chmod", Path: path, Err: err}
		}
	}
	folders := []uint32{0, 0o555, 0o500, 0o777, 0o1777, 0o2775, 0o4755, 0o7777}
	for _, mode := range folders {
		path, err := b.folder(section, fmt.Sprintf("folder-%04o", mode))
		if err != nil {
			return err
		}
		if _, err := b.file(path, "file", 60); err != nil {
			return err
		}
		if err := unix.Chmod(path, mode); err != nil {
			return &fs.PathError{Op: "chmod", Path: path, Err: err}
		}
	}
	return nil
}

// owners makes files and folders of ids above 65535, and a setuid program that
// belongs to one: a copy that changes the owner last loses the bit.
func (b *builder) owners(section string) error {
	ids := []struct{ uid, gid int }{{1000, 1000}, {65_534, 65_534}, {65_536, 70_000}, {1_000_610_000, 0}, {0, 2_147_483_648}, {4_294_967_293, 4_294_967_293}}
	for _, id := range ids {
		name := fmt.Sprintf("%d-%d", id.uid, id.gid)
		folder, err := b.folder(section, name)
		if err != nil {
			return err
		}
		file, err := b.file(folder, "setuid", 70)
		if err != nil {
			return err
		}
		for _, path := range []string{folder, file} {
			if err := os.Lchown(path, id.uid, id.gid); err != nil {
				return err
			}
		}
		if err := unix.Chmod(file, 0o6755); err != nil {
			return &fs.PathError{Op: "chmod", Path: file, Err: err}
		}
	}
	return nil
}

func sortedKeys[V any](m map[string]V) []string {
	return slices.Sorted(maps.Keys(m))
}
