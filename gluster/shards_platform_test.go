//go:build platform && soak

package gluster_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/glusterbackupd/glusterbackupd/copier"
	"github.com/glusterbackupd/glusterbackupd/gluster"
	"github.com/glusterbackupd/glusterbackupd/manifest"
	"github.com/glusterbackupd/glusterbackupd/tracking"
)

// The image of TestTrackedChanges: seven shards, the last one short.
const (
	trackedShard = 4 << 20
	trackedSize  = 6*trackedShard + 12345
	trackedFile  = "block-store/image"
)

// trackRounds is how often TestTrackedChanges writes, tracks, copies and
// compares; the variable TRACK_ROUNDS says how often instead of 200.
func trackRounds(t *testing.T) int {
	text := os.Getenv("TRACK_ROUNDS")
	if text == "" {
		return 200
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("TRACK_ROUNDS=%q is no number of rounds", text)
	}
	return n
}

// tracker is a sharded replicated volume with an image that changes, and the
// backups of it.
type tracker struct {
	*platform
	t            *testing.T
	random       *rand.Rand
	live, direct string // Mounts: to write, and to read without a cache.
	dir          string // Of the backups.
	last         *tracking.State
	pieces       manifest.Pieces // Of the last backup.
	round        int
	chunks       *chunkTracker // Nil when times are to tell.

	copied, unread     int64
	missing            int64 // Bytes that no brick had, in all rounds.
	doubts, snapshots  int
	spared, everything int // Rounds in which something was not read, and in which all was.
}

// TestTrackedChanges writes into an image on a sharded volume at random, asks the
// bricks what has changed, copies only that, and compares all of it, again and
// again: while a brick is down and is healed, is replaced, while bricks are added
// and taken away with a rebalance, and each tenth time through a real snapshot.
func TestTrackedChanges(t *testing.T) {
	k := newTracker(t)
	k.run(trackRounds(t))
	if k.spared == 0 || k.doubts == 0 || k.missing == 0 {
		t.Error("the rule was not tried")
	}
}

func newTracker(t *testing.T) *tracker {
	p := newPlatform(t)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	k := &tracker{platform: p, t: t, random: rand.New(rand.NewPCG(seed, 1)), dir: t.TempDir()}
	p.script(t, `gluster --mode=script volume set gbtest_replica features.shard on
gluster --mode=script volume set gbtest_replica features.shard-block-size 4MB
gluster --mode=script volume set gbtest_replica cluster.self-heal-daemon on
gluster --mode=script volume set gbtest_replica cluster.heal-timeout 5`)
	k.live, k.direct = k.mount(replica), k.mount(replica)
	k.create()
	return k
}

// run does what TestTrackedChanges says so many times.
func (k *tracker) run(rounds int) {
	for k.round = range rounds {
		if k.random.IntN(15) == 0 {
			k.remake()
		}
		k.change()
		if k.chunks != nil {
			k.chunks.disturb(k)
		}
		switch k.round * 10 / rounds {
		case 2, 3:
			k.brickDown()
		case 4:
			k.replaceBrick()
		case 6, 8:
			k.moreBricks()
		}
		k.backup(k.chunks != nil || k.round%10 == 9)
	}
	k.t.Logf("figures: %d rounds, %d with a snapshot: something was not read in %d, all was read in %d, there was a doubt in %d; %d of %d bytes were not read, %d bytes were never written",
		rounds, k.snapshots, k.spared, k.everything, k.doubts, k.unread, k.copied, k.missing)
}

// mount mounts a volume or a snapshot for the test, without caches.
func (k *tracker) mount(source string) string {
	k.t.Helper()
	dir := k.t.TempDir()
	out, err := exec.CommandContext(k.t.Context(), "mount", "-t", "glusterfs", "-o",
		"direct-io-mode=enable,attribute-timeout=0,entry-timeout=0", k.lab.Address+":"+source, dir).CombinedOutput()
	if err != nil {
		k.t.Fatalf("mount %s: %v: %s", source, err, out)
	}
	k.t.Cleanup(func() { k.unmount(dir) })
	return dir
}

func (k *tracker) unmount(dir string) {
	if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) {
		k.t.Errorf("unmount %s: %v", dir, err)
	}
}

func (k *tracker) check(err error) {
	k.t.Helper()
	if err != nil {
		k.t.Fatalf("round %d: %v", k.round, err)
	}
}

func (k *tracker) create() {
	k.t.Helper()
	k.check(os.MkdirAll(filepath.Join(k.live, "block-store"), 0o755))
	f, err := os.Create(filepath.Join(k.live, trackedFile))
	k.check(err)
	k.check(f.Truncate(trackedSize))
	k.check(unix.Fallocate(int(f.Fd()), 0, trackedShard, 3*trackedShard)) // As gluster-block does of all.
	k.check(f.Close())
}

// remake has a new and empty image under the old name.
func (k *tracker) remake() {
	k.t.Helper()
	k.healed() // A brick that still had the old one would be split.
	k.check(os.Remove(filepath.Join(k.live, trackedFile)))
	k.create()
}

