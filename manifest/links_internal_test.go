package manifest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// TestForgetSingle scans a tree of which each inode has another name outside, and
// some have a second one inside, with room for few that wait.
func TestForgetSingle(t *testing.T) {
	dir := t.TempDir()
	root, outside := filepath.Join(dir, "root"), filepath.Join(dir, "outside")
	for _, d := range []string{root, filepath.Join(root, "later"), outside} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	want := map[string]string{}
	for n := range 30 {
		name := fmt.Sprintf("f%02d", n)
		path := filepath.Join(root, name)
		if err := os.WriteFile(path, []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Link(path, filepath.Join(outside, name)); err != nil {
			t.Fatal(err)
		}
		if n%10 == 3 {
			want["later/"+name] = name
			if err := os.Link(path, filepath.Join(root, "later", name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, most := range []int{1, 5, 29, 1000} {
		w := newWalker(context.Background(), root, ScanOptions{openLinks: most})
		go w.run()
		got, sums := map[string]string{}, map[string]string{}
		for it := range w.out {
			if it.entry.HardlinkOf != "" {
				got[it.entry.Path] = it.entry.HardlinkOf
			}
			sums[it.entry.Path] = it.entry.Path
		}
		if w.err != nil || fmt.Sprint(got) != fmt.Sprint(want) || len(sums) != 35 {
			t.Errorf("with %d: hard links %v, want %v; %d entries, %v", most, got, want, len(sums), w.err)
		}
		if left := len(w.links.byInode); most < 30 && left > 3 {
			t.Errorf("with %d: %d inodes are kept", most, left)
		}
	}
}
