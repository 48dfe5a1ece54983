//go:build platform

package platform

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/glusterbackupd/glusterbackupd/manifest"
	"github.com/glusterbackupd/glusterbackupd/test/lab"
)

// shard is the size of the pieces that the lab's blockhost volume cuts images
// into.
const shard = 64 << 20

// image returns the image behind a claim.
func (b *bench) image(claim string) *lab.Image {
	b.Helper()
	namespace, name, _ := strings.Cut(claim, "/")
	img, ok := b.lab.ClaimImage(namespace, name)
	if !ok {
		b.Fatalf("the lab has no image for %q", claim)
	}
	return img
}

// live mounts the blockhost volume without page cache and returns the image's
// path on it.
func (b *bench) live(img *lab.Image) string {
	b.Helper()
	dir, _ := b.mount(b.lab.HostingVolume, "direct-io-mode=enable")
	return filepath.Join(dir, "block-store", img.GBID)
}

func hashFile(t testing.TB, path string) string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(h.Sum(nil))
}

func inode(t testing.TB, path string) uint64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		t.Fatalf("no inode of %s", path)
	}
	return st.Ino
}

// poolUsed returns the percentage of the fullest thin pool of the blockhost
// volume's brick.
func (b *bench) poolUsed() float64 {
	b.Helper()
	out := b.script(`
brick=$(gluster volume info "$1" | sed -n 's/^Brick1: [^:]*://p')
lv=$(df --output=source "$brick" | tail -n 1)
pool=$(lvs --noheadings -o vg_name,pool_lv "$lv" | sed 's/^ *//; s/  */\//')
lvs --noheadings -o data_percent "$pool"`, b.lab.HostingVolume)
	var percent float64
	if _, err := fmt.Sscan(out, &percent); err != nil {
		b.Fatal(err)
	}
	return percent
}

// write puts random data at the offset of an image on a mounted volume.
func write(t testing.TB, path string, offset int64, size int, seed uint64) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	data := make([]byte, size)
	source := rand.NewChaCha8([32]byte{byte(seed)})
	if _, err := source.Read(data); err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(data, offset); err != nil {
		t.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
}

// smallImage makes a block volume of three shards with some data, beside
// Heketi's back: Heketi's smallest is 1 GiB, which the emulated guest takes a
// minute to read. It is gone when the test ends.
func (b *bench) smallImage(name string) *lab.Image {
	b.Helper()
	block := b.lab.HostingVolume + "/" + name
	b.guest("gluster-block", "create", block, "ha", "1", "prealloc", "no", b.lab.Address, "192MiB", "--json")
	b.Cleanup(func() {
		if _, err := b.lab.Guest(context.Background(), "gluster-block", "delete", block, "--json"); err != nil {
			b.Error(err)
		}
	})
	img := &lab.Image{Name: name, Size: 3 * shard}
	img.GBID = strings.TrimSpace(b.script(`sed -n 's/^GBID: //p' "$1"`, b.lab.GuestJournal(img)))
	img.IQN = "iqn.2016-12.org.gluster-block:" + img.GBID
	path := b.live(img)
	write(b, path, 0, 4<<20, 1)
	write(b, path, shard+(8<<20), 8<<20, 2)
	return img
}

// listed makes a configuration that lists the images as claims block/<name>.
func (b *bench) listed(images ...*lab.Image) {
	b.Helper()
	var volumes []string
	for _, img := range images {
		volumes = append(volumes, "block/"+img.Name+"="+b.lab.HostingVolume+"/"+img.Name)
	}
	b.standalone(volumes...)
}

// mtime returns the modification time that a new client sees: one that wrote
// itself keeps a later time in memory.
func (b *bench) mtime(img *lab.Image) time.Time {
	b.Helper()
	dir, unmount := b.mount(b.lab.HostingVolume)
	defer unmount()
	info, err := os.Stat(filepath.Join(dir, "block-store", img.GBID))
	if err != nil {
		b.Fatal(err)
	}
	return info.ModTime()
}

