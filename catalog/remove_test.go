package catalog_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/glusterbackupd/glusterbackupd/catalog"
)

func TestRemove(t *testing.T) {
	r := newRepo(t)
	var made []catalog.Backup
	for n := range 3 {
		made = append(made, r.backup(web, n))
	}
	for i, n := range []int{2, 0, 1} {
		if err := r.Remove(t.Context(), made[n]); err != nil {
			t.Fatal(err)
		}
		if got := ids(t, r.Repository, web); len(got) != 2-i {
			t.Errorf("after %d: %q", n, got)
		}
		if faults := audit(r.Root()); len(faults) > 0 {
			t.Errorf("after %d: %v", n, faults)
		}
		var none *catalog.NoBackupError
		if err := r.Remove(t.Context(), made[n]); !errors.As(err, &none) || len(none.Have) != 2-i {
			t.Errorf("second time: %v", err)
		}
	}
	if list, err := os.ReadDir(r.Root()); err != nil || len(list) != 1 { // Ours alone.
		t.Errorf("empty folders are left: %v, %v", list, err)
	}
}

func TestRemoveRefuses(t *testing.T) {
	r := newRepo(t)
	b := r.backup(web, 0)
	precious := tempDir(t)
	tests := map[string]struct {
		b   catalog.Backup
		err error
	}{
		"outside":       {catalog.Backup{Key: b.Key, ID: b.ID, Dir: precious}, catalog.ErrForeign},
		"another's":     {catalog.Backup{Key: db, ID: b.ID, Dir: b.Dir}, catalog.ErrForeign},
		"bad key":       {catalog.Backup{Key: catalog.Key{Namespace: "..", Claim: "x"}, ID: b.ID}, catalog.ErrKey},
		"bad id":        {catalog.Backup{Key: b.Key, ID: "../../x"}, catalog.ErrTime},
		"partial":       {catalog.Backup{Key: b.Key, ID: b.ID + ".partial"}, catalog.ErrTime},
		"empty":         {catalog.Backup{}, catalog.ErrTime},
		"missing":       {catalog.Backup{Key: b.Key, ID: "20181202T030001Z"}, catalog.ErrNoBackup},
		"missing claim": {catalog.Backup{Key: db, ID: b.ID}, catalog.ErrNoBackup},
	}
	for name, tt := range tests {
		if err := r.Remove(t.Context(), tt.b); !errors.Is(err, tt.err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := os.Stat(precious); err != nil {
		t.Error(err)
	}
}

func TestRemoveInUse(t *testing.T) {
	r := newRepo(t)
	b := r.backup(web, 0)
	s, err := r.Begin(web, at(1))
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Remove(t.Context(), b); !errors.Is(err, catalog.ErrInUse) {
		t.Errorf("remove the reference: %v", err)
	}
	r.sweep() // What is under way is no leftover.
	if _, err := os.Stat(s.Data()); err != nil {
		t.Error(err)
	}
	if err := s.Abort(); err != nil {
		t.Error(err)
	}
	if err := r.Remove(t.Context(), b); err != nil {
		t.Error(err)
	}
}

func TestRemoveCancelled(t *testing.T) {
	r := newRepo(t)
	b := r.backup(web, 0)
	ctx, cancel := context.WithCancel(t.Context())
	r.SetHook(func(step string) error {
		if step == "trash: synced" {
			cancel()
		}
		return nil
	})
	if err := r.Remove(ctx, b); !errors.Is(err, context.Canceled) {
		t.Errorf("remove: %v", err)
	}
	r.SetHook(nil)
	if got := ids(t, r.Repository, web); got != nil {
		t.Errorf("a backup that is half deleted is listed: %q", got)
	}
	if done, err := r.EmptyTrash(t.Context(), catalog.EmptyOptions{}); err != nil || done.Backups != 1 {
		t.Errorf("trash: %+v, %v", done, err)
	}
}

// TestSweep removes what is ours and nothing else.
func TestSweep(t *testing.T) {
	r := newRepo(t)
	b := r.backup(web, 0)
	outside := tempDir(t)
	write(t, outside, map[string]string{"precious": "1"})
	keep := map[string]string{
		"shop/web/notes.txt": "", "shop/web/20200101T000000Z.partial": "a file", "shop/web/old.partial/x": "",
		"shop/web/.trash/x": "", "shop/web/.trash-20200101T000000Z/x": "", "shop/web/.trash-20200101T000000Z-xyz/x": "",
		"shop/web/20200103T000000Z.partial->" + outside: "", "shop/web/.trash-20200101T000000Z-0011aabb->" + outside: "",
		"shop/web/.latest-x->y": "", "photos/20200101T000000Z.partial/x": "", "photos/holiday/latest->best": "",
		"20200101T000000Z.partial/x": "", ".heketi/20200101T000000Z.partial/x": "", ".glusterbackup/tmp-note": "",
	}
	write(t, r.Root(), keep)
	write(t, r.Root(), map[string]string{
		"shop/web/20200102T000000Z.partial/data/x": "", "shop/web/.trash-20181201T000000Z-0011aabb/data/link->" + outside: "",
		"shop/web/.latest-0011aabb->x": "", "shop/gone/20200102T000000Z.partial/data/": "", ".glusterbackup/tmp-0011aabb": "",
	})
	if err := os.Remove(filepath.Join(r.Root(), "shop/web/latest")); err != nil {
		t.Fatal(err)
	}
	r.sweep(".glusterbackup/tmp-0011aabb", "shop/gone/20200102T000000Z.partial", "shop/web/.latest-0011aabb",
		"shop/web/20200102T000000Z.partial")
	for name := range keep {
		name, _, _ = strings.Cut(name, "->")
		if _, err := os.Lstat(filepath.Join(r.Root(), name)); err != nil {
			t.Errorf("removed: %v", err)
		}
	}
	if target, err := os.Readlink(filepath.Join(r.Root(), "shop/web/latest")); err != nil || target != b.ID {
		t.Errorf("latest is %q, %v", target, err)
	}
	if _, err := os.Stat(filepath.Join(r.Root(), "shop/gone")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("empty folder: %v", err)
	}
	if _, err := os.Stat(filepath.Join(outside, "precious")); err != nil {
		t.Error(err)
	}
	tidyUp(t, r, keep)
}

// tidyUp takes away what a test put there, for the audit.
func tidyUp(t *testing.T, r *repo, files map[string]string) {
	t.Helper()
	for name := range files {
		name, _, _ = strings.Cut(name, "->")
		if err := os.RemoveAll(filepath.Join(r.Root(), name)); err != nil {
			t.Error(err)
		}
	}
	for _, name := range []string{
		"shop/web/old.partial", "shop/web/.trash", "shop/web/.trash-20200101T000000Z",
		"shop/web/.trash-20200101T000000Z-xyz", "photos", "20200101T000000Z.partial", ".heketi",
	} {
		if err := os.RemoveAll(filepath.Join(r.Root(), name)); err != nil {
			t.Error(err)
		}
	}
}

// TestRemoveAwkward deletes a tree that is deeper than any path may be long,
// with folders that nobody may read or write.
func TestRemoveAwkward(t *testing.T) {
	r := newRepo(t)
	s, err := r.Begin(web, at(0))
	if err != nil {
		t.Fatal(err)
	}
	if err := stage(s, 0); err != nil {
		t.Fatal(err)
	}
	dir, err := os.OpenRoot(s.Data())
	if err != nil {
		t.Fatal(err)
	}
	const levels = 60
	name := strings.Repeat("d", 200)
	for range levels {
		if err := dir.Mkdir(name, 0o700); err != nil {
			t.Fatal(err)
		}
		next, err := dir.OpenRoot(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(next.WriteFile("file", nil, 0), dir.Chmod(name, 0), dir.Close()); err != nil {
			t.Fatal(err)
		}
		dir = next
	}
	if err := dir.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := s.Publish(t.Context(), info(), catalog.PublishOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Verify(t.Context(), catalog.VerifyOptions{}); err != nil {
		t.Error(err)
	}
	if err := r.Remove(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	if list, err := os.ReadDir(r.Root()); err != nil || len(list) != 1 {
		t.Errorf("left: %v, %v", list, err)
	}
}
