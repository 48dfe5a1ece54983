package daemon

import (
	"bytes"
	"context"
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
	"github.com/glusterbackupd/glusterbackupd/gluster"
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
		"intact": {last: old, unread: unread, unreadCloned: unread},
		"rotted": {last: rotten, unreadCloned: unread, says: "no longer what was written", inherits: true},
		// What vouched for the one piece is not believed for the other.
		"bad bricks, rot": {last: rotten, live: func(data []byte) { data[7], data[2*trackedShard+9] = 7, 9 }, unreadCloned: unread, says: "bricks did not say so", inherits: true},
		"rot, audit":      {last: rotten, audit: true, ofClone: "no longer what was written"},
		"cut off":         {last: old[:trackedShard], says: "cannot be opened", ofClone: "cannot be opened"},
		"gone":            {says: "cannot be opened", ofClone: "cannot be opened"},
		"audit":           {last: old, audit: true},
		"bad bricks":      {last: old, audit: true, live: func(data []byte) { data[7] = 7 }, says: "bricks did not say so", ofClone: "bricks did not say so"},
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
				inherits := clone && tt.inherits
				if err != nil || res.Unread != wantUnread || !inherits && res.Pieces != trackedPieces(want) {
					t.Errorf("%d bytes unread, want %d: %v", res.Unread, wantUnread, err)
				}
				if says != "" && !tt.audit && res.Rotten+res.Missed > 0 && res.Touched != nil {
					t.Error("what two copies wrote would not be read back")
				}
				got, err := os.ReadFile(filepath.Join(dir, "new"))
				if right := bytes.Equal(got, want); err != nil || right == inherits {
					t.Errorf("the new image is right: %v (%v)", right, err)
				}
				if (says == "") != (log.Len() == 0) || !strings.Contains(log.String(), says) {
					t.Errorf("log: %s", log)
				}
				checkKept(t, dir, res.Pieces, tt.live != nil && !inherits)
			})
		}
	}
}

const trackedPiece = 64 << 10

// trackedPieces digests an image.
func trackedPieces(data []byte) manifest.Pieces {
	p := manifest.Pieces{Size: trackedPiece, Block: trackedPiece}
	h := manifest.NewPieceHasher(p.Size, p.Block)
	for piece := range slices.Chunk(data, trackedPiece) {
		sum := h.Sum(piece)
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

// TestLastPieces has the last backup be of the same image or not.
func TestLastPieces(t *testing.T) {
	const size = 5<<20 + 7
	content := bytes.Repeat([]byte{3}, size)
	right := copier.ImagePieces(size)
	h, older := manifest.NewPieceHasher(right.Size, right.Block), manifest.Pieces{Size: right.Size}
	for part := range slices.Chunk(content, int(right.Size)) {
		sum, whole := h.Sum(part), sha256.Sum256(part)
		right.SHA256 += string(sum[:])
		older.SHA256 += string(whole[:])
	}
	image := func(size int64) blockstore.Image {
		return blockstore.Image{GBID: "g", Path: blockstore.StoreDir + "/g", Size: size}
	}
	for name, tt := range map[string]struct {
		pieces manifest.Pieces // Of the last backup; the zero value is one with a digest of all.
		now    blockstore.Image
		known  bool
	}{
		"the same":         {right, image(size), true},
		"another size":     {right, image(size + 1), false},
		"many more pieces": {right, image(size + 20<<20), false},
		"another image":    {right, blockstore.Image{GBID: "h", Path: blockstore.StoreDir + "/h", Size: size}, false},
		"no blocks":        {older, image(size), false},
		"no pieces":        {manifest.Pieces{}, image(size), false},
	} {
		t.Run(name, func(t *testing.T) {
			s := withLastImage(t, content, tt.pieces)
			d, k := &Daemon{log: slog.New(slog.DiscardHandler)}, &tracked{}
			d.lastPieces(t.Context(), k, s, tt.now)
			if tt.known != (k.last != "") || tt.known && (k.pieces != right || filepath.Base(k.last) != "g") {
				t.Errorf("%q, %d pieces of %d", k.last, k.pieces.Count(), k.pieces.Size)
			}
		})
	}
}

// withLastImage begins a backup after one of the image g.
func withLastImage(t *testing.T, content []byte, p manifest.Pieces) *catalog.Staging {
	t.Helper()
	key := catalog.Key{Namespace: "shop", Claim: "db"}
	repo, err := catalog.Init(t.TempDir(), catalog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	lock, err := repo.Lock("test", catalog.ClaimScope(key))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = lock.Release() })
	at := time.Date(2018, 12, 2, 0, 0, 0, 0, time.UTC)
	s, err := repo.Begin(key, at)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(blockstore.StoreDir, "g")
	if err := os.Mkdir(filepath.Join(s.Data(), blockstore.StoreDir), 0o700); err != nil {
		t.Fatal(err)
	}
	imageFile(t, filepath.Join(s.Data(), path), content)
	o := catalog.PublishOptions{}
	if p.Size > 0 {
		o.Images = map[string]catalog.CopiedImage{path: {Size: int64(len(content)), Pieces: p}}
	}
	info := catalog.Info{Kind: catalog.KindBlock, Volume: "v", Block: &catalog.BlockInfo{Name: "b", GBID: "g", Size: int64(len(content)), HostingVolume: "v"}}
	if _, err := s.Publish(t.Context(), info, o); err != nil {
		t.Fatal(err)
	}
	if s, err = repo.Begin(key, at.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Abort() })
	return s
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

// tellers is what looks at bricks that say where they have data, or fail to.
type tellers struct {
	ImageFiler
	data []gluster.BrickData
	err  error
}

func (t tellers) ImageData(context.Context, gluster.Volume, string, string, string) ([]gluster.BrickData, error) {
	return t.data, t.err
}

// TestMissing has the bricks say what was never written, also for an audit.
func TestMissing(t *testing.T) {
	const unit = gluster.DataUnit
	at := time.Date(2018, 12, 2, 0, 0, 0, 0, time.UTC)
	for name, tt := range map[string]struct {
		filer tellers
		zero  int64
	}{
		"told":   {tellers{data: []gluster.BrickData{{0: {{0, unit}}, 1: {}}}}, 2*trackedShard - unit}, // Not of shard 2.
		"failed": {tellers{err: errors.New("no answer")}, 0},
	} {
		state, log := stateOf("s", at), &bytes.Buffer{}
		d, k := &Daemon{log: slog.New(slog.NewTextHandler(log, nil))}, &tracked{now: &state, audit: true}
		d.missing(t.Context(), k, tt.filer, frozen{}, blockstore.Image{})
		if got := k.missing.Bytes(); got != tt.zero || k.missing.Zero(2*trackedShard, 1) || k.now.Bricks[0].Data != nil {
			t.Errorf("%s: %d bytes were never written, want %d", name, got, tt.zero)
		}
		if strings.Contains(log.String(), "no answer") != (tt.filer.err != nil) {
			t.Errorf("%s: log %s", name, log)
		}
	}
}

// TestBrickside: a cluster in which only so many snapshots are worked on at a time
// still tells of its bricks.
func TestBrickside(t *testing.T) {
	for _, g := range []Gluster{bricks{}, paced{Gluster: bricks{}}} {
		if _, ok := brickside[ImageFiler](g); !ok {
			t.Errorf("%T does not reach its bricks", g)
		}
	}
	if _, ok := brickside[ImageFiler](paced{Gluster: struct{ Gluster }{}}); ok {
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
