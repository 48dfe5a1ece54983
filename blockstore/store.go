package blockstore

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path"

	"golang.org/x/sys/unix"
)

const (
	// MetaDir is the folder of the journals in a blockhost volume.
	MetaDir = "block-meta"
	// StoreDir is the folder of the images.
	StoreDir = "block-store"

	lockFile = "meta.lock"
)

const (
	readCapability  = "CAP_DAC_READ_SEARCH"
	writeCapability = "CAP_DAC_OVERRIDE"
)

// A Store is gluster-block's layout below the root of a mounted blockhost
// volume or of its snapshot. It keeps nothing open and caches nothing, so
// that several goroutines may use it. It may be read while gluster-block
// works: each journal is then as of the moment it was read.
type Store struct{ root string }

// Open returns the store below root. It does not touch the file system: a
// volume without the layout shows at the first use.
func Open(root string) *Store { return &Store{root} }

// An Image is one block volume that has a journal and an image file to match.
type Image struct {
	Name, GBID string
	Volume     string // Gluster volume that the journal names
	Size       int64  // bytes, of journal and file alike
	// JournalState is a state that is Readable. Writing also asks for one
	// that is Writable.
	JournalState State
	// Torn says that the journal ends in mid-line, see Journal.Torn.
	Torn bool
	// Path is the image below the store's root: "block-store/<gbid>".
	Path string
	// Inode is that of the image on this mount.
	Inode uint64
	// Links is the number of names of the image. Above 1 another block
	// volume or an orphan shares the data.
	Links uint64
	// Hosts may export the image, see Journal.ExportingHosts.
	Hosts []string
}

// Image returns the image of that name. The error Is ErrName, ErrNoLayout,
// ErrNoImage (no journal of that name), ErrJournal, ErrIncomplete (a create or
// delete was killed, failed or still runs), ErrNoFile, ErrSize, ErrNotRegular,
// or is a *PermissionError.
func (s *Store) Image(name string) (Image, error) {
	text, err := s.JournalBytes(name)
	if err != nil {
		return Image{}, err
	}
	j, err := parseNamed(name, text)
	if err != nil {
		return Image{}, err
	}
	store, err := s.folder(StoreDir, readCapability)
	if err != nil {
		return Image{}, err
	}
	defer release(store)
	return newImage(store, name, j)
}

// ImageFor returns the image that j names, for a block volume whose own
// journal is missing; j comes from a backup. It fails as Image does, and with
// ErrJournalExists when the journal is not missing, and with ErrAmbiguous when
// the volume has another journal for the same image.
func (s *Store) ImageFor(name string, j Journal) (Image, error) {
	if err := ValidName(name); err != nil {
		return Image{}, err
	}
	meta, err := s.folder(MetaDir, readCapability)
	if err != nil {
		return Image{}, err
	}
	defer release(meta)
	if err := unclaimed(meta, name, j.GBID); err != nil {
		return Image{}, err
	}
	store, err := s.folder(StoreDir, readCapability)
	if err != nil {
		return Image{}, err
	}
	defer release(store)
	return newImage(store, name, j)
}

// JournalBytes returns the journal as it is, CHAP passwords included. Its
// errors are those of Image as far as the journal goes.
func (s *Store) JournalBytes(name string) ([]byte, error) {
	if err := ValidName(name); err != nil {
		return nil, err
	}
	meta, err := s.folder(MetaDir, readCapability)
	if err != nil {
		return nil, err
	}
	defer release(meta)
	return readJournal(meta, name)
}

// folder opens one of the two folders, which must be a folder and not a link
// to one. The caller closes it.
func (s *Store) folder(name, capability string) (*os.File, error) {
	p := path.Join(s.root, name)
	root, err := openAt(unix.AT_FDCWD, s.root, unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: s.root, Err: err}
	}
	defer func() { _ = unix.Close(root) }()
	fd, err := openAt(root, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW)
	if err != nil {
		return nil, accessError(p, capability, err)
	}
	return os.NewFile(uintptr(fd), p), nil
}

