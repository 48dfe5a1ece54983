package catalog_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/glusterbackupd/glusterbackupd/catalog"
)

var (
	webScope = catalog.ClaimScope(web)
	dbScope  = catalog.ClaimScope(db)
	volScope = catalog.VolumeScope("vol_1")
	whole    = catalog.Scope{}
)

// open opens the BackupDisk once more, as another process does.
func open(t *testing.T, root string) *catalog.Repository {
	t.Helper()
	r, err := catalog.Open(root, catalog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// take locks, and gives back when the test ends.
func take(t *testing.T, r *catalog.Repository, command string, scopes ...catalog.Scope) *catalog.Lock {
	t.Helper()
	l, err := r.Lock(command, scopes...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Release(); err != nil {
			t.Error(err)
		}
	})
	return l
}

// TestScopes shows who can work beside whom, in one process and in two.
func TestScopes(t *testing.T) {
	type scopes = []catalog.Scope
	tests := map[string]struct {
		first, second scopes
		taken         catalog.Scope // What the second one is refused for.
		refused       bool
	}{
		"different claims":      {scopes{webScope}, scopes{dbScope}, whole, false},
		"claim and volume":      {scopes{webScope}, scopes{volScope}, whole, false},
		"the same claim":        {scopes{webScope}, scopes{webScope}, webScope, true},
		"one of several":        {scopes{webScope, volScope}, scopes{dbScope, volScope}, volScope, true},
		"the same one twice":    {scopes{webScope, webScope}, scopes{dbScope}, whole, false},
		"a volume like a claim": {scopes{catalog.VolumeScope("shop/web")}, scopes{webScope}, whole, false},
		"all after one":         {scopes{webScope}, nil, whole, true},
		"one after all":         {nil, scopes{webScope}, whole, true},
		"all after all":         {nil, nil, whole, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r, err := catalog.Init(tempDir(t), catalog.Options{})
			if err != nil {
				t.Fatal(err)
			}
			take(t, r, "restore", tt.first...)
			for _, other := range []*catalog.Repository{r, open(t, r.Root())} {
				l, err := other.Lock("backup", tt.second...)
				if !tt.refused {
					if err != nil || l.Release() != nil {
						t.Errorf("lock: %v", err)
					}
					continue
				}
				var locked *catalog.LockedError
				if !errors.As(err, &locked) || locked.Scope != tt.taken || locked.Holder.Command != "restore" || locked.Holder.PID != os.Getpid() {
					t.Fatalf("refused for %q: %v", locked.Scope, err)
				}
				if text := err.Error(); !strings.Contains(text, tt.taken.String()+" is locked by \"restore\", process ") {
					t.Errorf("error %q", text)
				}
				remedy(t, err, catalog.ErrLocked)
			}
		})
	}
}

