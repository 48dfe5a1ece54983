package manifest

import (
	"context"
	"crypto/sha256"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// walker reads metadata in order. Each entry is opened once with O_PATH, which
// opens no device and follows no symlink, and everything is asked of that
// descriptor: an entry that is replaced meanwhile cannot mix two inodes.
type walker struct {
	ctx  context.Context
	root string
	o    ScanOptions
	jobs chan job
	out  chan *item
	err  error // What ended the walk, for the reader of out once it is closed.

	dev    uint64
	links  openLinks
	ref    *reference
	xattrs *xattrReader
	target []byte
}

// folder is an open folder of the tree, and the one at the same place in the
// reference tree or noFolder.
type folder struct {
	fd, ref int
}

func newWalker(ctx context.Context, root string, o ScanOptions) *walker {
	return &walker{
		ctx: ctx, root: root, o: o,
		jobs: make(chan job, hashers), out: make(chan *item, queued),
		links: openLinks{byInode: map[uint64]*link{}}, xattrs: newXattrReader(), target: make([]byte, unix.PathMax+1),
	}
}

// run walks, then closes both channels.
func (w *walker) run() {
	defer close(w.out)
	defer close(w.jobs)
	w.err = w.walk()
}

func (w *walker) walk() error {
	fd, err := unix.Open(w.root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &ScanError{w.root, ".", "open", err}
	}
	defer closeFD(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return &ScanError{w.root, ".", "stat", err}
	}
	w.dev = st.Dev
	ref, refFD, err := newReference(w.o.Reference)
	defer closeFD(refFD)
	if ref != nil {
		defer ref.stop()
	}
	if err != nil {
		return err
	}
	w.ref = ref
	at := folder{fd, refFD}
	if w.o.Sub == "" || w.o.Sub == "." {
		return w.visit(at, ".", ".")
	}
	return w.descend(at, strings.Split(w.o.Sub, "/"))
}

// descend goes to the entry Sub without reporting the folders on the way.
func (w *walker) descend(at folder, names []string) error {
	if len(names) == 1 {
		return w.visit(at, names[0], w.o.Sub)
	}
	fd, err := unix.Openat(at.fd, names[0], unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return &ScanError{w.root, w.o.Sub, "open", err}
	}
	defer closeFD(fd)
	below := folder{fd, subfolder(at.ref, names[0])}
	defer closeFD(below.ref)
	return w.descend(below, names[1:])
}

// visit sends the entry name of a folder and everything below it.
func (w *walker) visit(at folder, name, path string) error {
	fd, err := unix.Openat(at.fd, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return w.fail(path, "open", err)
	}
	kept := false
	defer func() {
		if !kept {
			closeFD(fd)
		}
	}()
	var st unix.Stat_t
	it := &item{fd: -1, entry: Entry{Path: path}}
	if op, err := w.describe(fd, &it.entry, &st); err != nil {
		return w.fail(path, op, err)
	}
	if it.entry.Type == Dir {
		return w.enter(at, fd, name, it)
	}
	w.connect(it, &st)
	if !w.o.Hash || it.entry.Type != File || it.entry.HardlinkOf != "" || w.o.Content != nil && !w.o.Content(&it.entry) {
		return w.send(it)
	}
	if scan, ok := w.o.Pieces[path]; ok {
		kept = true
		return w.pieces(it, fd, scan)
	}
	if it.entry.SHA256, err = w.ref.sum(&it.entry, &st, at.ref, name); err != nil {
		return err
	}
	if it.entry.SHA256 == "" {
		it.fd = fd
	}
	it.done = make(chan struct{})
	select {
	case w.jobs <- job{it, whole}:
		kept = it.fd == fd
	case <-w.ctx.Done():
		return w.ctx.Err()
	}
	return w.send(it)
}

// pieces sends a file of which the hashers read those pieces that are not known.
// Whoever is done last closes fd.
func (w *walker) pieces(it *item, fd int, scan PieceScan) error {
	p := &pieces{PieceScan: scan, hasher: NewPieceHasher(scan.Size, scan.Block)}
	it.fd, it.done, it.pieces = fd, make(chan struct{}), p
	defer it.pieceDone()
	count := int(PieceCount(it.entry.Size, scan.Size))
	p.sums = make([]byte, count*sha256.Size)
	p.left.Store(int64(count) + 1)
	if err := w.send(it); err != nil {
		p.left.Store(1)
		return err
	}
	for n := range count {
		if scan.Known != nil && copy(p.sums[n*sha256.Size:], scan.Known(n)) == sha256.Size {
			p.left.Add(-1)
			continue
		}
		select {
		case w.jobs <- job{it, n}:
		case <-w.ctx.Done():
			p.left.Add(int64(n - count))
			return w.ctx.Err()
		}
	}
	return nil
}

// enter sends a folder, opened as fd, and everything in it. A folder of which
// the names cannot be read fails as a whole.
func (w *walker) enter(at folder, fd int, name string, it *item) error {
	path := it.entry.Path
	readable, err := unix.Open(procPath(fd), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return w.fail(path, "open", err)
	}
	dir := os.NewFile(uintptr(readable), path)
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return w.fail(path, "read folder", reason(err))
	}
	slices.Sort(names)
	names = slices.Compact(names) // Gluster may list a name twice while it rebalances.
	if err := w.send(it); err != nil {
		return err
	}
	below := folder{readable, subfolder(at.ref, name)}
	defer closeFD(below.ref)
	for _, name := range names {
		child := name
		if path != "." {
			child = path + "/" + name
		}
		if err := w.visit(below, name, child); err != nil {
			return err
		}
	}
	return nil
}

// describe fills all of an entry but its path, hard link and hash. With an
// error it returns what failed.
func (w *walker) describe(fd int, e *Entry, st *unix.Stat_t) (op string, err error) {
	if err := unix.Fstat(fd, st); err != nil {
		return "stat", err
	}
	if st.Dev != w.dev {
		return "scan", ErrMountPoint
	}
	e.Type = typeOf(st.Mode)
	e.Mode, e.UID, e.GID = st.Mode&0o7777, st.Uid, st.Gid
	e.MTime = time.Unix(st.Mtim.Unix()).UTC()
	switch e.Type {
	case File:
		e.Size = st.Size
	case Char, Block:
		e.Major, e.Minor = unix.Major(st.Rdev), unix.Minor(st.Rdev)
	case Symlink:
		n, err := unix.Readlinkat(fd, "", w.target)
		if err != nil {
			return "read symlink", err
		}
		e.Target = string(w.target[:n])
	case Dir, FIFO, Socket:
	}
	if e.Xattrs, err = w.xattrs.read(procPath(fd)); err != nil {
		return "read xattrs of", err
	}
	return "", nil
}

func (w *walker) fail(path, op string, err error) error {
	return w.send(&item{fd: -1, failure: &ScanError{w.root, path, op, err}})
}

func (w *walker) send(it *item) error {
	select {
	case w.out <- it:
		return nil
	case <-w.ctx.Done():
		return w.ctx.Err()
	}
}

// procPath is a path that leads to exactly the inode of an O_PATH descriptor,
// also when that is a symlink.
func procPath(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }

func typeOf(mode uint32) Type {
	switch mode & unix.S_IFMT {
	case unix.S_IFDIR:
		return Dir
	case unix.S_IFLNK:
		return Symlink
	case unix.S_IFIFO:
		return FIFO
	case unix.S_IFSOCK:
		return Socket
	case unix.S_IFCHR:
		return Char
	case unix.S_IFBLK:
		return Block
	}
	return File
}