// change writes, overwrites with the same, and punches holes, in up to three
// places, or does nothing.
func (k *tracker) change() {
	k.t.Helper()
	f, err := os.OpenFile(filepath.Join(k.live, trackedFile), os.O_RDWR, 0)
	k.check(err)
	for range k.random.IntN(4) {
		off := k.random.Int64N(trackedSize - 1)
		n := min(1+k.random.Int64N(64<<10), trackedSize-off)
		buf := make([]byte, n)
		switch k.random.IntN(5) {
		case 0:
			err = unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off, n)
		case 1: // Zeros that are written.
			_, err = f.WriteAt(buf, off)
		default:
			for i := range buf {
				buf[i] = byte(k.random.Uint32())
			}
			_, err = f.WriteAt(buf, off)
		}
		k.check(err)
	}
	k.check(f.Sync())
	k.check(f.Close())
}

// brickDown kills a brick, writes while it is away, and starts it again; half of
// the time the backup does not wait for the heal.
func (k *tracker) brickDown() {
	k.t.Helper()
	k.healed() // Two bricks that miss each other's writes would be split.
	k.script(k.t, `pid=$(gluster volume status gbtest_replica --xml | sed -n 's/.*<pid>\([0-9][0-9]*\)<.*/\1/p' | sed -n "$1p"); kill -9 "$pid"`,
		strconv.Itoa(1+k.random.IntN(2)))
	time.Sleep(time.Second)
	k.change()
	k.script(k.t, `gluster --mode=script volume start gbtest_replica force`)
	if k.random.IntN(2) == 0 {
		k.healed()
	}
}

// healed waits until nothing is to be healed.
func (k *tracker) healed() {
	k.t.Helper()
	k.script(k.t, `n=0
until [ "$(gluster volume heal gbtest_replica info | awk '/^Number of entries:/ {if ($4 == "-") s += 1; s += $4} END {print s + 0}')" = 0 ]; do
	gluster volume heal gbtest_replica >/dev/null 2>&1 || true
	n=$((n + 1)); if [ $n -gt 60 ]; then gluster volume heal gbtest_replica info; exit 1; fi
	sleep 1
done`)
}

// replaceBrick has the second brick stand elsewhere, and waits for its heal.
func (k *tracker) replaceBrick() {
	k.t.Helper()
	if k.round%3 != 0 {
		return
	}
	k.healed()
	k.script(k.t, `new=/bricks/gbtest/a/track-$2
old=$(gluster volume info gbtest_replica | sed -n 's/^Brick2: //p')
gluster --mode=script volume replace-brick gbtest_replica "$old" "$1:$new" commit force
gluster --mode=script volume heal gbtest_replica full || true`, k.lab.Address, strconv.Itoa(k.round))
	k.healed()
}

// moreBricks adds a second pair of bricks with a rebalance, or takes it away.
func (k *tracker) moreBricks() {
	k.t.Helper()
	if k.round%4 != 0 {
		return
	}
	k.healed()
	k.script(k.t, `g() { gluster --mode=script "$@"; }
done_with() { n=0; until g volume "$@" status | grep -q completed; do n=$((n + 1)); [ $n -lt 60 ] || exit 1; sleep 1; done; }
pair=$(gluster volume info gbtest_replica | sed -n 's/^Brick[34]: //p' | tr '\n' ' ')
if [ -z "$pair" ]; then
	g volume add-brick gbtest_replica "$1:/bricks/gbtest/a/more-$2" "$1:/bricks/gbtest/b/more-$2" force
	g volume rebalance gbtest_replica start force
	done_with rebalance gbtest_replica
else
	g volume remove-brick gbtest_replica $pair start
	done_with remove-brick gbtest_replica $pair
	g volume remove-brick gbtest_replica $pair commit
fi`, k.lab.Address, strconv.Itoa(k.round))
}

// backup tracks, copies and compares.
func (k *tracker) backup(snapshot bool) {
	k.t.Helper()
	ctx := k.t.Context()
	v, err := k.client.Volume(ctx, replica)
	k.check(err)
	now := tracking.State{
		Repository: "r", SnapshotUUID: fmt.Sprint(k.round), VolumeID: v.ID, Size: trackedSize,
		Taken: time.Now().Add(tracking.Settled - time.Second),
	}
	source, files := k.direct, gluster.ImageFiles{}
	if snapshot {
		source, files = k.frozen(v)
		defer k.thawed(source)
	} else {
		files, err = k.client.LiveFiles(ctx, v, trackedFile)
		k.check(err)
	}
	var data []gluster.BrickData
	if snapshot {
		data, err = k.client.ImageData(ctx, v, k.snapshotName(), trackedFile, files.GFID)
	} else {
		data, err = k.client.LiveData(ctx, v, trackedFile, files.GFID)
	}
	k.check(err)
	now.GFID, now.ShardSize = files.GFID, files.ShardSize
	for i, b := range files.Bricks {
		// One that was killed keeps its life here, or nothing would be left to try. What
		// was changed long before the snapshot counts; here that is a second.
		ahead := tracking.Settled - time.Second
		brick := tracking.Brick{Name: b.Brick.String(), Life: "one", Asked: b.Asked.Add(ahead), Clock: b.Clock.Add(ahead), Healing: b.Healing, Shards: map[int64]tracking.Shard{}, Data: data[i]}
		for n, f := range b.Files {
			brick.Shards[n] = tracking.Shard(f)
		}
		now.Bricks = append(now.Bricks, brick)
	}
	if k.chunks != nil {
		k.chunks.ask(k, v, &now)
	}
	k.pieces = k.copy(now, filepath.Join(source, trackedFile))
	k.last = &now
	time.Sleep(1100 * time.Millisecond) // Past the second.
}

