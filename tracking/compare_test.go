package tracking_test

import (
	"bytes"
	"errors"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/glusterbackupd/glusterbackupd/tracking"
)

const shard = 64 << 20

// taken is when the old snapshot was.
var taken = time.Date(2018, 12, 2, 0, 0, 0, 0, time.UTC)

func brick(name string, asked time.Time) tracking.Brick {
	old := taken.Add(-time.Hour).UnixNano()
	return tracking.Brick{Name: name, Life: "boot 1 " + name, Asked: asked, Clock: asked.Add(time.Second), Shards: map[int64]tracking.Shard{
		0: {Inode: 10, Size: shard, Modified: old, Changed: old + 1},
		2: {Inode: 12, Size: shard, Modified: old, Changed: old + 2},
		3: {Inode: 13, Size: 4096, Modified: old, Changed: old + 3},
	}}
}

// state is that of an image of five shards, of which the last is short and the
// second and the fifth are missing.
func state(at time.Time, snapshot string) tracking.State {
	return tracking.State{
		Version: 2, Repository: "f43141a24f6038066464a7eefdbbb174", SnapshotUUID: snapshot, Taken: at, VolumeID: "v", GFID: "g", SHA256: "s",
		Size: 4*shard + 5, ShardSize: shard,
		Bricks: []tracking.Brick{brick("a:/b", at.Add(3*time.Second)), brick("b:/b", at.Add(3*time.Second))},
	}
}

// set changes one shard of one brick.
func set(s *tracking.State, brick int, n int64, change func(*tracking.Shard)) {
	is := s.Bricks[brick].Shards[n]
	change(&is)
	s.Bricks[brick].Shards[n] = is
}

// TestCompare changes one thing at a time.
func TestCompare(t *testing.T) {
	tests := []struct {
		name    string
		edit    func(old, now *tracking.State)
		changed int // Which shard; -1 for none.
	}{
		{"nothing", func(_, _ *tracking.State) {}, -1},
		{"change time", func(_, now *tracking.State) { set(now, 1, 2, func(s *tracking.Shard) { s.Changed++ }) }, 2},
		{"earlier change time", func(_, now *tracking.State) { set(now, 1, 2, func(s *tracking.Shard) { s.Changed-- }) }, 2},
		{"modification time", func(_, now *tracking.State) { set(now, 0, 3, func(s *tracking.Shard) { s.Modified++ }) }, 3},
		{"size", func(_, now *tracking.State) { set(now, 0, 0, func(s *tracking.Shard) { s.Size-- }) }, 0},
		{"inode", func(_, now *tracking.State) { set(now, 1, 0, func(s *tracking.Shard) { s.Inode++ }) }, 0},
		{"new shard", func(_, now *tracking.State) { set(now, 0, 4, func(s *tracking.Shard) { s.Size = 1 }) }, 4},
		{"shard gone", func(_, now *tracking.State) { delete(now.Bricks[1].Shards, 3) }, 3},
		{"changed shortly before the snapshot", func(old, now *tracking.State) {
			for _, s := range []*tracking.State{old, now} {
				set(s, 1, 2, func(s *tracking.Shard) { s.Changed = taken.Add(-tracking.Settled).UnixNano() })
			}
		}, 2},
		{"changed not shortly before the snapshot", func(old, now *tracking.State) {
			for _, s := range []*tracking.State{old, now} {
				set(s, 1, 2, func(s *tracking.Shard) { s.Changed = taken.Add(-tracking.Settled).UnixNano() - 1 })
			}
		}, -1},
		{"the snapshot's time is ahead", func(old, now *tracking.State) {
			old.Taken = old.Taken.Add(2 * time.Hour)
			for _, s := range []*tracking.State{old, now} {
				set(s, 0, 3, func(s *tracking.Shard) { s.Changed = taken.Add(-time.Minute).UnixNano() })
			}
		}, 3},
		{"changed after the snapshot, by a clock that is ahead", func(old, now *tracking.State) {
			for _, s := range []*tracking.State{old, now} {
				set(s, 0, 0, func(s *tracking.Shard) { s.Changed = taken.Add(2 * time.Second).UnixNano() })
			}
		}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			old, now := state(taken, "s1"), state(taken.Add(24*time.Hour), "s2")
			tt.edit(&old, &now)
			c, err := tracking.Compare(old, now)
			if err != nil {
				t.Fatal(err)
			}
			all, changed := c.Count()
			if all != 5 || changed != min(1, tt.changed+1) {
				t.Errorf("%d of %d shards changed", changed, all)
			}
			for n := range 5 {
				size := int64(shard)
				if n == 4 {
					size = 5
				}
				if c.Unchanged(int64(n)*shard, size) != (n != tt.changed) {
					t.Errorf("shard %d: unchanged %v", n, n == tt.changed)
				}
			}
		})
	}
}

