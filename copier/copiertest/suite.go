// Package copiertest is the conformance suite for engines that copy trees:
// every engine must pass TestEngine, and TestEngineOnMounts where root and loop
// devices are at hand (build tag "platform").
//
// It makes its trees with test/tree and compares them with package manifest; it
// knows nothing of how an engine works and does not measure speed.
package copiertest

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/glusterbackupd/glusterbackupd/copier"
	"github.com/glusterbackupd/glusterbackupd/manifest"
	"github.com/glusterbackupd/glusterbackupd/test/tree"
)

// Engine copies trees. Its contract is that of copier.Tree and
// (*copier.Rsync).Copy.
type Engine interface {
	Copy(ctx context.Context, t copier.Tree) (copier.TreeResult, error)
}

// TestEngine runs the suite, with a new engine for each case. It needs root,
// because the trees hold device nodes and foreign owners.
func TestEngine(t *testing.T, newEngine func() Engine) {
	t.Helper()
	cases := map[string]func(*testing.T, Engine){
		"exact copy":                   exactCopy,
		"empty folder":                 emptyFolder,
		"unchanged version":            unchangedVersion,
		"mutated versions":             mutatedVersions,
		"small changes":                smallChanges,
		"type change between versions": typeChange,
		"same size and time":           sameSizeAndTime,
		"onto a live tree":             ontoLiveTree,
		"live hard links":              liveHardLinks,
		"folder becomes a hard link":   folderBecomesLink,
		"folder in the way":            folderInTheWay,
		"delete":                       deleteExtra,
		"path":                         onePath,
		"path with delete":             onePathDelete,
		"path is literal":              literalPath,
		"path is refused":              refusedPath,
		"odd folder names":             oddFolderNames,
		"dry run":                      dryRun,
		"progress":                     progress,
		"bad tree":                     badTree,
		"cancel":                       cancelInMidCopy,
		"cancelled before":             cancelledBefore,
		"source disappears":            sourceDisappears,
		"crash":                        crash,
		"crash in a new folder":        crashInFolder,
		"300 levels":                   manyLevels,
		"skewed clocks":                skewedClocks,
	}
	for name, run := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run(t, newEngine())
		})
	}
}

// generated returns a folder with everything a file system can hold.
func generated(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	must(t, tree.Generate(dir, tree.Options{Seed: 42}))
	return dir
}

// mustCopy copies and returns the result.
func mustCopy(t *testing.T, e Engine, tr copier.Tree) copier.TreeResult {
	t.Helper()
	res, err := e.Copy(t.Context(), tr)
	if err != nil {
		t.Fatalf("Copy: %v", err)
	}
	return res
}

// scan returns everything about the tree in dir, with content hashes.
func scan(t *testing.T, dir string) map[string]manifest.Entry {
	t.Helper()
	entries := make(map[string]manifest.Entry)
	err := manifest.Scan(t.Context(), dir, manifest.ScanOptions{Hash: true}, func(e manifest.Entry) error {
		entries[e.Path] = e
		return nil
	})
	must(t, err)
	return entries
}

// wantEqual fails unless the two descriptions are equal.
func wantEqual(t *testing.T, what string, want, got map[string]manifest.Entry) {
	t.Helper()
	shown := 0
	for path := range union(want, got) {
		w, inWant := want[path]
		g, inGot := got[path]
		if inWant == inGot && cmp.Equal(w, g) {
			continue
		}
		if shown++; shown > 10 {
			t.Fatalf("%s: more differences left out", what)
		}
		t.Errorf("%s: %q (-want +got):\n%s", what, path, cmp.Diff(w, g))
	}
}

func union(a, b map[string]manifest.Entry) map[string]bool {
	all := make(map[string]bool)
	for path := range a {
		all[path] = true
	}
	for path := range b {
		all[path] = true
	}
	return all
}

// wantSame fails unless dir equals src in every property.
func wantSame(t *testing.T, src, dir string) {
	t.Helper()
	wantEqual(t, "copy", scan(t, src), scan(t, dir))
}

// inode returns the inode number of path.
func inode(t *testing.T, path string) uint64 {
	t.Helper()
	var st unix.Stat_t
	must(t, unix.Lstat(path, &st))
	return st.Ino
}

// write makes files below dir, with the folders that they need. A name that
// ends with "/" is a folder.
func write(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, content := range files {
		path := filepath.Join(dir, name)
		if name[len(name)-1] == '/' {
			must(t, os.MkdirAll(path, 0o755))
			continue
		}
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		must(t, os.WriteFile(path, []byte(content), 0o644))
	}
}

// folderOf returns a new folder with files.
func folderOf(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	write(t, dir, files)
	return dir
}

// wantContent fails unless path holds content; "" means that path must be
// missing.
func wantContent(t *testing.T, path, content string) {
	t.Helper()
	got, err := os.ReadFile(path)
	switch {
	case content == "" && errors.Is(err, fs.ErrNotExist):
	case err != nil:
		t.Errorf("%q: %v", path, err)
	case content == "":
		t.Errorf("%q exists", path)
	case string(got) != content:
		t.Errorf("%q holds %q, want %q", path, got, content)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
