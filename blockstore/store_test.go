package blockstore_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/glusterbackupd/glusterbackupd/blockstore"
)

type remedier interface {
	error
	Remedy() string
}

// wantError checks the sentinel and that the error carries a remedy.
func wantError(t *testing.T, err, sentinel error) {
	t.Helper()
	if !errors.Is(err, sentinel) {
		t.Fatalf("error = %v, want %v", err, sentinel)
	}
	if r, ok := errors.AsType[remedier](err); !ok || r.Remedy() == "" {
		t.Errorf("%v: no remedy", err)
	}
}

func list(t *testing.T, root string) blockstore.Listing {
	t.Helper()
	l, err := blockstore.Open(root).Images(context.Background())
	must(t, err)
	return l
}

func names(l blockstore.Listing) (images []string) {
	for _, img := range l.Images {
		images = append(images, img.Name)
	}
	return images
}

func TestImagesRecorded(t *testing.T) {
	root := recordedTree(t)
	l := list(t, root)
	want := []string{"blk_authed", "blk_new", imageName, "resized", "reused", "sparse"}
	if d := cmp.Diff(want, names(l)); d != "" {
		t.Errorf("images (-want +got):\n%s", d)
	}
	var incomplete []string
	for _, e := range l.Incomplete {
		incomplete = append(incomplete, e.Name+" "+string(e.State))
	}
	if d := cmp.Diff([]string{"crashcreate creating", "crashdelete deleting"}, incomplete); d != "" {
		t.Errorf("incomplete (-want +got):\n%s", d)
	}
	// The fixtures have no journal of ringio, whose image begins with fb78c8d9.
	orphans := []blockstore.Orphan{
		{Path: "block-store/c488ebc4-f23b-48eb-864b-72add7d5603e", Size: 64 << 20, Links: 2, SharedWith: "reused"},
		{Path: "block-store/fb78c8d9-6fa6-45b9-ba76-bf3b0317a1b1", Size: 64 << 20, Links: 1},
		{Path: "block-store/restored.img", Size: 256 << 20, Links: 1},
	}
	if d := cmp.Diff(orphans, l.Orphans); d != "" {
		t.Errorf("orphans (-want +got):\n%s", d)
	}
	if len(l.Problems) != 1 || l.Problems[0].Name != "reused" || !errors.Is(l.Problems[0].Err, blockstore.ErrLinked) {
		t.Errorf("problems = %v, want that reused has two names", l.Problems)
	}
}

// TestListingTellsThePeople is what an admin reads of the recorded volume.
func TestListingTellsThePeople(t *testing.T) {
	l := list(t, recordedTree(t))
	if got := l.Healthy(); got != 5 {
		t.Errorf("%d healthy images of 6, want 5: reused has two names", got)
	}
	wants := [][]string{{"c488ebc4", "reused"}, {"fb78c8d9", "67108864"}, {"restored.img", "orphan"}}
	remedies := [][]string{{"vol_x/reused"}, {"vol_x/NAME storage fb78c8d9-6fa6-45b9-ba76-bf3b0317a1b1", "restore-block"}, {"storage FILE"}}
	for i, o := range l.Orphans {
		for _, text := range wants[i] {
			if !strings.Contains(o.String(), text) {
				t.Errorf("%s: does not say %q", o, text)
			}
		}
		for _, text := range remedies[i] {
			if hint := o.Remedy("vol_x"); !strings.Contains(hint, text) {
				t.Errorf("%s: remedy %q does not say %q", o, hint, text)
			}
		}
	}
}

// TestImagesAsGlusterBlock compares with what 'gluster-block list' said: it
// knows no incomplete ones, so together they are the same names.
func TestImagesAsGlusterBlock(t *testing.T) {
	text, err := os.ReadFile("testdata/gluster-block-list.json")
	must(t, err)
	var recorded struct{ Blocks []string }
	must(t, json.Unmarshal(text, &recorded))
	l := list(t, recordedTree(t))
	got := append(names(l), "ringio") // its journal was not recorded
	for _, e := range l.Incomplete {
		got = append(got, e.Name)
	}
	slices.Sort(got)
	slices.Sort(recorded.Blocks)
	if d := cmp.Diff(recorded.Blocks, got); d != "" {
		t.Errorf("names (-want +got):\n%s", d)
	}
}

