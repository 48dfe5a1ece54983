package catalog_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/glusterbackupd/glusterbackupd/catalog"
)

var (
	web = catalog.Key{Namespace: "shop", Claim: "web"}
	db  = catalog.Key{Namespace: "shop", Claim: "db"}
)

// repo is a BackupDisk in a test. When the test ends the whole disk is
// checked, and must have exactly the expected faults.
type repo struct {
	*catalog.Repository
	t      *testing.T
	lock   *catalog.Lock
	faults int // How many problems and damaged backups the test made on purpose.
}

// newRepo makes a BackupDisk that is locked as a whole.
func newRepo(t *testing.T) *repo {
	t.Helper()
	return initRepo(t, tempDir(t))
}

// tempDir returns a folder in memory where that keeps extended attributes:
// Publish syncs the whole file system, which takes long on a busy disk. The
// platform tests use real ones.
func tempDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "catalog-") //nolint:usetesting // In memory, where t.TempDir is on a disk.
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if unix.Setxattr(dir, "user.note", nil, 0) != nil {
		return t.TempDir()
	}
	return dir
}

func initRepo(t *testing.T, root string) *repo {
	t.Helper()
	if _, err := catalog.Init(root, catalog.Options{}); err != nil {
		t.Fatal(err)
	}
	return openRepo(t, root)
}

func openRepo(t *testing.T, root string) *repo {
	t.Helper()
	r, err := catalog.Open(root, catalog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	rp := &repo{Repository: r, t: t}
	rp.relock()
	t.Cleanup(func() {
		rp.unlock()
		if found := audit(root); len(found) != rp.faults {
			t.Errorf("BackupDisk has %d faults, want %d:\n%v", len(found), rp.faults, errors.Join(found...))
		}
	})
	return rp
}

// relock locks the whole BackupDisk for the test.
func (r *repo) relock() {
	r.t.Helper()
	var err error
	if r.lock, err = r.Lock("test"); err != nil {
		r.t.Fatal(err)
	}
}

// unlock gives the whole BackupDisk back.
func (r *repo) unlock() {
	r.t.Helper()
	if err := r.lock.Release(); err != nil {
		r.t.Error(err)
	}
}

// emptied empties the trash without a pause.
func (r *repo) emptied() error {
	_, err := r.EmptyTrash(context.Background(), catalog.EmptyOptions{})
	return err
}

// at returns the time of the n-th backup.
func at(n int) time.Time {
	return time.Date(2018, 12, 2, 3, 0, 0, 0, time.UTC).Add(time.Duration(n) * 24 * time.Hour)
}

func info() catalog.Info {
	return catalog.Info{
		Kind: catalog.KindFile, Volume: "vol_1", Snapshot: "gb-vol_1-20181202T030000Z",
		SnapshotTime: at(0), Started: at(0), Finished: at(0).Add(time.Minute), Host: "master1",
		Copied: catalog.CopyStats{Files: 3, Bytes: 9},
	}
}

// backup makes the n-th backup of k: what the previous one has as hard links,
// and one new file.
func (r *repo) backup(k catalog.Key, n int) catalog.Backup {
	r.t.Helper()
	b, err := makeBackup(r.Repository, k, n)
	if err != nil {
		r.t.Fatal(err)
	}
	return b
}

func makeBackup(r *catalog.Repository, k catalog.Key, n int) (catalog.Backup, error) {
	s, err := r.Begin(k, at(n))
	if err != nil {
		return catalog.Backup{}, err
	}
	b, err := stageAndPublish(s, n)
	return b, errors.Join(err, s.Abort())
}

func stageAndPublish(s *catalog.Staging, n int) (catalog.Backup, error) {
	if err := stage(s, n); err != nil {
		return catalog.Backup{}, err
	}
	return s.Publish(context.Background(), info(), catalog.PublishOptions{})
}

// stage fills the data and the objects.
func stage(s *catalog.Staging, n int) error {
	if err := s.WriteObject("pvc.json", []byte(`{"kind":"PersistentVolumeClaim"}`)); err != nil {
		return err
	}
	if prev, ok := s.Previous(); ok {
		out, err := exec.Command("cp", "-a", "--link", prev.DataDir()+"/.", s.Data()).CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
	} else if err := fill(s.Data()); err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(filepath.Join(s.Data(), fmt.Sprintf("file-%d", n)), fmt.Appendf(nil, "content %d", n), 0o640),
		os.Chmod(s.Data(), fs.ModeSticky|0o777),
		os.Chtimes(s.Data(), time.Unix(-5, 7), time.Unix(-5, 7)),
	)
}

// fill makes a tree with what is awkward to keep and to delete.
func fill(dir string) error {
	if err := os.MkdirAll(filepath.Join(dir, "locked", "inside"), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "locked", "inside", "a b\nc\xff"), []byte("odd name"), 0o4755); err != nil {
		return err
	}
	big := strings.Repeat("0123456789abcdef", 1<<14)
	return errors.Join(
		os.WriteFile(filepath.Join(dir, "big"), []byte(big), 0o600),
		os.Link(filepath.Join(dir, "big"), filepath.Join(dir, "locked", "same")),
		os.Symlink("/etc", filepath.Join(dir, "absolute")),
		os.Symlink("nowhere", filepath.Join(dir, "dangling")),
		unix.Mkfifo(filepath.Join(dir, "fifo"), 0o622),
		unix.Setxattr(filepath.Join(dir, "big"), "user.note", []byte("x\x00y"), 0),
		os.Chown(filepath.Join(dir, "big"), 70001, 70002),
		os.Chmod(filepath.Join(dir, "locked", "inside"), 0o500),
		os.Chmod(filepath.Join(dir, "locked"), 0),
	)
}

