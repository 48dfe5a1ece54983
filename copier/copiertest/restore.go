package copiertest

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/glusterbackupd/glusterbackupd/copier"
	"github.com/glusterbackupd/glusterbackupd/test/tree"
)

// ontoLiveTree puts an old state back onto a tree that has moved on.
func ontoLiveTree(t *testing.T, e Engine) {
	live, backup := generated(t), t.TempDir()
	mustCopy(t, e, copier.Tree{Source: live, Dest: backup})
	want := scan(t, backup)
	must(t, tree.Mutate(live, 7, 0.3))
	mustCopy(t, e, copier.Tree{Source: backup, Dest: live, Delete: true, Checksum: true})
	wantEqual(t, "restored tree", want, scan(t, live))
	wantEqual(t, "backup afterwards", want, scan(t, backup))
}

// liveHardLinks restores one of two names that became hard links of each other
// since: the other one must keep its content.
func liveHardLinks(t *testing.T, e Engine) {
	backup := folderOf(t, map[string]string{"a": "old"})
	live := folderOf(t, map[string]string{"b": "new and longer"})
	must(t, os.Link(filepath.Join(live, "b"), filepath.Join(live, "a")))
	mustCopy(t, e, copier.Tree{Source: backup, Dest: live})
	wantContent(t, filepath.Join(live, "a"), "old")
	wantContent(t, filepath.Join(live, "b"), "new and longer")
}

// folderBecomesLink has an empty folder where the source has a second name of a
// file that is already there.
func folderBecomesLink(t *testing.T, e Engine) {
	src := folderOf(t, map[string]string{"a": "a", "new": "n"})
	must(t, os.Link(filepath.Join(src, "a"), filepath.Join(src, "b")))
	dest := folderOf(t, map[string]string{"b/": ""})
	mustCopy(t, e, copier.Tree{Source: src, Dest: dest, Path: "a"})
	res := mustCopy(t, e, copier.Tree{Source: src, Dest: dest})
	wantSame(t, src, dest)
	if res.FilesTransferred != 1 {
		t.Errorf("%d files transferred, want 1", res.FilesTransferred)
	}
}

// folderInTheWay has a folder with a foreign file where the source has a file:
// without Delete that is an error, because the foreign file has to stay.
func folderInTheWay(t *testing.T, e Engine) {
	src, dest := folderOf(t, map[string]string{"x": "file"}), folderOf(t, map[string]string{"x/theirs": "kept"})
	_, err := e.Copy(t.Context(), copier.Tree{Source: src, Dest: dest})
	if err == nil || !strings.Contains(err.Error(), "x") {
		t.Errorf("error %v, want one that names x", err)
	}
	wantContent(t, filepath.Join(dest, "x/theirs"), "kept")
}

func deleteExtra(t *testing.T, e Engine) {
	src := folderOf(t, map[string]string{"a": "a", "d/b": "b"})
	dest := folderOf(t, map[string]string{"a": "old", "extra": "e", "d/extra": "e", "more/deep/extra": "e"})
	res := mustCopy(t, e, copier.Tree{Source: src, Dest: dest})
	wantContent(t, filepath.Join(dest, "a"), "a")
	for _, name := range []string{"extra", "d/extra", "more/deep/extra"} {
		wantContent(t, filepath.Join(dest, name), "e")
	}
	if res.Deleted != 0 {
		t.Errorf("%d deleted without Delete", res.Deleted)
	}
	res = mustCopy(t, e, copier.Tree{Source: src, Dest: dest, Delete: true})
	wantSame(t, src, dest)
	if res.Deleted != 5 {
		t.Errorf("%d deleted, want 5", res.Deleted)
	}
}

// onePath copies one folder of a full tree; it and the folders above it must be
// exact, and nothing else may come.
func onePath(t *testing.T, e Engine) {
	src, dest := generated(t), t.TempDir()
	write(t, src, map[string]string{"one/two/three/f": "f", "one/two/three/g": "g", "one/two/other": "o", "one/other": "o"})
	must(t, os.Chmod(filepath.Join(src, "one"), 0o710))
	must(t, os.Chown(filepath.Join(src, "one/two"), 5, 6))
	must(t, os.Link(filepath.Join(src, "one/two/three/f"), filepath.Join(src, "one/two/three/link")))
	for _, dir := range []string{"one/two/three", "one/two", "one"} {
		must(t, os.Chtimes(filepath.Join(src, dir), time.Time{}, time.Unix(1234567890, 987654321)))
	}
	mustCopy(t, e, copier.Tree{Source: src, Dest: dest, Path: "one/two/three"})
	want := scan(t, src)
	for path := range want {
		if path != "." && path != "one" && path != "one/two" && !strings.HasPrefix(path, "one/two/three") {
			delete(want, path)
		}
	}
	wantEqual(t, "path", want, scan(t, dest))

	mustCopy(t, e, copier.Tree{Source: src, Dest: dest, Path: "one/two/other"})
	wantContent(t, filepath.Join(dest, "one/two/other"), "o")
	wantContent(t, filepath.Join(dest, "one/other"), "")
}

func onePathDelete(t *testing.T, e Engine) {
	src := folderOf(t, map[string]string{"p/d/a": "a", "p/b": "b"})
	dest := folderOf(t, map[string]string{"p/d/extra": "e", "p/extra": "e", "extra": "e"})
	mustCopy(t, e, copier.Tree{Source: src, Dest: dest, Path: "p/d", Delete: true})
	for name, content := range map[string]string{"p/d/a": "a", "p/d/extra": "", "p/b": "", "p/extra": "e", "extra": "e"} {
		wantContent(t, filepath.Join(dest, name), content)
	}
}

