package tracking_test

import (
	"slices"
	"testing"
	"time"

	"github.com/glusterbackupd/glusterbackupd/tracking"
)

// TestCompareChanged has bricks say where shards that have changed can differ.
func TestCompareChanged(t *testing.T) {
	const block = 64 << 10
	rewrite := func(s *tracking.Shard) { s.Changed++ }
	type ranges = map[int64][][2]int64
	for name, tt := range map[string]struct {
		edit    func(old, now *tracking.State)
		changed int64 // Bytes.
		blocks  []int64
	}{
		"on one brick": {func(_, now *tracking.State) {
			set(now, 0, 2, rewrite)
			now.Bricks[0].Changed = ranges{2: {{0, 1}, {3*block - 1, 3*block + 1}}}
		}, 3 * block, []int64{2 * shard, 2*shard + 2*block, 2*shard + 3*block}},
		"on both": {func(_, now *tracking.State) {
			set(now, 0, 2, rewrite)
			set(now, 1, 2, rewrite)
			now.Bricks[0].Changed, now.Bricks[1].Changed = ranges{2: {{0, 1}}}, ranges{2: {{5 * block, 6 * block}}}
		}, 2 * block, []int64{2 * shard, 2*shard + 5*block}},
		"nowhere": {func(_, now *tracking.State) {
			set(now, 0, 3, rewrite)
			now.Bricks[0].Changed = ranges{3: {}}
		}, 0, nil},
		"the other brick does not know": {func(_, now *tracking.State) {
			set(now, 0, 2, rewrite)
			set(now, 1, 2, rewrite)
			now.Bricks[0].Changed, now.Bricks[1].Changed = ranges{2: {{0, 1}}}, ranges{3: {}}
		}, shard, []int64{2 * shard, 2*shard + 900*block}},
		"beyond the shard": {func(_, now *tracking.State) {
			set(now, 0, 2, rewrite)
			now.Bricks[0].Changed = ranges{2: {{-5, -1}, {shard - 1, shard + 5*block}}}
		}, block, []int64{3*shard - block}},
		"written, and nobody knows where": {func(_, now *tracking.State) {
			set(now, 0, 2, func(s *tracking.Shard) { s.Changed++; s.Modified++ })
			now.Bricks[0].Changed = ranges{2: {}}
		}, shard, []int64{2 * shard}},
		"written, and one of two does not know where": {func(_, now *tracking.State) {
			set(now, 0, 2, func(s *tracking.Shard) { s.Changed++; s.Modified++ })
			set(now, 1, 2, func(s *tracking.Shard) { s.Changed++; s.Modified++ })
			now.Bricks[0].Changed, now.Bricks[1].Changed = ranges{2: {{block, block + 1}}}, ranges{2: {{shard, 2 * shard}}}
		}, shard, []int64{2 * shard}},
		"written, and the arbiter does not know where": {func(old, now *tracking.State) {
			set(now, 0, 2, func(s *tracking.Shard) { s.Changed++; s.Modified++ })
			set(old, 1, 2, func(s *tracking.Shard) { s.Size = 0 })
			set(now, 1, 2, func(s *tracking.Shard) { s.Size = 0; s.Changed++; s.Modified++ })
			now.Bricks[0].Changed, now.Bricks[1].Changed = ranges{2: {{block, block + 1}}}, ranges{2: {}}
		}, block, []int64{2*shard + block}},
		"another size": {func(_, now *tracking.State) {
			set(now, 0, 2, func(s *tracking.Shard) { s.Size-- })
			now.Bricks[0].Changed = ranges{2: {}}
		}, shard, []int64{2 * shard}},
		"another file": {func(_, now *tracking.State) {
			set(now, 0, 2, func(s *tracking.Shard) { s.Inode++ })
			now.Bricks[0].Changed = ranges{2: {}}
		}, shard, []int64{2 * shard}},
		"a new file": {func(_, now *tracking.State) {
			set(now, 0, 4, func(s *tracking.Shard) { s.Size = 5 })
			now.Bricks[0].Changed = ranges{4: {}}
		}, 5, []int64{4 * shard}},
		"a file that is gone": {func(_, now *tracking.State) {
			delete(now.Bricks[0].Shards, 2)
			now.Bricks[0].Changed = ranges{2: {}}
		}, shard, []int64{2 * shard}},
		"of the old state": {func(old, now *tracking.State) {
			set(now, 0, 2, rewrite)
			old.Bricks[0].Changed = ranges{2: {}}
		}, shard, []int64{2 * shard}},
		"shards of an odd size": {func(old, now *tracking.State) {
			old.ShardSize, now.ShardSize = shard+4096, shard+4096
			set(now, 0, 0, rewrite)
			now.Bricks[0].Changed = ranges{0: {{7, 8}}}
		}, shard + 4096, []int64{0, shard}},
		"not sharded": {func(old, now *tracking.State) {
			old.ShardSize, now.ShardSize = now.Size, now.Size
			set(now, 0, 0, rewrite)
			now.Bricks[0].Changed = ranges{0: {{now.Size - 1, now.Size}}}
		}, 5, []int64{4 * shard}},
	} {
		t.Run(name, func(t *testing.T) {
			old, now := state(taken, "s1"), state(taken.Add(24*time.Hour), "s2")
			tt.edit(&old, &now)
			c, err := tracking.Compare(old, now)
			if err != nil {
				t.Fatal(err)
			}
			if got := c.Bytes(); got != tt.changed {
				t.Errorf("%d bytes can have changed, want %d", got, tt.changed)
			}
			if _, shards := c.Count(); shards != 1 {
				t.Errorf("%d shards have changed", shards)
			}
			for _, off := range tt.blocks {
				if c.Unchanged(off, 1) {
					t.Errorf("byte %d is unchanged", off)
				}
			}
			if !c.Unchanged(shard, shard) && now.ShardSize == shard {
				t.Error("a shard that nobody has written to has changed")
			}
		})
	}
}

