package copier

import (
	"errors"
	"fmt"
	"iter"
	"os"

	"golang.org/x/sys/unix"

	"github.com/glusterbackupd/glusterbackupd/manifest/sparse"
)

// ImageFile is an image that is a regular file. It implements ImageSource and
// ImageTarget; it is safe for concurrent use.
type ImageFile struct {
	f      *os.File
	direct *os.File // The same for large writes; nil where there is none.
	size   int64
}

// ErrNotRegular says that an image's path is a folder, device, symlink or the
// like.
var ErrNotRegular = errors.New("image is not a regular file")

// OpenImage opens an image for reading. A symlink is not followed.
func OpenImage(path string) (*ImageFile, error) {
	// O_NONBLOCK keeps a FIFO of that name from blocking the open.
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if errors.Is(err, unix.ELOOP) {
		return nil, fmt.Errorf("%w: %s", ErrNotRegular, path)
	}
	if err != nil {
		return nil, err
	}
	fi, err := f.Stat()
	if err == nil && !fi.Mode().IsRegular() {
		err = fmt.Errorf("%w: %s", ErrNotRegular, path)
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return &ImageFile{f: f, size: fi.Size()}, nil
}

// CreateImage makes a new image of size bytes with mode 0600. Where the file
// system can, it begins as a clone of the image reference, sharing all space
// with it; cloned says so, and CopyImage then takes it with Compare. Otherwise,
// and with no reference, it is one hole, to be taken with Fresh. An existing
// path is an error that Is fs.ErrExist; on any error no file is left behind.
// The entry in its folder is not synced.
func CreateImage(path string, size int64, reference string) (img *ImageFile, cloned bool, err error) {
	if size < 0 {
		return nil, false, fmt.Errorf("image size %d", size)
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, false, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close(), os.Remove(path))
		}
	}()
	if reference != "" {
		if cloned, err = clone(f, reference); err != nil {
			return nil, false, err
		}
	}
	if err = f.Truncate(size); err != nil {
		return nil, false, err
	}
	return &ImageFile{f: f, direct: openDirect(f), size: size}, cloned, nil
}

// clone makes f share all of reference's space. It reports false when these two
// files cannot share.
func clone(f *os.File, reference string) (bool, error) {
	ref, err := OpenImage(reference)
	if err != nil {
		return false, err
	}
	defer ref.f.Close()
	err = unix.IoctlFileClone(int(f.Fd()), int(ref.f.Fd()))
	switch {
	case err == nil:
		limitCopyOnWrite(f)
		return true, nil
	case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.EXDEV),
		errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOTTY), errors.Is(err, unix.ENOSYS):
		return false, nil
	}
	return false, fmt.Errorf("clone of %s: %w", reference, err)
}

// ReadAt implements io.ReaderAt.
func (i *ImageFile) ReadAt(p []byte, off int64) (int, error) { return i.f.ReadAt(p, off) }

// WriteAt implements io.WriterAt. It never makes the image longer.
func (i *ImageFile) WriteAt(p []byte, off int64) (int, error) {
	if err := i.inside(off, int64(len(p))); err != nil {
		return 0, err
	}
	if i.direct != nil && isDirect(p, off) {
		n, err := i.direct.WriteAt(p, off)
		if !errors.Is(err, unix.EINVAL) {
			return n, err
		}
		p, off = p[n:], off+int64(n) // The disk has larger sectors.
		m, err := i.f.WriteAt(p, off)
		return n + m, err
	}
	return i.f.WriteAt(p, off)
}

// PunchHole makes n bytes at off a hole. The size stays.
func (i *ImageFile) PunchHole(off, n int64) error {
	if err := i.inside(off, n); err != nil {
		return err
	}
	for {
		err := unix.Fallocate(int(i.f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off, n)
		if !errors.Is(err, unix.EINTR) {
			return os.NewSyscallError("fallocate", err)
		}
	}
}

func (i *ImageFile) inside(off, n int64) error {
	if off < 0 || n < 0 || off > i.size-n {
		return fmt.Errorf("range %d+%d is outside of %s with %d bytes", off, n, i.f.Name(), i.size)
	}
	return nil
}

// Sync makes content and size durable.
func (i *ImageFile) Sync() error { return i.f.Sync() }

// Data yields offset and length of the parts of a range of the image that are no
// holes, in order. Where the file system does not tell, all of it is data.
func (i *ImageFile) Data(off, n int64) iter.Seq2[int64, int64] { return sparse.Data(i.f, off, n) }

// Size returns the size in bytes that the image had when it was opened.
func (i *ImageFile) Size() int64 { return i.size }

// Close closes the file. It does not sync.
func (i *ImageFile) Close() error {
	if i.direct == nil {
		return i.f.Close()
	}
	return errors.Join(i.direct.Close(), i.f.Close())
}
