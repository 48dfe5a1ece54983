package daemon

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/glusterbackupd/glusterbackupd/blockstore"
	"github.com/glusterbackupd/glusterbackupd/catalog"
	"github.com/glusterbackupd/glusterbackupd/copier"
	"github.com/glusterbackupd/glusterbackupd/manifest"
	"github.com/glusterbackupd/glusterbackupd/tracking"
)

const trackedShard = 1 << 20

// stateOf is a state of an image of three shards on one brick.
func stateOf(snapshot string, at time.Time, changed ...int64) tracking.State {
	s := tracking.State{
		Repository: "r", SnapshotUUID: snapshot, Taken: at, VolumeID: "v", GFID: "g", Size: 3 * trackedShard, ShardSize: trackedShard,
		Bricks: []tracking.Brick{{Name: "a:/b", Life: "l", Asked: at, Clock: at, Shards: map[int64]tracking.Shard{0: {}, 1: {}, 2: {}}}},
	}
	for _, n := range changed {
		s.Bricks[0].Shards[n] = tracking.Shard{Changed: 1}
	}
	return s
}

// TestCopyImageWithReference has the second of three shards change, and all that
// can be wrong with the last backup, where the new image is a clone of it and where
// it is not: the new backup is right, or its digests say that it is not.
func TestCopyImageWithReference(t *testing.T) {
	const unread = 2 * trackedShard
	at := time.Date(2018, 12, 2, 0, 0, 0, 0, time.UTC)
	old := bytes.Repeat([]byte{1}, 3*trackedShard)
	now := bytes.Clone(old)
	copy(now[trackedShard+4096:], "changed")
	rotten := bytes.Clone(old)
	rotten[5] ^= 1
	for name, tt := range map[string]struct {
		last          []byte // The image in the last backup as it is now; nil is none.
		live          func(data []byte)
		audit         bool
		unread        int64 // Into a new file, and into a clone.
		unreadCloned  int64
		says, ofClone string
		inherits      bool // A clone that is not read keeps the damage.
	}{
		"intact":     {last: old, unread: unread, unreadCloned: unread},
		"rotted":     {last: rotten, unread: unread - trackedPiece, unreadCloned: unread, says: "no longer what was written", inherits: true},
		"rot, audit": {last: rotten, audit: true, ofClone: "no longer what was written"},
		"cut off":    {last: old[:trackedShard], says: "no longer what was written", ofClone: "no longer what was written"},
		"gone":       {says: "no longer what was written", ofClone: "no longer what was written"},
		"audit":      {last: old, audit: true},
		"bad bricks": {last: old, audit: true, live: func(data []byte) { data[7] = 7 }, says: "bricks did not say so", ofClone: "bricks did not say so"},
	} {
		for _, clone := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, clone %v", name, clone), func(t *testing.T) {
				dir, log := t.TempDir(), &bytes.Buffer{}
				d := &Daemon{log: slog.New(slog.NewTextHandler(log, nil))}
				want := bytes.Clone(now)
				if tt.live != nil {
					tt.live(want)
				}
				source, target := openImages(t, dir, want)
				state := stateOf("s2", at.Add(time.Hour), 1)
				k := tracked{to: filepath.Join(dir, "shards"), now: &state, last: filepath.Join(dir, "old"), pieces: trackedPieces(old), audit: tt.audit}
				if tt.last != nil {
					imageFile(t, k.last, tt.last)
				}
				changes, err := tracking.Compare(stateOf("s1", at), state)
				if err != nil {
					t.Fatal(err)
				}
				k.changes = &changes
				wantUnread, says := tt.unread, tt.says
				if clone { // As CreateImage makes it where it can.
					wantUnread, says = tt.unreadCloned, tt.ofClone
					if _, err := target.WriteAt(tt.last, 0); err != nil {
						t.Fatal(err)
					}
				}
				res, err := d.copyImage(t.Context(), k, target, copier.ImageCopy{
					Source: source, Compare: clone, Fresh: !clone, Digest: copier.PieceDigests, PieceSize: trackedPiece,
				})
				if err != nil || res.Pieces != trackedPieces(want) || res.Unread != wantUnread {
					t.Errorf("%d bytes unread, want %d: %v", res.Unread, wantUnread, err)
				}
				got, err := os.ReadFile(filepath.Join(dir, "new"))
				if right := bytes.Equal(got, want); err != nil || right == (clone && tt.inherits) {
					t.Errorf("the new image is right: %v (%v)", right, err)
				}
				if (says == "") != (log.Len() == 0) || !strings.Contains(log.String(), says) {
					t.Errorf("log: %s", log)
				}
				checkKept(t, dir, res.Pieces, tt.live != nil)
			})
		}
	}
}

const trackedPiece = 64 << 10

// trackedPieces digests an image the plain way.
func trackedPieces(data []byte) manifest.Pieces {
	p := manifest.Pieces{Size: trackedPiece}
	for piece := range slices.Chunk(data, trackedPiece) {
		sum := sha256.Sum256(piece)
		p.SHA256 += string(sum[:])
	}
	return p
}

func openImages(t *testing.T, dir string, live []byte) (source, target *copier.ImageFile) {
	t.Helper()
	source, err := copier.OpenImage(imageFile(t, filepath.Join(dir, "live"), live))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = source.Close() })
	target, _, err = copier.CreateImage(filepath.Join(dir, "new"), source.Size(), "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = target.Close() })
	return source, target
}

// checkKept looks at what is kept of the bricks: nothing of those that lied.
func checkKept(t *testing.T, dir string, pieces manifest.Pieces, lied bool) {
	t.Helper()
	b := catalog.Backup{Dir: dir, Info: catalog.Info{SnapshotUUID: "s2"}}
	kept, err := lastShards(b)
	if lied && errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err != nil || kept.SHA256 != pieces.Digest() {
		t.Errorf("kept %+v, %v", kept, err)
	}
	b.Info.SnapshotUUID = "s1"
	if _, err := lastShards(b); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the state of another snapshot: %v", err)
	}
}

// TestTrackWithoutBricks is the transport that reaches none.
func TestTrackWithoutBricks(t *testing.T) {
	repo, err := catalog.Init(t.TempDir(), catalog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	lock, err := repo.Lock("test", catalog.ClaimScope(catalog.Key{Namespace: "shop", Claim: "db"}))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = lock.Release() }()
	s, err := repo.Begin(catalog.Key{Namespace: "shop", Claim: "db"}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Abort() }()
	log := &bytes.Buffer{}
	d := &Daemon{o: Options{TrackImages: true, Catalog: repo}, log: slog.New(slog.NewTextHandler(log, nil))}
	k := d.track(t.Context(), s, Target{}, frozen{}, blockstore.Image{})
	if k.now != nil || k.changes != nil || !strings.Contains(log.String(), "does not reach the bricks") {
		t.Errorf("%+v, log %s", k, log)
	}
	if err := k.keep("sum"); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(s.Shards()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("something was kept: %v", err)
	}
}

// bricks is a cluster that looks at its bricks.
type bricks struct {
	Gluster
	ImageFiler
}

// TestFilerOf: a cluster in which only so many snapshots are worked on at a time
// still tells of its bricks.
func TestFilerOf(t *testing.T) {
	for _, g := range []Gluster{bricks{}, paced{Gluster: bricks{}}} {
		if _, ok := filerOf(g); !ok {
			t.Errorf("%T does not reach its bricks", g)
		}
	}
	if _, ok := filerOf(paced{Gluster: struct{ Gluster }{}}); ok {
		t.Error("a cluster without bricks reaches them")
	}
}

func imageFile(t *testing.T, path string, data []byte) string {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
