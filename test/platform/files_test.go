//go:build platform

package platform

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/glusterbackupd/glusterbackupd/test/tree"
)

// TestFilesBackupDestroyRestore is the main job: the restored volume equals
// what it was in every property that the generator makes.
func TestFilesBackupDestroyRestore(t *testing.T) {
	b := newBench(t)
	dir, unmount := b.mount(b.volumeOf("shop/uploads"))
	before := scan(t, dir)
	r := b.backup("shop/uploads")
	assertEqual(t, before, scan(t, r.Backup.Path))

	extra := filepath.Join(dir, "extra")
	if err := os.WriteFile(extra, []byte("not in the backup"), 0o600); err != nil {
		t.Fatal(err)
	}
	lost := destroy(t, dir)
	done := b.restore("restore", "shop/uploads")
	if done.Changed == 0 || done.Compared == 0 {
		t.Errorf("restored %+v", done)
	}
	unmount()
	dir, unmount = b.mount(b.volumeOf("shop/uploads"))
	if _, err := os.Lstat(filepath.Join(dir, lost)); err != nil {
		t.Errorf("%s is not back: %v", lost, err)
	}
	if _, err := os.Lstat(filepath.Join(dir, "extra")); err != nil {
		t.Errorf("a file that is not in the backup is gone without --delete: %v", err)
	}

	if err := tree.Mutate(dir, 7, 0.5); err != nil {
		t.Fatal(err)
	}
	obstruct(t, dir)
	unmount()
	b.refused(1, []string{"shop/uploads", "make way", "--delete"}, "restore", "shop/uploads", "--dry-run")
	if done := b.restore("restore", "shop/uploads", "--delete"); done.Deleted == 0 {
		t.Errorf("nothing deleted: %+v", done)
	}
	dir, _ = b.mount(b.volumeOf("shop/uploads"))
	assertEqual(t, before, scan(t, dir))
}

// obstruct puts a folder with something in it where a regular file of the root
// was.
func obstruct(t testing.TB, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if e.Type().IsRegular() {
			if err := errors.Join(os.Remove(path), os.MkdirAll(filepath.Join(path, "in-the-way"), 0o755)); err != nil {
				t.Fatal(err)
			}
			return
		}
	}
	t.Fatal("no regular file in the root")
}

// destroy removes one entry of the root of a tree and everything in it, and
// returns its name.
func destroy(t testing.TB, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.IsDir() {
			if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
				t.Fatal(err)
			}
			return e.Name()
		}
	}
	t.Fatal("nothing to destroy")
	return ""
}

// TestFilesRestoreToFolderAndPath restores beside the volume, whole and one
// path only.
func TestFilesRestoreToFolderAndPath(t *testing.T) {
	b := newBench(t)
	r := b.backup("media/docs")
	all := scan(t, r.Backup.Path)
	whole := filepath.Join(t.TempDir(), "whole")
	b.restore("restore", "media/docs", "--to", whole)
	assertEqual(t, all, scan(t, whole))

	var sub string
	for _, e := range all {
		if e.Type == "dir" && e.Path != "." && !strings.Contains(e.Path, "/") {
			sub = e.Path
			break
		}
	}
	part := filepath.Join(t.TempDir(), "part")
	b.restore("restore", "media/docs", "--path", sub, "--to", part)
	for _, e := range scan(t, part) {
		if e.Path != "." && e.Path != sub && !strings.HasPrefix(e.Path, sub+"/") {
			t.Errorf("restored %q, which is not below %q", e.Path, sub)
		}
	}
	empty := t.TempDir()
	b.refused(4, []string{"no-such-folder"}, "restore", "media/docs", "--path", "no-such-folder", "--to", empty, "--yes")
	b.refused(2, []string{".."}, "restore", "media/docs", "--path", "..", "--to", empty, "--yes")
	b.refused(1, []string{part, "not empty"}, "restore", "media/docs", "--to", part, "--yes")
	b.refused(1, []string{"BackupDisk"}, "restore", "media/docs", "--to", filepath.Join(b.disk, "x"), "--yes")
}

// TestFilesSecondBackupCostsNothing measures what a backup of an unchanged
// claim transfers and takes.
func TestFilesSecondBackupCostsNothing(t *testing.T) {
	b := newBench(t)
	empty := used(t, b.disk)
	first := b.backup("media/photos")
	one := used(t, b.disk)
	time.Sleep(time.Second) // Backups are named by the second.
	second := b.backup("media/photos")
	two := used(t, b.disk)
	if second.Backup.BytesTransferred != 0 {
		t.Errorf("%d bytes transferred of an unchanged claim", second.Backup.BytesTransferred)
	}
	// What remains are folders, the manifest, and what is no regular file.
	if grown, limit := two-one, (one-empty)/10; grown > limit {
		t.Errorf("an unchanged version takes %d bytes, more than a tenth of the first (%d)", grown, one-empty)
	}
	t.Logf("figures: %d files, %d bytes; first version takes %d, second %d", first.Backup.Files, first.Backup.Bytes, one-empty, two-one)
	assertEqual(t, scan(t, first.Backup.Path), scan(t, second.Backup.Path))
}

// TestFilesBackupIsTheSnapshot runs a backup beside a writer that never stops,
// and compares it with the snapshot that it was made from.
func TestFilesBackupIsTheSnapshot(t *testing.T) {
	b := newBench(t)
	b.keepSnapshots()
	volume := b.volumeOf("media/docs")
	dir, _ := b.mount(volume)
	scratch := filepath.Join(dir, "writer")
	if err := os.MkdirAll(scratch, 0o755); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := os.RemoveAll(scratch); err != nil {
			t.Error(err)
		}
	}()
	ctx, stop := context.WithCancel(t.Context())
	stopped := make(chan int)
	go func() { stopped <- keepWriting(ctx, scratch) }()
	r := b.backup("media/docs")
	stop()
	writes := <-stopped
	if writes == 0 {
		t.Fatal("the writer wrote nothing")
	}
	view, unmount := b.mount("/snaps/"+r.Backup.Snapshot+"/"+volume, "ro")
	assertEqual(t, scan(t, view), scan(t, r.Backup.Path))
	unmount()
	b.must("verify", "media/docs", "--against-source")
	b.deleteSnapshots()
	b.refused(1, []string{"media/docs", r.Backup.Snapshot, "no longer exists"}, "verify", "media/docs", "--against-source")
	t.Logf("figures: %d writes during the backup", writes)
}

// keepSnapshots makes this and later configurations of the test keep snapshots,
// and removes them at its end.
func (b *bench) keepSnapshots() {
	b.keepsSnapshots = true
	b.Cleanup(b.deleteSnapshots)
	b.configure(nil)
}

// keepWriting creates, overwrites, renames and deletes files until ctx is over
// and returns how often.
func keepWriting(ctx context.Context, dir string) (n int) {
	content := bytes.Repeat([]byte("0123456789abcdef"), 1024)
	for ctx.Err() == nil {
		name := filepath.Join(dir, fmt.Sprint(n%50))
		if os.WriteFile(name, content[:n*37%len(content)], 0o644) == nil {
			n++
		}
		if n%3 == 0 {
			_ = os.Rename(name, name+".renamed") // A lost race is part of the load.
		}
		if n%7 == 0 {
			_ = os.Remove(name) // See above.
		}
	}
	return n
}
