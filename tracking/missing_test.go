package tracking_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/glusterbackupd/glusterbackupd/tracking"
)

// TestFindMissing has a brick with a shard that the other one lacks.
func TestFindMissing(t *testing.T) {
	s := state(taken, "s1") // Shards 1 and 4 are missing.
	delete(s.Bricks[0].Shards, 2)
	m, err := tracking.FindMissing(s)
	if err != nil || m.Count() != 2 {
		t.Fatalf("%d shards are missing, %v", m.Count(), err)
	}
	for _, tt := range []struct {
		off, n int64
		want   bool
	}{
		{shard, shard, true},
		{shard + 1, 1, true},
		{4 * shard, 5, true},
		{0, 1, false},
		{2 * shard, shard, false},
		{shard - 1, 2, false},
		{shard, shard + 1, false},
		{4 * shard, shard + 1, false},
		{5 * shard, 1, false},
		{shard, 0, false},
		{-1, 1, false},
	} {
		if got := m.Zero(tt.off, tt.n); got != tt.want {
			t.Errorf("%d bytes at %d are zeros: %v", tt.n, tt.off, got)
		}
	}
}

// TestFindMissingDoubts makes each thing odd that must not be.
func TestFindMissingDoubts(t *testing.T) {
	for want, edit := range map[string]func(s *tracking.State){
		"to be healed": func(s *tracking.State) { s.Bricks[1].Healing = true },
		"away from":    func(s *tracking.State) { s.Bricks[1].Clock = s.Bricks[1].Asked.Add(2 * time.Minute) },
		"in the future": func(s *tracking.State) {
			set(s, 0, 2, func(f *tracking.Shard) { f.Changed = taken.Add(time.Hour).UnixNano() })
		},
		"shards of": func(s *tracking.State) { s.ShardSize = 0 },
		"own file": func(s *tracking.State) {
			delete(s.Bricks[0].Shards, 0)
			delete(s.Bricks[1].Shards, 0)
		},
		"no brick": func(s *tracking.State) { s.Bricks = nil },
	} {
		s := state(taken, "s1")
		edit(&s)
		m, err := tracking.FindMissing(s)
		var doubt *tracking.Doubt
		if !errors.As(err, &doubt) || !strings.Contains(err.Error(), want) || m.Zero(shard, 1) {
			t.Errorf("%v, want a doubt that says %q", err, want)
		}
	}
}
