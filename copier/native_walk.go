package copier

import (
	"errors"
	"io/fs"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// openRoot opens the roots of source, destination and reference.
func (j *treeJob) openRoot() (err error) {
	p := &place{path: ".", name: ".", src: noFD, dst: noFD, ref: noFD}
	if j.Path != "" {
		p.only = strings.Split(j.Path, "/")
	}
	if p.src, err = openRoot(j.Source); err == nil {
		err = fstat(p.src, &p.st)
	}
	if err != nil {
		return j.inSource("open", ".", err)
	}
	j.dev, j.root = p.st.Dev, p
	p.dst, err = openRoot(j.Dest)
	if errors.Is(err, fs.ErrNotExist) && j.DryRun {
		p.dst, p.fresh, err = noFD, true, nil
		j.change("create", ".")
	}
	if err != nil {
		return j.inDest("open", ".", err)
	}
	if j.Reference != "" {
		if p.ref, err = openRoot(j.Reference); err != nil {
			return j.inReference("open", ".", err)
		}
	}
	return j.lookAt(p)
}

// lookAt finds out what is to be known of an opened folder.
func (j *treeJob) lookAt(p *place) (err error) {
	// What the last copy knows of this folder need not be asked for again.
	from := p.src
	if p.ref != noFD && j.known(p.path, &p.st) {
		from = p.ref
	}
	if p.xattrs, err = readXattrs(from); err != nil {
		return j.inSource("read xattrs of", p.path, err)
	}
	if p.dst != noFD && !p.fresh {
		if p.fresh, err = isEmpty(p.dst); err != nil {
			return j.inDest("read folder", p.path, err)
		}
	}
	if j.Tidy && !j.DryRun && p.dst != noFD && !p.fresh {
		if err := j.tidy(p); err != nil {
			return j.inDest("remove what a killed copy left in", p.path, err)
		}
	}
	if p.dst != noFD && (!p.made || p.parent.inherits) {
		p.inherits, err = hasXattr(p.dst, aclDefault)
	}
	return j.inDest("read xattrs of", p.path, err)
}

func isEmpty(dir int) (bool, error) {
	fd, err := openFolder(dir, ".") // A descriptor of its own: it has the position.
	if err != nil {
		return false, err
	}
	defer closeFD(fd)
	names, err := listNames(fd, make([]byte, listBuffer/8))
	return len(names) == 0, err
}

// enter copies the folder it and what is in it.
func (j *treeJob) enter(it *item) {
	p, err := j.open(it)
	if err != nil {
		j.fail(err)
		j.listing.Add(-1)
		j.leave(it.at)
		return
	}
	p.left.Store(1)
	j.list(p)
}

// open opens a folder on all sides, and makes it in the destination.
func (j *treeJob) open(it *item) (_ *place, err error) {
	if j.stopped() {
		return nil, j.ctx.Err()
	}
	p := &place{parent: it.at, name: it.name, path: it.path(), st: it.st, src: noFD, dst: noFD, ref: noFD}
	defer func() {
		if err != nil {
			closeFD(p.src)
			closeFD(p.dst)
			closeFD(p.ref)
		}
	}()
	if len(it.at.only) > 1 {
		p.only = it.at.only[1:]
	}
	if p.src, err = openFolder(it.at.src, it.name); err != nil {
		return nil, j.inSource("open", p.path, err)
	}
	if err := j.openTarget(it, p); err != nil {
		return nil, err
	}
	if it.at.ref != noFD {
		// A folder that is not there has no files to offer, whatever the reason.
		if p.ref, err = openFolder(it.at.ref, it.name); err != nil {
			p.ref = noFD
		}
	}
	return p, j.lookAt(p)
}

// openTarget opens the folder in the destination, after making it if needed.
func (j *treeJob) openTarget(it *item, p *place) error {
	old, err := j.existing(it)
	switch {
	case err != nil:
		return err
	case old != nil && !isDir(old):
		if err := j.makeWay(it, old); err != nil {
			return err
		}
		old = nil
	}
	if old == nil {
		p.made, p.fresh = true, true
		if j.DryRun {
			j.change("create", p.path)
			return nil
		}
		// Nobody else shall look into it before it has its own mode.
		err := retry(func() error { return unix.Mkdirat(it.at.dst, it.name, 0o700) })
		if err != nil && !errors.Is(err, fs.ErrExist) { // A name that the source lists twice.
			return j.inDest("mkdir", p.path, err)
		}
		p.made, p.fresh = err == nil, err == nil
	}
	p.dst, err = openFolder(it.at.dst, it.name)
	return j.inDest("open", p.path, err)
}

// list hands over everything that is in p.
func (j *treeJob) list(p *place) {
	defer j.leave(p)
	defer j.listing.Add(-1)
	if len(p.only) > 0 {
		j.dispatch(p, p.only[:1])
		return
	}
	for !j.stopped() {
		buf := j.lists.Get().(*[listBuffer]byte) //nolint:errcheck,forcetypeassert // The pool has nothing else.
		names, err := listNames(p.src, buf[:])
		j.lists.Put(buf)
		if err != nil {
			j.fail(j.inSource("read folder", p.path, err))
			return
		}
		if len(names) == 0 {
			return
		}
		j.dispatch(p, names)
	}
}

// dispatch looks at all names before it hands over the first: what the kernel
// learnt from listing them is good for a moment only.
func (j *treeJob) dispatch(p *place, names []string) {
	items := make([]*item, 0, len(names))
	for _, name := range names {
		it := &item{at: p, name: name}
		err := lstat(p.src, name, &it.st)
		if err == nil && it.st.Dev != j.dev {
			err = ErrMountPoint
		}
		if err != nil {
			j.fail(j.inSource("lstat", it.path(), err))
			continue
		}
		items = append(items, it)
	}
	for _, it := range items {
		j.found.entries.Add(1)
		switch {
		case isDir(&it.st):
			j.listing.Add(1)
		case isFile(&it.st):
			j.found.files.Add(1)
			j.found.bytes.Add(it.st.Size)
		}
	}
	slices.SortFunc(items, func(a, b *item) int { return strings.Compare(a.name, b.name) })
	for _, it := range items {
		p.left.Add(1)
		switch {
		case isDir(&it.st), it.st.Nlink == 1 && !j.reuse(it), it.st.Nlink > 1 && !j.groups.wait(it):
			j.crew.submit(it)
		}
	}
}

// finishFolder gives a folder its own attributes, after everything in it.
func (j *treeJob) finishFolder(p *place) {
	if p.dst == noFD { // A dry run, and it was said that it is made.
		j.done.entries.Add(1)
		return
	}
	if p.spoiled.Load() {
		return // The error of the file says why.
	}
	if err := j.applyFolder(p); err != nil {
		j.fail(j.inDest("set attributes of", p.path, err))
		return
	}
	j.mark(p.path, &p.st)
	j.done.entries.Add(1)
	j.report.tick(j)
}

func (j *treeJob) applyFolder(p *place) error {
	var old unix.Stat_t
	if err := fstat(p.dst, &old); err != nil {
		return err
	}
	want := attributes{&p.st, p.xattrs}
	have := attributes{&old, nil}
	if !p.made || p.inherits {
		var err error
		if have.xattrs, err = readXattrs(p.dst); err != nil {
			return err
		}
		if want.equal(have) {
			return j.syncFolder(p)
		}
	}
	if j.DryRun {
		j.change("attributes", p.path)
		return nil
	}
	if err := want.apply(p.dst, have); err != nil {
		return err
	}
	if err := setMTime(p.dst, ".", p.st.Mtim); err != nil {
		return err
	}
	return j.syncFolder(p)
}

func (j *treeJob) syncFolder(p *place) error {
	if !j.Sync || j.DryRun {
		return nil
	}
	return retry(func() error { return unix.Fsync(p.dst) })
}