// TestDoubts makes each thing odd that must not be.
func TestDoubts(t *testing.T) {
	future := func(s *tracking.Shard) { s.Changed = taken.Add(48 * time.Hour).UnixNano() }
	tests := map[string]func(old, now *tracking.State){
		"BackupDisk":             func(_, now *tracking.State) { now.Repository = "x" },
		"volume is another":      func(old, _ *tracking.State) { old.VolumeID = "x" },
		"gfid":                   func(_, now *tracking.State) { now.GFID = "x" },
		"both states":            func(old, now *tracking.State) { now.SnapshotUUID = old.SnapshotUUID },
		"it had":                 func(_, now *tracking.State) { now.Size++ },
		"shards of":              func(_, now *tracking.State) { now.ShardSize *= 2 },
		"went backwards":         func(_, now *tracking.State) { now.Taken = taken },
		"there were":             func(_, now *tracking.State) { now.Bricks = now.Bricks[:1] },
		"stands where":           func(_, now *tracking.State) { now.Bricks[1].Name = "c:/b" },
		"to be healed":           func(_, now *tracking.State) { now.Bricks[0].Healing = true },
		"brick a:/b has files":   func(old, _ *tracking.State) { old.Bricks[0].Healing = true },
		"clock of brick b:/b":    func(old, now *tracking.State) { now.Bricks[1].Clock = old.Bricks[1].Clock },
		"or of this host":        func(old, now *tracking.State) { now.Bricks[0].Asked = old.Bricks[0].Asked },
		"away from that of this": func(_, now *tracking.State) { now.Bricks[1].Clock = now.Bricks[1].Asked.Add(2 * time.Minute) },
		"b:/b is 2m0s away":      func(old, _ *tracking.State) { old.Bricks[1].Clock = old.Bricks[1].Asked.Add(-2 * time.Minute) },
		"started again":          func(_, now *tracking.State) { now.Bricks[1].Life = "boot 2" },
		"or its host":            func(old, now *tracking.State) { old.Bricks[0].Life, now.Bricks[0].Life = "", "" },
		"in the future":          func(_, now *tracking.State) { set(now, 0, 2, future) },
		"own file": func(_, now *tracking.State) {
			delete(now.Bricks[0].Shards, 0)
			delete(now.Bricks[1].Shards, 0)
		},
		"own file (2018-12-02": func(old, _ *tracking.State) {
			delete(old.Bricks[0].Shards, 0)
			delete(old.Bricks[1].Shards, 0)
		},
	}
	for want, edit := range tests {
		old, now := state(taken, "s1"), state(taken.Add(24*time.Hour), "s2")
		edit(&old, &now)
		c, err := tracking.Compare(old, now)
		var doubt *tracking.Doubt
		if !errors.As(err, &doubt) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want a doubt that says %q", err, want)
		}
		if c.Unchanged(0, 1) {
			t.Errorf("%s: something is unchanged all the same", want)
		}
	}
	if _, err := tracking.Compare(tracking.State{}, tracking.State{}); err == nil {
		t.Error("empty states are compared")
	}
}

// TestUnchangedRanges looks at ranges that cross shards, and at ranges outside.
func TestUnchangedRanges(t *testing.T) {
	old, now := state(taken, "s1"), state(taken.Add(time.Hour), "s2")
	set(&now, 0, 2, func(s *tracking.Shard) { s.Changed++ })
	c, err := tracking.Compare(old, now)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		off, n int64
		want   bool
	}{
		{0, 2 * shard, true},
		{0, 2*shard + 1, false},
		{2*shard - 1, 1, true},
		{2 * shard, 1, false},
		{3*shard - 1, 2, false},
		{3 * shard, shard + 5, true},
		{4 * shard, shard, true},
		{5 * shard, 1, false},
		{-1, 1, false},
		{0, 0, false},
	} {
		if got := c.Unchanged(tt.off, tt.n); got != tt.want {
			t.Errorf("%d bytes at %d: unchanged %v", tt.n, tt.off, got)
		}
	}
}

func TestStateRoundTrip(t *testing.T) {
	want := state(taken, "s1")
	var b bytes.Buffer
	if err := want.Write(&b); err != nil {
		t.Fatal(err)
	}
	got, err := tracking.Read(bytes.NewReader(b.Bytes()))
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	for n := range b.Len() {
		if _, err := tracking.Read(bytes.NewReader(b.Bytes()[:n])); err == nil {
			t.Errorf("the first %d of %d bytes are accepted", n, b.Len())
		}
	}
	r := rand.New(rand.NewPCG(1, 1))
	for range 200 {
		damaged := bytes.Clone(b.Bytes())
		at := r.IntN(len(damaged))
		damaged[at] ^= 1 << r.IntN(8)
		if got, err := tracking.Read(bytes.NewReader(damaged)); err == nil && !cmp.Equal(got, want) {
			t.Errorf("damage at byte %d is accepted", at)
		}
	}
	if !maps.Equal(want.Bricks[0].Shards, got.Bricks[0].Shards) {
		t.Error("shards differ")
	}
}
