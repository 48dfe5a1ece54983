//go:build platform

package catalog_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/glusterbackupd/glusterbackupd/catalog"
)

// run runs a command as root.
func run(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", strings.Join(args, " "), err, out)
	}
}

// disk is a file system of its own in a file.
type disk struct {
	t           *testing.T
	image, root string
}

// newDisk makes and mounts a file system, e.g. "mkfs.ext4", "-q".
func newDisk(t *testing.T, size int64, mkfs ...string) *disk {
	t.Helper()
	dir := t.TempDir()
	d := &disk{t, filepath.Join(dir, "image"), filepath.Join(dir, "disk")}
	if err := errors.Join(os.WriteFile(d.image, nil, 0o600), os.Truncate(d.image, size), os.Mkdir(d.root, 0o755)); err != nil {
		t.Fatal(err)
	}
	run(t, append(mkfs, d.image)...)
	d.mount()
	t.Cleanup(func() { d.umount() })
	return d
}

func (d *disk) mount(options ...string) {
	d.t.Helper()
	run(d.t, "mount", "-o", strings.Join(append(options, "loop"), ","), d.image, d.root)
}

func (d *disk) umount() {
	d.t.Helper()
	run(d.t, "umount", d.root)
}

func ext4(t *testing.T) *disk {
	t.Helper()
	return newDisk(t, 24<<20, "mkfs.ext4", "-q", "-O", "^has_journal")
}

// TestReflinkProbe asks file systems that can and one that cannot.
func TestReflinkProbe(t *testing.T) {
	tests := map[string]struct {
		mkfs []string
		want bool
	}{
		"ext4":                {[]string{"mkfs.ext4", "-q"}, false},
		"xfs":                 {[]string{"mkfs.xfs", "-q", "-m", "reflink=1"}, true},
		"xfs without reflink": {[]string{"mkfs.xfs", "-q", "-m", "reflink=0"}, false},
		"btrfs":               {[]string{"mkfs.btrfs", "-q"}, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			d := newDisk(t, 400<<20, tt.mkfs...)
			r := initRepo(t, d.root)
			s, err := r.Space()
			if err != nil || s.Reflink != tt.want {
				t.Errorf("space %+v, %v", s, err)
			}
			r.sweep()
			r.backup(web, 0)
			r.backup(web, 1)
		})
	}
}

// eat fills the disk but for the given number of bytes.
func eat(t *testing.T, d *disk, leave int64) (give func()) {
	t.Helper()
	path := filepath.Join(d.root, "lost+found", "ballast")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var st unix.Statfs_t
	if err := unix.Statfs(d.root, &st); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, st.Bsize)
	for n := (int64(st.Bfree)*st.Bsize - leave) / st.Bsize; n > 0; n-- {
		if _, err := f.Write(buf); err != nil {
			break // The file's own metadata takes the rest.
		}
	}
	if err := f.Sync(); err != nil && !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	return func() {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}

// TestDiskFull fills a real disk before each step of a backup. The error says
// that the disk is full, Abort takes everything back, what was there stays,
// and with room again the next backup works.
func TestDiskFull(t *testing.T) {
	full := 0
	for _, step := range []string{"begin: namespace made", "begin: partial made", "object written", "publish: data synced", "publish: manifest written"} {
		t.Run(step, func(t *testing.T) {
			d := ext4(t)
			r := initRepo(t, d.root)
			r.backup(web, 0)
			give := func() {}
			r.SetHook(func(at string) error {
				if at == step {
					give = eat(t, d, 0)
				}
				return nil
			})
			_, err := makeBackup(r.Repository, db, 1)
			r.SetHook(nil)
			var space *catalog.SpaceError
			if errors.As(err, &space) {
				full++
				remedy(t, err, syscall.ENOSPC)
			} else if err != nil && !strings.Contains(err.Error(), "No space left") && !errors.Is(err, syscall.ENOSPC) {
				t.Errorf("error %v", err) // The test's own copying meets the full disk too.
			}
			if s, err := r.Space(); err != nil || s.Reflink || s.Free > 1<<20 {
				t.Errorf("space of a full disk %+v, %v", s, err)
			}
			if err == nil {
				t.Log("the backup fitted")
			} else {
				equal(t, ids(t, r.Repository, db), nil)
			}
			lockOnFullDisk(t, r)
			give()
			r.backup(db, 2)
			r.sweep()
		})
	}
	if full < 3 {
		t.Errorf("only %d steps met the full disk as a *SpaceError", full)
	}
}

