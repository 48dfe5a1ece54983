package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/glusterbackupd/glusterbackupd/blockstore"
	"github.com/glusterbackupd/glusterbackupd/catalog"
	"github.com/glusterbackupd/glusterbackupd/copier"
	"github.com/glusterbackupd/glusterbackupd/gluster"
	"github.com/glusterbackupd/glusterbackupd/tracking"
)

// ImageFiler looks at the bricks, and at the files of an image on them.
// *gluster.Client implements it; a Gluster that does not has its images read in full.
type ImageFiler interface {
	BrickLives(ctx context.Context, volume string) ([]string, error)
	ImageFiles(ctx context.Context, v gluster.Volume, snapshot, file string) (gluster.ImageFiles, error)
}

// filerOf returns what looks at the bricks of a cluster, if anything does. Questions
// to the bricks wait for no snapshot's place.
func filerOf(g Gluster) (ImageFiler, bool) {
	if p, ok := g.(paced); ok {
		g = p.Gluster
	}
	filer, ok := g.(ImageFiler)
	return filer, ok
}

// askTime bounds the questions to the bricks: they only spare work.
const askTime = 5 * time.Minute

// tracked is what is known of an image before it is copied.
type tracked struct {
	claim, image string
	now          *tracking.State // Nil when the bricks were not asked, or did not answer.
	to           string          // The file for now.
	old          tracking.State
	reference    string // The image of the last backup; "" when all of it has to be read.
	changes      tracking.Changes
	audit        bool
}

// track asks the bricks of the snapshot about the image and compares with what
// they said at the last backup. Whatever goes wrong, the image is read in full.
func (d *Daemon) track(ctx context.Context, s *catalog.Staging, t Target, f frozen, img blockstore.Image) tracked {
	k := tracked{claim: t.Key.String(), image: t.Image, to: s.Shards()}
	if !d.o.TrackImages {
		return k
	}
	filer, ok := filerOf(f.gluster)
	if !ok {
		d.log.Info("this transport does not reach the bricks, all of the image is read", "claim", k.claim, "image", k.image)
		return k
	}
	now, err := d.shards(ctx, filer, f, img)
	if err != nil {
		d.log.Warn("changes of the image are not tracked, all of it is read", "claim", k.claim, "image", k.image, "error", err)
		return k
	}
	k.now = &now
	path := previousImage(s, img)
	if path == "" {
		return k
	}
	previous, _ := s.Previous()
	if k.old, err = lastShards(previous); err == nil {
		k.changes, err = tracking.Compare(k.old, now)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		d.log.Info("the last backup kept nothing of the image's shards, all of it is read", "claim", k.claim, "image", k.image)
	case err != nil:
		d.log.Warn("all of the image is read", "claim", k.claim, "image", k.image, "reason", err)
	default:
		k.reference, k.old.Bricks = path, nil
		k.audit = fullCompareDue(t.Key, previous.Time, f.started, d.o.FullCompare)
		all, changed := k.changes.Count()
		d.log.Info("the bricks were asked what has changed", "claim", k.claim, "image", k.image,
			"shards", all, "changed", changed, "shard_bytes", now.ShardSize, "audit", k.audit)
	}
	return k
}

// brickLives asks since when the bricks live, before a snapshot is taken of them: one
// that is started again between the snapshot and the question about the shards must
// not look as if it had been up before.
func (d *Daemon) brickLives(ctx context.Context, g Gluster, r run) []string {
	filer, ok := filerOf(g)
	if !ok || !d.o.TrackImages || !slices.ContainsFunc(r.targets, Target.Block) {
		return nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, askTime, fmt.Errorf("the bricks did not answer within %s", askTime))
	defer cancel()
	lives, err := filer.BrickLives(ctx, r.volume)
	if err != nil {
		d.log.Warn("it is not known since when the bricks run", "volume", r.volume, "error", err)
		return nil
	}
	return lives
}

