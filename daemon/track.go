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
	"github.com/glusterbackupd/glusterbackupd/manifest"
	"github.com/glusterbackupd/glusterbackupd/tracking"
)

// ImageFiler looks at the bricks, and at the files of an image on them.
// *gluster.Client implements it; a Gluster that does not has its images read in full.
type ImageFiler interface {
	BrickLives(ctx context.Context, volume string) ([]string, error)
	ImageFiles(ctx context.Context, v gluster.Volume, snapshot, file string) (gluster.ImageFiles, error)
	ImageData(ctx context.Context, v gluster.Volume, snapshot, file, gfid string) ([]gluster.BrickData, error)
}

// brickside returns what asks the bricks of a cluster, if anything does. Questions to the
// bricks wait for no snapshot's place.
func brickside[T any](g Gluster) (T, bool) {
	if p, ok := g.(paced); ok {
		g = p.Gluster
	}
	t, ok := g.(T)
	return t, ok
}

// askTime bounds the questions to the bricks: they only spare work.
const askTime = 5 * time.Minute

// tracked is what is known of an image before it is copied.
type tracked struct {
	claim, image string
	now          *tracking.State // Nil when the bricks were not asked, or did not answer.
	to           string          // The file for now.
	last         string          // The image in the last backup; "" when nothing is known of it.
	pieces       manifest.Pieces // Those of last.
	old          tracking.State
	missing      tracking.Missing  // What the bricks lack; nothing where that is not known.
	changes      *tracking.Changes // Nil when all of the image has to be read.
	audit        bool
}

// track finds out what the last backup has of the image, asks the bricks of the
// snapshot about it and compares with what they said then. Whatever goes wrong, the
// image is read in full, but for what no brick has.
func (d *Daemon) track(ctx context.Context, s *catalog.Staging, t Target, f frozen, img blockstore.Image) tracked {
	k := tracked{claim: t.Key.String(), image: t.Image, to: s.Shards()}
	d.lastPieces(ctx, &k, s, img)
	if previous, ok := s.Previous(); ok {
		k.audit = d.full(previous, f.started)
	}
	if !d.o.TrackImages {
		return k
	}
	filer, ok := brickside[ImageFiler](f.gluster)
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
	d.missing(ctx, &k, filer, f, img)
	if k.last == "" {
		return k
	}
	previous, _ := s.Previous()
	changes, err := d.compare(ctx, &k, previous, f, img)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		d.log.Info("the last backup kept nothing of the image's shards, all of it is read", "claim", k.claim, "image", k.image)
	case err != nil:
		d.log.Warn("all of the image is read", "claim", k.claim, "image", k.image, "reason", err)
	default:
		k.changes = &changes
		all, changed := changes.Count()
		d.log.Info("the bricks were asked what has changed", "claim", k.claim, "image", k.image,
			"shards", all, "changed", changed, "shard_bytes", now.ShardSize, "changed_bytes", changes.Bytes(), "audit", k.audit)
	}
	return k
}

// missing finds out what was never written, and need not be read either.
func (d *Daemon) missing(ctx context.Context, k *tracked, filer ImageFiler, f frozen, img blockstore.Image) {
	if err := askData(ctx, k.now, filer, f, img); err != nil {
		d.log.Warn("the bricks do not tell where shards have data", "claim", k.claim, "image", k.image, "error", err)
	}
	missing, err := tracking.FindMissing(*k.now)
	for i := range k.now.Bricks {
		k.now.Bricks[i].Data = nil // It is much.
	}
	if err != nil {
		d.log.Info("all of the image is read, also what no brick has", "claim", k.claim, "image", k.image, "reason", err)
		return
	}
	k.missing = missing
	d.log.Info("the bricks were asked what was ever written", "claim", k.claim, "image", k.image,
		"missing_bytes", missing.Bytes(), "shard_bytes", k.now.ShardSize, "audit", k.audit)
}

// askData asks the bricks where the shards have data.
func askData(ctx context.Context, now *tracking.State, filer ImageFiler, f frozen, img blockstore.Image) error {
	ctx, cancel := context.WithTimeoutCause(ctx, askTime, fmt.Errorf("the bricks did not answer within %s", askTime))
	defer cancel()
	data, err := filer.ImageData(ctx, f.volume, f.snapshot.Name, img.Path, now.GFID)
	if err != nil {
		return err
	}
	for i := range now.Bricks {
		now.Bricks[i].Data = data[i]
	}
	return nil
}

// lastPieces finds the image in the last backup, with the digests of its pieces.
func (d *Daemon) lastPieces(ctx context.Context, k *tracked, s *catalog.Staging, img blockstore.Image) {
	path := previousImage(s, img)
	if path == "" {
		return
	}
	previous, _ := s.Previous()
	images, err := previous.Images(ctx)
	if err != nil {
		d.log.Warn("nothing is known of the image in the last backup, all of it is read", "claim", k.claim, "image", k.image, "error", err)
		return
	}
	p, want := images[img.Path], copier.ImagePieces(img.Size)
	if p.Size != want.Size || p.Block != want.Block || int64(p.Count()) != manifest.PieceCount(img.Size, want.Size) || previous.Info.Block.Size != img.Size {
		d.log.Info("the last backup has other pieces of the image, all of it is read", "claim", k.claim, "image", k.image)
		return
	}
	k.last, k.pieces = path, p
}

