package daemon

import (
	"context"
	"fmt"
	"slices"

	"github.com/glusterbackupd/glusterbackupd/blockstore"
	"github.com/glusterbackupd/glusterbackupd/gluster"
	"github.com/glusterbackupd/glusterbackupd/tracking"
)

// ChunkFiler compares two snapshots of a volume below the file systems of its bricks.
// *gluster.Client implements it; of a Gluster that does not, changed shards are read in
// full.
type ChunkFiler interface {
	ChunkDeltas(ctx context.Context, v gluster.Volume, old, now string) ([]gluster.ChunkDelta, error)
	ImageChanges(ctx context.Context, v gluster.Volume, r gluster.ChangesRequest) ([]gluster.BrickChanges, error)
	CheckChunks(ctx context.Context, v gluster.Volume) error
}

// chunkDeltas is what is known of an older snapshot and the frozen one.
type chunkDeltas struct {
	old    string // The older one's name.
	deltas []gluster.ChunkDelta
	err    error
}

// askChunks fills in which parts of the shards that have changed can have: those chunks
// of the thin pools that are not the same as in the snapshot of the last backup, as long
// as that is kept. Whatever goes wrong, these shards are read in full.
func (d *Daemon) askChunks(ctx context.Context, k *tracked, f frozen, img blockstore.Image) {
	filer, ok := brickside[ChunkFiler](f.gluster)
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeoutCause(ctx, askTime, fmt.Errorf("the thin pools did not answer within %s", askTime))
	defer cancel()
	known := f.deltas(ctx, filer, k.old.SnapshotUUID)
	if known.err != nil {
		d.log.Warn("the thin pools do not tell what has changed, shards are read as a whole", "claim", k.claim, "image", k.image, "error", known.err)
		return
	}
	changes, err := filer.ImageChanges(ctx, f.volume, gluster.ChangesRequest{
		Old: known.old, Now: f.snapshot.Name, Deltas: known.deltas, File: img.Path, GFID: k.now.GFID, Since: tracking.Since(k.old),
	})
	if err != nil {
		d.log.Warn("the bricks do not tell where shards are on the thin pools, they are read as a whole", "claim", k.claim, "image", k.image, "error", err)
		return
	}
	for i := range k.now.Bricks {
		k.now.Bricks[i].Changed = changes[i]
	}
}

// deltas compares the thin pools of the snapshot of that id with the frozen one, once for
// all images of the volume. It must not be called by two at a time.
func (f frozen) deltas(ctx context.Context, filer ChunkFiler, uuid string) chunkDeltas {
	known, ok := f.chunks[uuid]
	if !ok {
		known.old, known.err = f.snapshotOf(ctx, uuid)
		if known.err == nil {
			known.deltas, known.err = filer.ChunkDeltas(ctx, f.volume, known.old, f.snapshot.Name)
		}
		f.chunks[uuid] = known
	}
	return known
}

// snapshotOf returns the name of the snapshot of that id, if it is there and active.
func (f frozen) snapshotOf(ctx context.Context, uuid string) (string, error) {
	all, err := f.gluster.Snapshots(ctx, f.volume.Name)
	if err != nil {
		return "", err
	}
	i := slices.IndexFunc(all, func(s gluster.Snapshot) bool { return s.UUID == uuid && s.Active })
	if i < 0 {
		return "", fmt.Errorf("volume %s no longer has the snapshot of the last backup, or it is not active (%s): [retention] snapshots must be longer than the time between two backups",
			f.volume.Name, uuid)
	}
	return all[i].Name, nil
}
