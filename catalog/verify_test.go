package catalog_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/glusterbackupd/glusterbackupd/catalog"
	"github.com/glusterbackupd/glusterbackupd/manifest"
)

// TestVerify damages a backup in each way and expects to be told.
func TestVerify(t *testing.T) {
	at := func(b catalog.Backup, name string) string { return filepath.Join(b.DataDir(), name) }
	tests := map[string]struct {
		damage func(t *testing.T, b catalog.Backup) error
		kind   manifest.Kind // Empty when it is not in the data.
		path   string
	}{
		"byte": {
			func(t *testing.T, b catalog.Backup) error { flip(t, at(b, "file-0")); return nil },
			manifest.DiffContent, "file-0",
		},
		"missing": {
			func(_ *testing.T, b catalog.Backup) error { return keepTimes(b.DataDir(), os.Remove(at(b, "fifo"))) },
			manifest.DiffMissing, "fifo",
		},
		"extra": {
			func(_ *testing.T, b catalog.Backup) error {
				return keepTimes(b.DataDir(), os.WriteFile(at(b, "new"), nil, 0o600))
			},
			manifest.DiffExtra, "new",
		},
		"mode": {
			func(_ *testing.T, b catalog.Backup) error { return os.Chmod(at(b, "file-0"), 0o644) },
			manifest.DiffMode, "file-0",
		},
		"mode of the root": {
			func(_ *testing.T, b catalog.Backup) error { return os.Chmod(b.DataDir(), 0o700) },
			manifest.DiffMode, ".",
		},
		"object": {
			func(_ *testing.T, b catalog.Backup) error {
				return os.WriteFile(filepath.Join(b.Dir, "objects/pvc.json"), []byte("{}"), 0o600)
			}, "", "",
		},
		"object missing": {
			func(_ *testing.T, b catalog.Backup) error { return os.Remove(filepath.Join(b.Dir, "objects/pvc.json")) }, "", "",
		},
		"manifest edited": {
			func(t *testing.T, b catalog.Backup) error { flip(t, filepath.Join(b.Dir, "manifest.zst")); return nil }, "", "",
		},
		"manifest cut": {
			func(_ *testing.T, b catalog.Backup) error {
				return os.Truncate(filepath.Join(b.Dir, "manifest.zst"), 100)
			}, "", "",
		},
		"manifest empty": {
			func(_ *testing.T, b catalog.Backup) error {
				return os.Truncate(filepath.Join(b.Dir, "manifest.zst"), 0)
			}, "", "",
		},
		"manifest is a link": {
			func(_ *testing.T, b catalog.Backup) error {
				name := filepath.Join(b.Dir, "manifest.zst")
				return errors.Join(os.Rename(name, name+".x"), os.Symlink("manifest.zst.x", name))
			}, "", "",
		},
		"data gone": {
			func(_ *testing.T, b catalog.Backup) error { return os.RemoveAll(b.DataDir()) }, "", "",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := newRepo(t)
			b := r.backup(web, 0)
			if err := tt.damage(t, b); err != nil {
				t.Fatal(err)
			}
			err := b.Verify(t.Context(), catalog.VerifyOptions{})
			remedy(t, err, catalog.ErrDamaged)
			var damage *catalog.DamageError
			if !errors.As(err, &damage) || damage.Key != web || damage.ID != b.ID {
				t.Fatalf("error %#v", err)
			}
			if tt.kind != "" && (damage.Total != 1 || damage.Differences[0].Kind != tt.kind || damage.Differences[0].Path != tt.path) {
				t.Errorf("differences %v", damage.Differences)
			}
			if err := os.RemoveAll(b.Dir); err != nil {
				t.Fatal(err)
			}
			r.sweep()
		})
	}
}

// keepTimes gives a folder the time that fill gave it.
func keepTimes(dir string, err error) error {
	return errors.Join(err, os.Chtimes(dir, time.Unix(-5, 7), time.Unix(-5, 7)))
}

func TestVerifySub(t *testing.T) {
	r := newRepo(t)
	b := r.backup(web, 0)
	undo := flip(t, filepath.Join(b.DataDir(), "file-0"))
	defer undo()
	tests := map[string]error{
		"":              catalog.ErrDamaged,
		".":             catalog.ErrDamaged,
		"file-0":        catalog.ErrDamaged,
		"/file-0/":      catalog.ErrDamaged,
		"locked":        nil, // With a name of an inode whose first name is outside.
		"locked/same":   nil,
		"big":           nil,
		"fifo":          nil,
		"none":          fs.ErrNotExist,
		"file-0/x":      fs.ErrNotExist,
		"none/at/all":   fs.ErrNotExist,
		"../objects":    fs.ErrInvalid,
		"locked/../big": fs.ErrInvalid,
	}
	for sub, want := range tests {
		if err := b.Verify(t.Context(), catalog.VerifyOptions{Sub: sub}); !errors.Is(err, want) {
			t.Errorf("Verify(%q) = %v, want %v", sub, err, want)
		}
	}
}

// TestVerifyMany shows that the list of differences is bounded and the count
// is not.
func TestVerifyMany(t *testing.T) {
	r := newRepo(t)
	s, err := r.Begin(web, at(0))
	if err != nil {
		t.Fatal(err)
	}
	const files = 50
	for n := range files {
		write(t, s.Data(), map[string]string{fmt.Sprintf("f%02d", n): "x"})
	}
	b, err := s.Publish(t.Context(), info(), catalog.PublishOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for n := range files {
		if err := os.Chmod(filepath.Join(b.DataDir(), fmt.Sprintf("f%02d", n)), 0o400); err != nil {
			t.Fatal(err)
		}
	}
	var damage *catalog.DamageError
	if err := b.Verify(t.Context(), catalog.VerifyOptions{}); !errors.As(err, &damage) {
		t.Fatalf("verify: %v", err)
	}
	if damage.Total != files || len(damage.Differences) != 20 {
		t.Errorf("%d differences, %d of them kept", damage.Total, len(damage.Differences))
	}
	want := "backup 20181202T030000Z of shop/web: damaged: \"f00\" mode, \"f01\" mode, \"f02\" mode and 47 more"
	if damage.Error() != want {
		t.Errorf("text %q", damage)
	}
	r.faults = 1
}

func TestVerifyCancelled(t *testing.T) {
	r := newRepo(t)
	b := r.backup(web, 0)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.Verify(ctx, catalog.VerifyOptions{}); !errors.Is(err, context.Canceled) || errors.Is(err, catalog.ErrDamaged) {
		t.Errorf("verify: %v", err)
	}
}

// TestManifestStops reads the manifest twice, once not to its end.
func TestManifestStops(t *testing.T) {
	r := newRepo(t)
	b := r.backup(web, 0)
	for e, err := range b.Manifest(t.Context()) {
		if err != nil || e.Path != "." || e.Mode != 0o1777 {
			t.Errorf("first entry %+v, %v", e, err)
		}
		break
	}
	if got := hashes(t, b); int64(len(got)) != b.Summary.Entries {
		t.Errorf("%d entries, want %d", len(got), b.Summary.Entries)
	}
	empty := catalog.Backup{Key: web, ID: b.ID, Dir: b.Dir}
	for _, err := range empty.Manifest(t.Context()) {
		if !errors.Is(err, catalog.ErrNotRepository) {
			t.Errorf("a backup from nowhere: %v", err)
		}
	}
}
