package copier

import (
	"errors"
	"io/fs"

	"golang.org/x/sys/unix"
)

// makeWay removes what stands in the destination where it shall come, if that
// cannot be replaced by a rename: a folder, or anything where a folder comes.
func (j *treeJob) makeWay(it *item, old *unix.Stat_t) error {
	path := it.path()
	if !isDir(old) {
		if j.DryRun {
			return nil
		}
		return j.inDest("unlink", path, unlink(it.at.dst, it.name, 0))
	}
	fd, err := openFolder(it.at.dst, it.name)
	if err != nil {
		return j.inDest("open", path, err)
	}
	empty, err := isEmpty(fd)
	if err == nil && !empty {
		if !j.Delete {
			err = ErrInTheWay
		} else {
			err = j.emptyFolder(fd, path)
		}
	}
	closeFD(fd)
	if err == nil && !j.DryRun {
		err = unlink(it.at.dst, it.name, unix.AT_REMOVEDIR)
	}
	return j.inDest("make way for", path, err)
}

// emptyFolder removes everything in an open folder.
func (j *treeJob) emptyFolder(dir int, path string) error {
	return j.eachName(dir, func(name string) error { return j.remove(dir, name, joinPath(path, name)) })
}

// eachName calls f with each name in an open folder, until an error. f may
// remove the name.
func (j *treeJob) eachName(dir int, f func(name string) error) error {
	fd, err := openFolder(dir, ".")
	if err != nil {
		return err
	}
	defer closeFD(fd)
	buf := make([]byte, listBuffer)
	for {
		names, err := listNames(fd, buf)
		if err != nil || len(names) == 0 {
			return err
		}
		for _, name := range names {
			if j.stopped() {
				return j.ctx.Err()
			}
			if err := f(name); err != nil {
				return err
			}
		}
	}
}

// remove removes a name of the destination and everything below.
func (j *treeJob) remove(dir int, name, path string) error {
	var st unix.Stat_t
	err := lstat(dir, name, &st)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	flags := 0
	if err == nil && isDir(&st) {
		flags = unix.AT_REMOVEDIR
		var fd int
		if fd, err = openFolder(dir, name); err == nil {
			err = j.emptyFolder(fd, path)
			closeFD(fd)
		}
	}
	if err == nil && !j.DryRun {
		err = unlink(dir, name, flags)
	}
	if err != nil {
		var known *fs.PathError
		if errors.As(err, &known) {
			return err
		}
		return j.inDest("remove", path, err)
	}
	if j.DryRun {
		j.change("delete", path)
	}
	j.deleted.Add(1)
	return nil
}

// deleteExtra removes what the source does not have. It comes after everything
// was copied, and holds some names of each folder on its way.
func (j *treeJob) deleteExtra() {
	src, err := openBelowRoot(j.Source, j.Path)
	if err != nil {
		if !errors.Is(err, unix.ENOTDIR) { // A Path that is a file has nothing below.
			j.fail(j.inSource("open", j.Path, err))
		}
		return
	}
	defer closeFD(src)
	dst, err := openBelowRoot(j.Dest, j.Path)
	if err != nil {
		if !j.DryRun { // Otherwise it was said that it will be made.
			j.fail(j.inDest("open", j.Path, err))
		}
		return
	}
	defer closeFD(dst)
	path := j.Path
	if path == "" {
		path = "."
	}
	if err := j.deleteIn(src, dst, path); err != nil {
		j.fail(err)
	}
}

func openBelowRoot(root, path string) (int, error) {
	fd, err := openRoot(root)
	if err != nil || path == "" {
		return fd, err
	}
	defer closeFD(fd)
	return openBelow(fd, path)
}

// deleteIn removes from an open folder what the source's lacks, and gives the
// folder its time again.
func (j *treeJob) deleteIn(src, dst int, path string) error {
	before := j.deleted.Load()
	if err := j.deleteNames(src, dst, path); err != nil {
		return err
	}
	if j.DryRun || j.deleted.Load() == before {
		return nil
	}
	var st unix.Stat_t
	err := fstat(src, &st)
	if err == nil {
		err = setMTime(dst, ".", st.Mtim)
	}
	if err == nil && j.Sync {
		err = retry(func() error { return unix.Fsync(dst) })
	}
	return j.inDest("set time of", path, err)
}

func (j *treeJob) deleteNames(src, dst int, path string) error {
	return j.eachName(dst, func(name string) error {
		below := joinPath(path, name)
		var st, old unix.Stat_t
		err := lstat(src, name, &st)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return j.remove(dst, name, below)
		case err != nil:
			return j.inSource("lstat", below, err)
		case !isDir(&st):
			return nil
		}
		// A dry run has not made a folder of what is none.
		if err := lstat(dst, name, &old); err != nil || !isDir(&old) {
			return j.inDest("lstat", below, err)
		}
		one, err := openFolder(src, name)
		if err != nil {
			return j.inSource("open", below, err)
		}
		defer closeFD(one)
		two, err := openFolder(dst, name)
		if err != nil {
			return j.inDest("open", below, err)
		}
		defer closeFD(two)
		return j.deleteIn(one, two, below)
	})
}
