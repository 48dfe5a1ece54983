package daemon

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/glusterbackupd/glusterbackupd/blockstore"
	"github.com/glusterbackupd/glusterbackupd/catalog"
	"github.com/glusterbackupd/glusterbackupd/copier"
	"github.com/glusterbackupd/glusterbackupd/tracking"
)

const trackedShard = 1 << 20

func sumOf(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

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
// can be wrong with the last backup: the new one is right in any case.
func TestCopyImageWithReference(t *testing.T) {
	at := time.Date(2018, 12, 2, 0, 0, 0, 0, time.UTC)
	old := bytes.Repeat([]byte{1}, 3*trackedShard)
	now := bytes.Clone(old)
	copy(now[trackedShard+4096:], "changed")
	for name, tt := range map[string]struct {
		damage func(path string) error
		live   func(data []byte)
		audit  bool
		unread int64
		says   string
	}{
		"intact":     {unread: 2 * trackedShard},
		"rotted":     {damage: func(path string) error { return flip(path, 5) }, says: "no longer what was written"},
		"cut off":    {damage: func(path string) error { return os.Truncate(path, trackedShard) }, says: "no longer what was written"},
		"gone":       {damage: os.Remove, says: "no longer what was written"},
		"audit":      {audit: true},
		"bad bricks": {audit: true, live: func(data []byte) { data[7] = 7 }, says: "bricks did not say so"},
	} {
		t.Run(name, func(t *testing.T) {
			dir, log := t.TempDir(), &bytes.Buffer{}
			d := &Daemon{log: slog.New(slog.NewTextHandler(log, nil))}
			want := bytes.Clone(now)
			if tt.live != nil {
				tt.live(want)
			}
			reference := imageFile(t, filepath.Join(dir, "old"), old)
			source, err := copier.OpenImage(imageFile(t, filepath.Join(dir, "live"), want))
			if err != nil {
				t.Fatal(err)
			}
			defer source.Close()
			target, cloned, err := copier.CreateImage(filepath.Join(dir, "new"), source.Size(), reference)
			if err != nil {
				t.Fatal(err)
			}
			defer target.Close()
			if tt.damage != nil {
				if err := tt.damage(reference); err != nil {
					t.Fatal(err)
				}
			}
			k := tracked{to: filepath.Join(dir, "shards"), old: stateOf("s1", at), reference: reference, audit: tt.audit}
			k.old.SHA256 = sumOf(old)
			state := stateOf("s2", at.Add(time.Hour), 1)
			k.now = &state
			if k.changes, err = tracking.Compare(k.old, state); err != nil {
				t.Fatal(err)
			}
			res, err := d.copyImage(t.Context(), k, copier.ImageCopy{Source: source, Target: target, Compare: cloned, Fresh: !cloned, PieceSize: 64 << 10})
			if err != nil || res.SHA256 != sumOf(want) || res.Unread != tt.unread {
				t.Errorf("%+v, %v", res, err)
			}
			if got, err := os.ReadFile(filepath.Join(dir, "new")); err != nil || !bytes.Equal(got, want) {
				t.Errorf("the new image is wrong: %v", err)
			}
			if (tt.says == "") != (log.Len() == 0) || !strings.Contains(log.String(), tt.says) {
				t.Errorf("log: %s", log)
			}
			b := catalog.Backup{Dir: dir, Info: catalog.Info{SnapshotUUID: "s2"}}
			kept, err := lastShards(b)
			if tt.live != nil && errors.Is(err, fs.ErrNotExist) {
				return // What lies is not kept.
			}
			if err != nil || kept.SHA256 != sumOf(want) {
				t.Errorf("kept %+v, %v", kept, err)
			}
			b.Info.SnapshotUUID = "s1"
			if _, err := lastShards(b); err == nil || errors.Is(err, fs.ErrNotExist) {
				t.Errorf("the state of another snapshot: %v", err)
			}
		})
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
	if k.now != nil || k.reference != "" || !strings.Contains(log.String(), "does not reach the bricks") {
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

// flip damages one byte.
func flip(path string, at int) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	data[at] ^= 1
	return os.WriteFile(path, data, 0o600)
}