func TestImageRecorded(t *testing.T) {
	root := recordedTree(t)
	img, err := blockstore.Open(root).Image(imageName)
	must(t, err)
	info, err := os.Stat(filepath.Join(root, img.Path))
	must(t, err)
	if img.Inode == 0 || info.Size() != img.Size {
		t.Errorf("image %+v, file has %d bytes", img, info.Size())
	}
	img.Inode = 0
	want := blockstore.Image{
		Name: imageName, GBID: imageGBID, Volume: "vol_dfe9c3289d058ad0b1252c95b868c144", Size: 1 << 30,
		JournalState: blockstore.StateReady, Path: "block-store/" + imageGBID, Links: 1, Hosts: []string{fixtureHost},
	}
	if d := cmp.Diff(want, img); d != "" {
		t.Errorf("image (-want +got):\n%s", d)
	}
}

func TestImageErrors(t *testing.T) {
	const gbid = "11111111-2222-3333-4444-555555555555"
	tests := map[string]struct {
		name  string
		spoil func(t *testing.T, meta, store string)
		want  error
	}{
		"missing":           {"nope", nil, blockstore.ErrNoImage},
		"killed create":     {"crashcreate", nil, blockstore.ErrIncomplete},
		"killed delete":     {"crashdelete", nil, blockstore.ErrIncomplete},
		"no image":          {"sparse", func(t *testing.T, _, s string) { must(t, os.Remove(s)) }, blockstore.ErrNoFile},
		"other size":        {"sparse", func(t *testing.T, _, s string) { must(t, os.Truncate(s, 512)) }, blockstore.ErrSize},
		"image is a link":   {"sparse", func(t *testing.T, _, s string) { must(t, os.Remove(s)); must(t, os.Symlink("/etc/passwd", s)) }, blockstore.ErrNotRegular},
		"image is folder":   {"sparse", func(t *testing.T, _, s string) { must(t, os.Remove(s)); must(t, os.Mkdir(s, 0o700)) }, blockstore.ErrNotRegular},
		"journal damaged":   {"sparse", func(t *testing.T, m, _ string) { must(t, os.WriteFile(m, []byte("GBID: ../x\n"), 0o600)) }, blockstore.ErrJournal},
		"journal is link":   {"sparse", func(t *testing.T, m, _ string) { must(t, os.Remove(m)); must(t, os.Symlink("reused", m)) }, blockstore.ErrJournal},
		"journal is folder": {"sparse", func(t *testing.T, m, _ string) { must(t, os.Remove(m)); must(t, os.Mkdir(m, 0o700)) }, blockstore.ErrJournal},
		"journal too large": {"sparse", func(t *testing.T, m, _ string) { must(t, os.Truncate(m, 2<<20)) }, blockstore.ErrJournal},
		"journal empty":     {"sparse", func(t *testing.T, m, _ string) { must(t, os.Truncate(m, 0)) }, blockstore.ErrIncomplete},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			root := recordedTree(t)
			if tt.spoil != nil {
				tt.spoil(t, filepath.Join(root, blockstore.MetaDir, "sparse"),
					filepath.Join(root, blockstore.StoreDir, "30275337-7484-4ad5-a956-db7aa85c7959"))
			}
			_, err := blockstore.Open(root).Image(tt.name)
			wantError(t, err, tt.want)
			_, err = list(t, root).Match(tt.name, "")
			wantError(t, err, tt.want)
			if _, err := list(t, root).Match(imageName, imageGBID); err != nil {
				t.Errorf("one bad entry hides another image: %v", err)
			}
		})
	}
	if _, err := blockstore.Open(recordedTree(t)).Image("../block-store/" + gbid); !errors.Is(err, blockstore.ErrName) {
		t.Errorf("path as name: %v, want ErrName", err)
	}
}

// TestImageMatch finds images by name and GBID.
func TestImageMatch(t *testing.T) {
	const resized = "246230c4-86a1-4ec0-9800-bcd81d9c60cc"
	l := list(t, recordedTree(t))
	tests := map[string]struct {
		name, gbid, want string
		err              error
	}{
		"both":            {imageName, imageGBID, imageName, nil},
		"name":            {imageName, "", imageName, nil},
		"GBID":            {"", resized, "resized", nil},
		"upper-case GBID": {"resized", strings.ToUpper(resized), "resized", nil},
		"other's GBID":    {imageName, resized, "", blockstore.ErrAmbiguous},
		"other's name":    {"gone", resized, "", blockstore.ErrAmbiguous},
		"neither":         {"gone", "11111111-2222-3333-4444-555555555555", "", blockstore.ErrNoImage},
		"killed, by GBID": {"", "515b82ca-632a-4617-8a75-89907006e3a2", "", blockstore.ErrIncomplete},
		"nothing asked":   {"", "", "", blockstore.ErrNoImage},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			img, err := l.Match(tt.name, tt.gbid)
			if img.Name != tt.want || !errors.Is(err, tt.err) {
				t.Errorf("Match = %q, %v; want %q, %v", img.Name, err, tt.want, tt.err)
			}
		})
	}
}

