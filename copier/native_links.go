package copier

import (
	"sync"

	"golang.org/x/sys/unix"
)

// groups are the inodes of the source with several names, by number.
type groups struct {
	mu      sync.Mutex
	byInode map[uint64]*group
}

// group is such an inode. The first name that is met is copied, and the others
// are linked to it: those that come before it is done wait here, without a
// goroutine.
type group struct {
	first   *item  // The first name, until it is done.
	path    string // Of the first name, once it is done.
	ino     uint64 // In the destination.
	err     error
	sum     []byte // As that of the first name.
	waiting []*item
}

// wait puts it into its group. It reports whether whoever copies the first name
// will link this one too, so that nothing is to be done.
func (g *groups) wait(it *item) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	it.of = g.byInode[it.st.Ino]
	switch {
	case it.of == nil:
		it.of = &group{first: it}
		g.byInode[it.st.Ino] = it.of
		return false
	case it.of.first == nil:
		return false
	}
	it.of.waiting = append(it.of.waiting, it)
	return true
}

// finish says what became of the first name, and returns who waited.
func (g *groups) finish(of *group, ino uint64, err error) []*item {
	g.mu.Lock()
	defer g.mu.Unlock()
	waiting := of.waiting
	of.path, of.ino, of.err, of.sum = of.first.path(), ino, err, of.first.sum
	of.first, of.waiting = nil, nil
	return waiting
}

// oneOfMany copies a name of an inode that has several.
func (j *treeJob) oneOfMany(it *item) {
	of := it.of
	if of.first != it {
		j.settle(j.link(it, of))
		j.leave(it.at)
		return
	}
	err := j.put(it)
	var st unix.Stat_t
	if err == nil && it.at.dst != noFD {
		if err = lstat(it.at.dst, it.name, &st); err != nil && j.DryRun {
			err = nil // It is not there yet.
		}
		err = j.inDest("lstat", it.path(), err)
	}
	j.settle(err)
	for _, other := range j.groups.finish(of, st.Ino, err) {
		j.settle(j.link(other, of))
		j.leave(other.at)
	}
	j.leave(it.at)
}

// link gives the destination's inode of a group one more name.
func (j *treeJob) link(it *item, of *group) error {
	if of.err != nil {
		return j.inSource("link", it.path(), of.err)
	}
	if j.stopped() {
		return j.ctx.Err()
	}
	it.sum = of.sum
	old, err := j.existing(it)
	if err != nil {
		return err
	}
	if old != nil && old.Ino == of.ino {
		return j.marked(it, nil)
	}
	if old != nil && isDir(old) {
		if err := j.makeWay(it, old); err != nil {
			return err
		}
	}
	if j.DryRun {
		j.change("link", it.path())
		return nil
	}
	dir, name := it.at.dst, of.path
	if folder := parentPath(of.path); folder != it.at.path {
		if dir, err = openBelow(j.root.dst, folder); err != nil {
			return j.inDest("open", folder, err)
		}
		defer closeFD(dir)
	}
	name = baseName(name)
	return j.marked(it, j.place(it, func(to string) error {
		return retry(func() error { return unix.Linkat(dir, name, it.at.dst, to, 0) })
	}))
}
