package manifest_test

import (
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/glusterbackupd/glusterbackupd/manifest"
	"github.com/glusterbackupd/glusterbackupd/test/tree"
)

// TestScanReference proves which hashes come from the reference by giving it a
// false hash for every file.
func TestScanReference(t *testing.T) {
	old := generate(t, tree.Options{Seed: 5, Files: 60})
	put(t, old+"/same-but-copied", "1")
	put(t, old+"/written-in-place", "1")
	put(t, old+"/other-mtime-in-manifest", "1")
	put(t, old+"/other-size-in-manifest", "1")
	put(t, old+"/gone-from-manifest", "1")
	put(t, old+"/without-hash", "1")
	entries := scan(t, old, hashed)
	updated := t.TempDir()
	run(t, "cp", "-al", old+"/.", updated)
	run(t, "cp", "-a", "--remove-destination", old+"/same-but-copied", updated)
	put(t, updated+"/written-in-place", "2")
	put(t, updated+"/added", "2")
	want := scan(t, updated, hashed)

	forged := strings.Repeat("f", 64)
	var reference []manifest.Entry
	for _, e := range entries {
		if e.Type == manifest.File {
			e.SHA256 = forged
		}
		switch e.Path {
		case "gone-from-manifest":
			continue
		case "other-mtime-in-manifest":
			e.MTime = e.MTime.Add(1)
		case "other-size-in-manifest":
			e.Size++
		case "without-hash":
			e.SHA256 = ""
		}
		reference = append(reference, e)
	}
	read := []string{
		"added", "gone-from-manifest", "other-mtime-in-manifest", "other-size-in-manifest", "same-but-copied", "without-hash", "written-in-place",
	}
	for i, e := range want {
		if e.Type == manifest.File && !slices.Contains(read, e.Path) {
			want[i].SHA256 = forged
		}
	}
	for _, sub := range []string{".", "hardlinks/m", "small/0000", "same-but-copied"} {
		o := manifest.ScanOptions{Hash: true, Sub: sub, Reference: &manifest.Reference{Root: old, Entries: sequence(reference)}}
		part, _ := collect(manifest.Below(sequence(want), sub))
		if diff := cmp.Diff(part, scan(t, updated, o)); diff != "" {
			t.Errorf("below %s:\n%s", sub, diff)
		}
	}
}

func TestScanReferenceErrors(t *testing.T) {
	root := generate(t, tree.Options{Files: 1})
	broken := errors.New("damaged")
	good := scan(t, root, hashed)
	for desc, tt := range map[string]struct {
		reference manifest.Reference
		want      error
	}{
		"no such tree": {manifest.Reference{Root: root + "/missing", Entries: sequence(good)}, fs.ErrNotExist},
		"broken": {manifest.Reference{Root: root, Entries: func(yield func(manifest.Entry, error) bool) {
			_ = yield(good[0], nil) && yield(manifest.Entry{}, broken)
		}}, broken},
		"out of order": {manifest.Reference{Root: root, Entries: sequence([]manifest.Entry{good[0], good[2], good[1]})}, manifest.ErrOrder},
	} {
		o := manifest.ScanOptions{Hash: true, Reference: &tt.reference}
		before := openFiles(t)
		if err := manifest.Scan(t.Context(), root, o, func(manifest.Entry) error { return nil }); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", desc, err, tt.want)
		}
		if after := openFiles(t); after != before {
			t.Errorf("%s: %d files open before the scan, %d after", desc, before, after)
		}
	}
}
