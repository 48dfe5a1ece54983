//go:build platform && soak

package platform

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestTrackedImage changes one place in a block claim's image that nobody has
// written to for minutes: the second backup reads that shard and not the rest, and
// is the image; so is one that is told to ask no brick.
func TestTrackedImage(t *testing.T) {
	b := newBench(t)
	img := b.image("shop/db")
	first := b.backup("shop/db")
	path := b.live(img)
	if got, want := hashFile(t, filepath.Join(first.Backup.Path, "block-store", img.GBID)), hashFile(t, path); got != want {
		t.Errorf("backup %s is %s, the image %s", first.Backup.ID, got, want)
	}
	// Most of it has only been reserved.
	if unread := first.Backup.BytesUnread; unread < img.Size/2 || unread > img.Size-img.Size/100 {
		t.Errorf("the first backup did not read %d of %d bytes", unread, img.Size)
	}
	const offset, size = 7*shard + 12345, 64 << 10
	b.putBack(path, offset, size)
	write(t, path, offset, size, 11)

	second := b.backup("shop/db")
	want := hashFile(t, path)
	same := func(r backupResult) {
		t.Helper()
		if got := hashFile(t, filepath.Join(r.Backup.Path, "block-store", img.GBID)); got != want {
			t.Errorf("backup %s is %s, the image %s", r.Backup.ID, got, want)
		}
	}
	same(second)
	// The image's own file changes with any write, and the one that was written to; of
	// these only what has data is read.
	if unread := second.Backup.BytesUnread; unread < img.Size-3*shard || unread > img.Size-size {
		t.Errorf("%d of %d bytes were not read", unread, img.Size)
	}
	if second.Backup.BytesTransferred == 0 || second.Backup.BytesTransferred > size+2*4096 {
		t.Errorf("%d bytes written for %d changed ones", second.Backup.BytesTransferred, size)
	}
	b.configure(func(s string) string { return s + "[copy]\ntrack_images = false\n" })
	all := b.backup("shop/db")
	same(all)
	if all.Backup.BytesUnread != 0 {
		t.Errorf("%d bytes were not read although no brick was to be asked", all.Backup.BytesUnread)
	}
	// The last backup kept nothing of the shards.
	b.configure(nil)
	if o := b.run("backup", "shop/db"); o.code != 0 || !strings.Contains(o.stderr, "kept nothing of the image's shards") {
		t.Errorf("exit %d: %s", o.code, o.stderr)
	}
	t.Logf("figures: image %d bytes, %d changed: %d bytes not read", img.Size, size, second.Backup.BytesUnread)
}

// putBack has a part of a file be at the end of the test what it is now.
func (b *bench) putBack(path string, offset, size int64) {
	b.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		b.Fatal(err)
	}
	before := make([]byte, size)
	if _, err := f.ReadAt(before, offset); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if _, err := f.WriteAt(before, offset); err != nil {
			b.Error(err)
		}
		if err := f.Close(); err != nil {
			b.Error(err)
		}
	})
}

// TestTrackedChunks changes a little in the midst of much data of a block claim's image,
// right after a backup: with track_chunks the next one reads no more than the chunks of
// the thin pool, and is the image; without the snapshot of the last one it says so.
func TestTrackedChunks(t *testing.T) {
	b := newBench(t)
	b.keepSnapshots()
	chunks := func(s string) string { return s + "[copy]\ntrack_chunks = true\n" }
	b.configure(chunks)
	if o := b.run("check"); strings.Contains(o.stdout, "track_chunks") {
		t.Errorf("check says %s", o.stdout)
	}
	img := b.image("shop/db")
	path := b.live(img)
	const offset, size = 7*shard + 4<<20, 16 << 20
	b.putBack(path, offset, size)
	write(t, path, offset, size, 12)
	b.backup("shop/db")

	same := func(r backupResult) int64 {
		t.Helper()
		if got, want := hashFile(t, filepath.Join(r.Backup.Path, "block-store", img.GBID)), hashFile(t, path); got != want {
			t.Errorf("backup %s is %s, the image %s", r.Backup.ID, got, want)
		}
		return img.Size - r.Backup.BytesUnread
	}
	const changed = 64 << 10
	write(t, path, offset+5<<20, changed, 13)
	read := same(b.backup("shop/db"))
	// Two chunks of 256 KiB, and one of 64 blocks that is read to be sure.
	if read < changed || read > 3<<20 {
		t.Errorf("%d bytes were read for %d changed ones", read, changed)
	}
	b.configure(nil)
	write(t, path, offset+5<<20, changed, 14)
	shards := same(b.backup("shop/db"))
	if shards < size {
		t.Errorf("%d bytes were read without the chunks", shards)
	}
	b.deleteSnapshots()
	b.configure(chunks)
	if o := b.run("backup", "shop/db"); o.code != 0 || !strings.Contains(o.stderr, "[retention] snapshots must be longer") {
		t.Errorf("exit %d: %s", o.code, o.stderr)
	}
	b.script(`for pool in $(dmsetup ls --target thin-pool | cut -f 1); do [ "$(dmsetup status "$pool" | awk '{ print $7 }')" = - ] || exit 1; done`)
	t.Logf("figures: image %d bytes, %d changed: %d bytes read, %d without the chunks", img.Size, changed, read, shards)
}
