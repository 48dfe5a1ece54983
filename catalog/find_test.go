package catalog_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/glusterbackupd/glusterbackupd/catalog"
)

func TestParseKey(t *testing.T) {
	long := strings.Repeat("a", 63)
	tests := map[string]bool{
		"shop/web": true, "a/b": true, "0/1.x-y.z": true, long + "/" + long + "." + long: true,
		"": false, "shop": false, "shop/": false, "/web": false, "shop/web/x": false,
		"../web": false, "shop/..": false, "shop/.": false, ".heketi/x": false, "shop/.x": false,
		"Shop/web": false, "shop/w eb": false, "shop/web\n": false, "-a/b": false, "a-/b": false,
		long + "a/b": false, "a.b/c": false, "a/b..c": false, "a/" + strings.Repeat("a.", 127) + "a": false,
		"shop/web\x00": false, "shop/latest": true,
	}
	for text, ok := range tests {
		k, err := catalog.ParseKey(text)
		if ok && (err != nil || k.String() != text) || !ok && !errors.Is(err, catalog.ErrKey) {
			t.Errorf("ParseKey(%q) = %v, %v", text, k, err)
		}
	}
}

func TestFind(t *testing.T) {
	r := newRepo(t)
	for n, s := range []string{"2017-05-01T00:00:00Z", "2018-12-02T00:00:00Z", "2018-12-02T03:30:00Z", "2018-12-03T23:59:59Z"} {
		when, err := time.Parse(time.RFC3339, s)
		if err != nil {
			t.Fatal(err)
		}
		st, err := r.Begin(web, when)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := stageAndPublish(st, n); err != nil {
			t.Fatal(err)
		}
	}
	tests := map[string]struct {
		want string
		err  error
	}{
		"":                          {want: "20181203T235959Z"},
		"latest":                    {want: "20181203T235959Z"},
		"2018":                      {want: "20181203T235959Z"},
		"2017":                      {want: "20170501T000000Z"},
		"201812":                    {want: "20181203T235959Z"},
		"20181202":                  {want: "20181202T033000Z"},
		"2018-12-02":                {want: "20181202T033000Z"},
		"20181202T":                 {want: "20181202T033000Z"},
		"20181202T0000":             {want: "20181202T000000Z"},
		"20181202T000000Z":          {want: "20181202T000000Z"},
		"2018-12-02T01:00:00+01:00": {want: "20181202T000000Z"},
		"2018-12-02T00:00:00Z":      {want: "20181202T000000Z"},
		"2018-12-02T00:00:01Z":      {err: catalog.ErrNoBackup},
		"20181204":                  {err: catalog.ErrNoBackup},
		"20181202T000001Z":          {err: catalog.ErrNoBackup},
		"2018-12-3":                 {err: catalog.ErrTime},
		"201":                       {err: catalog.ErrTime},
		"yesterday":                 {err: catalog.ErrTime},
		"../20181202":               {err: catalog.ErrTime},
		"2018-12-02 00:00":          {err: catalog.ErrTime},
		"2018-02-30":                {err: catalog.ErrTime},
	}
	for at, tt := range tests {
		b, err := r.Find(web, at)
		if b.ID != tt.want || !errors.Is(err, tt.err) {
			t.Errorf("Find(%q) = %q, %v; want %q, %v", at, b.ID, err, tt.want, tt.err)
		}
		if tt.err != nil {
			remedy(t, err, tt.err)
		}
	}
}

