package manifest_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/glusterbackupd/glusterbackupd/manifest"
	"github.com/glusterbackupd/glusterbackupd/test/tree"
)

func compare(t *testing.T, want, got []manifest.Entry, o manifest.CompareOptions) []manifest.Difference {
	t.Helper()
	var found []manifest.Difference
	err := manifest.Compare(sequence(want), sequence(got), o, func(d manifest.Difference) error {
		found = append(found, d)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// short gives "kind path" of each difference.
func short(differences []manifest.Difference) []string {
	var all []string
	for _, d := range differences {
		all = append(all, string(d.Kind)+" "+d.Path)
	}
	return all
}

// twins are pairs of equal files, c and d of one inode.
func twins(t *testing.T, root string) {
	at := time.Unix(1_500_000_000, 5)
	for _, name := range []string{"kinds/a", "kinds/b", "twins/a", "twins/b", "twins/c", "zz"} {
		put(t, filepath.Join(root, name), "twin")
	}
	if err := os.Link(root+"/twins/c", root+"/twins/d"); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"kinds/a", "kinds/b", "twins/a", "twins/b", "twins/c", "zz", "kinds", "twins", "."} {
		if err := os.Chtimes(filepath.Join(root, name), at, at); err != nil {
			t.Fatal(err)
		}
	}
}

// TestCompareSeesEveryKind compares a tree with an exact copy, and then changes
// one thing after the other in the copy: each must be seen, and nothing else.
// The wanted side always goes through a manifest file.
func TestCompareSeesEveryKind(t *testing.T) {
	root := generate(t, tree.Options{Seed: 11, Files: 30, BigFile: 100_000})
	twins(t, root)
	copied := t.TempDir()
	run(t, "rsync", "-aHAXS", "--numeric-ids", root+"/", copied+"/")
	before := throughFile(t, scan(t, root, hashed))
	if d := compare(t, before, scan(t, copied, hashed), manifest.CompareOptions{}); len(d) != 0 {
		t.Fatalf("exact copy differs: %v", d)
	}
	changes := slices.Concat(contentChanges(), propertyChanges(), inodeChanges(), presenceChanges(), typeChanges())
	for i, c := range changes {
		ok := t.Run(c.desc, func(t *testing.T) {
			c.do(&scene{t, copied})
			after := scan(t, copied, hashed)
			if i == len(changes)-1 { // The folder became a file, and all in it went.
				c.want = []string{"mtime deep", "type deep/d"}
				for _, e := range before {
					if strings.HasPrefix(e.Path, "deep/d/") {
						c.want = append(c.want, "missing "+e.Path)
					}
				}
			}
			got := compare(t, before, after, manifest.CompareOptions{})
			if diff := cmp.Diff(c.want, short(got)); diff != "" {
				t.Errorf("differences (-want +got):\n%s%v", diff, got)
			}
			if back := compare(t, after, before, manifest.CompareOptions{}); len(back) != len(got) {
				t.Errorf("the other way round: %v", back)
			}
			before = throughFile(t, after)
		})
		if !ok {
			t.FailNow()
		}
	}
}

func throughFile(t *testing.T, entries []manifest.Entry) []manifest.Entry {
	t.Helper()
	file, _ := write(t, entries)
	back, err := read(file)
	if err != nil {
		t.Fatal(err)
	}
	return back
}

func TestCompareOptions(t *testing.T) {
	root := generate(t, tree.Options{Seed: 11, Files: 30, BigFile: 100_000})
	before := scan(t, root, hashed)
	s := &scene{t, root}
	put(t, root+"/!/new", "x")
	s.ok(os.Link(s.path("hardlinks/z/file"), s.path("!/link")))
	s.ok(os.Link(s.path("big/big"), s.path("!/big")))
	s.ok(os.WriteFile(s.path("empty/another"), nil, 0o600))
	after := scan(t, root, hashed)
	tests := map[string]struct {
		o    manifest.CompareOptions
		want []string
	}{
		"nothing ignored": {manifest.CompareOptions{}, []string{
			"mtime .", "extra !", "extra !/big", "extra !/link", "extra !/new", "mtime empty", "extra empty/another",
		}},
		"folder times": {manifest.CompareOptions{IgnoreFolderTimes: true}, []string{
			"extra !", "extra !/big", "extra !/link", "extra !/new", "extra empty/another",
		}},
		"extra entries": {manifest.CompareOptions{IgnoreExtra: true}, []string{"mtime .", "mtime empty"}},
		"both":          {manifest.CompareOptions{IgnoreExtra: true, IgnoreFolderTimes: true}, nil},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, short(compare(t, before, after, tt.o))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestCompareWithoutHashes(t *testing.T) {
	root := generate(t, tree.Options{Files: 1})
	with, without := scan(t, root, hashed), scan(t, root, manifest.ScanOptions{})
	for _, pair := range [][2][]manifest.Entry{{with, without}, {without, with}, {without, without}} {
		err := manifest.Compare(sequence(pair[0]), sequence(pair[1]), manifest.CompareOptions{}, func(d manifest.Difference) error {
			t.Error(d)
			return nil
		})
		if !errors.Is(err, manifest.ErrNoHash) {
			t.Errorf("error %v, want %v", err, manifest.ErrNoHash)
		}
	}
	if d := compare(t, with, without, manifest.CompareOptions{Sampled: true}); len(d) != 0 {
		t.Errorf("contents that are not in the sample: %v", d)
	}
}

func TestCompareErrors(t *testing.T) {
	entries := sample()
	broken := errors.New("broken")
	swapped := append([]manifest.Entry{}, entries...)
	swapped[4], swapped[5] = swapped[5], swapped[4]
	fails := func(yield func(manifest.Entry, error) bool) {
		_ = yield(entries[0], nil) && yield(manifest.Entry{}, broken)
	}
	good := sequence(entries)
	ignore := func(manifest.Difference) error { return nil }
	for desc, tt := range map[string]struct{ err, want error }{
		"wanted fails":     {manifest.Compare(fails, good, manifest.CompareOptions{}, ignore), broken},
		"got fails":        {manifest.Compare(good, fails, manifest.CompareOptions{}, ignore), broken},
		"wanted unordered": {manifest.Compare(sequence(swapped), good, manifest.CompareOptions{}, ignore), manifest.ErrOrder},
		"got unordered":    {manifest.Compare(good, sequence(swapped), manifest.CompareOptions{}, ignore), manifest.ErrOrder},
		"report fails": {manifest.Compare(good, sequence(nil), manifest.CompareOptions{}, func(manifest.Difference) error {
			return broken
		}), broken},
	} {
		if !errors.Is(tt.err, tt.want) {
			t.Errorf("%s: %v, want %v", desc, tt.err, tt.want)
		}
	}
}

func TestDifferenceString(t *testing.T) {
	tests := map[string]manifest.Difference{
		`"a\n": missing file`:                  {Path: "a\n", Kind: manifest.DiffMissing, Want: "file"},
		`"\xff": extra dir`:                    {Path: "\xff", Kind: manifest.DiffExtra, Got: "dir"},
		`"b": target: want "\x1b[m", got "\n"`: {Path: "b", Kind: manifest.DiffTarget, Want: "\x1b[m", Got: "\n"},
	}
	for want, d := range tests {
		if got := d.String(); got != want {
			t.Errorf("%+v: %s, want %s", d, got, want)
		}
	}
}