// literalPath has names that look like patterns, options, comments or hosts.
func literalPath(t *testing.T, e Engine) {
	names := []string{
		"*", "a?c", "[ab]", "-rf", "--delete", "#comment", ";comment", "host:file", "host::module", "back\\slash",
		"new\nline", " leading", "trailing ", "\xff\xfe", "~", "$HOME", "a'b\"c", "+ *", "- *", "!", "...", "tab\t", "cr\r",
		strings.Repeat("n", 255),
	}
	all := map[string]string{"abc": "no", "a": "no", "b": "no"}
	for _, name := range names {
		all[name] = "yes"
		all["d"+name[1:]+"/"+name] = "yes"
	}
	src := folderOf(t, all)
	for name, content := range all {
		if content == "no" {
			continue
		}
		dest := t.TempDir()
		mustCopy(t, e, copier.Tree{Source: src, Dest: dest, Path: name})
		wantContent(t, filepath.Join(dest, name), content)
		for path, entry := range scan(t, dest) {
			if entry.SHA256 != "" && path != name {
				t.Errorf("Path %q also brought %q", name, path)
			}
		}
	}
}

func refusedPath(t *testing.T, e Engine) {
	outside := folderOf(t, map[string]string{"secret": "s"})
	src := folderOf(t, map[string]string{"d/f": "f"})
	must(t, os.Symlink(outside, filepath.Join(src, "link")))
	tests := map[string]error{
		"..": copier.ErrTree, "../x": copier.ErrTree, "/etc/passwd": copier.ErrTree, "d/../../x": copier.ErrTree,
		"nul\x00": copier.ErrTree, "link/secret": copier.ErrTree, "d/f/x": copier.ErrTree,
		"missing": fs.ErrNotExist, "d/missing": fs.ErrNotExist,
	}
	for path, want := range tests {
		dest := t.TempDir()
		_, err := e.Copy(t.Context(), copier.Tree{Source: src, Dest: dest, Path: path})
		if !errors.Is(err, want) {
			t.Errorf("Path %q: %v, want %v", path, err, want)
		}
		if got := scan(t, dest); len(got) != 1 {
			t.Errorf("Path %q: something was copied: %v", path, got)
		}
	}
}

// oddFolderNames has the names in Source, Dest and Reference.
func oddFolderNames(t *testing.T, e Engine) {
	base := t.TempDir()
	for _, name := range []string{"-n", "host:x", "a b*[c]?", "new\nline", "\xff", "#x", "trailing "} {
		src, one, two := filepath.Join(base, "s", name), filepath.Join(base, "one", name), filepath.Join(base, "two", name)
		write(t, src, map[string]string{"f": "content"})
		must(t, errors.Join(os.MkdirAll(one, 0o755), os.MkdirAll(two, 0o755)))
		mustCopy(t, e, copier.Tree{Source: src, Dest: one})
		wantSame(t, src, one)
		mustCopy(t, e, copier.Tree{Source: src + "/", Dest: two + "/", Reference: one + "/"})
		wantSame(t, src, two)
		if inode(t, filepath.Join(one, "f")) != inode(t, filepath.Join(two, "f")) {
			t.Errorf("reference %q was not used", name)
		}
	}
}

func dryRun(t *testing.T, e Engine) {
	src := folderOf(t, map[string]string{"changed": "new content", "same": "s", "d/added\n": "a"})
	dest := folderOf(t, map[string]string{"changed": "old", "extra": "e"})
	must(t, os.Link(filepath.Join(src, "same"), filepath.Join(dest, "same")))
	before := scan(t, dest)
	res := mustCopy(t, e, copier.Tree{Source: src, Dest: dest, Delete: true, DryRun: true})
	wantEqual(t, "destination of a dry run", before, scan(t, dest))
	all := strings.Join(res.Changes, "\n")
	for _, name := range []string{"changed", "d/added", "extra"} {
		if !strings.Contains(all, name) {
			t.Errorf("changes do not name %s:\n%s", name, all)
		}
	}
	if strings.Contains(all, "same") {
		t.Errorf("changes name an unchanged file:\n%s", all)
	}
	if res.FilesTransferred != 2 || res.Deleted != 1 || res.BytesTransferred != 12 {
		t.Errorf("result %+v, want 2 files with 12 bytes and 1 deletion", res)
	}

	missing := filepath.Join(t.TempDir(), "missing")
	mustCopy(t, e, copier.Tree{Source: src, Dest: missing, DryRun: true})
	if _, err := os.Lstat(missing); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the dry run made its destination: %v", err)
	}

	many := t.TempDir()
	for i := range copier.MaxChanges + 10 {
		must(t, os.WriteFile(filepath.Join(many, strings.Repeat("x", i/100+1)+string(rune('a'+i/10%10))+string(rune('a'+i%10))), nil, 0o600))
	}
	res = mustCopy(t, e, copier.Tree{Source: many, Dest: t.TempDir(), DryRun: true})
	if len(res.Changes) != copier.MaxChanges || res.ChangesOmitted < 10 {
		t.Errorf("%d changes and %d omitted, want %d and at least 10", len(res.Changes), res.ChangesOmitted, copier.MaxChanges)
	}
}
