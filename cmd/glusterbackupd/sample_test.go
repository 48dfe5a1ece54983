package main

import (
	"testing"
	"time"

	"github.com/glusterbackupd/glusterbackupd/catalog"
)

// TestSampleOf has each part come once in as many days as there are parts.
func TestSampleOf(t *testing.T) {
	seen := map[int]bool{}
	now := time.Date(2018, 12, 2, 23, 30, 0, 0, time.UTC)
	for day := range 30 {
		s, err := sampleOf("", 30, now.AddDate(0, 0, day))
		if err != nil || s.Parts != 30 || seen[s.Part] || s.Validate() != nil {
			t.Errorf("day %d: %+v, %v", day, s, err)
		}
		seen[s.Part] = true
	}
	for part, want := range map[string]catalog.Sample{"": {}, "1/1": {Part: 0, Parts: 1}, "3/30": {Part: 2, Parts: 30}} {
		if s, err := sampleOf(part, 0, now); err != nil || s != want {
			t.Errorf("%q: %+v, %v", part, s, err)
		}
	}
	for _, part := range []string{"0/3", "4/3", "3", "/3", "3/", "a/b", "1/0", "-1/3", "1/1000000"} {
		if s, err := sampleOf(part, 0, now); err == nil {
			t.Errorf("%q: %+v", part, s)
		}
	}
	for _, days := range []int{-1, 1_000_000} {
		if s, err := sampleOf("", days, now); err == nil {
			t.Errorf("%d days: %+v", days, s)
		}
	}
}