func TestSameGBIDTwice(t *testing.T) {
	root := recordedTree(t)
	text, err := os.ReadFile("testdata/block-meta/sparse")
	must(t, err)
	must(t, os.WriteFile(filepath.Join(root, blockstore.MetaDir, "copy"), text, 0o600))
	for _, name := range []string{"copy", "sparse"} {
		_, err := list(t, root).Match(name, "")
		wantError(t, err, blockstore.ErrAmbiguous)
	}
}

func TestTornJournalIsReported(t *testing.T) {
	root := recordedTree(t)
	f, err := os.OpenFile(filepath.Join(root, blockstore.MetaDir, "sparse"), os.O_APPEND|os.O_WRONLY, 0)
	must(t, err)
	_, err = f.WriteString("SIZE: 1073")
	must(t, err)
	must(t, f.Close())
	s := blockstore.Open(root)
	img, err := s.Image("sparse")
	must(t, err)
	if !img.Torn || img.Size != 512<<20 {
		t.Errorf("image = %+v, want torn, with the size of the complete line", img)
	}
	l := list(t, root)
	if !slices.ContainsFunc(l.Problems, func(p blockstore.Problem) bool {
		return p.Name == "sparse" && errors.Is(p.Err, blockstore.ErrIncomplete)
	}) {
		t.Errorf("problems = %v, want the torn journal", l.Problems)
	}
	r, err := s.OpenImage(img, blockstore.ReadOnly)
	must(t, err)
	must(t, r.Close())
	_, err = s.OpenImage(img, blockstore.ReadWrite)
	wantError(t, err, blockstore.ErrIncomplete)
}

func TestFolders(t *testing.T) {
	tests := map[string]func(t *testing.T, root string){
		"empty volume": func(*testing.T, string) {},
		"only journals": func(t *testing.T, root string) {
			must(t, os.Mkdir(filepath.Join(root, blockstore.MetaDir), 0o700))
		},
		"link out of the volume": func(t *testing.T, root string) {
			must(t, os.Symlink("/etc", filepath.Join(root, blockstore.MetaDir)))
		},
		"file": func(t *testing.T, root string) {
			must(t, os.WriteFile(filepath.Join(root, blockstore.MetaDir), nil, 0o600))
		},
	}
	for desc, prepare := range tests {
		t.Run(desc, func(t *testing.T) {
			root := t.TempDir()
			prepare(t, root)
			_, err := blockstore.Open(root).Images(context.Background())
			wantError(t, err, blockstore.ErrNoLayout)
		})
	}
	if _, err := blockstore.Open("/does/not/exist").Images(context.Background()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no root: %v, want ErrNotExist", err)
	}
}

func TestCapabilities(t *testing.T) {
	root := recordedTree(t)
	img, err := blockstore.Open(root).Image("sparse")
	must(t, err)
	for _, dir := range []string{blockstore.MetaDir, blockstore.StoreDir} {
		must(t, os.Chmod(filepath.Join(root, dir), 0))
		t.Cleanup(func() { must(t, os.Chmod(filepath.Join(root, dir), 0o700)) })
	}
	withoutCapabilities(t, func() {
		s := blockstore.Open(root)
		_, listed := s.Images(context.Background())
		_, opened := s.OpenImage(img, blockstore.ReadWrite)
		restored := s.RestoreJournal("new", []byte(journalText(imageGBID, 1<<30)))
		for capability, errs := range map[string][]error{
			"CAP_DAC_READ_SEARCH": {listed}, "CAP_DAC_OVERRIDE": {opened, restored},
		} {
			for _, err := range errs {
				denied, ok := errors.AsType[*blockstore.PermissionError](err)
				if !ok || !errors.Is(err, os.ErrPermission) {
					t.Errorf("error = %v, want a PermissionError", err)
				} else if !strings.Contains(denied.Remedy(), capability) {
					t.Errorf("remedy %q does not name %s", denied.Remedy(), capability)
				}
			}
		}
	})
}

func TestImagesCancelled(t *testing.T) {
	ctx, cancel := context.WithCancelCause(context.Background())
	cause := errors.New("enough")
	cancel(cause)
	if _, err := blockstore.Open(recordedTree(t)).Images(ctx); !errors.Is(err, cause) {
		t.Errorf("error = %v, want the cause", err)
	}
}

func TestJournalBytes(t *testing.T) {
	got, err := blockstore.Open(recordedTree(t)).JournalBytes("blk_authed")
	must(t, err)
	want, err := os.ReadFile("testdata/block-meta/blk_authed")
	must(t, err)
	if string(got) != string(want) {
		t.Error("the journal differs")
	}
}
