package manifest

import (
	"cmp"
	"errors"
	"io"
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
	tried   bool // To find it out.
}

// mostOpenLinks is how many inodes may wait for other names before it is found
// out which of them have any in this tree.
const mostOpenLinks = 20_000

// connect finds the first name of an inode with several names.
func (w *walker) connect(it *item, st *unix.Stat_t) {
	l := &w.links
	if st.Nlink < 2 || l.known && !l.several[st.Ino] {
		return
	}
	first, ok := l.byInode[st.Ino]
	if !ok {
		it.link = &link{path: it.entry.Path, left: uint64(st.Nlink) - 1} //nolint:unconvert // 32 bits on arm64.
		l.byInode[st.Ino] = it.link
		if len(l.byInode) > cmp.Or(w.o.openLinks, mostOpenLinks) && !l.tried {
			w.forgetSingle()
		}
		return
	}
	it.link, it.entry.HardlinkOf = first, first.path
	if first.left--; first.left == 0 {
		delete(l.byInode, st.Ino)
	}
}

// forgetSingle walks through the whole tree once more, for names only, and keeps
// those inodes of which it meets a second one. Where something cannot be read, all
// are kept, now and later: that costs memory, and no hard link.
func (w *walker) forgetSingle() {
	var met Inodes
	l := &w.links
	l.tried, l.several = true, map[uint64]bool{}
	fd, err := unix.Open(w.root, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	if err := w.eachLink(os.NewFile(uintptr(fd), w.root), func(ino uint64) {
		if !met.Add(ino) {
			l.several[ino] = true
		}
	}); err != nil {
		return
	}
	l.known = true
	for ino := range l.byInode {
		if !l.several[ino] {
			delete(l.byInode, ino)
		}
	}
}

// eachLink calls see with each name below dir of an inode that has several
// somewhere, and closes dir.
func (w *walker) eachLink(dir *os.File, see func(ino uint64)) error {
	defer dir.Close()
	for {
		names, err := dir.Readdirnames(4096)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err := errors.Join(err, w.ctx.Err()); err != nil {
			return err
		}
		slices.Sort(names) // Folders come in an order that their inodes have, too.
		for _, name := range names {
			if err := w.linkOf(int(dir.Fd()), name, see); err != nil {
				return err
			}
		}
	}
}

// linkOf does the same with one name in a folder.
func (w *walker) linkOf(folder int, name string, see func(ino uint64)) error {
	var st unix.Stat_t
	if err := unix.Fstatat(folder, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	switch {
	case st.Dev != w.dev:
		return nil // The walk says so.
	case st.Mode&unix.S_IFMT == unix.S_IFDIR:
		below, err := unix.Openat(folder, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		return w.eachLink(os.NewFile(uintptr(below), name), see)
	case st.Nlink > 1:
		see(st.Ino)
	}
	return nil
}
