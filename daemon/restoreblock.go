package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/glusterbackupd/glusterbackupd/blockstore"
	"github.com/glusterbackupd/glusterbackupd/catalog"
	"github.com/glusterbackupd/glusterbackupd/copier"
	"github.com/glusterbackupd/glusterbackupd/gluster"
)

// BlockRequest says which image to put back, and where.
type BlockRequest struct {
	// Image is the block volume's name, as in blockvol_<id>.
	Image string
	// At selects the backup as catalog.Find does; empty means the latest.
	At string
	// To is a file to write instead of the image; it must not exist.
	To string
	// DryRun ends after the plan.
	DryRun bool
	// Confirm is called with the plan before anything is written. An error
	// ends the restore. Optional.
	Confirm Confirm
}

// RestoreBlock puts a block image back, in place on the same inode: tcmu-runner
// keeps the image's inode open, and an image replaced by rename would go on
// living unseen. It refuses while a pod or an iSCSI session uses the image. If
// it dies while writing, the image is half old, half new, and nobody has it
// open: run it again, or take the old state from the safety snapshot.
func (d *Daemon) RestoreBlock(ctx context.Context, q BlockRequest) (done Restored, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, d.o.Timeout,
		fmt.Errorf("image %s: restore took longer than [backup] timeout %s", q.Image, d.o.Timeout))
	defer cancel()
	start := time.Now()
	defer func() { done.Took = time.Since(start) }()
	if err := blockstore.ValidName(q.Image); err != nil {
		return done, err
	}
	if q.To == "" {
		return d.restoreImage(ctx, q)
	}
	b, err := d.verifiedImage(ctx, q)
	if err != nil {
		return done, err
	}
	return d.restoreImageToFile(ctx, q, b)
}

// verifiedImage finds the backup of the image and reads it once to the end.
func (d *Daemon) verifiedImage(ctx context.Context, q BlockRequest) (catalog.Backup, error) {
	b, err := d.o.Catalog.FindImage(q.Image, q.At)
	if err != nil {
		return b, err
	}
	d.phase(PhaseVerify, b.Key, "")
	return b, b.Verify(ctx, "", d.counted(PhaseVerify, b.Key))
}

func openBackup(b catalog.Backup) (*copier.ImageFile, error) {
	return copier.OpenImage(filepath.Join(b.DataDir(), blockstore.StoreDir, b.Info.Block.GBID))
}

// restoreImage restores into the live image.
func (d *Daemon) restoreImage(ctx context.Context, q BlockRequest) (done Restored, err error) {
	t, err := d.o.Resolver.Image(ctx, q.Image)
	if err != nil {
		return done, err
	}
	b, err := d.verifiedImage(ctx, q)
	if err != nil {
		return done, err
	}
	g, err := d.o.Gluster(t.Hosts)
	if err != nil {
		return done, err
	}
	done.Plan = Plan{
		Backup: b, Target: t.String(), Volume: t.Volume, Safety: true,
		Files: 1, Bytes: b.Info.Block.Size,
	}
	if err := d.checkImage(ctx, g, t, &done.Plan); err != nil {
		return done, err
	}
	if err := q.Confirm.ask(done.Plan); err != nil || q.DryRun {
		return done, err
	}
	return d.overwriteImage(ctx, g, t, done)
}

// checkImage refuses everything that would make a restore into the live image
// fail or do harm. It writes nothing.
func (d *Daemon) checkImage(ctx context.Context, g Gluster, t Target, p *Plan) (err error) {
	if err := d.refuseInUse(ctx, t); err != nil {
		return err
	}
	v, pools, err := d.preflight(ctx, g, t.Volume)
	if err != nil {
		return err
	}
	if err := blockstore.MandatoryLocking(v.Options); err != nil {
		return fmt.Errorf("volume %s: %w", t.Volume, err)
	}
	rel := &releases{log: d.log}
	defer func() { err = errors.Join(err, rel.run(ctx)) }()
	dir, err := d.mountLive(ctx, t, gluster.MountOptions{ReadOnly: true, DirectIO: true}, rel)
	if err != nil {
		return err
	}
	img, err := d.liveImage(dir, t, p.Backup)
	if err != nil {
		return err
	}
	if err := d.refuseSessions(ctx, t, img); err != nil {
		return err
	}
	p.Needed, p.Room, err = room(v, pools, p.Backup.Info.Block.Data, d.o.Limits)
	return err
}

// overwriteImage takes the safety snapshot, writes the image in place, puts a
// missing journal entry back, and reads the image back through another mount.
func (d *Daemon) overwriteImage(ctx context.Context, g Gluster, t Target, done Restored) (_ Restored, err error) {
	rel := &releases{log: d.log}
	defer func() { err = errors.Join(err, rel.run(ctx)) }()
	source, err := openBackup(done.Plan.Backup)
	if err != nil {
		return done, err
	}
	defer source.Close()
	if done.SafetySnapshot, err = d.safety(ctx, g, t.Volume, rel); err != nil {
		return done, err
	}
	dir, err := d.mountLive(ctx, t, gluster.MountOptions{DirectIO: true}, rel)
	if err != nil {
		return done, err
	}
	l, err := d.liveImage(dir, t, done.Plan.Backup)
	if err != nil {
		return done, err
	}
	if err := d.writeLive(ctx, t, l, dir, source, &done); err != nil {
		return done, err
	}
	return done, d.readBackLive(ctx, t, l, source, &done, rel)
}

// writeLive is the part that changes the tenant's image. The users are checked
// once more right before the first write.
func (d *Daemon) writeLive(ctx context.Context, t Target, l live, dir string, source *copier.ImageFile, done *Restored) error {
	if err := d.refuseInUse(ctx, t); err != nil {
		return err
	}
	if err := d.refuseSessions(ctx, t, l); err != nil {
		return err
	}
	store := blockstore.Open(dir)
	target, err := store.OpenImage(l.image, blockstore.ReadWrite)
	if err != nil {
		return err
	}
	defer target.Close()
	d.phase(PhaseCopy, t.Key, t.Volume)
	if err := d.writeImage(ctx, done, source, target, false); err != nil {
		return fmt.Errorf("image %s: %w", t.Image, err)
	}
	if !l.noJournal {
		return nil
	}
	journal, err := os.ReadFile(journalPath(done.Plan.Backup))
	if err != nil {
		return err
	}
	return store.RestoreJournal(t.Image, journal)
}

// readBackLive compares the live image with the backup through a fresh mount
// without page cache, and makes sure that nobody logged in meanwhile.
func (d *Daemon) readBackLive(ctx context.Context, t Target, l live, source *copier.ImageFile, done *Restored, rel *releases) error {
	dir, err := d.mountLive(ctx, t, gluster.MountOptions{ReadOnly: true, DirectIO: true}, rel)
	if err != nil {
		return err
	}
	view, err := blockstore.Open(dir).OpenImage(l.image, blockstore.ReadOnly)
	if err != nil {
		return err
	}
	defer view.Close()
	if err := d.readBack(ctx, done, source, view); err != nil {
		return fmt.Errorf("image %s: %w", t.Image, err)
	}
	if err := d.refuseSessions(ctx, t, l); err != nil {
		return fmt.Errorf("an initiator logged in while the image was restored: log it out, check its file system, and restore again: %w", err)
	}
	return nil
}
