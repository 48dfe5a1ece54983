package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/glusterbackupd/glusterbackupd/copier"
	"github.com/glusterbackupd/glusterbackupd/gluster"
)

// restoreToFolder restores into a new or empty local folder.
func (d *Daemon) restoreToFolder(ctx context.Context, q RestoreRequest, done *Restored) error {
	dir, err := d.localTarget(q.To)
	if err != nil {
		return err
	}
	if err := refuseFilled(dir); err != nil {
		return err
	}
	if err := d.verify(ctx, done.Plan.Backup, q.Path); err != nil {
		return err
	}
	if err := q.Confirm.ask(done.Plan); err != nil || q.DryRun {
		return err
	}
	ctx, cancel := d.bounded(ctx, "restore of claim "+q.Key.String())
	defer cancel()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if err := d.putBack(ctx, q, done, dir); err != nil {
		return err
	}
	if err := syncDisk(dir); err != nil {
		return err
	}
	return d.readTree(ctx, q, done, dir)
}

// localTarget returns the absolute path of a file or folder to restore to. It
// may not lie on the BackupDisk: versions share inodes there.
func (d *Daemon) localTarget(to string) (string, error) {
	target, err := filepath.Abs(to)
	if err != nil {
		return "", err
	}
	existing := target
	for {
		resolved, err := filepath.EvalSymlinks(existing)
		if err == nil {
			existing = resolved
			break
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
		existing = filepath.Dir(existing)
	}
	root, err := filepath.EvalSymlinks(d.o.Catalog.Root())
	if err != nil {
		return "", err
	}
	if existing == root || strings.HasPrefix(existing, root+"/") {
		return "", &FolderError{target, "is on the BackupDisk"}
	}
	return target, nil
}

// refuseFilled refuses a folder that has something in it.
func refuseFilled(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil && len(entries) > 0 {
		return &FolderError{dir, "is not empty"}
	}
	return err
}

// syncDisk writes the file system of dir to stable storage.
func syncDisk(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.Syncfs(int(f.Fd())); err != nil {
		return fmt.Errorf("sync %s: %w", dir, err)
	}
	return nil
}

// restoreToVolume restores into the claim's live volume. What is cheap to find
// out is asked before the backup is read.
func (d *Daemon) restoreToVolume(ctx context.Context, q RestoreRequest, done *Restored) (err error) {
	t, err := d.o.Resolver.Target(ctx, q.Key.Namespace, q.Key.Claim)
	if err != nil {
		return err
	}
	if t.Block() {
		return &WrongKindError{q.Key, t.Image}
	}
	release, err := d.lockRestore(ctx, "restore", t.Volume, done.Plan.Backup, q.DryRun)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, release()) }()
	done.Plan.Target, done.Plan.Volume, done.Plan.Safety = t.String(), t.Volume, true
	done.Plan.Unwatched = t.Unwatched
	g, err := d.o.Gluster(t.Hosts)
	if err != nil {
		return err
	}
	if err := d.refuseInUse(ctx, t); err != nil {
		return err
	}
	if err := d.planVolume(ctx, g, q, t, &done.Plan); err != nil {
		return err
	}
	if err := d.verify(ctx, done.Plan.Backup, q.Path); err != nil {
		return err
	}
	planned := time.Now()
	if err := q.Confirm.ask(done.Plan); err != nil || q.DryRun {
		return err
	}
	ctx, cancel := d.bounded(ctx, "restore of claim "+q.Key.String())
	defer cancel()
	if err := d.recheck(ctx, g, done.Plan, planned); err != nil {
		return err
	}
	return d.guarded(ctx, g, done, func(rel *releases, began func()) error {
		return d.overwriteFiles(ctx, t, q, done, rel, began)
	})
}