// TestImageSecondBackup changes 1 % of an image beyond its first shard, where
// a write moves no time of the image, and measures what the next version costs
// on a BackupDisk with reflinks.
func TestImageSecondBackup(t *testing.T) {
	b := newBench(t)
	img := b.smallImage("second")
	b.listed(img)
	path := b.live(img)
	first := b.backup("block/second")
	if first.Backup.BytesUnread < shard { // One of its three shards was never written.
		t.Errorf("the first backup did not read %d bytes of %d", first.Backup.BytesUnread, img.Size)
	}
	checkBlocks(t, filepath.Dir(first.Backup.Path))
	one := used(t, b.disk)
	before := b.mtime(img)
	const piece = 64 << 10
	changed := int(img.Size/100) / piece * piece
	for i := range changed / piece {
		write(t, path, shard+int64(i)*5*piece, piece, uint64(i+3))
	}
	if after := b.mtime(img); !after.Equal(before) {
		t.Errorf("the image's mtime moved from %s to %s: this test no longer shows what it should", before, after)
	}
	second := b.backup("block/second")
	grown := used(t, b.disk) - one
	stored := filepath.Join(second.Backup.Path, "block-store", img.GBID)
	if got, want := hashFile(t, stored), hashFile(t, path); got != want {
		t.Errorf("second backup is %s, the image %s", got, want)
	}
	checkBlocks(t, filepath.Dir(second.Backup.Path))
	if out, err := exec.CommandContext(t.Context(), "filefrag", "-v", filepath.Join(filepath.Dir(second.Backup.Path), "blocks")).CombinedOutput(); err != nil || !strings.Contains(string(out), "shared") {
		t.Errorf("the digests of the blocks share nothing with those of the first backup: %v\n%s", err, out)
	}
	if second.Backup.BytesTransferred > int64(changed)*11/10 {
		t.Errorf("%d bytes written for %d changed ones", second.Backup.BytesTransferred, changed)
	}
	if grown > int64(changed)*3/2 {
		t.Errorf("the second version takes %d bytes for %d changed ones", grown, changed)
	}
	t.Logf("figures: image %d bytes; first version wrote %d; %d bytes changed: second wrote %d and takes %d",
		img.Size, first.Backup.BytesTransferred, changed, second.Backup.BytesTransferred, grown)

	// The older version is still what it was.
	b.restore("restore-block", img.Name, "--at", first.Backup.ID)
	if got, want := hashFile(t, path), hashFile(t, filepath.Join(first.Backup.Path, "block-store", img.GBID)); got != want {
		t.Errorf("restored image is %s, its backup %s", got, want)
	}
}

