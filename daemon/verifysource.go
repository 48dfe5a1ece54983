package daemon

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/glusterbackupd/glusterbackupd/blockstore"
	"github.com/glusterbackupd/glusterbackupd/catalog"
	"github.com/glusterbackupd/glusterbackupd/copier"
	"github.com/glusterbackupd/glusterbackupd/gluster"
)

// NoSourceError says that the snapshot that a backup was made from is gone.
type NoSourceError struct{ Backup catalog.Backup }

// Error names backup and snapshot.
func (e *NoSourceError) Error() string {
	return fmt.Sprintf("backup %s of %s: its snapshot %s of volume %s no longer exists", e.Backup.ID, e.Backup.Key, e.Backup.Info.Snapshot, e.Backup.Info.Volume)
}

// Remedy says how long snapshots stay.
func (e *NoSourceError) Remedy() string {
	return "[retention] snapshots says how long they stay; back the claim up again and compare that backup, or verify without --against-source"
}

// SourceError says that a backup is not what its snapshot holds. It matches
// catalog.ErrDamaged.
type SourceError struct {
	Backup catalog.Backup
	Err    error
}

// Error names backup, snapshot and the difference.
func (e *SourceError) Error() string {
	return fmt.Sprintf("backup %s of %s is not what snapshot %s holds: %v", e.Backup.ID, e.Backup.Key, e.Backup.Info.Snapshot, e.Err)
}

// Is makes the error one of catalog.ErrDamaged.
func (e *SourceError) Is(target error) bool { return target == catalog.ErrDamaged }

// Unwrap returns the difference.
func (e *SourceError) Unwrap() error { return e.Err }

// Remedy says what to do.
func (e *SourceError) Remedy() string {
	return fmt.Sprintf("read everything at once: glusterbackupd backup --full %s", e.Backup.Key)
}

// VerifySource compares the backup with its manifest, mounts the Gluster snapshot
// that it was made from, reads all of that and compares: an image with the image in
// the backup and a tree with the manifest. It locks the volume and the claim, and
// writes nothing. The error is a *NoSourceError when the snapshot is gone, and matches
// catalog.ErrDamaged when the backup is not what it was, or not what the snapshot is.
func (d *Daemon) VerifySource(ctx context.Context, b catalog.Backup) (err error) {
	t, err := d.o.Resolver.Target(ctx, b.Key.Namespace, b.Key.Claim)
	if err != nil {
		return err
	}
	if t.Volume != b.Info.Volume {
		return &NoSourceError{b} // The claim is another one by now.
	}
	unlock, err := d.lockRestore(ctx, "verify --against-source", t.Volume, b, false)
	if err != nil {
		return err
	}
	rel := &releases{log: d.log}
	defer func() { err = errors.Join(err, rel.run(ctx), unlock()) }()
	dir, err := d.mountSource(ctx, t, b, rel)
	if err != nil {
		return err
	}
	if err := d.verify(ctx, b, ""); err != nil {
		return err
	}
	d.phase(PhaseReadBack, b.Key, t.Volume)
	if b.Info.Block != nil {
		return d.compareImage(ctx, b, dir)
	}
	_, err = d.compareTree(ctx, b, dir, RestoreRequest{Key: b.Key, Delete: true})
	var differs *TreeError
	if errors.As(err, &differs) {
		return &SourceError{b, err}
	}
	return err
}

// mountSource mounts the snapshot of the backup.
func (d *Daemon) mountSource(ctx context.Context, t Target, b catalog.Backup, rel *releases) (string, error) {
	g, err := d.o.Gluster(t.Hosts)
	if err != nil {
		return "", err
	}
	snapshots, err := g.Snapshots(ctx, t.Volume)
	if err != nil {
		return "", err
	}
	var source gluster.Snapshot
	for _, s := range snapshots {
		if s.Name == b.Info.Snapshot && s.UUID == b.Info.SnapshotUUID {
			source = s
		}
	}
	if source.Name == "" {
		return "", &NoSourceError{b}
	}
	if err := g.ActivateSnapshot(ctx, source.Name); err != nil {
		return "", err
	}
	volume, err := g.Volume(ctx, t.Volume)
	if err != nil {
		return "", err
	}
	return d.mountSnapshot(ctx, t.Hosts, source.Name, t.Volume, gluster.MountOptions{DirectIO: t.Block(), SingleCopy: volume.SingleCopy()}, rel)
}

// compareImage compares the image in the mounted snapshot with the backup's.
func (d *Daemon) compareImage(ctx context.Context, b catalog.Backup, dir string) error {
	store := blockstore.Open(dir)
	journal, err := store.JournalBytes(b.Info.Block.Name)
	if err != nil {
		return err
	}
	if kept, err := os.ReadFile(journalPath(b)); err != nil || !bytes.Equal(kept, journal) {
		return &SourceError{b, cmp.Or(err, errors.New("the journals of the image differ"))}
	}
	img, err := store.Image(b.Info.Block.Name)
	if err != nil {
		return err
	}
	source, err := store.OpenImage(img, blockstore.ReadOnly)
	if err != nil {
		return err
	}
	defer source.Close()
	image, err := openBackup(b)
	if err != nil {
		return err
	}
	defer image.Close()
	at, err := copier.CompareImages(ctx, source, image, d.progress(PhaseReadBack, b.Key, b.Info.Volume))
	switch {
	case errors.Is(err, copier.ErrImageSize):
		return &SourceError{b, err}
	case err != nil:
		return err
	case at >= 0:
		return &SourceError{b, fmt.Errorf("they differ at byte %d", at)}
	}
	return nil
}
