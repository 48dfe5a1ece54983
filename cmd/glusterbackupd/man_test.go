package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// manPages writes the pages and returns them by name.
func manPages(t *testing.T) map[string]string {
	t.Helper()
	dir := t.TempDir()
	if i := invoke(t, "man", "--date", "2018-12-02", dir); i.code != 0 {
		t.Fatal(i.errout)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	pages := map[string]string{}
	for _, e := range entries {
		content, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		pages[e.Name()] = string(content)
	}
	return pages
}

// TestManPages checks that every command that help shows has a page.
func TestManPages(t *testing.T) {
	pages := manPages(t)
	var walk func(*cobra.Command)
	walk = func(cmd *cobra.Command) {
		name := strings.ReplaceAll(cmd.CommandPath(), " ", "-") + ".1"
		page, found := pages[name]
		switch {
		case !found:
			t.Errorf("no page %s", name)
		case !strings.Contains(page, `"Dec 2018"`):
			t.Errorf("%s is not of the date that was asked for", name)
		case strings.Contains(page, "Auto generated"):
			t.Errorf("%s speaks of its making", name)
		case strings.Contains(cmd.Long, exitCodeHelp) && !strings.Contains(page, "\n  0    done\n  1    failed\n"):
			t.Errorf("%s: the exit codes are not one a line:\n%s", name, page)
		}
		for _, c := range cmd.Commands() {
			if !c.Hidden {
				walk(c)
			}
		}
	}
	walk(newRootCommand(&globals{}))
	if _, found := pages["glusterbackupd-man.1"]; found {
		t.Error("the hidden command has a page")
	}
}

func TestManDate(t *testing.T) {
	for _, date := range [][]string{nil, {"--date", "yesterday"}} {
		dir := t.TempDir()
		if i := invoke(t, slices.Concat([]string{"man", dir}, date)...); i.code != 2 {
			t.Errorf("%v: exit %d, want 2", date, i.code)
		}
		if list, err := os.ReadDir(dir); err != nil || len(list) > 0 {
			t.Errorf("%v: pages %v, %v", date, list, err)
		}
	}
}
