package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// File systems of BackupDisks.
const (
	XFS  = "xfs"  // With reflinks.
	Ext4 = "ext4" // Without.
)

// Disk is a file system in a file, mounted on a folder: a BackupDisk for
// tests. It needs no lab.
type Disk struct {
	Dir   string // Where it is mounted.
	Image string // The file that holds it, beside Dir.
}

// NewDisk makes a file system of the given kind and size and mounts it on dir,
// which is made. XFS needs 300 MiB or more. The loop device frees itself when
// the disk is unmounted.
func NewDisk(ctx context.Context, fsType string, mebibytes int, dir string) (*Disk, error) {
	d := &Disk{Dir: dir, Image: dir + ".img"}
	mkfs := map[string][]string{
		XFS:  {"mkfs.xfs", "-q", "-f", "-m", "reflink=1", d.Image},
		Ext4: {"mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=1,lazy_journal_init=1", d.Image},
	}[fsType]
	if mkfs == nil {
		return nil, fmt.Errorf("no file system %q for a disk", fsType)
	}
	if err := makeHole(d.Image, int64(mebibytes)<<20); err != nil {
		return nil, err
	}
	err := os.MkdirAll(dir, 0o700)
	for _, args := range [][]string{mkfs, {"mount", "-o", "loop", d.Image, dir}} {
		if err == nil {
			err = command(ctx, args...)
		}
	}
	if err != nil {
		return nil, errors.Join(err, os.Remove(d.Image))
	}
	return d, nil
}

// Unmount takes the disk away but keeps its data; Mount brings it back.
func (d *Disk) Unmount(ctx context.Context) error { return command(ctx, "umount", d.Dir) }

// Mount mounts the disk again.
func (d *Disk) Mount(ctx context.Context) error {
	return command(ctx, "mount", "-o", "loop", d.Image, d.Dir)
}

// Close unmounts the disk if it is mounted, and deletes it.
func (d *Disk) Close(ctx context.Context) error {
	var err error
	if command(ctx, "mountpoint", "-q", d.Dir) == nil {
		err = d.Unmount(ctx)
	}
	if err != nil {
		return err
	}
	return errors.Join(os.Remove(d.Image), os.Remove(d.Dir))
}

// makeHole makes a file of the given size that takes no space.
func makeHole(name string, size int64) error {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(f.Truncate(size), f.Close())
}

// command runs a program on the host.
func command(ctx context.Context, args ...string) error {
	out, err := exec.CommandContext(ctx, args[0], args[1:]...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", args[0], err, strings.TrimSpace(string(out)))
	}
	return nil
}
