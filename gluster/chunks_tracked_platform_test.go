//go:build platform && soak

package gluster_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/glusterbackupd/glusterbackupd/gluster"
	"github.com/glusterbackupd/glusterbackupd/tracking"
)

// chunkTracker has the thin pool tell what has changed, in place of times.
type chunkTracker struct {
	last           string // The snapshot of the last round.
	asked          int
	changed, known int64
}

// TestTrackedChunks is TestTrackedChanges with a snapshot in each round, in which no
// shard is believed to be unchanged because of its times: the thin pool's chunks alone
// tell which of its blocks are. The bricks' file systems move and trim their data too.
func TestTrackedChunks(t *testing.T) {
	k := newTracker(t)
	k.chunks = &chunkTracker{}
	k.run(trackRounds(t))
	t.Logf("figures: the chunks were asked in %d rounds: %d of %d bytes can have changed", k.chunks.asked, k.chunks.changed, k.chunks.known)
	if k.chunks.asked == 0 || k.spared == 0 || k.chunks.changed == k.chunks.known {
		t.Error("the rule was not tried")
	}
	k.assertNotHeld(t)
}

// ask fills in what can have changed since the last round.
func (c *chunkTracker) ask(k *tracker, v gluster.Volume, now *tracking.State) {
	k.t.Helper()
	if k.last == nil {
		return
	}
	for _, b := range k.last.Bricks { // All of them were changed just before.
		for n, s := range b.Shards {
			s.Changed = b.Clock.UnixNano()
			b.Shards[n] = s
		}
	}
	if _, err := tracking.Compare(*k.last, *now); err != nil {
		return // Other bricks, or they are to be healed.
	}
	ctx := k.t.Context()
	deltas, err := k.client.ChunkDeltas(ctx, v, c.last, k.snapshotName())
	k.check(err)
	changes, err := k.client.ImageChanges(ctx, v, gluster.ChangesRequest{
		Old: c.last, Now: k.snapshotName(), Deltas: deltas, File: trackedFile, GFID: now.GFID, Since: time.Unix(1, 0),
	})
	k.check(err)
	c.asked++
	for i := range now.Bricks {
		now.Bricks[i].Changed = changes[i]
	}
	found, err := tracking.Compare(*k.last, *now)
	k.check(err)
	c.changed += found.Bytes()
	c.known += now.Size
}

// disturb moves and trims what a brick has, which changes nothing of it.
func (c *chunkTracker) disturb(k *tracker) {
	k.t.Helper()
	k.script(k.t, `case $1 in
0) fstrim /bricks/gbtest/b ;;
1) find /bricks/gbtest/b/brick/.shard -type f -size +0 -exec xfs_fsr -v {} + >/dev/null ;;
2) cd /bricks/gbtest/b/brick/.shard; f=$(find . -type f -size +0 | head -n 1)
   if [ -n "$f" ]; then n=$(stat -c %s "$f"); dd if="$f" of="$f" bs=4096 count=16 conv=notrunc,fsync status=none; truncate -s "$n" "$f"; fi ;;
esac`, fmt.Sprint(k.random.IntN(4)))
}