// TestAllOrNothing refuses the second of two scopes: the first is free then.
func TestAllOrNothing(t *testing.T) {
	r, err := catalog.Init(tempDir(t), catalog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	holder := take(t, r, "restore", webScope)
	other := open(t, r.Root())
	if _, err := other.Lock("backup", volScope, webScope, dbScope); !errors.Is(err, catalog.ErrLocked) {
		t.Fatalf("lock: %v", err)
	}
	take(t, r, "prune", dbScope)
	take(t, r, "backup", volScope)
	if err := holder.Release(); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Begin(web, at(0)); !errors.Is(err, catalog.ErrNotLocked) {
		t.Errorf("begin after the release of one of several locks: %v", err)
	}
	take(t, other, "backup", webScope)
	if _, err := r.Lock("all", catalog.ClaimScope(catalog.Key{}), catalog.VolumeScope("")); !errors.Is(err, os.ErrInvalid) {
		t.Errorf("lock of nothing: %v", err)
	}
}

// TestScopeFiles shows that the names of lock files are bounded and safe, tell
// people what they are for, and stay.
func TestScopeFiles(t *testing.T) {
	r, err := catalog.Init(tempDir(t), catalog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	odd := catalog.VolumeScope("../../" + strings.Repeat("v", 5000))
	l := take(t, r, "glusterbackupd run", webScope, odd)
	list, err := filepath.Glob(filepath.Join(r.Root(), ".glusterbackup/locks/*"))
	if err != nil || len(list) != 2 || !lockPath.MatchString(strings.TrimPrefix(list[1], r.Root()+"/")) {
		t.Fatalf("files %q, %v", list, err)
	}
	text, err := os.ReadFile(list[0])
	if err != nil || !strings.Contains(string(text), `"scope":"claim shop/web"`) || !strings.Contains(string(text), `"command":"glusterbackupd run"`) {
		t.Errorf("text %q, %v", text, err)
	}
	if main, err := os.ReadFile(filepath.Join(r.Root(), ".glusterbackup/lock")); err != nil || len(main) > 0 {
		t.Errorf("text of the shared lock %q, %v", main, err)
	}
	if err := l.Release(); err != nil {
		t.Fatal(err)
	}
	for _, path := range list {
		if info, err := os.Stat(path); err != nil || info.Size() > 0 || info.Mode() != 0o600 {
			t.Errorf("after the release: %v, %v", info, err)
		}
	}
}

// TestStaleScope meets the text of a process that died: it is no lock, and is
// not taken for the holder when somebody wants the whole BackupDisk.
func TestStaleScope(t *testing.T) {
	r, err := catalog.Init(tempDir(t), catalog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	const dead = `{"scope":"claim shop/web","host":"master9","pid":1,"command":"run","since":"2018-12-02T00:00:00Z"}`
	stale := take(t, r, "first", webScope)
	list, err := filepath.Glob(filepath.Join(r.Root(), ".glusterbackup/locks/*"))
	if err := errors.Join(err, stale.Release(), os.WriteFile(list[0], []byte(dead), 0o600)); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"lock", "locks/claim-0"} {
		write(t, filepath.Join(r.Root(), ".glusterbackup"), map[string]string{name: dead})
	}
	take(t, r, "living", dbScope)
	var locked *catalog.LockedError
	if _, err := open(t, r.Root()).Lock("all"); !errors.As(err, &locked) || locked.Holder.Command != "living" || locked.Holder.Scope != "claim shop/db" {
		t.Errorf("locked by %+v", locked)
	}
	take(t, r, "next", webScope)
}

// TestScopeFileExchanged takes the lock file of the claim away while it is
// locked, as on a disk that was exchanged.
func TestScopeFileExchanged(t *testing.T) {
	r, err := catalog.Init(tempDir(t), catalog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	take(t, r, "test", webScope)
	list, err := filepath.Glob(filepath.Join(r.Root(), ".glusterbackup/locks/*"))
	if err != nil || len(list) != 1 {
		t.Fatalf("files %q, %v", list, err)
	}
	for _, again := range []func() error{
		func() error { return nil },
		func() error { return os.WriteFile(list[0], nil, 0o600) },
	} {
		if err := os.RemoveAll(list[0]); err != nil {
			t.Fatal(err)
		}
		if err := again(); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Begin(web, at(0)); !errors.Is(err, catalog.ErrNotRepository) {
			t.Errorf("begin: %v", err)
		}
	}
}

// TestLocksExclude has several processes take overlapping scopes as fast as they
// can: never do two have the same one.
func TestLocksExclude(t *testing.T) {
	r, err := catalog.Init(tempDir(t), catalog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var holders [3]atomic.Int32
	scopes := []catalog.Scope{webScope, dbScope, volScope}
	var taken, refused atomic.Int32
	var workers errgroup.Group
	for w := range 6 {
		other := open(t, r.Root())
		workers.Go(func() error {
			mine := []int{w % 3, (w + 1) % 3}
			// On a busy machine it takes a while until two meet.
			for n := 0; n < 50 || refused.Load() == 0 && n < 50_000; n++ {
				l, err := other.Lock(fmt.Sprint(w), scopes[mine[0]], scopes[mine[1]])
				if errors.Is(err, catalog.ErrLocked) {
					refused.Add(1)
					continue
				}
				if err != nil {
					return err
				}
				taken.Add(1)
				for _, s := range mine {
					if n := holders[s].Add(1); n != 1 {
						t.Errorf("%s has %d holders", scopes[s], n)
					}
				}
				for _, s := range mine {
					holders[s].Add(-1)
				}
				if err := l.Release(); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := workers.Wait(); err != nil {
		t.Fatal(err)
	}
	if taken.Load() == 0 || refused.Load() == 0 {
		t.Errorf("taken %d times, refused %d times", taken.Load(), refused.Load())
	}
}

// TestBesideEachOther has processes back up and remove the claims of one
// namespace, whose folder comes and goes meanwhile.
func TestBesideEachOther(t *testing.T) {
	first, err := catalog.Init(tempDir(t), catalog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	root := first.Root()
	var workers errgroup.Group
	for w := range 4 {
		k := catalog.Key{Namespace: "shop", Claim: fmt.Sprintf("claim-%d", w)}
		r := open(t, root)
		workers.Go(func() error {
			for n := range 12 {
				if err := backupAndRemove(r, k, n, n < 11); err != nil {
					return fmt.Errorf("%s: %w", k, err)
				}
			}
			return nil
		})
	}
	workers.Go(func() error {
		r := open(t, root)
		for range 50 {
			_, err := r.SweepAll(t.Context())
			_, emptyErr := r.EmptyTrash(t.Context(), catalog.EmptyOptions{})
			if err := errors.Join(err, emptyErr); err != nil {
				return err
			}
		}
		return nil
	})
	if err := workers.Wait(); err != nil {
		t.Fatal(err)
	}
	keys, err := first.Keys()
	if err != nil || len(keys) != 4 {
		t.Errorf("claims %v, %v", keys, err)
	}
	if faults := audit(root); len(faults) > 0 {
		t.Error(errors.Join(faults...))
	}
}

// backupAndRemove is one run on a claim that nobody else works on but for
// moments.
func backupAndRemove(r *catalog.Repository, k catalog.Key, n int, remove bool) (err error) {
	var lock *catalog.Lock
	for lock == nil {
		lock, err = r.Lock("run", catalog.ClaimScope(k))
		if err != nil && !errors.Is(err, catalog.ErrLocked) {
			return err
		}
	}
	defer func() { err = errors.Join(err, lock.Release()) }()
	s, err := r.Begin(k, at(n))
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(s.Data(), "file"), []byte(k.Claim), 0o600); err != nil {
		return err
	}
	b, err := s.Publish(context.Background(), info(), catalog.PublishOptions{})
	if err != nil || !remove {
		return err
	}
	return r.Trash(b)
}

// TestSweepBesides leaves alone what another process, or another part of this
// one, works on, and takes what nobody does.
func TestSweepBesides(t *testing.T) {
	r, err := catalog.Init(tempDir(t), catalog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	other := open(t, r.Root())
	take(t, other, "run", webScope)
	s, err := other.Begin(web, at(1))
	if err != nil {
		t.Fatal(err)
	}
	const ofWeb = "shop/web/20200101T000000Z.partial"
	write(t, r.Root(), map[string]string{ofWeb + "/data/file": ""})
	for _, process := range []*catalog.Repository{r, other} {
		const ofDB = "shop/db/20200101T000000Z.partial"
		write(t, r.Root(), map[string]string{ofDB + "/data/file": ""})
		if _, err := process.Sweep(t.Context(), db); !errors.Is(err, catalog.ErrNotLocked) {
			t.Errorf("sweep without a lock: %v", err)
		}
		got, err := process.SweepAll(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		equal(t, got, []string{ofDB})
	}
	got, err := other.Sweep(t.Context(), web)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, got, []string{ofWeb})
	if err := stage(s, 1); err != nil {
		t.Error(err)
	}
	if _, err := s.Publish(t.Context(), info(), catalog.PublishOptions{}); err != nil {
		t.Error(err)
	}
}
