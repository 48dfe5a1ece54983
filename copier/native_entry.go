package copier

import (
	"errors"
	"io/fs"

	"golang.org/x/sys/unix"
)

// entry copies what is not a folder.
func (j *treeJob) entry(it *item) {
	if it.of != nil {
		j.oneOfMany(it)
		return
	}
	j.settle(j.put(it))
	j.leave(it.at)
}

// put brings the inode of it to the destination, under the name of it.
func (j *treeJob) put(it *item) error {
	if j.stopped() {
		return j.ctx.Err()
	}
	old, err := j.existing(it)
	if err != nil {
		return err
	}
	s := &sourceItem{job: j, it: it, fd: noFD}
	defer s.close()
	if old != nil && kind(old.Mode) == kind(it.st.Mode) {
		if done, err := j.inPlace(s, old); done || err != nil {
			return j.marked(it, err)
		}
	}
	if done, err := j.fromReference(s); done || err != nil {
		return j.marked(it, err)
	}
	if old != nil && isDir(old) {
		if err := j.makeWay(it, old); err != nil {
			return err
		}
	}
	if j.DryRun {
		j.change(createOrReplace(old), it.path())
		if isFile(&it.st) {
			j.done.files.Add(1)
			j.done.bytes.Add(it.st.Size)
		}
		return nil
	}
	if isFile(&it.st) {
		return j.marked(it, j.copyFile(s))
	}
	return j.marked(it, j.copySpecial(s))
}

func createOrReplace(old *unix.Stat_t) string {
	if old == nil {
		return "create"
	}
	return "replace"
}

func (j *treeJob) marked(it *item, err error) error {
	if err != nil {
		return err
	}
	j.mark(it.path(), &it.st)
	if it.sum != nil {
		return j.inDest("note digest of", it.path(), j.sums.add(it.path(), it.sum))
	}
	return nil
}

// existing returns what stands in the destination under the name of it, or nil.
func (j *treeJob) existing(it *item) (*unix.Stat_t, error) {
	if it.at.fresh || it.at.dst == noFD {
		return nil, nil
	}
	var st unix.Stat_t
	err := lstat(it.at.dst, it.name, &st)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, j.inDest("lstat", it.path(), err)
	}
	return &st, nil
}

// sourceItem reads from the source no more than it is asked for.
type sourceItem struct {
	job    *treeJob
	it     *item
	fd     int
	xattrs xattrs
	read   bool // xattrs were read.
}

// open opens the inode: a file for reading, all else for its attributes only.
func (s *sourceItem) open() (int, error) {
	if s.fd != noFD {
		return s.fd, nil
	}
	it, flags := s.it, unix.O_RDONLY
	if !isFile(&it.st) {
		flags = unix.O_PATH
	}
	fd, err := openat(it.at.src, it.name, flags, 0)
	if err != nil {
		return noFD, s.job.inSource("open", it.path(), err)
	}
	s.fd = fd
	var st unix.Stat_t
	if err = fstat(fd, &st); err == nil && (st.Ino != it.st.Ino || st.Mode != it.st.Mode || st.Size != it.st.Size || st.Mtim != it.st.Mtim) {
		err = ErrSourceChanged
	}
	return fd, s.job.inSource("open", it.path(), err)
}

func (s *sourceItem) attributes() (attributes, error) {
	if !s.read {
		fd, err := s.open()
		if err == nil {
			s.xattrs, err = readXattrs(fd)
			err = s.job.inSource("read xattrs of", s.it.path(), err)
		}
		if err != nil {
			return attributes{}, err
		}
		s.read = true
	}
	return attributes{&s.it.st, s.xattrs}, nil
}

func (s *sourceItem) close() { closeFD(s.fd) }