// compare says what can have changed since the last backup.
func (d *Daemon) compare(ctx context.Context, k *tracked, previous catalog.Backup, f frozen, img blockstore.Image) (changes tracking.Changes, err error) {
	if k.old, err = lastShards(previous); err != nil {
		return changes, err
	}
	if k.old.SHA256 != k.pieces.Digest() {
		return changes, fmt.Errorf("%s is not of the image of its backup", previous.Shards())
	}
	changes, err = tracking.Compare(k.old, *k.now)
	if _, changed := changes.Count(); err == nil && changed > 0 && d.o.TrackChunks {
		d.askChunks(ctx, k, f, img)
		changes, err = tracking.Compare(k.old, *k.now)
	}
	k.old.Bricks = nil // They are many.
	for i := range k.now.Bricks {
		k.now.Bricks[i].Changed = nil
	}
	return changes, err
}

// brickLives asks since when the bricks live, before a snapshot is taken of them: one
// that is started again between the snapshot and the question about the shards must
// not look as if it had been up before.
func (d *Daemon) brickLives(ctx context.Context, g Gluster, r run) []string {
	filer, ok := brickside[ImageFiler](g)
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
func (d *Daemon) copyImage(ctx context.Context, k tracked, target *copier.ImageFile, c copier.ImageCopy) (copier.ImageResult, error) {
	c.Target = target
	if k.last != "" {
		last, err := openLast(k.last, target.Size())
		if err == nil {
			defer last.Close()
			c.Reference = k.reference(last, target)
		} else {
			d.log.Error("the image in the last backup cannot be opened as it was written, see glusterbackupd verify; all of the image is read",
				"claim", k.claim, "image", k.image, "path", k.last, "error", err)
		}
	}
	c.Zero, c.AuditZero = k.missing.Zero, k.audit || d.o.Full
	c.Mend = c.Compare
	res, err := copier.CopyImage(ctx, c)
	if wrong := res.Missed + res.Rotten; err == nil && wrong > 0 && !k.audit {
		d.log.Warn("what is known of the image was wrong in parts, all of it is read", "claim", k.claim, "image", k.image, "bytes", wrong)
		res, err = readAll(ctx, c, res)
	}
	if err != nil {
		return res, err
	}
	d.tellImage(&k, res)
	if err := k.keep(res.Pieces.Digest()); err != nil {
		d.log.Warn("what the bricks say is not kept, the next backup reads all of the image", "claim", k.claim, "image", k.image,
			"error", errors.Join(err, os.RemoveAll(k.to)))
	}
	return res, nil
}

// readAll copies the image again, into the target of a copy that trusted what was
// wrong: whatever else it trusted may be wrong too.
func readAll(ctx context.Context, c copier.ImageCopy, first copier.ImageResult) (copier.ImageResult, error) {
	c.Reference, c.Zero, c.Compare, c.Mend, c.Fresh = nil, nil, true, true, false
	res, err := copier.CopyImage(ctx, c)
	res.Missed, res.Rotten = res.Missed+first.Missed, res.Rotten+first.Rotten
	res.Written, res.Punched = res.Written+first.Written, res.Punched+first.Punched
	res.Touched = nil // All is to be read back: both copies wrote.
	return res, err
}

// openLast opens the image of the last backup.
func openLast(path string, size int64) (*copier.ImageFile, error) {
	image, err := copier.OpenImage(path)
	if err == nil && image.Size() != size {
		err = errors.Join(fmt.Errorf("it has %d bytes, not %d", image.Size(), size), image.Close())
	}
	return image, err
}

// reference is the last image as the copy needs it.
func (k *tracked) reference(last, target *copier.ImageFile) *copier.ImageReference {
	r := &copier.ImageReference{Pieces: k.pieces, Image: last, Data: target.Data, Audit: k.audit}
	if k.changes != nil {
		r.Unchanged, r.Check = k.changes.Unchanged, k.changes.Check
	}
	return r
}

// tellImage logs what is wrong with earlier backups.
func (d *Daemon) tellImage(k *tracked, res copier.ImageResult) {
	if res.Missed > 0 {
		k.now = nil // Nothing is to be built on what they say.
		remedy := "set [copy] track_images = false"
		if d.o.TrackChunks { // What says more is the first to be doubted.
			remedy = "set [copy] track_chunks = false"
		}
		d.log.Error("parts of the image were written although the bricks did not say so; this backup is right, earlier ones are wrong there",
			"remedy", remedy, "claim", k.claim, "image", k.image, "bytes", res.Missed)
	}
	if res.Rotten > 0 {
		d.log.Error("parts of the image in the last backup are no longer what was written; this backup is right, that one is damaged: glusterbackupd verify names it",
			"claim", k.claim, "image", k.image, "path", k.last, "bytes", res.Rotten)
	}
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
