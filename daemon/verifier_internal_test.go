package daemon

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/glusterbackupd/glusterbackupd/catalog"
)

func TestVerifierReadsEachClaimInItsTurn(t *testing.T) {
	s := newShelf(t, "a", "b", "c")
	now := time.Now().Truncate(time.Second).UTC()
	day := 24 * time.Hour
	s.backUp(now.Add(-9*day), "ns-1", "a", "b")
	s.backUp(now.Add(-8*day), "ns-1", "c")
	s.backUp(now.Add(-day), "ns-1", "a")
	s.claims = append(s.claims, ClaimStatus{Candidate: Candidate{Key: catalog.Key{Namespace: "office", Claim: "young"}}})
	s.backUp(now.Add(-time.Hour), "ns-1", "young") // Never read from the disk, however young.
	var told []string
	every := 7 * day
	v, err := NewVerifier(VerifierOptions{
		Daemon: func() *Daemon { return s.d }, Status: func() Status { return Status{Claims: s.claims} },
		Every: func() time.Duration { return every },
		Tell: func(c ClaimStatus, b catalog.Backup, err error) {
			told = append(told, fmt.Sprint(c.Key.Claim, " ", int(now.Sub(b.Time)/day), " ", err == nil))
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	damaged := s.newest("c")
	if err := os.WriteFile(filepath.Join(damaged.DataDir(), "surplus"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	v.round(t.Context())
	if want := []string{"a 1 true", "b 9 true", "c 8 false", "young 0 true"}; !slices.Equal(told, want) {
		t.Errorf("verified %q, want %q", told, want)
	}
	if at, err := s.newest("a").Verified(); err != nil || now.Sub(at) > time.Minute {
		t.Errorf("noted %v, %v", at, err)
	}
	if found, err := damaged.FoundDamaged(); err != nil || !found {
		t.Errorf("the damage was noted: %v, %v", found, err)
	}
	if got := v.Oldest(); !got.Equal(damaged.Time) {
		t.Errorf("oldest verification %v, want that of the damaged claim, %v", got, damaged.Time)
	}
	told = nil
	if v.round(t.Context()); len(told) != 0 {
		t.Errorf("verified again: %q", told)
	}
	clear(v.bad)
	every, told = 0, nil
	if v.round(t.Context()); len(told) != 0 {
		t.Errorf("verified %q with verification switched off", told)
	}
}

func (s *shelf) newest(claim string) catalog.Backup {
	s.t.Helper()
	backups, err := s.d.o.Catalog.Backups(catalog.Key{Namespace: "office", Claim: claim})
	if err != nil || len(backups) == 0 {
		s.t.Fatalf("backups of %s: %v, %v", claim, backups, err)
	}
	return backups[len(backups)-1]
}
