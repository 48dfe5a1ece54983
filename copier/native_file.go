package copier

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"io/fs"

	"golang.org/x/sys/unix"
)

const (
	// bufferSize is how much of a file one worker reads at once.
	bufferSize = 256 << 10
	// largeFile is the size from which a file is read in several pieces at a
	// time, of largePiece, by largeReaders.
	largeFile    = 32 << 20
	largePiece   = 1 << 20
	largeReaders = 4
)

// copyFile makes the file with content and attributes. Its time comes last: a file
// that has the time of its source is whole.
func (j *treeJob) copyFile(s *sourceItem) (err error) {
	it := s.it
	from, err := s.open()
	if err != nil {
		return err
	}
	want, err := s.attributes()
	if err != nil {
		return err
	}
	to, name, err := j.create(it)
	if err != nil {
		return j.inDest("create", it.path(), err)
	}
	defer func() {
		closeFD(to)
		if err != nil {
			j.discard(it, name)
		}
	}()
	// Asked before the content is there, Gluster's client still knows it.
	have, err := j.newAttributes(to, it)
	if err != nil {
		return j.inDest("set attributes of", it.path(), err)
	}
	if err := j.content(it, from, to); err != nil {
		return err
	}
	if err := dress(to, it, name, want, have); err != nil {
		return j.inDest("set attributes of", it.path(), err)
	}
	if j.Sync {
		if err := retry(func() error { return unix.Fsync(to) }); err != nil {
			return j.inDest("fsync", it.path(), err)
		}
	}
	// Some file systems only say here that they could not write.
	err, to = unix.Close(to), noFD
	if err == nil && name != it.name {
		err = rename(it.at.dst, name, it.name)
	}
	if err == nil {
		j.done.files.Add(1)
	}
	return j.inDest("write", it.path(), err)
}

// discard removes half a file. The folder of one that has its own name and stays, on
// a volume that no longer answers, is not opened to others.
func (j *treeJob) discard(it *item, name string) {
	err := unlink(it.at.dst, name, 0) // What it follows says more.
	if err != nil && !errors.Is(err, fs.ErrNotExist) && name == it.name {
		it.at.spoiled.Store(true)
	}
}

// create makes a new file and returns its name. In a folder that this copy made the
// file has its own name at once: nobody but root can enter that folder before all of
// it is there, and a rename costs Gluster more than everything else. In any other it
// has a temporary name, so that nobody finds half a file.
func (j *treeJob) create(it *item) (fd int, name string, err error) {
	const flags = unix.O_RDWR | unix.O_CREAT | unix.O_EXCL
	if it.at.made {
		fd, err = openat(it.at.dst, it.name, flags, it.st.Mode&0o777|0o600)
		if !errors.Is(err, fs.ErrExist) { // A name that the source lists twice.
			return fd, it.name, err
		}
	}
	name = temporary(it.name)
	fd, err = openat(it.at.dst, name, flags, 0o600)
	return fd, name, err
}

// content copies all bytes. Zeros become holes.
func (j *treeJob) content(it *item, from, to int) error {
	src := &reader{job: j, fd: from, size: it.st.Size, holes: it.st.Blocks*512 < it.st.Size}
	if it.st.Size >= largeFile {
		return j.largeContent(it, src, to)
	}
	var digest hash.Hash
	if j.sums != nil {
		digest = sha256.New()
	}
	buf := j.buffers.Get().(*[bufferSize]byte) //nolint:errcheck,forcetypeassert // The pool has nothing else.
	defer j.buffers.Put(buf)
	end := int64(0)
	for off := int64(0); off < it.st.Size; off += bufferSize {
		piece := buf[:min(bufferSize, it.st.Size-off)]
		if err := readFull(src, "read", piece, off); err != nil {
			return j.inSource("read", it.path(), cause(err))
		}
		if digest != nil {
			digest.Write(piece) // It never fails.
		}
		for r := range runs(piece, nil, true) {
			if r.do != write {
				continue
			}
			if err := pwrite(to, piece[r.start:r.end], off+int64(r.start)); err != nil {
				return j.inDest("write", it.path(), err)
			}
			end = off + int64(r.end)
		}
		j.done.bytes.Add(int64(len(piece)))
		j.report.tick(j)
	}
	if digest != nil {
		it.sum = digest.Sum(nil)
	}
	if end == it.st.Size {
		return nil
	}
	return j.inDest("truncate", it.path(), retry(func() error { return unix.Ftruncate(to, it.st.Size) }))
}

