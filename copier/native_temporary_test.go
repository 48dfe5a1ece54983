package copier_test

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/glusterbackupd/glusterbackupd/copier"
)

// put writes files with their path as content, and makes their folders.
func put(t *testing.T, root string, paths ...string) {
	t.Helper()
	for _, p := range paths {
		file := filepath.Join(root, p)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(p), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// A copy with Tidy removes half files, and nothing else that the source does not have.
func TestTidy(t *testing.T) {
	const (
		half   = "folder/.big.bin.glusterbackupd-ABC234"
		first  = ".first.glusterbackupd-AAAAAA"
		backed = "folder/.old.glusterbackupd-ZZZZZ7" // Half a file that a backup has.
	)
	others := []string{"folder/mine", "folder/.big.bin.ABC234", "folder/big.glusterbackupd-ABC234", "folder/.x.glusterbackupd-abc234", "kept/" + filepath.Base(half)}
	for name, c := range map[string]struct {
		tree copier.Tree
		left []string
	}{
		"not asked for": {copier.Tree{}, []string{half, first}},
		"dry run":       {copier.Tree{Tidy: true, DryRun: true}, []string{half, first}},
		"all":           {copier.Tree{Tidy: true}, nil},
		"one file":      {copier.Tree{Tidy: true, Path: "folder/big.bin"}, []string{first}},
		"another file":  {copier.Tree{Tidy: true, Path: "folder/other"}, []string{half, first}},
	} {
		t.Run(name, func(t *testing.T) {
			c.tree.Source, c.tree.Dest = t.TempDir(), t.TempDir()
			put(t, c.tree.Source, "first", "folder/big.bin", "folder/other", backed)
			put(t, c.tree.Dest, append(others, half, first, backed)...)
			nativeCopy(t, c.tree)
			has := entries(t, c.tree.Dest)
			for _, p := range append(append(others, backed), c.left...) {
				if _, ok := has[p]; !ok {
					t.Errorf("%s is gone", p)
				}
			}
			for _, p := range []string{half, first} {
				if _, ok := has[p]; ok && !slices.Contains(c.left, p) {
					t.Errorf("%s is left among %q", p, slices.Sorted(maps.Keys(has)))
				}
			}
		})
	}
}
