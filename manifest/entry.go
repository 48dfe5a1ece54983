package manifest

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Type is the type of an entry, as it stands in a manifest file.
type Type string

// All types of entries.
const (
	File    Type = "file"
	Dir     Type = "dir"
	Symlink Type = "symlink"
	FIFO    Type = "fifo"
	Socket  Type = "socket"
	Char    Type = "char"
	Block   Type = "block"
)

// Entry is one name in a tree. Fields that do not belong to its type are zero.
// Entries share nothing with each other or with the code that returned them,
// except the content of Xattrs, which is not to be changed.
type Entry struct {
	// Path is relative to the root, with '/' between names, raw bytes; the root
	// itself is ".".
	Path string
	// Type is what stands at Path. A symlink is never followed.
	Type Type
	// Mode holds the permission bits with setuid, setgid and sticky (07777).
	Mode uint32
	// UID and GID are the numeric owner.
	UID, GID uint32
	// Size is that of a regular file in bytes, holes included.
	Size int64
	// MTime is the modification time in UTC with nanoseconds.
	MTime time.Time
	// Target is what a symlink holds, raw bytes.
	Target string
	// Major and Minor are the number of a char or block device.
	Major, Minor uint32
	// HardlinkOf is the path of the first entry, in order, of the same inode. It
	// is empty for that first entry and for an inode with one name in the tree.
	HardlinkOf string
	// Xattrs are the extended attributes that KeepXattr keeps; nil for none.
	Xattrs map[string][]byte
	// SHA256 is the content's digest, lower case hex. Only regular files have
	// one, and all names of an inode the same. It is empty when Scan did not hash,
	// and where there are Pieces.
	SHA256 string
	// Pieces are the digests of a regular file's pieces, in place of SHA256.
	Pieces Pieces
}

// check says what is wrong with the entry on its own.
func (e *Entry) check() error {
	if err := checkPath(e.Path); err != nil {
		return err
	}
	switch e.Type {
	case File, Dir, Symlink, FIFO, Socket, Char, Block:
	default:
		return fmt.Errorf("unknown type %q", e.Type)
	}
	device := e.Type == Char || e.Type == Block
	switch {
	case e.Mode > 0o7777:
		return fmt.Errorf("mode %o has more than permission bits", e.Mode)
	case e.Size < 0, e.Size != 0 && e.Type != File:
		return fmt.Errorf("size %d of a %s", e.Size, e.Type)
	case (e.Target != "") != (e.Type == Symlink), strings.Contains(e.Target, "\x00"):
		return fmt.Errorf("target %q of a %s", e.Target, e.Type)
	case !device && (e.Major != 0 || e.Minor != 0):
		return fmt.Errorf("device number %d:%d of a %s", e.Major, e.Minor, e.Type)
	case e.SHA256 != "" && (e.Type != File || !isSHA256(e.SHA256)):
		return fmt.Errorf("sha256 %q of a %s", e.SHA256, e.Type)
	case e.Pieces != (Pieces{}) && (e.Type != File || e.SHA256 != ""):
		return fmt.Errorf("digests of pieces of a %s with sha256 %q", e.Type, e.SHA256)
	}
	if e.Pieces != (Pieces{}) {
		if err := e.Pieces.fit(e.Size); err != nil {
			return err
		}
	}
	for name := range e.Xattrs {
		if name == "" || strings.Contains(name, "\x00") {
			return fmt.Errorf("xattr name %q", name)
		}
	}
	return e.checkHardlink()
}

func (e *Entry) checkHardlink() error {
	if e.HardlinkOf == "" {
		return nil
	}
	if err := checkPath(e.HardlinkOf); err != nil {
		return fmt.Errorf("hard link: %w", err)
	}
	if e.Type == Dir || !PathLess(e.HardlinkOf, e.Path) {
		return fmt.Errorf("%s %q is no hard link of %q", e.Type, e.Path, e.HardlinkOf)
	}
	return nil
}

func isSHA256(s string) bool {
	return len(s) == 64 && strings.Trim(s, "0123456789abcdef") == ""
}

// ErrPath says that a path cannot be one inside a tree: it is empty, absolute,
// holds NUL, or has an empty, "." or ".." part.
var ErrPath = errors.New("not a path inside a tree")

// checkPath accepts "." and clean relative paths. It keeps a damaged or forged
// manifest from naming something outside of the tree.
func checkPath(path string) error {
	if path == "." {
		return nil
	}
	if strings.Contains(path, "\x00") {
		return fmt.Errorf("%w: %q", ErrPath, path)
	}
	for name := range strings.SplitSeq(path, "/") {
		if name == "" || name == "." || name == ".." {
			return fmt.Errorf("%w: %q", ErrPath, path)
		}
	}
	return nil
}