func TestFindNothing(t *testing.T) {
	r := newRepo(t)
	if _, err := r.Find(db, ""); !strings.Contains(remedy(t, err, catalog.ErrNoBackup), "no backup of claim shop/db") {
		t.Errorf("error %v", err)
	}
	if _, err := r.Find(catalog.Key{Namespace: "..", Claim: "etc"}, ""); !errors.Is(err, catalog.ErrKey) {
		t.Errorf("bad key: %v", err)
	}
	r.backup(web, 0)
	r.backup(web, 1)
	_, err := r.Find(web, "2019")
	var none *catalog.NoBackupError
	if !errors.As(err, &none) {
		t.Fatalf("error %#v", err)
	}
	equal(t, none.Have, ids(t, r.Repository, web))
	none.Have = nil
	for n := range 12 {
		none.Have = append(none.Have, idsOf([]int{n, n})...)
	}
	text := none.Remedy()
	want := "give --at one of 20181213, 20181212, 20181211, 20181210, 20181209, 20181208, 20181207, 20181206, " +
		"20181205, 20181204 and 2 earlier; `glusterbackupd list shop/web` shows the times"
	if text != want {
		t.Errorf("remedy\n%s, want\n%s", text, want)
	}
}

// TestProblems puts wrong things where backups should be: they are never
// listed, never followed, and told.
func TestProblems(t *testing.T) {
	r := newRepo(t)
	good := r.backup(web, 0)
	record, err := os.ReadFile(filepath.Join(good.Dir, "backup.json"))
	if err != nil {
		t.Fatal(err)
	}
	outside := tempDir(t)
	copyTree(t, good.Dir, filepath.Join(outside, "20200101T000000Z"))
	swap := func(from, to string) string { return strings.ReplaceAll(string(record), from, to) }
	tests := map[string]struct {
		files map[string]string
		err   error
	}{
		"20190101T000000Z": {map[string]string{"data/": ""}, catalog.ErrDamaged},
		"20190102T000000Z": {map[string]string{"backup.json": "", "data/": "", "manifest.zst": ""}, catalog.ErrDamaged},
		"20190103T000000Z": {map[string]string{"backup.json": string(record), "data/": "", "manifest.zst": ""}, catalog.ErrDamaged},
		"20190104T000000Z": {map[string]string{"backup.json": `{"format":9,"new":1}`}, catalog.ErrFormat},
		"20190105T000000Z": {map[string]string{"backup.json": swap(good.ID, "20190105T000000Z"), "manifest.zst": ""}, catalog.ErrDamaged},
		"20190106T000000Z": {map[string]string{"backup.json": swap(good.ID, "20190106T000000Z"), "data/": ""}, catalog.ErrDamaged},
		"20190107T000000Z": {map[string]string{"backup.json": swap(good.ID, `20190107T000000Z","x":"`)}, catalog.ErrDamaged},
		"20190108T000000Z": {map[string]string{"backup.json": swap(good.ID, "20190108T000000Z")[:200]}, catalog.ErrDamaged},
		"20190109T000000Z": {map[string]string{"backup.json->../" + good.ID + "/backup.json": ""}, catalog.ErrForeign},
	}
	for id, tt := range tests {
		write(t, filepath.Join(r.Root(), "shop/web", id), tt.files)
	}
	write(t, r.Root(), map[string]string{
		"shop/web/20200101T000000Z->" + outside + "/20200101T000000Z": "",
		"shop/linked->" + outside:                                     "",
		"other->" + outside:                                           "",
	})
	r.faults = len(tests) + 3
	checkProblems(t, r, func(id string) (error, bool) { tt, ok := tests[id]; return tt.err, ok })
	equal(t, ids(t, r.Repository, web), []string{good.ID})
	if b, err := r.Find(web, good.ID[:8]); err != nil || b.ID != good.ID {
		t.Errorf("%s is %q, %v", good.ID[:8], b.ID, err)
	}
	if b, err := r.Find(web, "latest"); !errors.Is(err, catalog.ErrDamaged) {
		t.Errorf("an older backup is taken for the damaged latest: %q, %v", b.ID, err)
	}
	var none *catalog.NoBackupError
	if _, err := r.Find(web, "20190101"); !errors.As(err, &none) || len(none.Damaged) != 1 {
		t.Errorf("find a damaged one: %v", err)
	}
	if _, err := r.Begin(catalog.Key{Namespace: "shop", Claim: "linked"}, at(0)); !errors.Is(err, catalog.ErrForeign) {
		t.Errorf("begin behind a link: %v", err)
	}
	if _, err := r.Begin(catalog.Key{Namespace: "other", Claim: "x"}, at(0)); !errors.Is(err, catalog.ErrForeign) {
		t.Errorf("begin behind a link: %v", err)
	}
	if _, err := r.Backups(catalog.Key{Namespace: "shop", Claim: "linked"}); !errors.Is(err, catalog.ErrForeign) {
		t.Errorf("list behind a link: %v", err)
	}
	if err := r.Remove(t.Context(), catalog.Backup{Key: web, ID: "20200101T000000Z"}); !errors.Is(err, catalog.ErrForeign) {
		t.Errorf("remove behind a link: %v", err)
	}
	if err := r.Remove(t.Context(), catalog.Backup{Key: web, ID: "20190101T000000Z"}); err != nil {
		t.Errorf("remove a damaged backup: %v", err)
	}
	r.faults--
	r.sweep()
	if len(tree(t, outside)) < 10 {
		t.Error("something outside was removed")
	}
}

