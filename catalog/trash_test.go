package catalog_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/glusterbackupd/glusterbackupd/catalog"
)

// trashed makes n backups and puts all but the last one into the trash.
func trashed(t *testing.T, r *repo, k catalog.Key, n int) {
	t.Helper()
	for i := range n {
		b := r.backup(k, i)
		if i < n-1 {
			if err := r.Trash(b); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// inTrash returns what lies in the trash, by whole paths.
func inTrash(t *testing.T, root string) []string {
	t.Helper()
	list, err := filepath.Glob(filepath.Join(root, "*/*/.trash-*"))
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestTrash(t *testing.T) {
	r := newRepo(t)
	old, b := r.backup(web, 0), r.backup(web, 1)
	if err := r.Trash(b); err != nil {
		t.Fatal(err)
	}
	equal(t, ids(t, r.Repository, web), []string{old.ID})
	if target, err := os.Readlink(filepath.Join(r.Root(), "shop/web/latest")); err != nil || target != old.ID {
		t.Errorf("latest is %q, %v", target, err)
	}
	list := inTrash(t, r.Root())
	if len(list) != 1 {
		t.Fatalf("trash %q", list)
	}
	if _, err := os.Stat(filepath.Join(list[0], "data", "file-1")); err != nil {
		t.Errorf("content: %v", err)
	}
	if err := r.Trash(b); !errors.Is(err, catalog.ErrNoBackup) {
		t.Errorf("second time: %v", err)
	}
	if err := r.Protect(old, "test"); err != nil {
		t.Fatal(err)
	}
	remedy(t, r.Trash(old), catalog.ErrProtected)
	r.backup(web, 1) // Its time is free again.
	if err := r.emptied(); err != nil {
		t.Error(err)
	}
}

// TestEmptyTrash deletes the trash of all claims without a lock, and folders of
// claims that have nothing any more.
func TestEmptyTrash(t *testing.T) {
	r := newRepo(t)
	trashed(t, r, web, 3)
	if err := r.Trash(r.backup(db, 0)); err != nil {
		t.Fatal(err)
	}
	r.unlock()
	defer r.relock()
	done, err := r.EmptyTrash(t.Context(), catalog.EmptyOptions{Keys: []catalog.Key{web, {Namespace: "no", Claim: "such"}}})
	if err != nil || done.Backups != 2 || done.Entries < 20 || len(inTrash(t, r.Root())) != 1 {
		t.Errorf("of one claim: %+v, %v", done, err)
	}
	done, err = r.EmptyTrash(t.Context(), catalog.EmptyOptions{})
	if err != nil || done.Backups != 1 || len(inTrash(t, r.Root())) != 0 {
		t.Errorf("of all: %+v, %v", done, err)
	}
	if _, err := os.Stat(filepath.Join(r.Root(), "shop/db")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("empty folder: %v", err)
	}
	if done, err := r.EmptyTrash(t.Context(), catalog.EmptyOptions{}); err != nil || done != (catalog.Emptied{}) {
		t.Errorf("of nothing: %+v, %v", done, err)
	}
}

// TestEmptyTrashOfABusyClaim leaves the folder to whoever works on the claim.
func TestEmptyTrashOfABusyClaim(t *testing.T) {
	r := newRepo(t)
	if err := r.Trash(r.backup(web, 0)); err != nil {
		t.Fatal(err)
	}
	r.unlock()
	other := open(t, r.Root())
	lock, err := other.Lock("run", webScope)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.emptied(); err != nil {
		t.Error(err)
	}
	if _, err := makeBackup(other, web, 1); err != nil {
		t.Error(err)
	}
	if err := lock.Release(); err != nil {
		t.Error(err)
	}
	r.relock()
}

// TestEmptyTrashPace counts what is deleted in a second, on a clock of its own.
func TestEmptyTrashPace(t *testing.T) {
	r := newRepo(t)
	trashed(t, r, web, 3)
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second+time.Millisecond)
		defer cancel()
		part, err := r.EmptyTrash(ctx, catalog.EmptyOptions{Rate: 5})
		// Two go at once, then one each 200 ms.
		if !errors.Is(err, context.DeadlineExceeded) || part.Entries != 12 {
			t.Errorf("in two seconds: %+v, %v", part, err)
		}
		start := time.Now()
		rest, err := r.EmptyTrash(t.Context(), catalog.EmptyOptions{Rate: 5})
		if err != nil || len(inTrash(t, r.Root())) != 0 {
			t.Errorf("the rest: %+v, %v", rest, err)
		}
		if took, want := time.Since(start), time.Duration(rest.Entries-2)*200*time.Millisecond; took < want || took > want+400*time.Millisecond {
			t.Errorf("%d entries took %s, want %s", rest.Entries, took, want)
		}
	})
}

// TestEmptyTrashTogether has several processes empty the same trash.
func TestEmptyTrashTogether(t *testing.T) {
	r := newRepo(t)
	for i := range 4 {
		dir := filepath.Join(r.Root(), fmt.Sprintf("shop/web/.trash-2018120%dT000000Z-0011aabb", i+1))
		for j := range 300 {
			write(t, dir, map[string]string{fmt.Sprintf("data/d%d/e%d/file", j%30, j): ""})
		}
	}
	var workers errgroup.Group
	entries := make([]int64, 4)
	for i := range entries {
		other := open(t, r.Root())
		workers.Go(func() error {
			done, err := other.EmptyTrash(context.Background(), catalog.EmptyOptions{})
			entries[i] = done.Entries
			return err
		})
	}
	if err := workers.Wait(); err != nil {
		t.Error(err)
	}
	sum, busy := int64(0), 0
	for _, n := range entries {
		sum += n
		busy += int(min(n, 1))
	}
	if want := int64(4 * (300*2 + 30 + 2)); sum != want || busy < 2 {
		t.Errorf("%d processes deleted %d entries, want %d: %v", busy, sum, want, entries)
	}
}

// TestNewest reads the newest complete backup only.
func TestNewest(t *testing.T) {
	r := newRepo(t)
	if _, ok, err := r.Newest(web); ok || err != nil {
		t.Errorf("of nothing: %v, %v", ok, err)
	}
	r.backup(web, 0)
	want, damaged := r.backup(web, 1), r.backup(web, 2)
	if err := os.Remove(filepath.Join(damaged.Dir, "backup.json")); err != nil {
		t.Fatal(err)
	}
	r.faults += 2 // The damaged backup, and latest points to it.
	b, ok, err := r.Newest(web)
	if err != nil || !ok || b.ID != want.ID || b.Info.Volume != "vol_1" {
		t.Errorf("newest %+v, %v, %v", b, ok, err)
	}
	if err := b.Verify(t.Context(), catalog.VerifyOptions{}); err != nil {
		t.Error(err)
	}
	if _, _, err := r.Newest(catalog.Key{Namespace: "..", Claim: "etc"}); !errors.Is(err, catalog.ErrKey) {
		t.Errorf("bad key: %v", err)
	}
}