// inPlace reports whether the destination already has the inode, of which it
// puts the attributes right if need be.
//
// An inode with several names is taken as it is or not at all: to change it
// would change names that are not of this file. It is taken for one inode of
// the source only, so that two files of the source are never one afterwards.
func (j *treeJob) inPlace(s *sourceItem, old *unix.Stat_t) (bool, error) {
	it := s.it
	same, err := j.sameContent(s, it.at.dst, old, j.Checksum)
	if !same || err != nil {
		return false, err
	}
	want, err := s.attributes()
	if err != nil {
		return false, err
	}
	fd, err := openat(it.at.dst, it.name, unix.O_PATH, 0)
	if err != nil {
		return false, j.inDest("open", it.path(), err)
	}
	defer closeFD(fd)
	have := attributes{st: old}
	if have.xattrs, err = readXattrs(fd); err != nil {
		return false, j.inDest("read xattrs of", it.path(), err)
	}
	equal := want.equal(have)
	switch {
	case old.Nlink > 1 && (!equal || !j.taken.Add(old.Ino)):
		return false, nil
	case equal:
		return true, nil
	case j.DryRun:
		j.change("attributes", it.path())
		return true, nil
	}
	if err = want.apply(fd, have); err == nil {
		err = setMTime(it.at.dst, it.name, it.st.Mtim)
	}
	return true, j.inDest("set attributes of", it.path(), err)
}

// sameContent compares it with what is in dir under the same name: files by size
// and time, or by content, everything else by what it is.
func (j *treeJob) sameContent(s *sourceItem, dir int, old *unix.Stat_t, byContent bool) (bool, error) {
	it := s.it
	switch kind(it.st.Mode) {
	case unix.S_IFREG:
		if old.Size != it.st.Size || !byContent {
			return old.Size == it.st.Size && old.Mtim == it.st.Mtim, nil
		}
		fd, err := s.open()
		if err != nil {
			return false, err
		}
		other, err := openat(dir, it.name, unix.O_RDONLY, 0)
		if err != nil {
			return false, nil // What cannot be read is copied anew, or fails then.
		}
		defer closeFD(other)
		return j.compare(it, fd, other)
	case unix.S_IFLNK:
		want, err := readlink(it.at.src, it.name)
		if err != nil {
			return false, j.inSource("readlink", it.path(), err)
		}
		have, err := readlink(dir, it.name)
		return err == nil && have == want, nil
	case unix.S_IFCHR, unix.S_IFBLK:
		return old.Rdev == it.st.Rdev, nil
	}
	return true, nil
}

// fromReference links the reference's file if that is the same in everything.
func (j *treeJob) fromReference(s *sourceItem) (bool, error) {
	it := s.it
	if it.at.ref == noFD {
		return false, nil
	}
	old := inReferenceTree(it)
	if old == nil || kind(old.Mode) != kind(it.st.Mode) {
		return false, nil
	}
	known := !j.Checksum && j.known(it.path(), &it.st)
	if !known {
		if same, err := j.sameAsReference(s, old); !same || err != nil {
			if err == nil && j.Checksum && j.old.has(fingerprintOf(it.path(), &it.st)) {
				j.missed(it.path())
			}
			return false, err
		}
	}
	// An inode that is known and has one name only was copied from this one.
	if (!known || it.st.Nlink > 1) && !j.reused.Add(old.Ino) {
		return false, nil
	}
	return j.linkReference(it, old)
}

// inReferenceTree returns what the reference has under the name of it. One that
// cannot be asked has nothing to offer, and the item is copied.
func inReferenceTree(it *item) *unix.Stat_t {
	var st unix.Stat_t
	if lstat(it.at.ref, it.name, &st) != nil {
		return nil
	}
	return &st
}

// sameAsReference compares everything. Where the last copy said what it saw, a
// file that is no longer that is compared by content.
func (j *treeJob) sameAsReference(s *sourceItem, old *unix.Stat_t) (bool, error) {
	it := s.it
	if old.Size != it.st.Size && isFile(&it.st) || old.Mtim != it.st.Mtim || old.Mode != it.st.Mode {
		return false, nil
	}
	fd, err := openat(it.at.ref, it.name, unix.O_PATH, 0)
	if err != nil {
		return false, nil
	}
	defer closeFD(fd)
	have := attributes{st: old}
	if have.xattrs, err = readXattrs(fd); err != nil {
		return false, nil
	}
	want, err := s.attributes()
	if err != nil || !want.equal(have) {
		return false, err
	}
	return j.sameContent(s, it.at.ref, old, j.Checksum || j.old != nil)
}

