package blockstore

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestLinkUnlink is the way of publishing on file systems without
// RENAME_NOREPLACE, which no local one lacks.
func TestLinkUnlink(t *testing.T) {
	dir := t.TempDir()
	meta, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer release(meta)
	for name, content := range map[string]string{".temp": "new", "taken": "old"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := linkUnlink(meta, ".temp", "taken"); !errors.Is(err, unix.EEXIST) {
		t.Errorf("onto an existing name: %v, want EEXIST", err)
	}
	if err := linkUnlink(meta, ".temp", "free"); err != nil {
		t.Fatal(err)
	}
	got := make(map[string]string)
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		got[e.Name()] = string(text)
	}
	if len(got) != 2 || got["taken"] != "old" || got["free"] != "new" {
		t.Errorf("folder holds %v", got)
	}
}
