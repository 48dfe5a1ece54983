package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/glusterbackupd/glusterbackupd/blockstore"
	"github.com/glusterbackupd/glusterbackupd/catalog"
	"github.com/glusterbackupd/glusterbackupd/gluster"
	"github.com/glusterbackupd/glusterbackupd/tracking"
)

// chunkBricks is a cluster with snapshots whose thin pools tell, or fail to.
type chunkBricks struct {
	Gluster
	snapshots          []gluster.Snapshot
	changes            []gluster.BrickChanges
	deltaErr, brickErr error
	compared           *int // How often.
	since              *time.Time
}

func (b chunkBricks) Snapshots(context.Context, string) ([]gluster.Snapshot, error) {
	return b.snapshots, nil
}

func (b chunkBricks) ChunkDeltas(_ context.Context, _ gluster.Volume, old, now string) ([]gluster.ChunkDelta, error) {
	*b.compared++
	if old != "gb-old" || now != "gb-now" {
		return nil, fmt.Errorf("%s is compared with %s", old, now)
	}
	return []gluster.ChunkDelta{{{0, 1}}}, b.deltaErr
}

func (b chunkBricks) ImageChanges(_ context.Context, _ gluster.Volume, r gluster.ChangesRequest) ([]gluster.BrickChanges, error) {
	*b.since = r.Since
	if r.Old != "gb-old" || r.Now != "gb-now" || len(r.Deltas) != 1 || r.GFID != "g" || r.File != "block-store/g" {
		return nil, fmt.Errorf("request %+v", r)
	}
	return b.changes, b.brickErr
}

func (b chunkBricks) CheckChunks(context.Context, gluster.Volume) error { return b.deltaErr }

func (b chunkBricks) Volume(context.Context, string) (gluster.Volume, error) {
	return gluster.Volume{}, nil
}

// TestCheckChunks asks only where that is wanted.
func TestCheckChunks(t *testing.T) {
	held := errors.New("held")
	for name, tt := range map[string]struct {
		g    Gluster
		on   bool
		want string
	}{
		"off":       {chunkBricks{deltaErr: held}, false, ""},
		"well":      {chunkBricks{}, true, ""},
		"not well":  {paced{Gluster: chunkBricks{deltaErr: held}}, true, "held"},
		"glusterd2": {struct{ Gluster }{}, true, "this transport does not reach the bricks"},
	} {
		d := &Daemon{o: Options{TrackChunks: tt.on, Gluster: func([]string) (Gluster, error) { return tt.g, nil }}}
		if err := d.CheckChunks(t.Context(), Target{}); (err == nil) != (tt.want == "") || err != nil && err.Error() != tt.want {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestCompareChunks has two of three shards change, and the thin pools say where, or not.
func TestCompareChunks(t *testing.T) {
	at := time.Date(2018, 12, 2, 0, 0, 0, 0, time.UTC)
	kept := []gluster.Snapshot{{Name: "gb-other", UUID: "s0", Active: true}, {Name: "gb-old", UUID: "s1", Active: true}}
	told := []gluster.BrickChanges{{1: {{0, 1}}}}
	const block, all = 64 << 10, 2 * trackedShard
	for name, tt := range map[string]struct {
		bricks  chunkBricks
		off     bool
		changed []int64
		bytes   int64
		asked   int
		says    string
	}{
		"told":           {bricks: chunkBricks{snapshots: kept, changes: told}, changed: []int64{1, 2}, bytes: block + trackedShard, asked: 1},
		"not to be told": {bricks: chunkBricks{snapshots: kept, changes: told}, changed: []int64{1, 2}, off: true, bytes: all},
		"nothing to say": {bricks: chunkBricks{snapshots: kept, changes: told}},
		"no snapshot":    {bricks: chunkBricks{snapshots: kept[:1], changes: told}, changed: []int64{1, 2}, bytes: all, says: "[retention] snapshots"},
		"not active": {
			bricks: chunkBricks{snapshots: []gluster.Snapshot{{Name: "gb-old", UUID: "s1"}}, changes: told}, changed: []int64{1, 2}, bytes: all, says: "not active",
		},
		"pool fails":  {bricks: chunkBricks{snapshots: kept, changes: told, deltaErr: errors.New("held")}, changed: []int64{1, 2}, bytes: all, asked: 1, says: "held"},
		"brick fails": {bricks: chunkBricks{snapshots: kept, changes: told, brickErr: errors.New("no filefrag")}, changed: []int64{1, 2}, bytes: all, asked: 1, says: "no filefrag"},
	} {
		t.Run(name, func(t *testing.T) {
			log, compared, since := &bytes.Buffer{}, 0, time.Time{}
			tt.bricks.compared, tt.bricks.since = &compared, &since
			d := &Daemon{o: Options{TrackChunks: !tt.off}, log: slog.New(slog.NewTextHandler(log, nil))}
			f := frozen{gluster: paced{Gluster: tt.bricks}, snapshot: gluster.Snapshot{Name: "gb-now"}, chunks: map[string]chunkDeltas{}}
			for range 2 { // Two images of one volume.
				old, now := stateOf("s1", at), stateOf("s2", at.Add(time.Hour), tt.changed...)
				pieces := trackedPieces(make([]byte, 3*trackedShard))
				k := tracked{now: &now, pieces: pieces}
				changes, err := d.compare(t.Context(), &k, lastBackup(t, old, pieces.Digest()), f, blockstore.Image{Path: "block-store/g"})
				if err != nil || changes.Bytes() != tt.bytes || k.now.Bricks[0].Changed != nil {
					t.Errorf("%d bytes can have changed, want %d: %v", changes.Bytes(), tt.bytes, err)
				}
				if tt.bytes < all && tt.bytes > 0 && (changes.Unchanged(trackedShard, 1) || !changes.Unchanged(trackedShard+block, 1) || !since.Equal(tracking.Since(old))) {
					t.Error("not what was told")
				}
			}
			if compared != tt.asked {
				t.Errorf("compared %d times, want %d", compared, tt.asked)
			}
			if (tt.says == "") != (log.Len() == 0) || !strings.Contains(log.String(), tt.says) {
				t.Errorf("log: %s", log)
			}
		})
	}
}

// lastBackup is a backup that kept a state.
func lastBackup(t *testing.T, s tracking.State, sum string) catalog.Backup {
	t.Helper()
	b := catalog.Backup{Dir: t.TempDir(), Info: catalog.Info{SnapshotUUID: s.SnapshotUUID}}
	k := tracked{now: &s, to: b.Shards()}
	if err := k.keep(sum); err != nil {
		t.Fatal(err)
	}
	return b
}