func checkProblems(t *testing.T, r *repo, want func(id string) (error, bool)) {
	t.Helper()
	problems, err := r.Problems()
	if err != nil {
		t.Fatal(err)
	}
	if len(problems) != r.faults {
		t.Errorf("%d problems, want %d: %v", len(problems), r.faults, problems)
	}
	for _, p := range problems {
		err, ok := want(p.ID)
		if !ok {
			err = catalog.ErrForeign
		}
		if !errors.Is(p.Err, err) {
			t.Errorf("%s: %v, want %v", p.Path, p.Err, err)
		}
		if _, err := os.Lstat(filepath.Join(r.Root(), p.Path)); err != nil {
			t.Errorf("path of problem: %v", err)
		}
	}
}

func TestKeys(t *testing.T) {
	r := newRepo(t)
	r.backup(web, 0)
	r.backup(db, 0)
	r.backup(catalog.Key{Namespace: "a", Claim: "z.z"}, 0)
	s, err := r.Begin(catalog.Key{Namespace: "a", Claim: "unfinished"}, at(0))
	if err != nil {
		t.Fatal(err)
	}
	keys, err := r.Keys()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, k := range keys {
		got = append(got, k.String())
	}
	equal(t, got, []string{"a/z.z", "shop/db", "shop/web"})
	if err := s.Abort(); err != nil {
		t.Fatal(err)
	}
}

// TestFindImage follows an image through two claims, one of which also had
// another image.
func TestFindImage(t *testing.T) {
	r := newRepo(t)
	made := []struct {
		claim catalog.Key
		image string
	}{{web, "blockvol_a"}, {db, "blockvol_a"}, {db, "blockvol_b"}}
	var list []catalog.Backup
	for n, m := range made {
		s, err := r.Begin(m.claim, at(n))
		if err != nil {
			t.Fatal(err)
		}
		if err := stage(s, n); err != nil {
			t.Fatal(err)
		}
		block := info()
		block.Kind, block.Block = catalog.KindBlock, &catalog.BlockInfo{Name: m.image, GBID: "g"}
		b, err := s.Publish(t.Context(), block, catalog.PublishOptions{})
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, b)
	}
	for _, tt := range []struct {
		image, at string
		want      int
	}{{"blockvol_a", "latest", 1}, {"blockvol_b", "", 2}, {"blockvol_a", list[0].ID, 0}} {
		if b, err := r.FindImage(tt.image, "", tt.at); err != nil || b.Dir != list[tt.want].Dir {
			t.Errorf("%s at %q: %s, %v; want %s", tt.image, tt.at, b.Dir, err, list[tt.want].Dir)
		}
	}
	if _, err := r.FindImage("blockvol_b", "g", list[0].ID); !strings.Contains(remedy(t, err, catalog.ErrNoBackup), list[2].ID[:8]) {
		t.Errorf("the other image's date: %v", err)
	}
	if _, err := r.FindImage("blockvol_c", "", ""); !strings.Contains(remedy(t, err, catalog.ErrNoBackup), "no backup of image blockvol_c") {
		t.Errorf("no such image: %v", err)
	}
}
