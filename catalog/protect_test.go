package catalog_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/glusterbackupd/glusterbackupd/catalog"
)

// protectedIDs opens the BackupDisk afresh.
func protectedIDs(t *testing.T, root string, k catalog.Key) (list []string) {
	t.Helper()
	r, err := catalog.Open(root, catalog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	all, err := r.Backups(k)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range all {
		if b.Protected {
			list = append(list, b.ID)
		}
	}
	return list
}

func TestProtect(t *testing.T) {
	r := newRepo(t)
	first, second := r.backup(web, 0), r.backup(web, 1)
	for range 2 { // Doing it again changes nothing.
		if err := r.Protect(first, "root@master1"); err != nil {
			t.Fatal(err)
		}
		equal(t, protectedIDs(t, r.Root(), web), []string{first.ID})
	}
	if faults := audit(r.Root()); len(faults) > 0 {
		t.Error(errors.Join(faults...))
	}
	var content map[string]any
	text, err := os.ReadFile(filepath.Join(first.Dir, "protected"))
	if err := errors.Join(err, json.Unmarshal(text, &content)); err != nil || len(content) != 3 ||
		content["format"] != 1.0 || content["by"] != "root@master1" || content["when"] == nil {
		t.Errorf("content %s, %v", text, err)
	}
	if hint := remedy(t, r.Remove(t.Context(), first), catalog.ErrProtected); !strings.Contains(hint, "unprotect shop/web --at "+first.ID) {
		t.Errorf("remedy %q", hint)
	}
	if err := r.Remove(t.Context(), second); err != nil {
		t.Error(err)
	}
	equal(t, ids(t, r.Repository, web), []string{first.ID})
	r.backup(web, 2) // The file is of the one backup, not of the next.
	equal(t, protectedIDs(t, r.Root(), web), []string{first.ID})
	for range 2 {
		if err := r.Unprotect(first); err != nil {
			t.Fatal(err)
		}
		equal(t, protectedIDs(t, r.Root(), web), nil)
	}
	if err := r.Remove(t.Context(), first); err != nil {
		t.Error(err)
	}
}

// TestProtectedByAnything shows that whoever puts anything of that name there
// protects the backup: in doubt it stays.
func TestProtectedByAnything(t *testing.T) {
	for _, name := range []string{"protected", "protected->nowhere", "protected/"} {
		r := newRepo(t)
		b := r.backup(web, 0)
		write(t, b.Dir, map[string]string{name: ""})
		equal(t, protectedIDs(t, r.Root(), web), []string{b.ID})
		if err := r.Remove(t.Context(), b); !errors.Is(err, catalog.ErrProtected) {
			t.Errorf("%s: remove: %v", name, err)
		}
		if err := r.Unprotect(b); err != nil {
			t.Errorf("%s: unprotect: %v", name, err)
		}
	}
}

func TestProtectRefuses(t *testing.T) {
	r := newRepo(t)
	b := r.backup(web, 0)
	tests := map[string]struct {
		b   catalog.Backup
		err error
	}{
		"bad key":       {catalog.Backup{Key: catalog.Key{Namespace: "..", Claim: "x"}, ID: b.ID}, catalog.ErrKey},
		"bad id":        {catalog.Backup{Key: b.Key, ID: "../../x"}, catalog.ErrTime},
		"missing":       {catalog.Backup{Key: b.Key, ID: "20181202T030001Z"}, catalog.ErrNoBackup},
		"missing claim": {catalog.Backup{Key: db, ID: b.ID}, catalog.ErrNoBackup},
	}
	for name, tt := range tests {
		for _, err := range []error{r.Protect(tt.b, "test"), r.Unprotect(tt.b)} {
			if !errors.Is(err, tt.err) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	open, err := catalog.Open(r.Root(), catalog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{open.Protect(b, "test"), open.Unprotect(b)} {
		if !errors.Is(err, catalog.ErrNotLocked) {
			t.Errorf("without the lock: %v", err)
		}
	}
}

// TestKilledProtect kills a process at each step: the backup is protected from
// the rename until the removal.
func TestKilledProtect(t *testing.T) {
	template := base(t)
	var steps []string
	for n := 1; ; n++ {
		root := filepath.Join(tempDir(t), "disk")
		copyTree(t, template, root)
		step := die(t, "protect", root, n)
		afterCrash(t, root, web)
		got := protectedIDs(t, root, web)
		if want := slices.Contains([]string{"protect: renamed", "protect: synced"}, step); want != slices.Equal(got, idsOf([]int{0})) {
			t.Errorf("after %q: %q", step, got)
		}
		if step == "" {
			break
		}
		steps = append(steps, step)
	}
	equal(t, steps, []string{"lock: folder made", "lock: taken", "protect: written", "protect: renamed", "protect: synced", "unprotect: removed", "unprotect: synced"})
}

// protectAndBack is a scenario.
func protectAndBack(r *catalog.Repository) error {
	b, err := r.Find(web, at(0).Format("20060102"))
	if err != nil {
		return err
	}
	if err := r.Protect(b, "test"); err != nil {
		return err
	}
	return r.Unprotect(b)
}

// TestSweepProtect removes the temporary files of Protect and no others.
func TestSweepProtect(t *testing.T) {
	r := newRepo(t)
	b := r.backup(web, 0)
	write(t, b.Dir, map[string]string{"tmp-00aa11bb": "", "data/tmp-00aa11bb": "the tenant's"})
	r.sweep("shop/web/" + b.ID + "/tmp-00aa11bb")
	if _, err := os.Stat(filepath.Join(b.DataDir(), "tmp-00aa11bb")); err != nil {
		t.Error(err)
	}
	r.faults++ // The tenant's file is not in the manifest.
}
