package manifest_test

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// scene is a copy of a tree in which single properties are changed.
type scene struct {
	*testing.T
	root string
}

func (s *scene) path(name string) string { return filepath.Join(s.root, name) }

func (s *scene) ok(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

func (s *scene) stat(name string) (st unix.Stat_t) {
	s.ok(unix.Lstat(s.path(name), &st))
	return st
}

// times sets the modification time that another stat had.
func (s *scene) times(name string, st unix.Stat_t) {
	s.ok(unix.UtimesNanoAt(unix.AT_FDCWD, s.path(name), []unix.Timespec{st.Mtim, st.Mtim}, unix.AT_SYMLINK_NOFOLLOW))
}

// inFolder does something to a name and leaves the time of its folder alone.
func (s *scene) inFolder(name string, do func(path string)) {
	folder := filepath.Dir(name)
	before := s.stat(folder)
	do(s.path(name))
	s.times(folder, before)
}

// replace makes a new inode in place of name that has the same properties but
// for what create does.
func (s *scene) replace(name string, create func(path string)) {
	st := s.stat(name)
	s.inFolder(name, func(path string) {
		s.ok(os.Remove(path))
		create(path)
	})
	s.ok(os.Lchown(s.path(name), int(st.Uid), int(st.Gid)))
	if now := s.stat(name); now.Mode&unix.S_IFMT != unix.S_IFLNK {
		s.ok(unix.Chmod(s.path(name), st.Mode&0o7777))
	}
	s.times(name, st)
}

// xattr returns the value of an attribute.
func (s *scene) xattr(name, attr string) []byte {
	value := make([]byte, 4096)
	n, err := unix.Lgetxattr(s.path(name), attr, value)
	s.ok(err)
	return value[:n]
}

func (s *scene) setXattr(name, attr string, value []byte) {
	s.ok(unix.Lsetxattr(s.path(name), attr, value, 0))
}

// flip changes one bit in the middle of a file and not its time.
func (s *scene) flip(name string) {
	st := s.stat(name)
	content, err := os.ReadFile(s.path(name))
	s.ok(err)
	content[len(content)/2] ^= 1
	s.ok(os.WriteFile(s.path(name), content, 0))
	s.times(name, st)
}

type change struct {
	desc string
	do   func(s *scene)
	want []string
}

func contentChanges() []change {
	return []change{
		{"content with the same size and time", func(s *scene) { s.flip("kinds/a") }, []string{"content kinds/a"}},
		{"content of a hard link", func(s *scene) { s.flip("hardlinks/a/file0") }, []string{
			"content hardlinks/a/file0", "content hardlinks/m/file1", "content hardlinks/m/n/file2", "content hardlinks/z/file",
		}},
		{"size", func(s *scene) {
			st := s.stat("kinds/a")
			s.ok(os.Truncate(s.path("kinds/a"), st.Size-1))
			s.times("kinds/a", st)
		}, []string{"size kinds/a"}},
		{"mtime by 1 ns", func(s *scene) {
			st := s.stat("kinds/b")
			st.Mtim.Nsec ^= 1
			s.times("kinds/b", st)
		}, []string{"mtime kinds/b"}},
		{"mtime of a folder", func(s *scene) {
			st := s.stat("empty/folder")
			st.Mtim.Sec++
			s.times("empty/folder", st)
		}, []string{"mtime empty/folder"}},
		{"mtime of a symlink", func(s *scene) {
			st := s.stat("symlinks/self")
			st.Mtim.Sec--
			s.times("symlinks/self", st)
		}, []string{"mtime symlinks/self"}},
		{"hole filled with zeros", func(s *scene) {
			st := s.stat("sparse/hole-only")
			s.ok(os.WriteFile(s.path("sparse/hole-only"), make([]byte, st.Size), 0))
			s.times("sparse/hole-only", st)
		}, nil},
		{"access time", func(s *scene) {
			ts := []unix.Timespec{{Sec: 5}, {Nsec: unix.UTIME_OMIT}}
			s.ok(unix.UtimesNanoAt(unix.AT_FDCWD, s.path("kinds/b"), ts, 0))
		}, nil},
	}
}

func propertyChanges() []change {
	const acl = "system.posix_acl_access"
	return []change{
		{"mode", func(s *scene) { s.ok(unix.Chmod(s.path("kinds/a"), 0o640)) }, []string{"mode kinds/a"}},
		{"setuid", func(s *scene) { s.ok(unix.Chmod(s.path("modes/file-4755"), 0o755)) }, []string{"mode modes/file-4755"}},
		{"sticky", func(s *scene) { s.ok(unix.Chmod(s.path("modes/folder-1777"), 0o777)) }, []string{"mode modes/folder-1777"}},
		{"mode of the root", func(s *scene) { s.ok(unix.Chmod(s.root, 0o700)) }, []string{"mode ."}},
		{"uid", func(s *scene) { s.ok(os.Lchown(s.path("kinds/a"), 70_000, -1)) }, []string{"owner kinds/a"}},
		{"gid", func(s *scene) { s.ok(os.Lchown(s.path("kinds/a"), -1, 65_537)) }, []string{"owner kinds/a"}},
		{"gid of a symlink", func(s *scene) { s.ok(os.Lchown(s.path("symlinks/self"), -1, 7)) }, []string{"owner symlinks/self"}},
		{"xattr added", func(s *scene) { s.setXattr("kinds/a", "user.new", []byte("v")) }, []string{"xattrs kinds/a"}},
		{"xattr changed", func(s *scene) { s.setXattr("xattrs/file", "user.text", []byte("b value")) }, []string{"xattrs xattrs/file"}},
		{"long xattr changed at its end", func(s *scene) {
			value := s.xattr("xattrs/file", "user.large")
			value[len(value)-1] ^= 1
			s.setXattr("xattrs/file", "user.large", value)
		}, []string{"xattrs xattrs/file"}},
		{"xattr emptied", func(s *scene) { s.setXattr("xattrs/file", "user.zeros", nil) }, []string{"xattrs xattrs/file"}},
		{"empty xattr removed", func(s *scene) {
			s.ok(unix.Lremovexattr(s.path("xattrs/folder"), "user.empty"))
		}, []string{"xattrs xattrs/folder"}},
		{"access ACL changed", func(s *scene) {
			value := s.xattr("acls/file", acl)
			value[4+8+2] = 5 // Rights of the second entry, a user.
			s.setXattr("acls/file", acl, value)
		}, []string{"xattrs acls/file"}},
		{"default ACL removed", func(s *scene) {
			s.ok(unix.Lremovexattr(s.path("acls/folder"), "system.posix_acl_default"))
		}, []string{"xattrs acls/folder"}},
		{"file capability", func(s *scene) {
			s.setXattr("kinds/a", "security.capability", append([]byte{0, 0, 0, 2, 0, 4, 0, 0}, make([]byte, 12)...))
		}, []string{"xattrs kinds/a"}},
		{"trusted xattr", func(s *scene) { s.setXattr("kinds/a", "trusted.x", []byte("v")) }, []string{"xattrs kinds/a"}},
		{"SELinux label", func(s *scene) { s.setXattr("kinds/a", "security.selinux", []byte("label")) }, nil},
		{"Gluster's own xattr", func(s *scene) { s.setXattr("kinds/a", "trusted.glusterfs.x", []byte("v")) }, nil},
	}
}

func inodeChanges() []change {
	return []change{
		{"symlink target", func(s *scene) {
			s.replace("symlinks/dangling", func(path string) { s.ok(os.Symlink("no/such/filx", path)) })
		}, []string{"target symlinks/dangling"}},
		{"minor", func(s *scene) {
			s.replace("devices/null", func(path string) { s.ok(unix.Mknod(path, unix.S_IFCHR, int(unix.Mkdev(1, 5)))) })
		}, []string{"device devices/null"}},
		{"major", func(s *scene) {
			s.replace("devices/block", func(path string) { s.ok(unix.Mknod(path, unix.S_IFBLK, int(unix.Mkdev(8, 200)))) })
		}, []string{"device devices/block"}},
		{"hard link broken", func(s *scene) {
			content, err := os.ReadFile(s.path("hardlinks/z/file"))
			s.ok(err)
			s.replace("hardlinks/z/file", func(path string) { s.ok(os.WriteFile(path, content, 0o644)) })
		}, []string{"hardlink hardlinks/z/file"}},
		{"hard link joined", func(s *scene) {
			s.inFolder("twins/b", func(path string) {
				s.ok(os.Remove(path))
				s.ok(os.Link(s.path("twins/a"), path))
			})
		}, []string{"hardlink twins/b"}},
		{"hard link of another inode", func(s *scene) {
			s.inFolder("twins/d", func(path string) {
				s.ok(os.Remove(path))
				s.ok(os.Link(s.path("twins/a"), path))
			})
		}, []string{"hardlink twins/d"}},
	}
}

func presenceChanges() []change {
	return []change{
		{"file missing", func(s *scene) {
			s.inFolder("kinds/b", func(path string) { s.ok(os.Remove(path)) })
		}, []string{"missing kinds/b"}},
		{"empty folder missing", func(s *scene) {
			s.inFolder("empty/folder", func(path string) { s.ok(os.Remove(path)) })
		}, []string{"missing empty/folder"}},
		{"last entry missing", func(s *scene) {
			s.inFolder("zz", func(path string) { s.ok(os.Remove(path)) })
		}, []string{"missing zz"}},
		{"first name of an inode missing", func(s *scene) {
			s.inFolder("hardlinks/a/big0", func(path string) { s.ok(os.Remove(path)) })
		}, []string{"missing hardlinks/a/big0"}},
		{"extra file", func(s *scene) {
			s.inFolder("kinds/\xff", func(path string) { s.ok(os.WriteFile(path, nil, 0o644)) })
		}, []string{"extra kinds/\xff"}},
		{"extra folder", func(s *scene) {
			s.inFolder("zzz", func(path string) { put(s.T, path+"/x", "") })
		}, []string{"extra zzz", "extra zzz/x"}},
		{"extra hard link before the first name", func(s *scene) {
			s.inFolder("hardlinks/a/!", func(path string) { s.ok(os.Link(s.path("hardlinks/z/fifo"), path)) })
		}, []string{"extra hardlinks/a/!"}},
	}
}

func typeChanges() []change {
	return []change{
		{"file to symlink", func(s *scene) {
			s.replace("kinds/a", func(path string) { s.ok(os.Symlink("b", path)) })
		}, []string{"type kinds/a"}},
		{"file to folder", func(s *scene) {
			s.replace("empty/file", func(path string) { s.ok(os.Mkdir(path, 0o755)) })
		}, []string{"type empty/file"}},
		{"FIFO to socket", func(s *scene) {
			s.replace("devices/fifo", func(path string) { s.ok(unix.Mknod(path, unix.S_IFSOCK, 0)) })
		}, []string{"type devices/fifo"}},
		{"char to block device", func(s *scene) {
			s.replace("devices/null", func(path string) { s.ok(unix.Mknod(path, unix.S_IFBLK, int(unix.Mkdev(1, 5)))) })
		}, []string{"type devices/null"}},
		{"folder to file", func(s *scene) {
			s.inFolder("deep", func(path string) {
				s.ok(os.RemoveAll(path + "/d"))
				s.ok(os.WriteFile(path+"/d", nil, 0o644))
			})
		}, nil}, // TestCompareSeesEveryKind fills in what it wants.
	}
}
