package blockstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// A Listing is all that a blockhost volume holds. Each part is sorted by name.
type Listing struct {
	// Images can be backed up.
	Images []Image
	// Incomplete are journals of killed, failed or running creates and
	// deletes. Their images must not be restored from or onto.
	Incomplete []IncompleteError
	// Orphans are files in block-store that no journal names: left by
	// 'delete … unlink-storage no' or by a killed command, or the source of
	// 'create … storage FILE'.
	Orphans []Orphan
	// Problems are journals that cannot be used, each with an error as
	// Store.Image returns it, and images that are listed although something is
	// odd: a torn journal, more than one name, a state that is not known.
	Problems []Problem
}

// An Orphan is a file in block-store that no journal names.
type Orphan struct {
	Path  string // below the store's root
	Size  int64  // bytes
	Links uint64
	// SharedWith is the name of the block volume whose image is the same
	// inode, or "".
	SharedWith string
}

// String says what the orphan is.
func (o Orphan) String() string {
	s := fmt.Sprintf("%q (%d bytes) is an orphan: no journal names it", o.Path, o.Size)
	switch {
	case o.SharedWith != "":
		s += "; it is the same data as image " + o.SharedWith
	case o.Links > 1:
		s += fmt.Sprintf("; it has %d names", o.Links)
	}
	return s
}

// Remedy says how to find out whose data the orphan of that volume is, and what
// to do with it then.
func (o Orphan) Remedy(volume string) string {
	if o.SharedWith != "" {
		return "the data is in use under its other name; 'gluster-block info " + volume + "/" + o.SharedWith +
			"' shows the block volume that was made from it"
	}
	file := path.Base(o.Path)
	if !validGBID.MatchString(file) {
		file = "FILE"
	}
	return "look whether anybody misses it: 'gluster-block create " + volume + "/NAME storage " + file +
		" HOST' exports it under a new name, 'glusterbackupd restore-block NAME' puts the journal entry back if a backup has it;" +
		" what nobody misses can be removed from the mounted volume"
}

// Healthy is the number of images that nothing is odd about.
func (l Listing) Healthy() int {
	odd := func(img Image) bool {
		return slices.ContainsFunc(l.Problems, func(p Problem) bool { return p.Name == img.Name })
	}
	n := len(l.Images)
	for _, img := range l.Images {
		if odd(img) {
			n--
		}
	}
	return n
}

// A Problem is an entry of block-meta or block-store and what is wrong with it.
type Problem struct {
	Name string // block name, or the path of something that is not a file
	Err  error
}

// Images lists what block-meta names, and what block-store holds beside it. A
// journal that is damaged does not end the listing: it becomes a Problem.
// Names with a '.' are not blocks (gluster/gluster-block rpc/block_list.c). On
// a live volume the listing is not one moment's: a block that is deleted
// meanwhile may show as a Problem, one that is created as an Orphan.
func (s *Store) Images(ctx context.Context) (Listing, error) {
	meta, err := s.folder(MetaDir, readCapability)
	if err != nil {
		return Listing{}, err
	}
	defer release(meta)
	store, err := s.folder(StoreDir, readCapability)
	if err != nil {
		return Listing{}, err
	}
	defer release(store)
	journals, problems, err := readJournals(ctx, meta)
	if err != nil {
		return Listing{}, err
	}
	l := Listing{Problems: problems}
	for _, nj := range journals {
		if err := ctx.Err(); err != nil {
			return Listing{}, context.Cause(ctx)
		}
		l.add(store, nj, journals)
	}
	if err := l.addOrphans(ctx, store, journals); err != nil {
		return Listing{}, err
	}
	slices.SortFunc(l.Problems, func(a, b Problem) int { return strings.Compare(a.Name, b.Name) })
	return l, nil
}

