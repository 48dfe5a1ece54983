package copiertest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/glusterbackupd/glusterbackupd/copier"
)

// bulk returns a folder with enough files that a copy can be stopped in the
// middle, and the content of each.
func bulk(t *testing.T) (dir string, content []byte) {
	t.Helper()
	dir, content = t.TempDir(), bytes.Repeat([]byte("0123456789abcdef"), 2048)
	for i := range 1500 {
		must(t, os.WriteFile(filepath.Join(dir, fmt.Sprintf("f%04d", i)), content, 0o600))
	}
	return dir, content
}

func progress(t *testing.T, e Engine) {
	src, dest := generated(t), t.TempDir()
	var calls, inside atomic.Int32
	var last copier.Progress
	res := mustCopy(t, e, copier.Tree{Source: src, Dest: dest, Progress: func(p copier.Progress) {
		if inside.Add(1) > 1 {
			t.Error("Progress was called by two goroutines at a time")
		}
		defer inside.Add(-1)
		if p.Bytes < last.Bytes || p.Files < 0 || p.Rate < 0 || p.ETA < 0 || p.TotalFiles > 0 && p.Files > p.TotalFiles {
			t.Errorf("implausible progress %+v after %+v", p, last)
		}
		last = p
		calls.Add(1)
	}})
	if calls.Load() == 0 || last.Bytes != res.BytesTransferred || last.Files != res.Entries || last.TotalFiles != res.Entries {
		t.Errorf("%d calls, last %+v; result %+v", calls.Load(), last, res)
	}
}

func badTree(t *testing.T, e Engine) {
	dir, file := t.TempDir(), filepath.Join(folderOf(t, map[string]string{"f": "f"}), "f")
	dest := t.TempDir()
	write(t, dest, map[string]string{"sub/": ""})
	tests := map[string]struct {
		tree copier.Tree
		want error
	}{
		"no source":           {copier.Tree{Dest: dest}, copier.ErrTree},
		"no destination":      {copier.Tree{Source: dir}, copier.ErrTree},
		"relative source":     {copier.Tree{Source: "x", Dest: dest}, copier.ErrTree},
		"remote source":       {copier.Tree{Source: "host:/x", Dest: dest}, copier.ErrTree},
		"option":              {copier.Tree{Source: "--version", Dest: dest}, copier.ErrTree},
		"relative reference":  {copier.Tree{Source: dir, Dest: dest, Reference: "../x"}, copier.ErrTree},
		"missing source":      {copier.Tree{Source: dir + "/missing", Dest: dest}, fs.ErrNotExist},
		"missing destination": {copier.Tree{Source: dir, Dest: dest + "/missing"}, fs.ErrNotExist},
		"missing reference":   {copier.Tree{Source: dir, Dest: dest, Reference: dir + "/missing"}, fs.ErrNotExist},
		"source is a file":    {copier.Tree{Source: file, Dest: dest}, copier.ErrTree},
		"into itself":         {copier.Tree{Source: dest, Dest: dest + "/sub"}, copier.ErrTree},
		"onto itself":         {copier.Tree{Source: dest, Dest: dest + "/"}, copier.ErrTree},
	}
	for name, tt := range tests {
		if _, err := e.Copy(t.Context(), tt.tree); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
	}
}

// cancelInMidCopy stops a copy and looks at what it left: complete files only,
// under their own names, and nothing that goes on writing.
func cancelInMidCopy(t *testing.T, e Engine) {
	src, content := bulk(t)
	dest := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	_, err := e.Copy(ctx, copier.Tree{Source: src, Dest: dest, Progress: func(copier.Progress) { cancel() }})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("error %v, want %v", err, context.Canceled)
	}
	left, err := os.ReadDir(dest)
	must(t, err)
	for _, entry := range left {
		got, err := os.ReadFile(filepath.Join(dest, entry.Name()))
		must(t, err)
		if _, err := os.Lstat(filepath.Join(src, entry.Name())); err != nil || !bytes.Equal(got, content) {
			t.Errorf("%s was left with %d bytes (%v)", entry.Name(), len(got), err)
		}
	}
	again, err := os.ReadDir(dest)
	must(t, err)
	if len(left) == 1500 || len(again) != len(left) {
		t.Errorf("%d files of 1500 after the cancelled copy, %d a moment later", len(left), len(again))
	}
	mustCopy(t, e, copier.Tree{Source: src, Dest: dest})
	wantSame(t, src, dest)
}

func cancelledBefore(t *testing.T, e Engine) {
	cause := errors.New("stopped by a test")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	dest := t.TempDir()
	_, err := e.Copy(ctx, copier.Tree{Source: folderOf(t, map[string]string{"f": "f"}), Dest: dest})
	if !errors.Is(err, cause) {
		t.Errorf("error %v, want the cause", err)
	}
	wantContent(t, filepath.Join(dest, "f"), "")
}

// sourceDisappears removes files while they are copied, from the last one on.
func sourceDisappears(t *testing.T, e Engine) {
	src, _ := bulk(t)
	removed := false
	_, err := e.Copy(t.Context(), copier.Tree{Source: src, Dest: t.TempDir(), Progress: func(copier.Progress) {
		for i := 1499; i >= 100 && !removed; i-- {
			if err := os.Remove(filepath.Join(src, fmt.Sprintf("f%04d", i))); err != nil {
				t.Error(err)
			}
		}
		removed = true
	}})
	if err == nil || !strings.Contains(err.Error(), src+"/f") {
		t.Errorf("error %v, want one that names a file that disappeared", err)
	}
}
