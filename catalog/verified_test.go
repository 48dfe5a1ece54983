package catalog_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/glusterbackupd/glusterbackupd/catalog"
)

func TestMarkVerified(t *testing.T) {
	r := newRepo(t)
	b := r.backup(web, 0)
	if when, err := b.Verified(); err != nil || !when.IsZero() {
		t.Errorf("before: %v, %v", when, err)
	}
	first := time.Date(2018, 12, 9, 1, 2, 3, 4, time.FixedZone("", 3600))
	for _, when := range []time.Time{first, first.Add(time.Hour)} {
		if err := r.MarkVerified(b, when); err != nil {
			t.Fatal(err)
		}
		if got, err := b.Verified(); err != nil || !got.Equal(when.Truncate(time.Second)) {
			t.Errorf("got %v, %v, want %v", got, err, when)
		}
	}
	if err := r.MarkDamaged(b, first); err != nil {
		t.Fatal(err)
	}
	when, err := b.Verified()
	if damaged, more := b.FoundDamaged(); !damaged || !when.IsZero() || err != nil || more != nil {
		t.Errorf("found damaged: %v, %v, verified %v, %v", damaged, more, when, err)
	}
	if err := r.MarkVerified(b, first); err != nil {
		t.Fatal(err)
	}
	if damaged, err := b.FoundDamaged(); damaged || err != nil {
		t.Errorf("after it was found intact: %v, %v", damaged, err)
	}
	if err := b.Verify(t.Context(), catalog.VerifyOptions{}); err != nil {
		t.Errorf("the mark counts as damage: %v", err)
	}
	if err := os.WriteFile(filepath.Join(b.Dir, "verified"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := b.Verified(); err != nil || !got.IsZero() {
		t.Errorf("of a torn mark: %v, %v", got, err)
	}
	b.ID = "20190101T030000Z"
	if err := r.MarkVerified(b, first); err == nil {
		t.Error("a backup that does not exist was marked")
	}
}