// TestCheck picks some of what rests on what bricks know, others each time, and nothing
// else.
func TestCheck(t *testing.T) {
	const block = 64 << 10
	picked := map[string][]int64{}
	for _, uuid := range []string{"s2", "s3"} {
		old, now := state(taken, "s1"), state(taken.Add(time.Hour), uuid)
		for _, n := range []int64{0, 2} {
			set(&now, 0, n, func(s *tracking.Shard) { s.Changed++ })
		}
		now.Bricks[0].Changed = map[int64][][2]int64{2: {{0, shard / 4}}}
		c, err := tracking.Compare(old, now)
		if err != nil {
			t.Fatal(err)
		}
		for off := int64(0); off < now.Size; off += block {
			n := min(block, now.Size-off)
			if !c.Check(off, n) {
				continue
			}
			picked[uuid] = append(picked[uuid], off)
			if off < 2*shard+shard/4 || off >= 3*shard {
				t.Errorf("%d is checked", off)
			}
		}
		if n := len(picked[uuid]); n < 4 || n > 30 { // Of 768.
			t.Errorf("%d blocks are checked", n)
		}
	}
	if slices.Equal(picked["s2"], picked["s3"]) {
		t.Error("the same blocks are checked each time")
	}
}

// TestSince: every shard that counts as changed because of its times was changed later.
func TestSince(t *testing.T) {
	s := state(taken, "s1")
	if got, want := tracking.Since(s), taken.Add(-tracking.Settled); !got.Equal(want) {
		t.Errorf("%s, want %s", got, want)
	}
	s.Bricks[1].Clock = taken.Add(-time.Minute)
	if got, want := tracking.Since(s), taken.Add(-tracking.Settled-time.Minute); !got.Equal(want) {
		t.Errorf("with a clock that is behind: %s, want %s", got, want)
	}
}
