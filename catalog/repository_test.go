package catalog_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/glusterbackupd/glusterbackupd/catalog"
)

// write makes files below dir; a name that ends in a slash is a folder, "a->b"
// a symbolic link.
func write(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, content := range files {
		base, target, isLink := strings.Cut(name, "->")
		path := filepath.Join(dir, base)
		err := os.MkdirAll(filepath.Dir(path), 0o700)
		switch {
		case err != nil:
		case isLink:
			err = os.Symlink(target, path)
		case strings.HasSuffix(base, "/"):
			err = os.MkdirAll(path, 0o700)
		default:
			err = os.WriteFile(path, []byte(content), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestInit(t *testing.T) {
	tests := map[string]struct {
		files map[string]string
		err   error
		left  []string
	}{
		"empty":                {},
		"fresh ext4":           {files: map[string]string{"lost+found/": ""}},
		"died before the lock": {files: map[string]string{".glusterbackup/": ""}},
		"died before the rename": {
			files: map[string]string{".glusterbackup/lock": "{}", ".glusterbackup/tmp-00ff00ff": "{"},
			left:  []string{".glusterbackup/tmp-00ff00ff"},
		},
		"foreign file":          {files: map[string]string{"photo.jpg": ""}, err: catalog.ErrNotEmpty},
		"foreign hidden folder": {files: map[string]string{".config/": ""}, err: catalog.ErrNotEmpty},
		"foreign file in ours":  {files: map[string]string{".glusterbackup/photo.jpg": ""}, err: catalog.ErrNotEmpty},
		"link in place of ours": {files: map[string]string{".glusterbackup->/tmp": ""}, err: catalog.ErrForeign},
		"link in place of lock": {files: map[string]string{".glusterbackup/lock->/dev/null": ""}, err: catalog.ErrForeign},
		"a BackupDisk":          {files: map[string]string{".glusterbackup/repository.json": "{}"}, err: fs.ErrExist},
		"one with locks":        {files: map[string]string{".glusterbackup/repository.json": "{}", ".glusterbackup/locks/": ""}, err: fs.ErrExist},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			root := tempDir(t)
			write(t, root, tt.files)
			r, err := catalog.Init(root, catalog.Options{})
			if !errors.Is(err, tt.err) {
				t.Fatalf("error %v, want %v", err, tt.err)
			}
			if tt.err != nil {
				return
			}
			again, err := catalog.Open(root, catalog.Options{})
			if err != nil || again.ID() != r.ID() || len(r.ID()) != 32 || again.Root() != root {
				t.Fatalf("opened %v, made %v, %v", again, r, err)
			}
			openRepo(t, root).sweep(tt.left...)
		})
	}
}

func TestInitMissingFolder(t *testing.T) {
	if _, err := catalog.Init(filepath.Join(tempDir(t), "none"), catalog.Options{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v", err)
	}
}

func TestOpen(t *testing.T) {
	const marker = ".glusterbackup/repository.json"
	id := strings.Repeat("a0", 16)
	tests := map[string]struct {
		files map[string]string
		err   error
	}{
		"good":           {files: map[string]string{marker: `{"format":1,"id":"` + id + `","created":"2018-12-02T00:00:00Z"}`}},
		"not mounted":    {err: catalog.ErrNotRepository},
		"no marker":      {files: map[string]string{".glusterbackup/": ""}, err: catalog.ErrNotRepository},
		"empty marker":   {files: map[string]string{marker: ""}, err: catalog.ErrDamaged},
		"cut marker":     {files: map[string]string{marker: `{"format":1,"id":"`}, err: catalog.ErrDamaged},
		"no format":      {files: map[string]string{marker: `{"id":"` + id + `"}`}, err: catalog.ErrDamaged},
		"bad id":         {files: map[string]string{marker: `{"format":1,"id":"../x"}`}, err: catalog.ErrDamaged},
		"unknown field":  {files: map[string]string{marker: `{"format":1,"id":"` + id + `","x":1}`}, err: catalog.ErrDamaged},
		"text behind":    {files: map[string]string{marker: `{"format":1,"id":"` + id + `"} {}`}, err: catalog.ErrDamaged},
		"newer":          {files: map[string]string{marker: `{"format":2,"what":"ever"}`}, err: catalog.ErrFormat},
		"folder is link": {files: map[string]string{".glusterbackup->/etc": ""}, err: catalog.ErrForeign},
		"marker is link": {files: map[string]string{marker + "->/etc/hostname": ""}, err: catalog.ErrForeign},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			root := tempDir(t)
			write(t, root, tt.files)
			r, err := catalog.Open(root, catalog.Options{})
			if !errors.Is(err, tt.err) {
				t.Fatalf("error %v, want %v", err, tt.err)
			}
			if tt.err == nil && r.ID() != id {
				t.Errorf("id %q", r.ID())
			}
			if errors.Is(err, catalog.ErrNotRepository) || errors.Is(err, catalog.ErrFormat) {
				remedy(t, err, tt.err)
			}
		})
	}
}

func TestOpenNoFolder(t *testing.T) {
	for _, path := range []string{filepath.Join(tempDir(t), "none"), "/etc/hostname"} {
		_, err := catalog.Open(path, catalog.Options{})
		if text := remedy(t, err, catalog.ErrNotRepository); !strings.Contains(text, path) {
			t.Errorf("remedy %q does not name %s", text, path)
		}
	}
}

// exchange puts what change makes in place of the BackupDisk, as when a disk
// is unmounted or another one is mounted, and gives the way back.
func exchange(t *testing.T, root string, change func()) (back func()) {
	t.Helper()
	if err := os.Rename(root, root+".away"); err != nil {
		t.Fatal(err)
	}
	change()
	return func() {
		if err := errors.Join(os.RemoveAll(root), os.Rename(root+".away", root)); err != nil {
			t.Fatal(err)
		}
	}
}

// TestExchangedDisk exchanges the disk while it is in use: nothing is written
// to the other one, and every error says that the disk is the wrong one.
func TestExchangedDisk(t *testing.T) {
	root := filepath.Join(tempDir(t), "disk")
	if err := os.Mkdir(root, 0o755); err != nil {
		t.Fatal(err)
	}
	r := initRepo(t, root)
	b := r.backup(web, 0)
	changes := map[string]func(){
		"unmounted": func() { write(t, root, map[string]string{"/": ""}) },
		"other disk": func() {
			write(t, root, map[string]string{"/": ""})
			if _, err := catalog.Init(root, catalog.Options{}); err != nil {
				t.Fatal(err)
			}
		},
		"copy of the disk": func() { copyTree(t, root+".away", root) },
	}
	for name, change := range changes {
		t.Run(name, func(t *testing.T) {
			s, err := r.Begin(web, at(1))
			if err != nil {
				t.Fatal(err)
			}
			if err := stage(s, 1); err != nil {
				t.Fatal(err)
			}
			back := exchange(t, root, change)
			before := tree(t, root)
			faults := map[string]error{
				"begin":   second(r.Begin(web, at(2))),
				"object":  s.WriteObject("pv.json", nil),
				"publish": second(s.Publish(t.Context(), info(), catalog.PublishOptions{})),
				"abort":   s.Abort(),
				"sweep":   second(r.Sweep(t.Context(), web)),
				"trash":   r.Trash(b),
				"protect": r.Protect(b, "test"),
				"remove":  r.Remove(t.Context(), b),
			}
			if name != "copy of the disk" {
				faults["verify"] = b.Verify(t.Context(), catalog.VerifyOptions{})
				faults["space"] = second(r.Space())
				faults["keys"] = second(r.Keys())
				faults["lock"] = second(r.Lock("again"))
				faults["find"] = second(r.Find(web, ""))
				faults["sweep all"] = second(r.SweepAll(t.Context()))
				faults["empty"] = second(r.EmptyTrash(t.Context(), catalog.EmptyOptions{}))
				faults["lock of a claim"] = second(r.Lock("again", catalog.ClaimScope(db)))
			}
			for what, err := range faults {
				if !errors.Is(err, catalog.ErrNotRepository) {
					t.Errorf("%s: %v", what, err)
				}
			}
			equal(t, tree(t, root), before)
			back()
			r.sweep(filepath.Join("shop/web", s.ID()+".partial"))
		})
	}
}

func second[T any](_ T, err error) error { return err }

// tree lists every path below root.
func tree(t *testing.T, root string) (list []string) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		list = append(list, path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// sweep expects exactly these leftovers, and empties the trash.
func (r *repo) sweep(want ...string) {
	r.t.Helper()
	got, err := r.SweepAll(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	equal(r.t, got, want)
	if _, err := r.EmptyTrash(r.t.Context(), catalog.EmptyOptions{}); err != nil {
		r.t.Fatal(err)
	}
}

func TestSpace(t *testing.T) {
	r := newRepo(t)
	s, err := r.Space()
	if err != nil {
		t.Fatal(err)
	}
	if s.Total <= 0 || s.Free <= 0 || s.Free > s.Total || s.FreeInodes > s.Inodes {
		t.Errorf("space %+v", s)
	}
}
