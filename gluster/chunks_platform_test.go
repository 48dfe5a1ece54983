//go:build platform

package gluster_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/glusterbackupd/glusterbackupd/gluster"
)

const (
	chunkPool = "vg--gbtest-tp--gbtest-tpool"
	heldRoot  = "dmsetup status " + chunkPool + " | awk '{ print $7 }'"
)

// writeScript writes a file, or a part of it, through Gluster.
const writeScript = `dir=$(mktemp -d)
mount -t glusterfs localhost:"$1" "$dir"
dd if=/dev/urandom of="$dir/chunks" bs=4096 seek="$2" count="$3" conv=notrunc,fsync status=none
umount "$dir"
rmdir "$dir"`

// testChunks has one block of a file written between two snapshots, and finds it. While
// somebody else has the pool's metadata held, that is said, with the way out, and who
// holds it keeps it; what a comparison that was killed has left is freed.
func (p *platform) testChunks(t *testing.T) {
	c, ctx := p.client, t.Context()
	v, err := c.Volume(ctx, replica)
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range []string{"gbtest-one", "gbtest-two"} {
		p.script(t, writeScript, replica, []string{"0", "1280"}[i], []string{"2048", "1"}[i])
		p.snapshot(t, s, replica)
		if err := c.ActivateSnapshot(ctx, s); err != nil {
			t.Fatal(err)
		}
	}
	files, err := c.ImageFiles(ctx, v, "gbtest-two", "chunks")
	if err != nil {
		t.Fatal(err)
	}
	deltas, err := c.ChunkDeltas(ctx, v, "gbtest-one", "gbtest-two")
	if err != nil {
		t.Fatal(err)
	}
	changes, err := c.ImageChanges(ctx, v, gluster.ChangesRequest{
		Old: "gbtest-one", Now: "gbtest-two", Deltas: deltas, File: "chunks", GFID: files.GFID, Since: time.Unix(1, 0),
	})
	if err != nil || len(changes) != 2 {
		t.Fatalf("%v, %v", changes, err)
	}
	for i, found := range changes {
		all, written := int64(0), false
		for _, r := range found[0] {
			all += r[1] - r[0]
			written = written || r[0] <= 1280*4096 && r[1] >= 1281*4096
		}
		if !written || all > 256<<10 {
			t.Errorf("brick %d: a block at %d was written, and changes are %v", i, 1280*4096, found)
		}
	}

	p.assertNotHeld(t)
	check := func(volume string) error {
		v, err := c.Volume(ctx, volume)
		if err != nil {
			t.Fatal(err)
		}
		return c.CheckChunks(ctx, v)
	}
	if err := check(replica); err != nil {
		t.Error(err)
	}
	if err := check(plain); err == nil {
		t.Errorf("volume %s on no thin pool can be compared", plain)
	}
	p.script(t, "dmsetup message "+chunkPool+" 0 reserve_metadata_snap")
	_, err = c.ChunkDeltas(ctx, v, "gbtest-one", "gbtest-two")
	if !errors.Is(err, gluster.ErrMetadataHeld) || !strings.Contains(err.Error(), "dmsetup message "+chunkPool+" 0 release_metadata_snap") {
		t.Errorf("held by another: %v", err)
	}
	if err := check(replica); !errors.Is(err, gluster.ErrMetadataHeld) {
		t.Errorf("the check says %v", err)
	}
	// It is still held, and now the note of a killed one says that it is ours.
	p.script(t, "root=$("+heldRoot+"); [ \"$root\" != - ]; echo \"$root\" >/run/glusterbackupd/pools/"+chunkPool)
	if _, err = c.ChunkDeltas(ctx, v, "gbtest-one", "gbtest-two"); err != nil {
		t.Errorf("left by a killed one: %v", err)
	}
	p.assertNotHeld(t)
}

// assertNotHeld fails the test if the pool's metadata is still held.
func (p *platform) assertNotHeld(t *testing.T) {
	t.Helper()
	if root := strings.TrimSpace(p.script(t, heldRoot)); root != "-" {
		t.Errorf("the pool's metadata is still held: %s", root)
	}
}
