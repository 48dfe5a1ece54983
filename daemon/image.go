package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/glusterbackupd/glusterbackupd/blockstore"
	"github.com/glusterbackupd/glusterbackupd/catalog"
	"github.com/glusterbackupd/glusterbackupd/copier"
)

// live is an image as it stands on the mounted hosting volume.
type live struct {
	image blockstore.Image
	// hosts may export it.
	hosts []string
	// noJournal is true when the image is there but its journal entry is
	// missing, so that the backup's entry has to be put back.
	noJournal bool
}

// liveImage finds the image on the mounted hosting volume by its journal, or,
// when the journal entry is missing, by the GBID of the backup.
func (d *Daemon) liveImage(dir string, t Target, b catalog.Backup) (live, error) {
	store := blockstore.Open(dir)
	img, err := findImage(store, t)
	l := live{image: img}
	if errors.Is(err, blockstore.ErrNoImage) {
		l.noJournal = true
		l.image, err = d.unjournaled(store, t, b)
	}
	if err != nil {
		return l, err
	}
	if l.image.GBID != b.Info.Block.GBID {
		return l, &MismatchError{Image: t.Image, Volume: t.Volume, Journal: l.image.GBID, Claim: b.Info.Block.GBID + " (backup " + b.ID + ")"}
	}
	if l.image.Size != b.Info.Block.Size {
		return l, &SizeError{t.Image, l.image.Size, b}
	}
	l.hosts = merge(l.image.Hosts, t.Exporters)
	return l, nil
}

// unjournaled finds the image by the journal that the backup holds.
func (d *Daemon) unjournaled(store *blockstore.Store, t Target, b catalog.Backup) (blockstore.Image, error) {
	f, err := os.Open(journalPath(b))
	if err != nil {
		return blockstore.Image{}, err
	}
	defer f.Close()
	j, err := blockstore.ParseJournal(f)
	if err != nil {
		return blockstore.Image{}, fmt.Errorf("journal of %s in backup %s: %w", t.Image, b.ID, err)
	}
	return store.ImageFor(t.Image, j)
}

func journalPath(b catalog.Backup) string {
	return filepath.Join(b.DataDir(), blockstore.MetaDir, b.Info.Block.Name)
}

// SizeError says that the image was resized since the backup.
type SizeError struct {
	Image  string
	Live   int64
	Backup catalog.Backup
}

// Error names both sizes in bytes.
func (e *SizeError) Error() string {
	return fmt.Sprintf("image %s: the live image has %d bytes, backup %s has %d", e.Image, e.Live, e.Backup.ID, e.Backup.Info.Block.Size)
}

// Remedy says how to get at the data all the same.
func (e *SizeError) Remedy() string {
	return "an image is only restored into one of the same size: choose a backup made after the resize with --at, or write this one to a file with --to"
}

// merge returns the hosts of both lists, each once.
func merge(a, b []string) []string {
	all := slices.Concat(a, b)
	slices.Sort(all)
	return slices.Compact(all)
}

// refuseSessions asks every host that may export the image whether an initiator
// is logged in. A host that cannot be asked is an error: not knowing is not
// knowing that there is none.
func (d *Daemon) refuseSessions(ctx context.Context, t Target, l live) error {
	for _, host := range l.hosts {
		sessions, err := blockstore.Sessions(ctx, host, d.o.Connect(host), l.image.GBID)
		if err != nil {
			return fmt.Errorf("image %s: sessions on %s: %w", t.Image, host, err)
		}
		if len(sessions) > 0 {
			return &blockstore.InUseError{Image: t.Image, Sessions: sessions}
		}
	}
	return nil
}

func (d *Daemon) writeImage(ctx context.Context, done *Restored, source copier.ImageSource, target copier.ImageTarget, fresh bool) error {
	res, err := copier.CopyImage(ctx, copier.ImageCopy{
		Source: source, Target: target, Compare: !fresh, Fresh: fresh,
		Progress: d.progress(PhaseCopy, done.Plan.Backup.Key, done.Plan.Volume),
	})
	done.Written = res.Written
	return err
}

// ReadBackError says that what was read back is not what was written.
type ReadBackError struct{ Offset int64 }

// Error names the offset in bytes.
func (e *ReadBackError) Error() string {
	return fmt.Sprintf("read back differs from the backup at byte %d", e.Offset)
}

// Remedy says what to do before anybody uses the image.
func (e *ReadBackError) Remedy() string {
	return "do not let an initiator log in: run the restore again, and see the bricks' logs for I/O errors"
}

func (d *Daemon) readBack(ctx context.Context, done *Restored, source, written copier.ImageSource) error {
	key := done.Plan.Backup.Key
	d.phase(PhaseReadBack, key, done.Plan.Volume)
	at, err := copier.CompareImages(ctx, source, written, d.progress(PhaseReadBack, key, done.Plan.Volume))
	if err != nil {
		return err
	}
	if at >= 0 {
		return &ReadBackError{at}
	}
	done.Compared = source.Size()
	return nil
}
