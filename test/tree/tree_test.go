package tree_test

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/glusterbackupd/glusterbackupd/test/tree"
)

func generate(t *testing.T, o tree.Options) string {
	t.Helper()
	dir := t.TempDir()
	if err := tree.Generate(dir, o); err != nil {
		t.Fatal(err)
	}
	return dir
}

// differences lists what rsync would change in b to make it equal to a.
func differences(t *testing.T, a, b string) []string {
	t.Helper()
	out, err := exec.Command("rsync", "-naHAXSi", "--checksum", "--modify-window=-1", "--numeric-ids", "--delete", a+"/", b+"/").CombinedOutput()
	if err != nil {
		t.Fatalf("rsync: %v\n%s", err, out)
	}
	return strings.FieldsFunc(string(out), func(r rune) bool { return r == '\n' })
}

func TestGenerateIsDeterministic(t *testing.T) {
	o := tree.Options{Seed: 7, Files: 120, BigFile: 1 << 20}
	a, b := generate(t, o), generate(t, o)
	if d := differences(t, a, b); len(d) != 0 {
		t.Errorf("two trees of one seed differ: %q", d)
	}
	o.Seed = 8
	if d := differences(t, a, generate(t, o)); len(d) < 120 {
		t.Errorf("trees of different seeds differ in %d entries only", len(d))
	}
}

func TestMutateIsDeterministic(t *testing.T) {
	o := tree.Options{Seed: 7, Files: 120, BigFile: 1 << 20}
	before, a, b := generate(t, o), generate(t, o), generate(t, o)
	for round := range uint64(5) {
		for _, dir := range []string{a, b} {
			if err := tree.Mutate(dir, round, 0.2); err != nil {
				t.Fatal(err)
			}
		}
		if d := differences(t, a, b); len(d) != 0 {
			t.Fatalf("round %d: two trees changed in the same way differ: %q", round, d)
		}
		if d := differences(t, before, a); len(d) < 30 {
			t.Errorf("round %d: a fifth was to change, but only this did: %q", round, d)
		}
	}
}

func TestMutateFraction(t *testing.T) {
	dir := generate(t, tree.Options{Files: 20})
	for _, fraction := range []float64{-0.1, 1.1} {
		if err := tree.Mutate(dir, 1, fraction); err == nil {
			t.Errorf("Mutate of fraction %v: no error", fraction)
		}
	}
	if err := tree.Mutate(dir, 1, 0); err != nil {
		t.Fatal(err)
	}
	if d := differences(t, generate(t, tree.Options{Files: 20}), dir); len(d) != 0 {
		t.Errorf("Mutate of fraction 0 changed %q", d)
	}
}

func TestGenerateRefusesOccupiedNames(t *testing.T) {
	dir := generate(t, tree.Options{Files: 1, BigFile: 1})
	if err := tree.Generate(dir, tree.Options{}); !errors.Is(err, fs.ErrExist) {
		t.Errorf("second Generate: %v, want %v", err, fs.ErrExist)
	}
}

// TestGenerateHasEverything looks for each property with stat, apart from the
// code that made it.
func TestGenerateHasEverything(t *testing.T) {
	const bigFile = 3 << 20
	dir := generate(t, tree.Options{Seed: 1, BigFile: bigFile})
	found := map[string]int{}
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, path)
		for _, property := range propertiesOf(t, path, rel) {
			found[property]++
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]int{
		"space": 10, "newline": 4, "invalid": 6, "255 bytes": 8, "dash": 6, "wildcard": 10, "deep": 100, "long path": 1,
		"hard link": 20, "linked symlink": 4, "linked fifo": 4, "absolute symlink": 2, "dangling symlink": 3, "long symlink": 1,
		"fifo": 1, "socket": 1, "char": 2, "block": 2, "large device": 2, "sparse": 5, "empty file": 5,
		"user xattr": 2, "access ACL": 4, "default ACL": 2, "setuid": 6, "setgid": 6, "sticky": 3, "large id": 8,
		"mode 0 file": 1, "mode 0 folder": 1, "read-only folder": 2, "before 1970": 6, "folder before 1970": 2,
		"after 2038": 6, "folder after 2038": 2, "nanoseconds": 500, "small file": 200, "size 3 MiB": 1,
	}
	for property, n := range want {
		if found[property] < n {
			t.Errorf("%s: found %d, want at least %d", property, found[property], n)
		}
	}
}

func propertiesOf(t *testing.T, path, rel string) []string {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		t.Fatal(err)
	}
	name := filepath.Base(rel)
	kind := st.Mode & unix.S_IFMT
	folder, file, link := kind == unix.S_IFDIR, kind == unix.S_IFREG, kind == unix.S_IFLNK
	target, _ := os.Readlink(path)
	_, targetErr := os.Stat(path)
	xattr := func(name string) bool {
		_, err := unix.Lgetxattr(path, name, nil)
		return err == nil
	}
	var found []string
	for property, has := range map[string]bool{
		"space": strings.Contains(name, " "), "newline": strings.Contains(name, "\n"),
		"invalid":   strings.ToValidUTF8(name, "") != name,
		"255 bytes": len(name) == 255, "dash": strings.HasPrefix(name, "-"), "wildcard": strings.ContainsAny(name, "*?["),
		"deep": strings.Count(rel, "/") > 1 && strings.HasPrefix(rel, "deep/"), "long path": len(rel) > 2500,
		"hard link": !folder && st.Nlink > 1, "linked symlink": link && st.Nlink > 1, "linked fifo": kind == unix.S_IFIFO && st.Nlink > 1,
		"absolute symlink": strings.HasPrefix(target, "/"), "long symlink": len(target) >= 1000,
		"dangling symlink": link && errors.Is(targetErr, fs.ErrNotExist),
		"fifo":             kind == unix.S_IFIFO, "socket": kind == unix.S_IFSOCK, "char": kind == unix.S_IFCHR, "block": kind == unix.S_IFBLK,
		"large device": (kind == unix.S_IFBLK || kind == unix.S_IFCHR) && unix.Minor(st.Rdev) > 65535,
		"sparse":       file && st.Blocks*512 < st.Size/2, "empty file": file && st.Size == 0,
		"user xattr": xattr("user.binary"), "access ACL": xattr("system.posix_acl_access"), "default ACL": xattr("system.posix_acl_default"),
		"setuid": st.Mode&0o4000 != 0, "setgid": st.Mode&0o2000 != 0, "sticky": st.Mode&0o1000 != 0,
		"large id":    st.Uid > 65535 || st.Gid > 65535,
		"mode 0 file": file && st.Mode&0o7777 == 0, "mode 0 folder": folder && st.Mode&0o7777 == 0,
		"read-only folder": folder && st.Mode&0o7777 != 0 && st.Mode&0o222 == 0,
		"before 1970":      st.Mtim.Sec < 0, "folder before 1970": folder && st.Mtim.Sec < 0,
		"after 2038": st.Mtim.Sec >= 1<<31, "folder after 2038": folder && st.Mtim.Sec >= 1<<31,
		"nanoseconds": st.Mtim.Nsec%1000 != 0,
		"small file":  file && strings.HasPrefix(name, "file-") && strings.HasPrefix(rel, "small/"),
		"size 3 MiB":  file && st.Size == 3<<20,
	} {
		if has {
			found = append(found, property)
		}
	}
	return found
}