// Match returns the image that has both the name and the GBID; an empty one of
// the two matches all. The error Is ErrNoImage, ErrIncomplete or what else
// keeps the image from being used, and ErrAmbiguous when name and GBID belong
// to different images.
func (l Listing) Match(name, gbid string) (Image, error) {
	same := func(n, g string) bool { return n == name || name == "" && strings.EqualFold(g, gbid) }
	for _, img := range l.Images {
		if !same(img.Name, img.GBID) {
			continue
		}
		if gbid != "" && !strings.EqualFold(img.GBID, gbid) {
			return Image{}, &ImageError{Name: name, GBID: img.GBID, Detail: "expected " + gbid, Err: ErrAmbiguous}
		}
		return img, nil
	}
	for _, e := range l.Incomplete {
		if same(e.Name, e.GBID) {
			return Image{}, &e
		}
	}
	for _, p := range l.Problems {
		e, _ := errors.AsType[*ImageError](p.Err)
		if p.Name == name || name == "" && e != nil && strings.EqualFold(e.GBID, gbid) && gbid != "" {
			return Image{}, p.Err
		}
	}
	for _, img := range l.Images {
		if gbid != "" && strings.EqualFold(img.GBID, gbid) {
			return Image{}, &ImageError{Name: name, GBID: gbid, Detail: "it belongs to " + img.Name, Err: ErrAmbiguous}
		}
	}
	return Image{}, &ImageError{Name: name, GBID: gbid, Err: ErrNoImage}
}

// A named is a journal with the name of its block volume.
type named struct {
	name string
	Journal
}

// readJournals reads every journal, sorted by name.
func readJournals(ctx context.Context, meta *os.File) (all []named, problems []Problem, err error) {
	names, err := readNames(meta)
	if err != nil {
		return nil, nil, err
	}
	for _, name := range names {
		if ctx.Err() != nil {
			return nil, nil, context.Cause(ctx)
		}
		if strings.Contains(name, ".") {
			continue
		}
		j, err := readNamed(meta, name)
		if err != nil {
			problems = append(problems, Problem{name, err})
			continue
		}
		all = append(all, named{name, j})
	}
	return all, problems, nil
}

func readNamed(meta *os.File, name string) (Journal, error) {
	if err := ValidName(name); err != nil {
		return Journal{}, err
	}
	text, err := readJournal(meta, name)
	if err != nil {
		return Journal{}, err
	}
	return parseNamed(name, text)
}

// readNames lists an open folder from its beginning, sorted.
func readNames(dir *os.File) ([]string, error) {
	if _, err := dir.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	return names, nil
}

// add sorts one journal into the listing.
func (l *Listing) add(store *os.File, nj named, all []named) {
	problem := func(err error) { l.Problems = append(l.Problems, Problem{nj.name, err}) }
	if other := owner(all, nj.GBID, nj.name); other != "" {
		problem(&ImageError{Name: nj.name, GBID: nj.GBID, Detail: other + " names the same image", Err: ErrAmbiguous})
		return
	}
	img, err := newImage(store, nj.name, nj.Journal)
	if e, ok := errors.AsType[*IncompleteError](err); ok {
		l.Incomplete = append(l.Incomplete, *e)
		return
	}
	if err != nil {
		problem(err)
		return
	}
	l.Images = append(l.Images, img)
	if img.Torn || img.JournalState == StateUnknown {
		problem(&IncompleteError{Name: img.Name, GBID: img.GBID, Volume: img.Volume, State: img.JournalState, Torn: img.Torn})
	}
	if img.Links > 1 {
		problem(&ImageError{Name: img.Name, GBID: img.GBID, Detail: fmt.Sprintf("%d names", img.Links), Err: ErrLinked})
	}
}

// owner returns the block volume beside name whose journal names the image.
func owner(all []named, gbid, name string) string {
	for _, nj := range all {
		if gbid != "" && nj.name != name && nj.GBID == gbid {
			return nj.name
		}
	}
	return ""
}

func (l *Listing) addOrphans(ctx context.Context, store *os.File, journals []named) error {
	names, err := readNames(store)
	if err != nil {
		return err
	}
	for _, name := range names {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if owner(journals, name, "") != "" {
			continue
		}
		var st unix.Stat_t
		err := statAt(store, name, &st)
		switch {
		case errors.Is(err, unix.ENOENT):
			continue // it was deleted meanwhile
		case err != nil:
			return &os.PathError{Op: "stat", Path: path.Join(store.Name(), name), Err: err}
		case st.Mode&unix.S_IFMT != unix.S_IFREG:
			p := path.Join(StoreDir, name)
			l.Problems = append(l.Problems, Problem{p, &ImageError{Name: p, Err: ErrNotRegular}})
			continue
		}
		l.Orphans = append(l.Orphans, l.newOrphan(name, &st))
	}
	return nil
}

func (l *Listing) newOrphan(name string, st *unix.Stat_t) Orphan {
	o := Orphan{Path: path.Join(StoreDir, name), Size: st.Size, Links: linksOf(st)}
	for _, img := range l.Images {
		if img.Inode == st.Ino {
			o.SharedWith = img.Name
		}
	}
	return o
}