// checkBlocks compares the digests of an image's blocks with those of its pieces.
func checkBlocks(t *testing.T, backup string) {
	t.Helper()
	blocks, err := os.ReadFile(filepath.Join(backup, "blocks"))
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(filepath.Join(backup, "manifest.zst"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := manifest.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	for {
		e, err := r.Next()
		if err != nil {
			t.Fatalf("no image in the manifest: %v", err)
		}
		if e.Pieces.Size == 0 {
			continue
		}
		n := 0
		for digests := range slices.Chunk(blocks, int(e.Pieces.Size/e.Pieces.Block)*sha256.Size) {
			if sum := sha256.Sum256(digests); string(sum[:]) != e.Pieces.Of(n) {
				t.Errorf("piece %d has other digests of its blocks", n)
			}
			n++
		}
		if n != e.Pieces.Count() {
			t.Errorf("digests of the blocks of %d pieces, there are %d", n, e.Pieces.Count())
		}
		return
	}
}

// TestRestoreBlock is the 3 a.m. case: the file system in an image is
// destroyed through iSCSI; the restore brings the old bytes back on the same
// inode, fills no hole, and after a fresh login the file system is clean and
// has its files.
func TestRestoreBlock(t *testing.T) {
	b := newBench(t)
	img := b.image("shop/db")
	old := b.filesInImage(img)
	path := b.live(img)
	ino := inode(t, path)
	r := b.backup("shop/db")
	hash := hashFile(t, filepath.Join(r.Backup.Path, "block-store", img.GBID))
	pool := b.poolUsed()

	device := b.login(img)
	initiator, err := b.lab.Initiator(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	b.script(`dd if=/dev/urandom of="$1" bs=1M count=24 conv=fsync 2>/dev/null
dd if=/dev/urandom of="$1" bs=1M seek=100 count=8 conv=fsync 2>/dev/null`, device)
	b.refused(1, []string{img.Name, initiator, b.lab.Address}, "restore-block", img.Name, "--yes")
	b.logout(img)
	remove := b.pod("shop/db")
	b.refused(1, []string{"shop/db", "glusterbackupd-test"}, "restore-block", img.Name, "--yes")
	remove()

	done := b.restore("restore-block", img.Name)
	if done.BytesWritten < 8<<20 {
		t.Errorf("%d bytes written: the writes through iSCSI did not reach the image", done.BytesWritten)
	}
	if got := hashFile(t, path); got != hash {
		t.Errorf("restored image is %s, was %s", got, hash)
	}
	if got := inode(t, path); got != ino {
		t.Errorf("inode %d, was %d", got, ino)
	}
	if got := b.filesInImage(img); got != old {
		t.Errorf("files after the restore:\n%swant:\n%s", got, old)
	}
	grown := b.poolUsed() - pool
	t.Logf("figures: wrote %d of %d bytes; pool grew by %.2f %% points", done.BytesWritten, img.Size, grown)
	// 32 MiB were destroyed and as much put back; the image's holes are most
	// of its 1 GiB and would be 10 points and more of the pool.
	if grown > 5 {
		t.Errorf("the pool grew by %.2f %% points: holes were filled", grown)
	}
}

// filesInImage logs in, checks the file system, lists its files with their
// hashes, and logs out.
func (b *bench) filesInImage(img *lab.Image) string {
	b.Helper()
	device := b.login(img)
	defer b.logout(img)
	return b.script(`
mnt=$(mktemp -d)
mount "$1" "$mnt"
(cd "$mnt" && find . -type f | sort | xargs -d '\n' sha256sum)
umount "$mnt"
rmdir "$mnt"
case "$2" in
xfs) xfs_repair -n "$1" >/dev/null 2>&1 || { echo "xfs_repair finds damage"; exit 1; } ;;
*) fsck -fn "$1" >/dev/null 2>&1 || { echo "fsck finds damage"; exit 1; } ;;
esac`, device, img.FSType)
}

func (b *bench) login(img *lab.Image) string {
	b.Helper()
	device, err := b.lab.Login(b.Context(), img)
	if err != nil {
		b.Fatal(err)
	}
	return device
}

func (b *bench) logout(img *lab.Image) {
	b.Helper()
	if err := b.lab.Logout(b.Context(), img); err != nil {
		b.Fatal(err)
	}
}

// TestImageBackupIsTheSnapshot writes to an image all the time while it is
// backed up, and compares the backup with the snapshot.
func TestImageBackupIsTheSnapshot(t *testing.T) {
	b := newBench(t)
	img := b.smallImage("busy")
	b.keepSnapshots()
	b.listed(img)
	path := b.live(img)
	stop, stopped := make(chan bool), make(chan int)
	go func() {
		for n := 0; ; n++ {
			select {
			case <-stop:
				stopped <- n
				return
			default:
				write(t, path, 2*shard+int64(n%100)*4096, 4096, uint64(n))
			}
		}
	}()
	r := b.backup("block/busy")
	close(stop)
	writes := <-stopped
	view, _ := b.mount("/snaps/"+r.Backup.Snapshot+"/"+b.lab.HostingVolume, "ro")
	got := hashFile(t, filepath.Join(r.Backup.Path, "block-store", img.GBID))
	if want := hashFile(t, filepath.Join(view, "block-store", img.GBID)); got != want {
		t.Errorf("backup is %s, snapshot %s", got, want)
	}
	if live := hashFile(t, path); got == live {
		t.Error("the live image equals the snapshot: the writer wrote nothing after it")
	}
	b.must("verify", "block/busy", "--against-source")
	write(t, filepath.Join(r.Backup.Path, "block-store", img.GBID), 2*shard+5, 1, 9)
	if o := b.run("verify", "block/busy", "--against-source"); o.code != 13 || !strings.Contains(o.stderr, "block-store/"+img.GBID) {
		t.Errorf("a damaged backup: exit %d: %s", o.code, o.stderr)
	}
	t.Logf("figures: %d writes during the backup", writes)
}

// TestRestoreBlockToFile writes an image to a file, with holes.
func TestRestoreBlockToFile(t *testing.T) {
	b := newBench(t)
	img, other := b.smallImage("tofile"), b.smallImage("other")
	b.listed(img, other)
	b.must("backup", "--all")
	r := b.listOf("block/tofile")
	if both := b.listOf("block/other"); r.Snapshot != both.Snapshot {
		t.Errorf("two snapshots for one blockhost volume: %s, %s", r.Snapshot, both.Snapshot)
	}
	file := filepath.Join(t.TempDir(), "queue.img")
	b.restore("restore-block", img.Name, "--to", file)
	if got, want := hashFile(t, file), hashFile(t, filepath.Join(r.Path, "block-store", img.GBID)); got != want {
		t.Errorf("file is %s, backup %s", got, want)
	}
	var st syscall.Stat_t
	if err := syscall.Stat(file, &st); err != nil || st.Blocks*512 > img.Size/2 {
		t.Errorf("the file has no holes: %d of %d bytes allocated, %v", st.Blocks*512, img.Size, err)
	}
	b.refused(1, []string{file, "exists"}, "restore-block", img.Name, "--to", file, "--yes")
}

// TestRestoreBlockWithoutJournal loses the journal entry of an image: the
// restore puts it back, and does not touch it when it is there.
func TestRestoreBlockWithoutJournal(t *testing.T) {
	b := newBench(t)
	img := b.smallImage("nojournal")
	b.listed(img)
	b.backup("block/nojournal")
	journal := b.lab.GuestJournal(img)
	before := b.guest("cat", journal)
	b.guest("rm", journal)
	b.refused(1, []string{img.Name}, "backup", "block/nojournal")
	b.restore("restore-block", img.Name)
	if after := b.guest("cat", journal); after != before {
		t.Errorf("the journal is\n%swas\n%s", after, before)
	}
}
