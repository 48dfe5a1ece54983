package manifest

import (
	"cmp"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// link is an inode with several names. The walker alone uses path and left;
// the rest belongs to the goroutine that collects.
type link struct {
	path   string
	left   uint64 // Names not met yet, in this tree or elsewhere.
	sum    string
	pieces Pieces
	failed *ScanError
}

// openLinks are the inodes of which not all names were met.
type openLinks struct {
	byInode map[uint64]*link // There is one device only.
	// several are those that have more than one name in the tree, once that was
	// found out; some others may be among them.
	several map[uint64]bool
	known   bool
}

// mostOpenLinks is how many inodes may wait for other names before it is found
// out which of them have any in this tree.
const mostOpenLinks = 100_000

// connect finds the first name of an inode with several names.
func (w *walker) connect(it *item, st *unix.Stat_t) error {
	l := &w.links
	if st.Nlink < 2 || l.known && !l.several[st.Ino] {
		return nil
	}
	first, ok := l.byInode[st.Ino]
	if !ok {
		it.link = &link{path: it.entry.Path, left: uint64(st.Nlink) - 1} //nolint:unconvert // 32 bits on arm64.
		l.byInode[st.Ino] = it.link
		if len(l.byInode) > cmp.Or(w.o.openLinks, mostOpenLinks) && !l.known {
			return w.forgetSingle()
		}
		return nil
	}
	it.link, it.entry.HardlinkOf = first, first.path
	if first.left--; first.left == 0 {
		delete(l.byInode, st.Ino)
	}
	return nil
}

// forgetSingle walks through the whole tree once more, for names only, and keeps
// those inodes of which it meets a second one. What cannot be read there the walk
// itself will not be able to read either, and says so.
func (w *walker) forgetSingle() error {
	var met Inodes
	l := &w.links
	l.several = map[uint64]bool{}
	fd, err := unix.Open(w.root, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &ScanError{w.root, ".", "open", err}
	}
	if err := w.eachLink(os.NewFile(uintptr(fd), w.root), func(ino uint64) {
		if !met.Add(ino) {
			l.several[ino] = true
		}
	}); err != nil {
		return err
	}
	l.known = true
	for ino := range l.byInode {
		if !l.several[ino] {
			delete(l.byInode, ino)
		}
	}
	return nil
}

// eachLink calls see with each name below dir of an inode that has several
// somewhere, and closes dir.
func (w *walker) eachLink(dir *os.File, see func(ino uint64)) error {
	defer dir.Close()
	fd := int(dir.Fd())
	for {
		names, err := dir.Readdirnames(4096)
		if err != nil || w.ctx.Err() != nil {
			return w.ctx.Err() // The end of the folder, or what the walk will say.
		}
		slices.Sort(names) // Folders come in an order that their inodes have, too.
		for _, name := range names {
			var st unix.Stat_t
			if unix.Fstatat(fd, name, &st, unix.AT_SYMLINK_NOFOLLOW) != nil || st.Dev != w.dev {
				continue
			}
			if st.Mode&unix.S_IFMT != unix.S_IFDIR {
				if st.Nlink > 1 {
					see(st.Ino)
				}
				continue
			}
			below, err := unix.Openat(fd, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
			if err != nil {
				continue
			}
			if err := w.eachLink(os.NewFile(uintptr(below), name), see); err != nil {
				return err
			}
		}
	}
}