// largeContent does the same with several pieces at a time.
func (j *treeJob) largeContent(it *item, src *reader, to int) error {
	if err := retry(func() error { return unix.Ftruncate(to, it.st.Size) }); err != nil {
		return j.inDest("truncate", it.path(), err)
	}
	before := int64(0)
	digest := NoDigest
	if j.sums != nil {
		digest = WholeDigest
	}
	res, err := CopyImage(j.ctx, ImageCopy{
		Source: src, Target: &writer{to, it.st.Size}, Fresh: true, Digest: digest,
		PieceSize: largePiece, Workers: largeReaders,
		Progress: func(p Progress) {
			j.done.bytes.Add(p.Bytes - before)
			before = p.Bytes
			j.report.tick(j)
		},
	})
	if err == nil && j.sums != nil {
		it.sum, err = hex.DecodeString(res.SHA256)
	}
	var image *ImageError
	if errors.As(err, &image) && image.Op == "write" {
		return j.inDest("write", it.path(), image.Err)
	}
	return j.inSource("read", it.path(), cause(err))
}

// cause is the error without an offset that means little in a file.
func cause(err error) error {
	var image *ImageError
	if !errors.As(err, &image) {
		return err
	}
	if errors.Is(image.Err, io.ErrUnexpectedEOF) {
		return ErrSourceChanged
	}
	return image.Err
}

// reader reads a file of the source, no faster than allowed. It is an
// ImageSource.
type reader struct {
	job   *treeJob
	fd    int
	size  int64
	holes bool // It is worth to ask for holes.
}

// Size implements ImageSource.
func (r *reader) Size() int64 { return r.size }

// ReadAt implements io.ReaderAt. What the file system says is a hole is not
// read: it knows better than a count of blocks, and answers with an error where
// it does not know.
func (r *reader) ReadAt(p []byte, off int64) (int, error) {
	if r.holes {
		data, err := unix.Seek(r.fd, off, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) || err == nil && data >= off+int64(len(p)) {
			clear(p)
			return len(p), nil
		}
	}
	if r.job.rate == nil {
		return pread(r.job, r.fd, p, off)
	}
	n := min(len(p), r.job.rate.Burst())
	if err := r.job.rate.WaitN(r.job.ctx, n); err != nil {
		return 0, err
	}
	return pread(r.job, r.fd, p[:n], off)
}

func pread(j *treeJob, fd int, p []byte, off int64) (n int, err error) {
	if j.stopped() {
		return 0, j.ctx.Err()
	}
	err = retry(func() (err error) {
		n, err = unix.Pread(fd, p, off)
		return err
	})
	if err != nil {
		return 0, err
	}
	if n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

func pwrite(fd int, p []byte, off int64) error {
	for len(p) > 0 {
		var n int
		err := retry(func() (err error) {
			n, err = unix.Pwrite(fd, p, off)
			return err
		})
		if err != nil {
			return err
		}
		p, off = p[n:], off+int64(n)
	}
	return nil
}

// writer is a new file of the destination as an ImageTarget. Whoever made it
// syncs it.
type writer struct {
	fd   int
	size int64
}

// Size implements ImageTarget.
func (w *writer) Size() int64 { return w.size }

// ReadAt implements ImageTarget.
func (w *writer) ReadAt(p []byte, off int64) (int, error) { return unix.Pread(w.fd, p, off) }

// WriteAt implements ImageTarget.
func (w *writer) WriteAt(p []byte, off int64) (int, error) {
	if err := pwrite(w.fd, p, off); err != nil {
		return 0, err
	}
	return len(p), nil
}

// PunchHole implements ImageTarget: a new file has nothing else yet.
func (w *writer) PunchHole(int64, int64) error { return nil }

// Sync implements ImageTarget.
func (w *writer) Sync() error { return nil }

// compare reads two files of the same size.
func (j *treeJob) compare(it *item, from, other int) (bool, error) {
	one := j.buffers.Get().(*[bufferSize]byte) //nolint:errcheck,forcetypeassert // The pool has nothing else.
	defer j.buffers.Put(one)
	two := j.buffers.Get().(*[bufferSize]byte) //nolint:errcheck,forcetypeassert // As above.
	defer j.buffers.Put(two)
	src := &reader{job: j, fd: from, size: it.st.Size, holes: it.st.Blocks*512 < it.st.Size}
	old := &reader{job: &treeJob{ctx: j.ctx}, fd: other, size: it.st.Size, holes: src.holes}
	for off := int64(0); off < it.st.Size; off += bufferSize {
		n := min(bufferSize, it.st.Size-off)
		if err := readFull(src, "read", one[:n], off); err != nil {
			return false, j.inSource("read", it.path(), cause(err))
		}
		if err := readFull(old, "read", two[:n], off); err != nil {
			if j.stopped() {
				return false, err
			}
			return false, nil // What cannot be read is not equal, and is replaced.
		}
		if !bytes.Equal(one[:n], two[:n]) {
			return false, nil
		}
		j.report.tick(j)
	}
	return true, nil
}
