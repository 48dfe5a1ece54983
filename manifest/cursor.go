package manifest

import (
	"fmt"
	"iter"
)

// cursor walks through one of two sequences that are merged.
type cursor struct {
	name    string
	next    func() (Entry, error, bool)
	stop    func()
	entry   Entry
	more    bool
	dropped map[string]bool
	links   *links
}

func newCursor(entries iter.Seq2[Entry, error], name string) *cursor {
	c := &cursor{name: name, dropped: map[string]bool{}}
	c.next, c.stop = iter.Pull2(entries)
	c.links = newLinks(func(path string) bool { return c.dropped[path] })
	return c
}

func (c *cursor) advance() error {
	e, err, more := c.next()
	if err != nil {
		return fmt.Errorf("%s entries: %w", c.name, err)
	}
	if more && c.more && !PathLess(c.entry.Path, e.Path) {
		return fmt.Errorf("%s entries: %w: %q after %q", c.name, ErrOrder, e.Path, c.entry.Path)
	}
	c.entry, c.more = e, more
	return nil
}

// drop notes that the other sequence lacks the current entry.
func (c *cursor) drop() {
	if c.entry.Type != Dir && c.entry.HardlinkOf == "" {
		c.dropped[c.entry.Path] = true
	}
}

// links names hard links anew where the first names of inodes are left out: the
// first name that stays takes that place.
type links struct {
	out   func(path string) bool // Whether a first name is left out.
	first map[string]string      // Its place is taken by.
}

func newLinks(out func(string) bool) *links {
	return &links{out: out, first: map[string]string{}}
}

// of returns what HardlinkOf is without the names that are left out.
func (l *links) of(e *Entry) string {
	if e.HardlinkOf == "" || !l.out(e.HardlinkOf) {
		return e.HardlinkOf
	}
	first, ok := l.first[e.HardlinkOf]
	if !ok {
		l.first[e.HardlinkOf] = e.Path
	}
	return first
}

// Below returns the entry at path and everything below it, as Scan with
// ScanOptions.Sub gives them: an inode whose first name is elsewhere in the
// tree has its first name below path instead. It reads entries no further than
// it must, and passes on their error.
func Below(entries iter.Seq2[Entry, error], path string) iter.Seq2[Entry, error] {
	inside := func(p string) bool { return p == path || isBelow(p, path) }
	return func(yield func(Entry, error) bool) {
		l := newLinks(func(p string) bool { return !inside(p) })
		for e, err := range entries {
			switch {
			case err != nil:
				yield(Entry{}, err)
				return
			case inside(e.Path):
				e.HardlinkOf = l.of(&e)
				if !yield(e, nil) {
					return
				}
			case PathLess(path, e.Path):
				return
			}
		}
	}
}