// linkReference links the reference's name into the destination. It reports
// false when the file system does not do that.
func (j *treeJob) linkReference(it *item, old *unix.Stat_t) (bool, error) {
	if isFile(&it.st) && old.Size != it.st.Size || old.Mtim != it.st.Mtim || old.Mode != it.st.Mode ||
		old.Uid != it.st.Uid || old.Gid != it.st.Gid {
		return false, nil // Somebody changed the reference.
	}
	if j.DryRun {
		return true, nil
	}
	err := j.place(it, func(name string) error {
		return retry(func() error { return unix.Linkat(it.at.ref, it.name, it.at.dst, name, 0) })
	})
	for _, e := range []error{unix.EMLINK, unix.EXDEV, unix.EPERM, fs.ErrNotExist} {
		if errors.Is(err, e) {
			return false, nil
		}
	}
	return err == nil, err
}

// reuse links an unchanged file at once, without asking the source for more
// than it said. It reports false when the item is still to be done.
func (j *treeJob) reuse(it *item) bool {
	if j.old == nil || j.Checksum || j.DryRun || it.at.ref == noFD || !it.at.fresh || it.st.Nlink != 1 {
		return false
	}
	if !j.known(it.path(), &it.st) {
		return false
	}
	old := inReferenceTree(it)
	if old == nil {
		return false
	}
	done, err := j.linkReference(it, old)
	if !done || err != nil {
		return false // The slow way knows what to do or to say.
	}
	j.settle(j.marked(it, nil))
	j.leave(it.at)
	return true
}

// place calls create with the name that the item gets, or with a temporary one
// that takes its place afterwards: where somebody may look, and where a name may
// be in use, each name has its old content or the new one.
func (j *treeJob) place(it *item, create func(name string) error) error {
	name := it.name
	if !it.at.fresh {
		name = temporary(it.name)
	}
	err := create(name)
	if errors.Is(err, fs.ErrExist) && name == it.name { // A name that the source lists twice.
		name = temporary(it.name)
		err = create(name)
	}
	if err == nil && name != it.name {
		err = rename(it.at.dst, name, it.name)
	}
	if name != it.name { // Also after a rename, which leaves two names of one inode as they are.
		_ = unlink(it.at.dst, name, 0) // The error that it joins says more.
	}
	return j.inDest("create", it.path(), err)
}

// copySpecial makes a symlink, device, FIFO or socket.
func (j *treeJob) copySpecial(s *sourceItem) error {
	it := s.it
	want, err := s.attributes()
	if err != nil {
		return err
	}
	target := ""
	if kind(it.st.Mode) == unix.S_IFLNK {
		if target, err = readlink(it.at.src, it.name); err != nil {
			return j.inSource("readlink", it.path(), err)
		}
	}
	return j.place(it, func(name string) error {
		err := retry(func() error {
			if target != "" {
				return unix.Symlinkat(target, it.at.dst, name)
			}
			return unix.Mknodat(it.at.dst, name, kind(it.st.Mode)|0o600, int(it.st.Rdev)) //nolint:gosec // As the kernel gave it.
		})
		if err != nil {
			return err
		}
		fd, err := openat(it.at.dst, name, unix.O_PATH, 0)
		if err != nil {
			return err
		}
		defer closeFD(fd)
		have, err := j.newAttributes(fd, it)
		if err != nil {
			return err
		}
		return dress(fd, it, name, want, have)
	})
}

// newAttributes are those that a new inode has got by being made.
func (j *treeJob) newAttributes(fd int, it *item) (have attributes, err error) {
	have.st = new(unix.Stat_t)
	if err = fstat(fd, have.st); err == nil && it.at.inherits {
		have.xattrs, err = readXattrs(fd)
	}
	return have, err
}

// dress gives a new inode, known as name, the attributes of it.
func dress(fd int, it *item, name string, want, have attributes) error {
	if err := want.apply(fd, have); err != nil {
		return err
	}
	return setMTime(it.at.dst, name, it.st.Mtim)
}
