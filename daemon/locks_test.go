package daemon_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/glusterbackupd/glusterbackupd/catalog"
	"github.com/glusterbackupd/glusterbackupd/copier"
	"github.com/glusterbackupd/glusterbackupd/daemon"
	"github.com/glusterbackupd/glusterbackupd/gluster"
)

// onePool is a healthy cluster in memory with volumes of one brick each.
type onePool struct {
	mu        sync.Mutex
	snapshots map[string]gluster.Snapshot
}

func (c *onePool) CreateSnapshot(_ context.Context, r gluster.SnapshotRequest) (gluster.Snapshot, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := gluster.Snapshot{Name: r.Name, Description: r.Description, Volume: r.Volume, Created: time.Now()}
	c.snapshots[r.Name] = s
	return s, nil
}

func (*onePool) ActivateSnapshot(context.Context, string) error { return nil }

func (c *onePool) DeleteSnapshot(_ context.Context, name string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.snapshots, name)
	return nil
}

func (c *onePool) Snapshots(_ context.Context, volume string) (list []gluster.Snapshot, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.snapshots {
		if s.Volume == volume {
			list = append(list, s)
		}
	}
	return list, nil
}

func (*onePool) Volume(_ context.Context, name string) (gluster.Volume, error) {
	return gluster.Volume{Name: name, Status: "Started"}, nil
}

func (*onePool) BrickStates(context.Context, string) ([]gluster.BrickState, error) { return nil, nil }

func (*onePool) Pools(context.Context, gluster.Volume) ([]gluster.Pool, error) {
	return []gluster.Pool{{VG: "vg", Name: "tp", Size: 1 << 30}}, nil
}

func (*onePool) SnapshotLimits(context.Context, string) (gluster.Limits, error) {
	return gluster.Limits{Hard: 256}, nil
}

// folders are mounts that are nothing but folders of one host.
type folders struct{ base string }

func (f folders) MountSnapshot(_ context.Context, _ []string, _, _, name string, _ gluster.MountOptions) (string, error) {
	dir := filepath.Join(f.base, name)
	return dir, os.Mkdir(dir, 0o700)
}

func (f folders) MountVolume(ctx context.Context, servers []string, volume, name string, o gluster.MountOptions) (string, error) {
	return f.MountSnapshot(ctx, servers, "", volume, name, o)
}

func (folders) Unmount(_ context.Context, dir string) error { return os.Remove(dir) }

func (f folders) Leftovers() ([]string, error) { return filepath.Glob(filepath.Join(f.base, "*")) }

// engine calls begin before it "copies" one file.
type engine struct{ begin func(copier.Tree) }

func (e engine) Copy(_ context.Context, t copier.Tree) (copier.TreeResult, error) {
	if e.begin != nil {
		e.begin(t)
	}
	if t.DryRun {
		return copier.TreeResult{}, nil
	}
	return copier.TreeResult{Files: 1}, os.WriteFile(filepath.Join(t.Dest, "file"), []byte(t.Source), 0o600)
}

// site is a BackupDisk, a cluster and a host that several processes share.
type site struct {
	*testing.T
	disk, mounts string
	pool         *onePool
	keep         daemon.SnapshotRetention
}

func newSite(t *testing.T) site {
	t.Helper()
	s := site{T: t, disk: t.TempDir(), mounts: t.TempDir(), pool: &onePool{snapshots: map[string]gluster.Snapshot{}}}
	if _, err := catalog.Init(s.disk, catalog.Options{}); err != nil {
		t.Fatal(err)
	}
	return s
}

// process starts what another process would be.
func (s site) process(command string, e engine) (*daemon.Daemon, *catalog.Repository) {
	s.Helper()
	r, err := catalog.Open(s.disk, catalog.Options{})
	if err != nil {
		s.Fatal(err)
	}
	d, err := daemon.New(daemon.Options{
		Catalog: r, Command: command, Resolver: daemon.NewStatic(all),
		Gluster: func([]string) (daemon.Gluster, error) { return s.pool, nil },
		Mounts:  folders{s.mounts}, Engine: e, Connect: func(string) daemon.Commander { return nil },
		Keep: s.keep,
	})
	if err != nil {
		s.Fatal(err)
	}
	return d, r
}

