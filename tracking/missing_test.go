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
	if err != nil || m.Bytes() != shard+5 {
		t.Fatalf("%d bytes are missing, %v", m.Bytes(), err)
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

// TestFindMissingData has bricks tell where their shards have data.
func TestFindMissingData(t *testing.T) {
	const unit = 128 << 10
	s := state(taken, "s1") // Shards 1 and 4 are missing, 4 is short.
	s.Bricks[0].Data = map[int64][][2]int64{0: {{0, unit}, {3 * unit, 4 * unit}}, 2: {}, 3: {}}
	s.Bricks[1].Data = map[int64][][2]int64{0: {{unit, 2 * unit}}, 2: {{shard - unit, shard + 7*unit}}} // Not of shard 3.
	m, err := tracking.FindMissing(s)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		off, n int64
		want   bool
	}{
		{0, 1, false},
		{unit, unit, false},
		{2 * unit, unit, true},
		{2*unit - 1, unit, false},
		{2 * unit, unit + 1, false},
		{4 * unit, 2*shard - 4*unit, true},
		{2 * shard, shard - unit, true},
		{3*shard - unit, 1, false},
		{3 * shard, shard, false},
		{3*shard - unit - 1, 1, true},
		{4 * shard, 5, true},
	} {
		if got := m.Zero(tt.off, tt.n); got != tt.want {
			t.Errorf("%d bytes at %d are zeros: %v", tt.n, tt.off, got)
		}
	}
	if want := (shard - 3*unit) + shard + (shard - unit) + 5; m.Bytes() != int64(want) {
		t.Errorf("%d bytes are missing, want %d", m.Bytes(), want)
	}
	// Of a shard that one brick does not tell of, all may have been written.
	delete(s.Bricks[1].Data, 2)
	if m, err := tracking.FindMissing(s); err != nil || m.Zero(2*shard, unit) {
		t.Errorf("zeros where a brick does not tell, %v", err)
	}
	// Shards that are no multiple of the unit.
	s.ShardSize = unit + 4096
	if m, err := tracking.FindMissing(s); err != nil || m.Zero(2*unit, unit) {
		t.Errorf("zeros in shards of an odd size, %v", err)
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