// lockOnFullDisk removes a backup on a full disk, which is how one gets room. The
// files of the locks have to be made there.
func lockOnFullDisk(t *testing.T, r *repo) {
	t.Helper()
	r.unlock()
	lock, err := r.Lock("test", catalog.ClaimScope(web), catalog.VolumeScope("vol_1"))
	if err != nil {
		t.Fatalf("lock on a full disk: %v", err)
	}
	defer func() {
		if err := lock.Release(); err != nil {
			t.Error(err)
		}
		r.relock()
	}()
	b, err := r.Find(web, "")
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Remove(t.Context(), b); err != nil {
		t.Errorf("remove on a full disk: %v", err)
	}
}

// TestLockWithoutInodes locks a claim on a disk on which no file can be made any
// more: the whole BackupDisk is locked in its place, and backups can be removed.
func TestLockWithoutInodes(t *testing.T) {
	d := newDisk(t, 8<<20, "mkfs.ext4", "-q", "-N", "128")
	r := initRepo(t, d.root)
	b := r.backup(web, 0)
	r.unlock()
	for n := 0; ; n++ {
		err := os.WriteFile(filepath.Join(d.root, "lost+found", fmt.Sprint(n)), nil, 0o600)
		if errors.Is(err, syscall.ENOSPC) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	lock, err := r.Lock("prune", catalog.ClaimScope(web))
	if err != nil {
		t.Fatal(err)
	}
	var locked *catalog.LockedError
	if _, err := open(t, d.root).Lock("run", catalog.ClaimScope(db)); !errors.As(err, &locked) || locked.Scope != (catalog.Scope{}) {
		t.Errorf("lock of another claim: %v", err)
	}
	if err := errors.Join(r.Trash(b), r.emptied(), lock.Release()); err != nil {
		t.Error(err)
	}
	if lock, err = r.Lock("run", catalog.ClaimScope(web)); err != nil {
		t.Fatal(err)
	}
	if next, err := open(t, d.root).Lock("run", catalog.ClaimScope(db)); err != nil || next.Release() != nil {
		t.Errorf("with inodes again: %v", err)
	}
	if err := lock.Release(); err != nil {
		t.Error(err)
	}
	r.relock()
}

// TestUnmounted takes the disk away under a running backup.
func TestUnmounted(t *testing.T) {
	d := ext4(t)
	r, err := catalog.Init(d.root, catalog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	d.umount() // Nothing of the Repository keeps the disk busy.
	if _, err := r.Lock("none"); !errors.Is(err, catalog.ErrNotRepository) {
		t.Errorf("lock: %v", err)
	}
	d.mount()
	lock, err := r.Lock("test")
	if err != nil {
		t.Fatal(err)
	}
	s, err := r.Begin(web, at(0))
	if err != nil {
		t.Fatal(err)
	}
	if err := stage(s, 0); err != nil {
		t.Fatal(err)
	}
	run(t, "umount", "--lazy", d.root)
	_, err = s.Publish(t.Context(), info(), catalog.PublishOptions{})
	remedy(t, err, catalog.ErrNotRepository)
	if err := s.Abort(); !errors.Is(err, catalog.ErrNotRepository) {
		t.Errorf("abort: %v", err)
	}
	if list, err := os.ReadDir(d.root); err != nil || len(list) > 0 {
		t.Errorf("written below the mount point: %v, %v", list, err)
	}
	if err := lock.Release(); err != nil {
		t.Error(err)
	}
	d.mount()
	openRepo(t, d.root).sweep("shop/web/20181202T030000Z.partial")
}

// TestForeignMount mounts something inside a leftover: it is not emptied.
func TestForeignMount(t *testing.T) {
	r := newRepo(t)
	other := ext4(t)
	write(t, other.root, map[string]string{"precious": "1"})
	inside := "shop/web/20181202T030000Z.partial/data/mnt"
	write(t, r.Root(), map[string]string{inside + "/": ""})
	run(t, "mount", "--bind", other.root, filepath.Join(r.Root(), inside))
	swept, err := r.SweepAll(t.Context())
	if err != nil || len(swept) != 1 {
		t.Errorf("sweep: %q, %v", swept, err)
	}
	_, err = r.EmptyTrash(t.Context(), catalog.EmptyOptions{})
	trash, globErr := filepath.Glob(filepath.Join(r.Root(), "shop/web/.trash-*/data/mnt"))
	if globErr != nil || len(trash) != 1 {
		t.Fatalf("trash %q, %v", trash, globErr)
	}
	run(t, "umount", trash[0])
	if !errors.Is(err, catalog.ErrForeign) {
		t.Errorf("empty trash: %v", err)
	}
	if _, err := os.Stat(filepath.Join(other.root, "precious")); err != nil {
		t.Error(err)
	}
	r.sweep()
}

// TestReadOnly lists and verifies a disk that cannot be written to.
func TestReadOnly(t *testing.T) {
	d := ext4(t)
	r, err := catalog.Init(d.root, catalog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	lock, err := r.Lock("test")
	if err != nil {
		t.Fatal(err)
	}
	b, err := makeBackup(r, web, 0)
	if err := errors.Join(err, lock.Release()); err != nil {
		t.Fatal(err)
	}
	run(t, "mount", "-o", "remount,ro", d.root)
	if err := b.Verify(t.Context(), catalog.VerifyOptions{}); err != nil {
		t.Error(err)
	}
	if s, err := r.Space(); err != nil || s.Reflink {
		t.Errorf("space %+v, %v", s, err)
	}
	if _, err := r.Lock("test"); !errors.Is(err, syscall.EROFS) {
		t.Errorf("lock: %v", err)
	}
	equal(t, ids(t, r, web), []string{b.ID})
}

// TestPowerCut copies the block device at each step, as it would be found
// after the power failed there: what the kernel still had in memory is
// missing. Mounted again, every listed backup must be whole, and a backup that
// Publish reported must be there.
func TestPowerCut(t *testing.T) {
	disks := map[string]struct {
		size int64
		mkfs []string
	}{
		"ext4": {24 << 20, []string{"mkfs.ext4", "-q"}},
		"xfs":  {320 << 20, []string{"mkfs.xfs", "-q"}},
	}
	for name, fs := range disks {
		t.Run(name, func(t *testing.T) {
			d := newDisk(t, fs.size, fs.mkfs...)
			r := initRepo(t, d.root)
			kept := r.backup(web, 0)
			old := r.backup(web, 1)
			var cuts []cut
			snap := func(step string) error {
				image := fmt.Sprintf("%s.%02d", d.image, len(cuts))
				cuts = append(cuts, cut{step, image})
				return exec.Command("cp", "--sparse=always", d.image, image).Run()
			}
			r.SetHook(snap)
			next := r.backup(web, 2)
			if err := errors.Join(snap("published"), r.Trash(old), snap("removed"), r.emptied(), snap("emptied"),
				r.Protect(kept, "test"), snap("protected"), r.Unprotect(kept), snap("unprotected")); err != nil {
				t.Fatal(err)
			}
			r.SetHook(nil)
			durable, gone, fixed, free := false, false, false, false
			for _, c := range cuts {
				durable = durable || c.step == "publish: rename synced"
				fixed = fixed || c.step == "protect: synced"
				free = free || c.step == "unprotect: removed"
				got, protected := c.recover(t)
				if fixed && !free && !slices.Equal(protected, []string{kept.ID}) || c.step == "unprotected" && protected != nil {
					t.Errorf("after a cut at %q %q are protected", c.step, protected)
				}
				if !slices.Contains(got, kept.ID) || durable && !slices.Contains(got, next.ID) {
					t.Errorf("after a cut at %q: %q", c.step, got)
				}
				if gone = gone || c.step == "removed"; gone && len(got) != 2 {
					t.Errorf("after a cut at %q, removed, but listed: %q", c.step, got)
				}
			}
			if len(cuts) < 30 || !durable || !free {
				t.Errorf("only %d cuts, durable: %v, unprotected: %v", len(cuts), durable, free)
			}
		})
	}
}

// cut is a disk after a power cut.
type cut struct{ step, image string }

// recover mounts the disk, which replays the journal, and does what the next
// start does. It returns what is listed, and what of it is protected.
func (c cut) recover(t *testing.T) (all, protected []string) {
	t.Helper()
	d := &disk{t, c.image, c.image + ".mnt"}
	if err := os.Mkdir(d.root, 0o755); err != nil {
		t.Fatal(err)
	}
	options := []string{}
	if kind, err := exec.Command("blkid", "-o", "value", "-s", "TYPE", d.image).Output(); err != nil {
		t.Fatal(err)
	} else if strings.TrimSpace(string(kind)) == "xfs" {
		options = append(options, "nouuid") // The original is still mounted.
	}
	d.mount(options...)
	defer func() {
		d.umount()
		if err := os.Remove(d.image); err != nil {
			t.Error(err)
		}
	}()
	return afterCrash(t, d.root, web), protectedIDs(t, d.root, web)
}