// mounted returns the names of the folders that are mounted.
func (s site) mounted() (list []string) {
	s.Helper()
	entries, err := os.ReadDir(s.mounts)
	if err != nil {
		s.Fatal(err)
	}
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

func claim(name, volume string) daemon.Target {
	return daemon.Target{Key: catalog.Key{Namespace: "shop", Claim: name}, Volume: volume, Hosts: []string{"gluster1"}}
}

var (
	web   = claim("web", "vol_1")
	db    = claim("db", "vol_2")
	cache = claim("cache", "vol_2")
	all   = []daemon.Target{web, db, cache}
)

// wantLocked checks that err says who works on the scope.
func wantLocked(t *testing.T, err error, scope catalog.Scope, command string) {
	t.Helper()
	var locked *catalog.LockedError
	if !errors.As(err, &locked) || locked.Scope != scope || locked.Holder.Command != command {
		t.Errorf("error %v, want %s locked by %q", err, scope, command)
	}
}

// TestRunsBesideEachOther backs everything up while another process works on one
// volume, and again when it is done.
func TestRunsBesideEachOther(t *testing.T) {
	s := newSite(t)
	synctest.Test(t, func(t *testing.T) {
		s.T = t
		copying, goOn := make(chan bool), make(chan bool)
		first, _ := s.process("run", engine{func(copier.Tree) { copying <- true; <-goOn }})
		second, r := s.process("", engine{})
		done := make(chan []daemon.Result)
		go func() { done <- first.Backup(t.Context(), []daemon.Target{web}) }()
		<-copying
		results := second.Backup(t.Context(), all)
		if len(results) != 3 {
			t.Fatalf("%d results", len(results))
		}
		wantLocked(t, results[0].Err, catalog.ClaimScope(web.Key), "run")
		if err := errors.Join(results[1].Err, results[2].Err); err != nil {
			t.Errorf("other volumes: %v", err)
		}
		// Neither may another claim of the volume be backed up, nor the claim
		// from another volume.
		wantLocked(t, second.Backup(t.Context(), []daemon.Target{claim("new", "vol_1")})[0].Err, catalog.VolumeScope("vol_1"), "run")
		wantLocked(t, second.Backup(t.Context(), []daemon.Target{claim("web", "vol_3")})[0].Err, catalog.ClaimScope(web.Key), "run")
		close(goOn)
		if err := (<-done)[0].Err; err != nil {
			t.Errorf("first: %v", err)
		}
		time.Sleep(time.Second) // Backups are named by the second.
		for _, result := range second.Backup(t.Context(), all) {
			if result.Err != nil {
				t.Errorf("afterwards: %v", result.Err)
			}
		}
		if list, err := r.Backups(web.Key); err != nil || len(list) != 2 {
			t.Errorf("%d backups, %v", len(list), err)
		}
	})
	if left := s.mounted(); left != nil || len(s.pool.snapshots) > 0 {
		t.Errorf("left behind: %q, %v", left, s.pool.snapshots)
	}
}

// TestRunWaitsForAMoment shows that a claim which prune has for a moment does not
// lose its backup.
func TestRunWaitsForAMoment(t *testing.T) {
	s := newSite(t)
	synctest.Test(t, func(t *testing.T) {
		s.T = t
		d, _ := s.process("", engine{})
		_, other := s.process("", engine{})
		for _, tt := range []struct {
			held    time.Duration
			refused bool
		}{{4 * time.Second, false}, {time.Minute, true}} {
			l, err := other.Lock("prune", catalog.ClaimScope(web.Key))
			if err != nil {
				t.Fatal(err)
			}
			timer := time.AfterFunc(tt.held, func() {
				if err := l.Release(); err != nil {
					t.Error(err)
				}
			})
			start := time.Now()
			err = d.Backup(t.Context(), []daemon.Target{web})[0].Err
			if took := time.Since(start); errors.Is(err, catalog.ErrLocked) != tt.refused || took < 4*time.Second || took > 6*time.Second {
				t.Errorf("held for %s: %v after %s", tt.held, err, took)
			}
			if timer.Stop() {
				if err := l.Release(); err != nil {
					t.Error(err)
				}
			}
		}
	})
}

// TestRunTidiesItsOwn meets leftovers of processes that died, beside what living
// ones use.
func TestRunTidiesItsOwn(t *testing.T) {
	s := newSite(t)
	d, r := s.process("", engine{})
	const dead = "plan-1-1-ABCDEF-vol_2" // Process 1 did not start then.
	for _, name := range []string{"snapshot-vol_1", "volume-vol_1", "view-vol_1", "snapshot-vol_2", "view-vol_1x", dead, "other"} {
		if err := os.Mkdir(filepath.Join(s.mounts, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	partials := []string{"shop/web/20181202T000000Z.partial", "shop/db/20181202T000000Z.partial"}
	for _, name := range partials {
		if err := os.MkdirAll(filepath.Join(s.disk, name, "data"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Backup(t.Context(), []daemon.Target{web})[0].Err; err != nil {
		t.Fatal(err)
	}
	if want := []string{"other", "snapshot-vol_2", "view-vol_1x"}; !slices.Equal(s.mounted(), want) {
		t.Errorf("mounted are %q, want %q", s.mounted(), want)
	}
	if _, err := os.Stat(filepath.Join(s.disk, partials[0])); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("half-written backup of the claim: %v", err)
	}
	if _, err := os.Stat(filepath.Join(s.disk, partials[1])); err != nil {
		t.Errorf("half-written backup of another claim: %v", err)
	}
	_, other := s.process("", engine{})
	l, err := other.Lock("run", catalog.VolumeScope("vol_2"))
	if err != nil {
		t.Fatal(err)
	}
	tidy := func(want ...string) {
		t.Helper()
		if err := d.Tidy(t.Context()); err != nil {
			t.Error(err)
		}
		if got := s.mounted(); !slices.Equal(got, want) {
			t.Errorf("mounted are %q, want %q", got, want)
		}
	}
	tidy("other", "snapshot-vol_2")
	if err := l.Release(); err != nil {
		t.Fatal(err)
	}
	tidy("other")
	if done, err := r.EmptyTrash(t.Context(), catalog.EmptyOptions{}); err != nil || done.Backups != 2 {
		t.Errorf("trash: %+v, %v", done, err)
	}
}

// TestRestoreBesideOthers does what other processes may while a person reads the
// plan of a restore.
func TestRestoreBesideOthers(t *testing.T) {
	s := newSite(t)
	synctest.Test(t, func(t *testing.T) {
		s.T = t
		var planned []string
		d, _ := s.process("", engine{func(tree copier.Tree) {
			if tree.DryRun {
				planned = append(planned, filepath.Base(tree.Dest))
			}
		}})
		other, r := s.process("", engine{})
		if err := d.Backup(t.Context(), []daemon.Target{web})[0].Err; err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		errNo := errors.New("no")
		_, err := d.Restore(t.Context(), daemon.RestoreRequest{Key: web.Key, Confirm: func(daemon.Plan) error {
			wantLocked(t, other.Backup(t.Context(), []daemon.Target{claim("new", "vol_1")})[0].Err, catalog.VolumeScope("vol_1"), "restore")
			_, err := other.Restore(t.Context(), daemon.RestoreRequest{Key: web.Key})
			wantLocked(t, err, catalog.ClaimScope(web.Key), "restore")
			_, err = r.Lock("prune", catalog.ClaimScope(web.Key))
			wantLocked(t, err, catalog.ClaimScope(web.Key), "restore")
			if err := other.Backup(t.Context(), []daemon.Target{db})[0].Err; err != nil {
				t.Errorf("backup of another volume: %v", err)
			}
			if _, err := d.Restore(t.Context(), daemon.RestoreRequest{Key: web.Key, DryRun: true}); err != nil {
				t.Errorf("plan of the same restore: %v", err)
			}
			return errNo
		}})
		if !errors.Is(err, errNo) {
			t.Errorf("restore: %v", err)
		}
		if len(planned) != 2 || planned[0] == planned[1] || !strings.HasPrefix(planned[0], "plan-") {
			t.Errorf("plans looked into %q", planned)
		}
		if err := other.Backup(t.Context(), []daemon.Target{web})[0].Err; err != nil {
			t.Errorf("backup after the restore: %v", err)
		}
	})
	if left := s.mounted(); left != nil {
		t.Errorf("left behind: %q", left)
	}
}

// TestRestoreOfARemovedBackup removes the backup between the search and the
// lock.
func TestRestoreOfARemovedBackup(t *testing.T) {
	s := newSite(t)
	d, _ := s.process("", engine{})
	_, other := s.process("", engine{})
	if err := d.Backup(t.Context(), []daemon.Target{web})[0].Err; err != nil {
		t.Fatal(err)
	}
	l, err := other.Lock("prune", catalog.ClaimScope(web.Key))
	if err != nil {
		t.Fatal(err)
	}
	prune := time.AfterFunc(time.Second, func() {
		b, err := other.Find(web.Key, "")
		if err := errors.Join(err, other.Trash(b), l.Release()); err != nil {
			t.Error(err)
		}
	})
	defer prune.Stop()
	if _, err := d.Restore(t.Context(), daemon.RestoreRequest{Key: web.Key}); !errors.Is(err, catalog.ErrNoBackup) {
		t.Errorf("restore: %v", err)
	}
}

// TestSnapshotsOfRuns keeps the snapshots that backups were made from, also when
// the claim is not in the run any more, and deletes those that none was.
func TestSnapshotsOfRuns(t *testing.T) {
	s := newSite(t)
	s.keep.Backup = 48 * time.Hour
	synctest.Test(t, func(t *testing.T) {
		s.T = t
		d, r := s.process("", engine{})
		backup := func(targets ...daemon.Target) {
			t.Helper()
			time.Sleep(time.Hour)
			for _, result := range d.Backup(t.Context(), targets) {
				if result.Err != nil {
					t.Fatal(result.Err)
				}
			}
		}
		died := func() { // A run leaves its snapshot, but no backup.
			t.Helper()
			for name, made := range s.pool.snapshots {
				made.Name = strings.Replace(name, "-2000", "-1999", 1)
				s.pool.snapshots[made.Name] = made
				return
			}
		}
		count := func(want int) {
			t.Helper()
			if len(s.pool.snapshots) != want {
				t.Errorf("snapshots %v, want %d", s.pool.snapshots, want)
			}
		}
		backup(db)
		backup(cache)
		died()
		count(3)
		backup(cache) // The one of db stays, that of the dead run goes.
		count(3)
		died()
		damaged, err := r.Find(db.Key, "")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(filepath.Join(damaged.Dir, "backup.json")); err != nil {
			t.Fatal(err)
		}
		backup(cache) // It may hold what the damaged backup has lost.
		count(5)
		time.Sleep(48 * time.Hour)
		backup(cache)
		count(1)
	})
}
