package daemon

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/glusterbackupd/glusterbackupd/catalog"
	"github.com/glusterbackupd/glusterbackupd/copier"
)

// restoreImageToFile writes the image to a new local file, with holes.
func (d *Daemon) restoreImageToFile(ctx context.Context, q BlockRequest, b catalog.Backup) (done Restored, err error) {
	done.Plan = Plan{Backup: b, Target: q.To, Files: 1, Bytes: b.Info.Block.Size}
	if _, err := os.Lstat(q.To); err == nil {
		return done, &ExistsError{q.To}
	}
	if err := q.Confirm.ask(done.Plan); err != nil || q.DryRun {
		return done, err
	}
	source, err := openBackup(b)
	if err != nil {
		return done, err
	}
	defer source.Close()
	part := filepath.Join(filepath.Dir(q.To), "."+filepath.Base(q.To)+".glusterbackupd-partial")
	// A run that was killed may have left one; we hold the catalog's lock, so
	// nobody writes to it now.
	if err := os.Remove(part); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return done, err
	}
	target, _, err := copier.CreateImage(part, source.Size(), "")
	if err != nil {
		return done, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(part))
		}
	}()
	defer target.Close()
	d.phase(PhaseCopy, b.Key, "")
	if err := d.writeImage(ctx, &done, source, target, true); err != nil {
		return done, err
	}
	if err := d.readBack(ctx, &done, source, target); err != nil {
		return done, err
	}
	return done, publishFile(part, q.To)
}

// publishFile gives a finished file its name, without replacing another, and
// makes the name last.
func publishFile(part, name string) error {
	if err := os.Link(part, name); err != nil {
		return err
	}
	if err := os.Remove(part); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(name))
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}

// ExistsError says that the file to restore to exists.
type ExistsError struct{ Path string }

// Error names the file.
func (e *ExistsError) Error() string { return e.Path + " exists" }

// Remedy says what to do instead.
func (e *ExistsError) Remedy() string { return "name a file that does not exist; nothing was written" }
