package catalog_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/glusterbackupd/glusterbackupd/catalog"
)

func TestLock(t *testing.T) {
	r := newRepo(t)
	other, err := catalog.Open(r.Root(), catalog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = other.Lock("glusterbackupd backup --all")
	var locked *catalog.LockedError
	if !errors.As(err, &locked) {
		t.Fatalf("second lock: %v", err)
	}
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	h := locked.Holder
	if h.Host != host || h.PID != os.Getpid() || h.Command != "test" || h.Since.IsZero() {
		t.Errorf("holder %+v", h)
	}
	remedy(t, locked, catalog.ErrLocked)
	for _, part := range []string{host, `"test"`, r.Root()} {
		if !strings.Contains(locked.Error(), part) {
			t.Errorf("%q does not name %s", locked, part)
		}
	}
}

func TestLockRelease(t *testing.T) {
	r, err := catalog.Init(tempDir(t), catalog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	first, err := r.Lock("first")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(first.Release(), first.Release()); err != nil {
		t.Errorf("release: %v", err)
	}
	if _, err := r.Begin(web, at(0)); !errors.Is(err, catalog.ErrNotLocked) {
		t.Errorf("begin after release: %v", err)
	}
	next, err := r.Lock("second")
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Release(); err != nil {
		t.Errorf("late release: %v", err)
	}
	if _, err := r.Begin(web, at(0)); err != nil {
		t.Errorf("a late release of the old lock took the new one: %v", err)
	}
	if err := next.Release(); err != nil {
		t.Fatal(err)
	}
}

// TestLockText shows that only the flock counts, whatever stands in the file,
// and that a holder without a readable text is still one.
func TestLockText(t *testing.T) {
	texts := map[string]string{
		"empty":          "",
		"of the dead":    `{"host":"master9","pid":1,"command":"glusterbackupd run","since":"2018-12-02T00:00:00Z"}`,
		"cut":            `{"host":"mast`,
		"longer garbage": strings.Repeat("x", 5000),
	}
	for name, text := range texts {
		t.Run(name, func(t *testing.T) {
			r, err := catalog.Init(tempDir(t), catalog.Options{})
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(r.Root(), ".glusterbackup", "lock")
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			lock, err := r.Lock("mine")
			if err != nil {
				t.Fatal(err)
			}
			defer lock.Release()
			var locked *catalog.LockedError
			if _, err := r.Lock("again"); !errors.As(err, &locked) || locked.Holder.Command != "mine" {
				t.Errorf("locked by %+v, %v", locked, err)
			}
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err = r.Lock("again")
			remedy(t, err, catalog.ErrLocked)
		})
	}
}

func TestNeedsLock(t *testing.T) {
	r, err := catalog.Init(tempDir(t), catalog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	b := catalog.Backup{Key: web, ID: "20181202T030000Z"}
	needs := func() []error {
		return []error{
			second(r.Begin(web, at(0))), second(r.Sweep(t.Context(), web)), r.Remove(t.Context(), b),
			r.Trash(b), r.Protect(b, "me"), r.Unprotect(b),
		}
	}
	before := tree(t, r.Root())
	for i, err := range needs() {
		if !errors.Is(err, catalog.ErrNotLocked) {
			t.Errorf("%d without a lock: %v", i, err)
		}
	}
	equal(t, tree(t, r.Root()), before)
	lock, err := r.Lock("test", catalog.ClaimScope(db), catalog.VolumeScope("shop/web"))
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Release()
	for i, err := range needs() {
		if !errors.Is(err, catalog.ErrNotLocked) {
			t.Errorf("%d with the lock of another claim: %v", i, err)
		}
	}
}