// shards is what the bricks say now.
func (d *Daemon) shards(ctx context.Context, filer ImageFiler, f frozen, img blockstore.Image) (tracking.State, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, askTime, fmt.Errorf("the bricks did not answer within %s", askTime))
	defer cancel()
	files, err := filer.ImageFiles(ctx, f.volume, f.snapshot.Name, img.Path)
	if err != nil {
		return tracking.State{}, err
	}
	lives, err := filer.BrickLives(ctx, f.volume.Name)
	if err != nil {
		return tracking.State{}, err
	}
	if !slices.Equal(lives, f.lives) || len(lives) != len(files.Bricks) {
		return tracking.State{}, errors.New("a brick or its host was started again since the snapshot was taken, or it is not known")
	}
	state := tracking.State{
		Repository: d.o.Catalog.ID(), SnapshotUUID: f.snapshot.UUID, Taken: f.snapshot.Created, VolumeID: f.volume.ID,
		GFID: files.GFID, Size: img.Size, ShardSize: files.ShardSize,
	}
	if state.ShardSize == 0 {
		state.ShardSize = max(1, img.Size) // Not sharded: the one file is all of it.
	}
	for i, b := range files.Bricks {
		brick := tracking.Brick{Name: b.Brick.String(), Life: lives[i], Asked: b.Asked, Clock: b.Clock, Healing: b.Healing, Shards: map[int64]tracking.Shard{}}
		for n, file := range b.Files {
			brick.Shards[n] = tracking.Shard(file)
		}
		state.Bricks = append(state.Bricks, brick)
	}
	return state, nil
}

// lastShards reads what the bricks said when the backup was made.
func lastShards(b catalog.Backup) (tracking.State, error) {
	file, err := os.Open(b.Shards())
	if err != nil {
		return tracking.State{}, err
	}
	defer file.Close()
	state, err := tracking.Read(file)
	if err == nil && state.SnapshotUUID != b.Info.SnapshotUUID {
		err = fmt.Errorf("%s is not of the snapshot of its backup: %s, not %s", b.Shards(), state.SnapshotUUID, b.Info.SnapshotUUID)
	}
	return state, err
}

// copyImage copies what can have changed, or everything, and keeps what the
// bricks said for the next backup.
func (d *Daemon) copyImage(ctx context.Context, k tracked, c copier.ImageCopy) (copier.ImageResult, error) {
	res, err := d.copyChanged(ctx, k, c)
	if errors.Is(err, errNoReference) || errors.Is(err, copier.ErrReference) {
		d.log.Error("the image in the last backup is no longer what was written; all of the image is read, and that backup is damaged: glusterbackupd verify names it",
			"claim", k.claim, "image", k.image, "path", k.reference, "error", err)
		// What cannot be read cannot be compared with either, nor shared.
		c.Compare, c.Fresh = errors.Is(err, copier.ErrReference), false
		res, err = copier.CopyImage(ctx, c)
	}
	if err != nil {
		return res, err
	}
	if res.Missed > 0 {
		k.now = nil // Nothing is to be built on what they say.
		d.log.Error("parts of the image had changed although the bricks did not say so; this backup is right, earlier ones are outdated there: set [copy] track_images = false",
			"claim", k.claim, "image", k.image, "bytes", res.Missed)
	}
	if err := k.keep(res.SHA256); err != nil {
		d.log.Warn("what the bricks say is not kept, the next backup reads all of the image", "claim", k.claim, "image", k.image,
			"error", errors.Join(err, os.RemoveAll(k.to)))
	}
	return res, nil
}

// errNoReference says that the image in the last backup cannot be read.
var errNoReference = errors.New("the image in the last backup cannot be read")

// copyChanged copies with the last backup as the reference, if there is one.
func (d *Daemon) copyChanged(ctx context.Context, k tracked, c copier.ImageCopy) (copier.ImageResult, error) {
	if k.reference == "" {
		return copier.CopyImage(ctx, c)
	}
	image, err := copier.OpenImage(k.reference)
	if err != nil {
		return copier.ImageResult{}, errors.Join(errNoReference, err)
	}
	defer image.Close()
	if image.Size() != c.Source.Size() {
		return copier.ImageResult{}, fmt.Errorf("%w: it has %d bytes, not %d", errNoReference, image.Size(), c.Source.Size())
	}
	c.Reference = &copier.ImageReference{Image: image, SHA256: k.old.SHA256, Unchanged: k.changes.Unchanged, Audit: k.audit}
	res, err := copier.CopyImage(ctx, c)
	var failed *copier.ImageError
	if errors.As(err, &failed) && failed.Op == copier.OpReadReference {
		err = errors.Join(errNoReference, err)
	}
	return res, err
}

// keep writes what the bricks said beside the data. If the process dies in here,
// it dies with the backup: nothing is published yet.
func (k tracked) keep(sum string) (err error) {
	if k.now == nil {
		return nil
	}
	k.now.SHA256 = sum
	file, err := os.OpenFile(filepath.Clean(k.to), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if err := k.now.Write(file); err != nil {
		return err
	}
	return file.Sync()
}