func accessError(p, capability string, err error) error {
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.ELOOP):
		return &LayoutError{Path: p}
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		return &PermissionError{Path: p, Capability: capability, Err: err}
	}
	return &os.PathError{Op: "open", Path: p, Err: err}
}

// readJournal reads one journal from the open folder meta.
func readJournal(meta *os.File, name string) ([]byte, error) {
	// Without O_NONBLOCK a FIFO would hold the open for ever.
	fd, err := openAt(int(meta.Fd()), name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK)
	switch {
	case errors.Is(err, unix.ENOENT):
		return nil, &ImageError{Name: name, Err: ErrNoImage}
	case errors.Is(err, unix.ELOOP), errors.Is(err, unix.ENXIO):
		return nil, &JournalError{Name: name, Reason: "it is not a regular file"}
	case err != nil:
		return nil, accessError(path.Join(meta.Name(), name), readCapability, err)
	}
	f := os.NewFile(uintptr(fd), path.Join(meta.Name(), name))
	defer release(f)
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, &JournalError{Name: name, Reason: "it is not a regular file"}
	}
	text, err := io.ReadAll(io.LimitReader(f, maxJournal+1))
	if err == nil && len(text) > maxJournal {
		err = &JournalError{Name: name, Reason: "it is larger than 1 MiB"}
	}
	return text, err
}

// parseNamed parses a journal and puts its name into the error.
func parseNamed(name string, text []byte) (Journal, error) {
	j, err := ParseJournal(bytes.NewReader(text))
	if bad, ok := errors.AsType[*JournalError](err); ok {
		bad.Name = name
	}
	return j, err
}

// newImage joins a journal with the file that it names.
func newImage(store *os.File, name string, j Journal) (Image, error) {
	state := j.State()
	if !state.Readable() {
		return Image{}, &IncompleteError{Name: name, GBID: j.GBID, Volume: j.Volume, State: state, Torn: j.Torn}
	}
	var st unix.Stat_t
	if err := statAt(store, j.GBID, &st); err != nil {
		if errors.Is(err, unix.ENOENT) {
			return Image{}, &ImageError{Name: name, GBID: j.GBID, Err: ErrNoFile}
		}
		return Image{}, accessError(path.Join(store.Name(), j.GBID), readCapability, err)
	}
	img := Image{
		Name: name, GBID: j.GBID, Volume: j.Volume, Size: j.Size, JournalState: state, Torn: j.Torn,
		Path: path.Join(StoreDir, j.GBID), Inode: st.Ino, Links: linksOf(&st), Hosts: j.ExportingHosts(),
	}
	return img, img.check(&st)
}

// check compares what was found before with the file's state now.
func (i Image) check(st *unix.Stat_t) error {
	fail := func(sentinel error, format string, args ...any) error {
		return &ImageError{Name: i.Name, GBID: i.GBID, Detail: fmt.Sprintf(format, args...), Err: sentinel}
	}
	switch {
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		return fail(ErrNotRegular, "mode %#o", st.Mode)
	case st.Ino != i.Inode:
		return fail(ErrChanged, "inode %d, before %d", st.Ino, i.Inode)
	case st.Size != i.Size:
		return fail(ErrSize, "the file has %d bytes, the journal says %d", st.Size, i.Size)
	}
	return nil
}

// release closes what was only read or locked: a close that fails loses nothing.
func release(c io.Closer) { _ = c.Close() }

// openAt is openat with close-on-exec that goes on after a signal: opening on
// FUSE can be interrupted.
func openAt(dir int, name string, flags int) (int, error) {
	for {
		fd, err := unix.Openat(dir, name, flags|unix.O_CLOEXEC, 0o600)
		if !errors.Is(err, unix.EINTR) {
			return fd, err
		}
	}
}

func statAt(dir *os.File, name string, st *unix.Stat_t) error {
	for {
		err := unix.Fstatat(int(dir.Fd()), name, st, unix.AT_SYMLINK_NOFOLLOW)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// linksOf returns the number of names of a file.
func linksOf(st *unix.Stat_t) uint64 {
	return uint64(st.Nlink) //nolint:unconvert // It has 32 bits on arm64.
}