// ids returns the IDs of all complete backups of k.
func ids(t *testing.T, r *catalog.Repository, k catalog.Key) []string {
	t.Helper()
	list, err := r.Backups(k)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, b := range list {
		all = append(all, b.ID)
	}
	return all
}

// audit is the verifier: it opens the BackupDisk afresh and checks every
// promise about it. It returns one error per fault.
func audit(root string) []error {
	r, err := catalog.Open(root, catalog.Options{})
	if err != nil {
		return []error{err}
	}
	var faults []error
	problems, err := r.Problems()
	if err != nil {
		return []error{err}
	}
	for _, p := range problems {
		faults = append(faults, fmt.Errorf("problem %s: %w", p.Path, p.Err))
	}
	keys, err := r.Keys()
	if err != nil {
		return append(faults, err)
	}
	known := map[string]bool{}
	for _, k := range keys {
		faults = append(faults, auditClaim(r, k, known)...)
	}
	return append(faults, auditNames(root, known, problems)...)
}

// auditClaim verifies all backups of a claim and records their paths.
func auditClaim(r *catalog.Repository, k catalog.Key, known map[string]bool) (faults []error) {
	list, err := r.Backups(k)
	if err != nil {
		return []error{err}
	}
	for _, b := range list {
		known[filepath.Join(k.String(), b.ID)] = true
		if err := b.Verify(context.Background(), catalog.VerifyOptions{}); err != nil {
			faults = append(faults, err)
		}
		faults = append(faults, auditFolder(b.Dir, b.Protected)...)
	}
	latest, err := os.Readlink(filepath.Join(r.Root(), k.String(), "latest"))
	switch {
	case len(list) == 0 && !errors.Is(err, fs.ErrNotExist):
		faults = append(faults, fmt.Errorf("%s: latest without backups: %q, %w", k, latest, err))
	case len(list) > 0 && latest != list[len(list)-1].ID:
		faults = append(faults, fmt.Errorf("%s: latest is %q, %w", k, latest, err))
	}
	return faults
}

func auditFolder(dir string, protected bool) (faults []error) {
	want := map[string]fs.FileMode{
		".": fs.ModeDir | 0o700, "backup.json": 0o600, "manifest.zst": 0o600, "objects": fs.ModeDir | 0o700,
	}
	if protected {
		want["protected"] = 0o600
	}
	if _, err := os.Lstat(filepath.Join(dir, "verified")); err == nil {
		want["verified"] = 0o600
	}
	for name, mode := range want {
		st, err := os.Lstat(filepath.Join(dir, name))
		if err != nil || st.Mode() != mode {
			faults = append(faults, fmt.Errorf("%s/%s: %v, %w", dir, name, st, err))
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != len(want) { // Data/ instead of the folder itself.
		faults = append(faults, fmt.Errorf("%s: %v, %w", dir, entries, err))
	}
	return faults
}

var lockPath = regexp.MustCompile(`^\.glusterbackup/locks/(claim|volume)-[0-9a-f]{32}$`)

var clusterPath = regexp.MustCompile(`^\.cluster/[0-9TZ]{16}/[a-z.]+$`)

var backupPath = regexp.MustCompile(`^[^/]+/[^/]+/[0-9TZ]{16}$`)

// auditNames finds everything that should not be there, down to the folders of
// backups, and folders that others may read.
func auditNames(root string, known map[string]bool, problems []catalog.Problem) (faults []error) {
	for _, p := range problems {
		known[p.Path] = true
	}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(root, path)
		depth := strings.Count(rel, "/") + 1
		switch {
		case err != nil:
			return err
		case rel == ".", rel == ".glusterbackup/lock", rel == ".glusterbackup/repository.json":
			return nil
		case rel == "lost+found":
			return fs.SkipDir
		case lockPath.MatchString(rel) && d.Type().IsRegular(), clusterPath.MatchString(rel) && d.Type().IsRegular():
			return nil
		case known[rel]:
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		case d.IsDir() && (rel == ".glusterbackup" || rel == ".glusterbackup/locks" || depth <= 2 && !backupPath.MatchString(rel)):
			if st, err := d.Info(); err != nil || st.Mode().Perm() != 0o700 {
				return fmt.Errorf("%s: %v, %w", rel, st, err)
			}
			return nil
		case depth == 3 && d.Name() == "latest":
			return nil
		}
		faults = append(faults, fmt.Errorf("%s should not be there", rel))
		if d.IsDir() {
			return fs.SkipDir
		}
		return nil
	})
	if err != nil {
		faults = append(faults, err)
	}
	return faults
}

func equal(t *testing.T, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// remedy checks that err matches target and tells what to do.
func remedy(t *testing.T, err, target error) string {
	t.Helper()
	if !errors.Is(err, target) {
		t.Fatalf("error %v, want %v", err, target)
	}
	var r interface{ Remedy() string }
	if !errors.As(err, &r) || r.Remedy() == "" {
		t.Fatalf("error %v has no remedy", err)
	}
	return r.Remedy()
}