func (k *tracker) snapshotName() string { return fmt.Sprintf("gbtest-tracked-%d", k.round) }

func (k *tracker) frozen(v gluster.Volume) (string, gluster.ImageFiles) {
	k.t.Helper()
	ctx := k.t.Context()
	k.snapshots++
	k.healed() // Gluster takes none of a volume with a brick that is down.
	_, err := k.client.CreateSnapshot(ctx, gluster.SnapshotRequest{Name: k.snapshotName(), Volume: replica})
	k.check(err)
	k.check(k.client.ActivateSnapshot(ctx, k.snapshotName()))
	files, err := k.client.ImageFiles(ctx, v, k.snapshotName(), trackedFile)
	k.check(err)
	k.change() // The live image is another one from now on.
	return k.mount("/snaps/" + k.snapshotName() + "/" + replica), files
}

func (k *tracker) thawed(dir string) {
	k.unmount(dir)
	name := k.snapshotName()
	if k.chunks != nil {
		k.chunks.last, name = name, k.chunks.last // It is compared with the next one.
	}
	if name == "" {
		return
	}
	if err := k.client.DeleteSnapshot(context.WithoutCancel(k.t.Context()), name); err != nil {
		k.t.Error(err)
	}
}

// copy makes the next backup from the last one and what can have changed: a new
// image, or in every second round a clone of the last one.
func (k *tracker) copy(now tracking.State, path string) manifest.Pieces {
	k.t.Helper()
	source, err := copier.OpenImage(path)
	k.check(err)
	defer source.Close()
	target, _, err := copier.CreateImage(k.path(k.round), trackedSize, "")
	k.check(err)
	defer target.Close()
	blocks, _, err := copier.CreateImage(k.path(k.round)+".blocks", copier.BlockDigestsSize(trackedSize), "")
	k.check(err)
	defer blocks.Close()
	c := copier.ImageCopy{Source: source, Target: target, Fresh: true, Digest: copier.PieceDigests, PieceSize: 1 << 20, Blocks: blocks}
	if missing, err := tracking.FindMissing(now); err == nil {
		c.Zero = missing.Zero
		k.missing += missing.Bytes()
	}
	if k.last != nil {
		changes, err := tracking.Compare(*k.last, now)
		if err != nil {
			k.t.Logf("round %d: %v", k.round, err)
			k.doubts++
		} else {
			old, err := copier.OpenImage(k.path(k.round - 1))
			k.check(err)
			defer old.Close()
			c.Reference = &copier.ImageReference{Pieces: k.pieces, Image: old, Data: target.Data, Unchanged: changes.Unchanged, Check: changes.Check}
			if k.round%2 == 0 { // As a file system with reflinks makes it.
				_, err := copier.CopyImage(k.t.Context(), copier.ImageCopy{Source: old, Target: target, Fresh: true})
				k.check(err)
				c.Fresh, c.Compare = false, true
				said, err := os.ReadFile(k.path(k.round-1) + ".blocks")
				k.check(err)
				_, err = blocks.WriteAt(said, 0)
				k.check(err)
			}
		}
	}
	res, err := copier.CopyImage(k.t.Context(), c)
	k.check(err)
	k.copied += res.Size
	k.unread += res.Unread
	if res.Unread > 0 {
		k.spared++
	} else {
		k.everything++
	}
	at, err := copier.CompareImages(k.t.Context(), source, target, nil)
	k.check(err)
	if at >= 0 {
		k.t.Fatalf("round %d: the backup differs at byte %d, shard %d; %d bytes were not read\nlast %+v\nnow %+v",
			k.round, at, at/trackedShard, res.Unread, k.last, now)
	}
	if k.round > 0 {
		k.check(os.Remove(k.path(k.round - 1)))
		k.check(os.Remove(k.path(k.round-1) + ".blocks"))
	}
	if res.Rotten+res.Missed > 0 {
		k.t.Errorf("round %d: %d bytes of the last backup are rotten, %d missed", k.round, res.Rotten, res.Missed)
	}
	return res.Pieces
}

func (k *tracker) path(round int) string { return filepath.Join(k.dir, strconv.Itoa(round)) }
