package catalog

import (
	"errors"
	"fmt"
	"math"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Space is what the BackupDisk has, in bytes, and what it can do.
type Space struct {
	Total int64
	Free  int64 // For an unprivileged user; the reserve of root is not counted.
	// Inodes are the files that can exist and can still be made. Both are 0
	// where the file system makes them as needed (btrfs).
	Inodes, FreeInodes int64
	// Reflink says that a file can share blocks with another one, so that a
	// changed image takes only the room of its changes. It was tried, not
	// looked up; false also when the disk is full or read-only.
	Reflink bool
}

// Space measures the BackupDisk. It needs no lock, but writes and removes a
// file of one block to try reflinks.
func (r *Repository) Space() (Space, error) {
	dir, err := r.enter()
	if err != nil {
		return Space{}, err
	}
	defer dir.Close()
	s, err := statfs(r.root)
	if err != nil {
		return Space{}, err
	}
	meta, err := openDir(dir, metaDir)
	if err != nil {
		return Space{}, err
	}
	defer meta.Close()
	if s.Reflink, err = probeReflink(meta); err != nil {
		return Space{}, fmt.Errorf("reflink probe: %w", err)
	}
	return s, nil
}

func statfs(path string) (Space, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return Space{}, &os.PathError{Op: "statfs", Path: path, Err: err}
	}
	unit := int64(st.Frsize) //nolint:unconvert // It has 32 bits on s390x.
	if unit == 0 {
		unit = int64(st.Bsize) //nolint:unconvert // The same.
	}
	return Space{
		Total: product(st.Blocks, unit), Free: product(st.Bavail, unit),
		Inodes: product(st.Files, 1), FreeInodes: product(st.Ffree, 1),
	}, nil
}

// product is bounded, because some file systems report 2^64-1 as "many".
func product(n uint64, unit int64) int64 {
	if most := math.MaxInt64 / max(unit, 1); n < uint64(most) {
		return int64(n) * unit //nolint:gosec // Less than most.
	}
	return math.MaxInt64
}

// probeReflink clones one block. An empty file would not do: some file systems
// clone nothing successfully.
func probeReflink(meta *os.Root) (bool, error) {
	source, err := scratch(meta)
	if err == nil {
		defer source.Close()
		_, err = source.Write(make([]byte, 4096))
	}
	if err == nil {
		var target *os.File
		if target, err = scratch(meta); err == nil {
			defer target.Close()
			return unix.IoctlFileClone(int(target.Fd()), int(source.Fd())) == nil, nil
		}
	}
	for _, known := range []error{syscall.ENOSPC, syscall.EDQUOT, syscall.EROFS, syscall.EACCES} {
		if errors.Is(err, known) {
			return false, nil
		}
	}
	return false, err
}

// scratch opens a new file without a name.
func scratch(meta *os.Root) (*os.File, error) {
	name := tempPrefix + random(4)
	f, err := meta.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	if err := remove(meta, name); err != nil { // A sweep may have been faster.
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// Free returns the bytes that backups may still use, and those that there are
// in all. It writes nothing.
func (r *Repository) Free() (free, total int64, err error) {
	dir, err := r.enter()
	if err != nil {
		return 0, 0, err
	}
	defer dir.Close()
	s, err := statfs(r.root)
	return s.Free, s.Total, err
}
