package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/glusterbackupd/glusterbackupd/catalog"
	"github.com/glusterbackupd/glusterbackupd/copier"
)

// restoreImageToFile writes the image to a new local file, with holes. If it
// dies, it leaves a hidden file beside it that no later run looks at.
func (d *Daemon) restoreImageToFile(ctx context.Context, q BlockRequest, done *Restored) error {
	b, err := d.imageBackup(q, "")
	if err != nil {
		return err
	}
	to, err := d.localTarget(q.To)
	if err != nil {
		return err
	}
	if _, err := os.Lstat(to); err == nil {
		return &ExistsError{to}
	}
	done.Plan = Plan{Backup: b, Target: to, Files: 1, Bytes: b.Info.Block.Size}
	if err := d.verify(ctx, b, ""); err != nil {
		return err
	}
	if err := q.Confirm.ask(done.Plan); err != nil || q.DryRun {
		return err
	}
	ctx, cancel := d.bounded(ctx, "restore of image "+q.Image)
	defer cancel()
	return d.writeImageFile(ctx, b, to, done)
}

func (d *Daemon) writeImageFile(ctx context.Context, b catalog.Backup, to string, done *Restored) (err error) {
	source, err := openBackup(b)
	if err != nil {
		return err
	}
	defer source.Close()
	part := filepath.Join(filepath.Dir(to), fmt.Sprintf(".%s.%d.glusterbackupd-partial", filepath.Base(to), time.Now().UnixNano()))
	target, _, err := copier.CreateImage(part, source.Size(), "")
	if err != nil {
		return err
	}
	defer target.Close()
	d.phase(PhaseCopy, b.Key, "")
	err = d.writeImage(ctx, done, source, target, true)
	if err == nil {
		err = d.readBack(ctx, done, source, target)
	}
	if err != nil {
		return errors.Join(err, os.Remove(part))
	}
	if err := publishFile(part, to); err != nil {
		return fmt.Errorf("the finished copy stays at %s: %w", part, err)
	}
	return syncDisk(filepath.Dir(to))
}

// publishFile gives a finished file its name without replacing another. Not
// every file system can do that in one step; a link does it where links exist.
func publishFile(part, name string) error {
	err := unix.Renameat2(unix.AT_FDCWD, part, unix.AT_FDCWD, name, unix.RENAME_NOREPLACE)
	if !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOSYS) {
		return err
	}
	if err := os.Link(part, name); err != nil {
		return err
	}
	return os.Remove(part)
}

// ExistsError says that the file to restore to exists.
type ExistsError struct{ Path string }

// Error names the file.
func (e *ExistsError) Error() string { return e.Path + " exists" }

// Remedy says what to do instead.
func (e *ExistsError) Remedy() string { return "name a file that does not exist; nothing was written" }
