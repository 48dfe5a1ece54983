package catalog_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// clusterFiles are the files of the n-th state.
func clusterFiles(n int) map[string][]byte {
	return map[string][]byte{"heketi.json": fmt.Appendf(nil, "{%d}", n), "volumes.xml": []byte("<volumes/>")}
}

// states returns the folders of the states, each of which must be whole.
func states(t *testing.T, r *repo) []string {
	t.Helper()
	list, err := filepath.Glob(filepath.Join(r.Root(), ".cluster", "2*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range list {
		for name := range clusterFiles(0) {
			if text, err := os.ReadFile(filepath.Join(dir, name)); err != nil || len(text) == 0 {
				t.Errorf("%s: %q, %v", dir, text, err)
			}
		}
	}
	return list
}

func TestSaveCluster(t *testing.T) {
	r := newRepo(t)
	first, fresh, err := r.SaveCluster(at(0), clusterFiles(0))
	if err != nil || !fresh {
		t.Fatalf("first: %v, %v", fresh, err)
	}
	if text, err := os.ReadFile(filepath.Join(first, "heketi.json")); err != nil || string(text) != "{0}" {
		t.Errorf("saved %q, %v", text, err)
	}
	if same, fresh, err := r.SaveCluster(at(1), clusterFiles(0)); err != nil || fresh || same != first {
		t.Errorf("unchanged: %s, %v, %v; want %s", same, fresh, err, first)
	}
	if _, fresh, err := r.SaveCluster(at(1), clusterFiles(1)); err != nil || !fresh {
		t.Errorf("changed: %v, %v", fresh, err)
	}
	fewer := clusterFiles(1)
	delete(fewer, "volumes.xml")
	if _, fresh, err := r.SaveCluster(at(1), fewer); err != nil || fresh {
		t.Errorf("in the second of another one: %v, %v", fresh, err)
	}
	if _, _, err := r.SaveCluster(at(2), map[string][]byte{"../x": nil}); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("bad name: %v", err)
	}
	if list := states(t, r); len(list) != 2 {
		t.Errorf("%v, want 2 states", list)
	}
	if problems, err := r.Problems(); err != nil || len(problems) != 0 {
		t.Errorf("problems: %v, %v", problems, err)
	}
}

func TestSaveClusterKeepsTheNewest(t *testing.T) {
	r := newRepo(t)
	const more = 103
	for n := range more {
		if _, _, err := r.SaveCluster(at(0).Add(time.Duration(n)*time.Hour), clusterFiles(n)); err != nil {
			t.Fatal(err)
		}
	}
	list := states(t, r)
	if len(list) != 100 {
		t.Fatalf("%d states, want 100", len(list))
	}
	if text, err := os.ReadFile(filepath.Join(list[0], "heketi.json")); err != nil || string(text) != "{3}" {
		t.Errorf("the oldest is %q, %v", text, err)
	}
}

// TestSaveClusterBreaksOff lets each step fail: no state is ever half there, the
// next call succeeds, and what died is removed when it is old.
func TestSaveClusterBreaksOff(t *testing.T) {
	broken := errors.New("broken off")
	for n := 1; ; n++ {
		r := newRepo(t)
		for k := range 100 {
			if _, _, err := r.SaveCluster(at(0).Add(time.Duration(k)*time.Hour), clusterFiles(k)); err != nil {
				t.Fatal(err)
			}
		}
		left := n
		r.SetHook(func(string) error {
			if left--; left == 0 {
				return broken
			}
			return nil
		})
		_, _, err := r.SaveCluster(at(10), clusterFiles(1000))
		r.SetHook(nil)
		if err != nil && !errors.Is(err, broken) {
			t.Fatal(err)
		}
		states(t, r)
		if _, _, err := r.SaveCluster(at(11), clusterFiles(1001)); err != nil {
			t.Errorf("after step %d: %v", n, err)
		}
		checkAbandoned(t, r)
		if left > 0 {
			return // No step was left to fail.
		}
	}
}

// checkAbandoned makes what died old and lets the next call remove it.
func checkAbandoned(t *testing.T, r *repo) {
	t.Helper()
	temps := func() []string {
		list, err := filepath.Glob(filepath.Join(r.Root(), ".cluster", "tmp-*"))
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	old := time.Now().Add(-2 * time.Hour)
	for _, dir := range temps() {
		if err := os.Chtimes(dir, old, old); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := r.SaveCluster(at(12), clusterFiles(1002)); err != nil {
		t.Fatal(err)
	}
	if list := temps(); len(list) != 0 {
		t.Errorf("left: %v", list)
	}
}
