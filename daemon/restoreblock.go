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
	// Key, when set, is the claim that the image must belong to, and whose
	// backups are meant.
	Key catalog.Key
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
	start := time.Now()
	defer func() { done.Took = time.Since(start) }()
	if err := blockstore.ValidName(q.Image); err != nil {
		return done, err
	}
	if q.To != "" {
		err = d.restoreImageToFile(ctx, q, &done)
	} else {
		err = d.restoreImage(ctx, q, &done)
	}
	return done, err
}

// imageBackup finds the backup of the image. The GBID, where it is known, keeps
// backups of another image of the same name out.
func (d *Daemon) imageBackup(q BlockRequest, gbid string) (catalog.Backup, error) {
	if q.Key == (catalog.Key{}) {
		return d.o.Catalog.FindImage(q.Image, gbid, q.At)
	}
	b, err := d.o.Catalog.Find(q.Key, q.At)
	if err == nil && (b.Info.Block == nil || b.Info.Block.Name != q.Image) {
		err = fmt.Errorf("claim %s: backup %s is not of image %s: %w", q.Key, b.ID, q.Image, catalog.ErrNoBackup)
	}
	return b, err
}

func openBackup(b catalog.Backup) (*copier.ImageFile, error) {
	return copier.OpenImage(filepath.Join(b.DataDir(), blockstore.StoreDir, b.Info.Block.GBID))
}

// restoreImage restores into the live image. What is cheap to find out is asked
// before the backup is read.
func (d *Daemon) restoreImage(ctx context.Context, q BlockRequest, done *Restored) (err error) {
	t, err := d.o.Resolver.Image(ctx, q.Image)
	if err != nil {
		return err
	}
	if q.Key != (catalog.Key{}) && q.Key != t.Key {
		return &DisagreeError{PV: q.Image, Kubernetes: t.String(), Heketi: "the image of claim " + q.Key.String()}
	}
	b, err := d.imageBackup(q, t.GBID)
	if err != nil {
		return err
	}
	release, err := d.lockRestore(ctx, "restore-block", t.Volume, b, q.DryRun)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, release()) }()
	g, err := d.o.Gluster(t.Hosts)
	if err != nil {
		return err
	}
	done.Plan = Plan{
		Backup: b, Target: t.String(), Volume: t.Volume, Safety: true,
		Files: 1, Bytes: b.Info.Block.Size, bytes: b.Info.Block.Chunks,
	}
	if err := d.checkImage(ctx, g, t, &done.Plan); err != nil {
		return err
	}
	if err := d.verify(ctx, b, ""); err != nil {
		return err
	}
	planned := time.Now()
	if err := q.Confirm.ask(done.Plan); err != nil || q.DryRun {
		return err
	}
	ctx, cancel := d.bounded(ctx, "restore of image "+q.Image)
	defer cancel()
	if err := d.recheck(ctx, g, done.Plan, planned); err != nil {
		return err
	}
	return d.guarded(ctx, g, done, func(rel *releases, began func()) error {
		return d.overwriteImage(ctx, t, done, rel, began)
	})
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
	if err := blockstore.MandatoryLocking(v.Name, v.Options); err != nil {
		return err
	}
	rel := &releases{log: d.log}
	defer func() { err = errors.Join(err, rel.run(ctx)) }()
	dir, err := d.mountLive(ctx, t, kindPlan, gluster.MountOptions{ReadOnly: true, DirectIO: true}, rel)
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
	p.Needed, p.Room, err = room(v, pools, p.bytes, d.o.Limits)
	return err
}

// overwriteImage writes the image in place, puts a missing journal entry back,
// and reads the image back through another mount.
func (d *Daemon) overwriteImage(ctx context.Context, t Target, done *Restored, rel *releases, began func()) error {
	source, err := openBackup(done.Plan.Backup)
	if err != nil {
		return err
	}
	defer source.Close()
	dir, err := d.mountLive(ctx, t, kindVolume, gluster.MountOptions{DirectIO: true}, rel)
	if err != nil {
		return err
	}
	l, err := d.liveImage(dir, t, done.Plan.Backup)
	if err != nil {
		return err
	}
	// Once more, right before the first write.
	if err := d.refuseInUse(ctx, t); err != nil {
		return err
	}
	if err := d.refuseSessions(ctx, t, l); err != nil {
		return err
	}
	began()
	if err := d.writeLive(ctx, t, l, dir, source, done); err != nil {
		return err
	}
	return d.readBackLive(ctx, t, l, source, done, rel)
}

// writeLive is the part that changes the tenant's image.
func (d *Daemon) writeLive(ctx context.Context, t Target, l live, dir string, source *copier.ImageFile, done *Restored) error {
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
	if err := d.readBackImage(ctx, t, l.image, kindView, source, done, rel); err != nil {
		return err
	}
	if err := d.refuseSessions(ctx, t, l); err != nil {
		return fmt.Errorf("after the restore: %w", err)
	}
	return nil
}

// readBackImage compares an image with the backup through a mount of that kind,
// which has no page cache.
func (d *Daemon) readBackImage(ctx context.Context, t Target, image blockstore.Image, kind string, source *copier.ImageFile, done *Restored, rel *releases) error {
	dir, err := d.mountLive(ctx, t, kind, gluster.MountOptions{ReadOnly: true, DirectIO: true}, rel)
	if err != nil {
		return err
	}
	view, err := blockstore.Open(dir).OpenImage(image, blockstore.ReadOnly)
	if err != nil {
		return err
	}
	defer view.Close()
	if err := d.readBack(ctx, done, source, view); err != nil {
		return fmt.Errorf("image %s: %w", t.Image, err)
	}
	return nil
}