// overwriteFiles writes the volume and reads it back through another mount,
// without this host's cache.
func (d *Daemon) overwriteFiles(ctx context.Context, t Target, q RestoreRequest, done *Restored, rel *releases, began func()) error {
	dir, err := d.mountLive(ctx, t, kindVolume, gluster.MountOptions{}, rel)
	if err != nil {
		return err
	}
	if err := d.refuseInUse(ctx, t); err != nil {
		return err
	}
	began()
	if err := d.putBack(ctx, q, done, dir); err != nil {
		return err
	}
	view, err := d.mountLive(ctx, t, kindView, gluster.MountOptions{ReadOnly: true, DirectIO: true}, rel)
	if err != nil {
		return err
	}
	return d.readTree(ctx, q, done, view)
}

// planVolume looks through a read-only mount at what the restore would change,
// and checks that the volume is healthy and has room for it.
func (d *Daemon) planVolume(ctx context.Context, g Health, q RestoreRequest, t Target, p *Plan) (err error) {
	v, pools, err := d.preflight(ctx, g, t.Volume)
	if err != nil {
		return err
	}
	rel := &releases{log: d.log}
	defer func() { err = errors.Join(err, rel.run(ctx)) }()
	dir, err := d.mountLive(ctx, t, kindPlan, gluster.MountOptions{ReadOnly: true}, rel)
	if err != nil {
		return err
	}
	if err := refuseBlockhost(dir, t); err != nil {
		return err
	}
	tree := d.backTree(q, *p, dir)
	tree.DryRun, tree.Progress = true, nil
	res, err := d.o.Engine.Copy(ctx, tree)
	if err != nil {
		return fmt.Errorf("%s: compare with the volume: %w", t, obstructed(err, q.Delete))
	}
	p.Changed, p.Deleted, p.Changes, p.bytes = res.FilesTransferred, res.Deleted, res.Changes, res.BytesTransferred
	p.Needed, p.Room, err = room(v, pools, p.bytes, d.o.Limits)
	return err
}

// backTree is the copy from the backup to dir.
func (d *Daemon) backTree(q RestoreRequest, p Plan, dir string) copier.Tree {
	return copier.Tree{
		Source: p.Backup.DataDir(), Dest: dir, Path: q.Path, Delete: q.Delete,
		// What has the right size and time may still have the wrong content:
		// that can be why somebody restores.
		Checksum: true,
		Sync:     p.Volume != "",
		Tidy:     p.Volume != "", // Which is locked. A folder may have other restores to it.
		Progress: d.progress(PhaseCopy, q.Key, p.Volume),
	}
}

// putBack copies the backup's data into dir.
func (d *Daemon) putBack(ctx context.Context, q RestoreRequest, done *Restored, dir string) error {
	d.phase(PhaseCopy, q.Key, done.Plan.Volume)
	res, err := d.o.Engine.Copy(ctx, d.backTree(q, done.Plan, dir))
	done.Written = res.BytesTransferred
	if err != nil {
		return fmt.Errorf("claim %s: %w", q.Key, err)
	}
	return nil
}

// readTree compares what dir then holds with the manifest.
func (d *Daemon) readTree(ctx context.Context, q RestoreRequest, done *Restored, dir string) error {
	d.phase(PhaseReadBack, q.Key, done.Plan.Volume)
	compared, err := d.compareTree(ctx, done.Plan.Backup, dir, q)
	if err != nil {
		return fmt.Errorf("claim %s: read back: %w", q.Key, err)
	}
	done.Compared = compared
	return nil
}

// mountLive mounts the target's volume and registers the unmount.
func (d *Daemon) mountLive(ctx context.Context, t Target, kind string, o gluster.MountOptions, rel *releases) (string, error) {
	d.phase(PhaseMount, t.Key, t.Volume)
	name, err := mountName(kind, t.Volume)
	if err != nil {
		return "", err
	}
	dir, err := d.o.Mounts.MountVolume(ctx, t.Hosts, t.Volume, name, o)
	if err != nil {
		return "", err
	}
	rel.add("unmount "+dir, func(ctx context.Context) error { return d.o.Mounts.Unmount(ctx, dir) })
	return dir, nil
}
