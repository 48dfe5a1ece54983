package blockstore

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"

	"golang.org/x/sys/unix"
)

// Access says what an image is opened for.
type Access int

const (
	// ReadOnly is right for snapshots and for reading back.
	ReadOnly Access = iota
	// ReadWrite refuses images whose journal is torn or not Writable, and
	// those with more than one name.
	ReadWrite
	// ReadWriteLinked is ReadWrite for a caller who knows that the image has
	// more than one name and means to change it under all of them.
	ReadWriteLinked
)

// A File is an image, open in place: its inode, and so tcmu-runner's handle on
// it, stays the same, and its size never changes. Different ranges may be read
// and written at the same time; Close must come last.
//
// A live image must be read through a mount with direct-io-mode=enable: other
// FUSE mounts serve stale pages. Such a mount asks for no alignment.
type File struct {
	f   *os.File
	img Image
}

// OpenImage opens an image that was found before. It fails with ErrName,
// ErrNoFile, ErrNotRegular, ErrChanged (another inode than img has) and ErrSize,
// and for writing with ErrIncomplete and ErrLinked; symbolic links are not
// followed. It does not ask for sessions.
func (s *Store) OpenImage(img Image, a Access) (*File, error) {
	if !validGBID.MatchString(img.GBID) {
		return nil, fmt.Errorf("%w: GBID %q", ErrName, img.GBID)
	}
	flags, capability := unix.O_RDONLY, readCapability
	if a != ReadOnly {
		if !img.JournalState.Writable() || img.Torn {
			return nil, &IncompleteError{Name: img.Name, GBID: img.GBID, Volume: img.Volume, State: img.JournalState, Torn: img.Torn}
		}
		flags, capability = unix.O_RDWR, writeCapability
	}
	store, err := s.folder(StoreDir, capability)
	if err != nil {
		return nil, err
	}
	defer release(store)
	p := path.Join(store.Name(), img.GBID)
	// Without O_NONBLOCK a FIFO would hold the open for ever.
	fd, err := openAt(int(store.Fd()), img.GBID, flags|unix.O_NOFOLLOW|unix.O_NONBLOCK)
	if err != nil {
		return nil, openError(img, p, capability, err)
	}
	if err := checkOpen(fd, img, a); err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	return &File{os.NewFile(uintptr(fd), p), img}, nil
}

// checkOpen checks what was opened, not what lies under the name, and leaves
// it in blocking mode.
func checkOpen(fd int, img Image, a Access) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return fmt.Errorf("image %s: %w", img.Name, err)
	}
	if err := img.check(&st); err != nil {
		return err
	}
	if a == ReadWrite && st.Nlink != 1 {
		return &ImageError{Name: img.Name, GBID: img.GBID, Detail: fmt.Sprintf("%d names of inode %d", st.Nlink, st.Ino), Err: ErrLinked}
	}
	return unix.SetNonblock(fd, false)
}

func openError(img Image, p, capability string, err error) error {
	sentinel := func(e error) error { return &ImageError{Name: img.Name, GBID: img.GBID, Err: e} }
	switch {
	case errors.Is(err, unix.ENOENT):
		return sentinel(ErrNoFile)
	case errors.Is(err, unix.ELOOP), errors.Is(err, unix.ENXIO), errors.Is(err, unix.EISDIR):
		return sentinel(ErrNotRegular)
	}
	return accessError(p, capability, err)
}

// ReadAt is io.ReaderAt. It reads all of b unless the image ends or fails.
func (f *File) ReadAt(b []byte, off int64) (int, error) { return f.f.ReadAt(b, off) }

// WriteAt is io.WriterAt. It writes nothing and returns ErrBounds when the
// range reaches beyond the image. Data last only after Sync.
func (f *File) WriteAt(b []byte, off int64) (int, error) {
	if err := f.bounds(off, int64(len(b))); err != nil {
		return 0, err
	}
	return f.f.WriteAt(b, off)
}

// PunchHole makes n bytes at off read as zeros and gives their space back to
// the brick's file system. Where that is not supported it returns an error that
// Is ErrNoHoles and errors.ErrUnsupported, and changes nothing: it is for the caller to decide whether to write zeros,
// which fill the thin pool.
func (f *File) PunchHole(off, n int64) error {
	if err := f.bounds(off, n); err != nil || n == 0 {
		return err
	}
	for {
		err := unix.Fallocate(int(f.f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off, n)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.ENOSYS):
			return &os.PathError{Op: "punch", Path: f.f.Name(), Err: fmt.Errorf("%w: %w", ErrNoHoles, err)}
		}
		return &os.PathError{Op: "punch", Path: f.f.Name(), Err: err}
	}
}

func (f *File) bounds(off, n int64) error {
	if off < 0 || n < 0 || off > f.img.Size-n {
		return &ImageError{
			Name: f.img.Name, GBID: f.img.GBID, Err: ErrBounds,
			Detail: fmt.Sprintf("%d bytes at %d of %d", n, off, f.img.Size),
		}
	}
	return nil
}

// Sync makes everything written so far last.
func (f *File) Sync() error { return f.f.Sync() }

// Size is the image's size in bytes, as it was when it was opened.
func (f *File) Size() int64 { return f.img.Size }

// Inode is the image's inode on this mount.
func (f *File) Inode() uint64 { return f.img.Inode }

// Close closes the image; a second Close returns os.ErrClosed. It does not
// Sync.
func (f *File) Close() error { return f.f.Close() }

var (
	_ io.ReaderAt = (*File)(nil)
	_ io.WriterAt = (*File)(nil)
)
