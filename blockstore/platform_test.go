//go:build platform

package blockstore_test

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/glusterbackupd/glusterbackupd/blockstore"
	"github.com/glusterbackupd/glusterbackupd/test/lab"
)

const shard = 64 << 20

// openLab returns the lab and its spare image, the one without a claim.
func openLab(t *testing.T) (context.Context, *lab.Lab, *lab.Image) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	t.Cleanup(cancel)
	l, err := lab.Load()
	must(t, err)
	closing(t, l)
	image, ok := l.ClaimImage("", "")
	if !ok {
		t.Fatal("the lab has no image without a claim")
	}
	return ctx, l, image
}

// mountHosting mounts the blockhost volume for the length of the test, without
// page cache, as a restore does.
func mountHosting(ctx context.Context, t *testing.T, l *lab.Lab) string {
	t.Helper()
	dir, err := l.MountVolume(ctx, l.HostingVolume, "direct-io-mode=enable")
	must(t, err)
	t.Cleanup(func() {
		if err := l.Unmount(context.WithoutCancel(ctx), dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// guest runs commands in the lab's guest over ssh.
type guest struct{ *lab.Lab }

func (g guest) Run(ctx context.Context, args ...string) ([]byte, error) { return g.Guest(ctx, args...) }

// TestPlatformSessions logs a real initiator in to a real LIO target and out
// again.
func TestPlatformSessions(t *testing.T) {
	ctx, l, image := openLab(t)
	sessions := func() []blockstore.Session {
		t.Helper()
		got, err := blockstore.Sessions(ctx, l.Address, guest{l}, image.GBID)
		must(t, err)
		return got
	}
	initiator, err := l.Initiator(ctx)
	must(t, err)
	must(t, l.Logout(ctx, image))
	if got := sessions(); len(got) != 0 {
		t.Fatalf("sessions before the login: %v", got)
	}
	t.Cleanup(func() {
		if err := l.Logout(context.WithoutCancel(ctx), image); err != nil {
			t.Error(err)
		}
	})
	_, err = l.Login(ctx, image)
	must(t, err)
	want := []blockstore.Session{{Host: l.Address, Initiator: initiator, Target: image.IQN}}
	if d := cmp.Diff(want, sessions()); d != "" {
		t.Errorf("sessions (-want +got):\n%s", d)
	}
	must(t, l.Logout(ctx, image))
	if got := sessions(); len(got) != 0 {
		t.Errorf("sessions after the logout: %v", got)
	}
}

// TestPlatformNotExported asks the guest for an image that it does not have.
func TestPlatformNotExported(t *testing.T) {
	ctx, l, _ := openLab(t)
	got, err := blockstore.Sessions(ctx, l.Address, guest{l}, smallGBID)
	if len(got) != 0 || err != nil {
		t.Errorf("Sessions = %v, %v; want none", got, err)
	}
}

// TestPlatformListing reads the layout that Heketi had made, through FUSE.
func TestPlatformListing(t *testing.T) {
	ctx, l, _ := openLab(t)
	root := mountHosting(ctx, t, l)
	for _, dir := range []string{blockstore.MetaDir, blockstore.StoreDir} {
		if mode := stat(t, filepath.Join(root, dir)).Mode & 0o777; mode != 0 {
			t.Errorf("%s has mode %o, want 0", dir, mode)
		}
	}
	listing := list(t, root)
	for _, image := range l.Images {
		img, err := listing.Match(image.Name, image.GBID)
		if err != nil {
			t.Error(err)
			continue
		}
		if img.Size != image.Size || img.Volume != l.HostingVolume || !cmp.Equal(img.Hosts, []string{l.Address}) {
			t.Errorf("image %+v, want %+v", img, image)
		}
	}
}

// TestPlatformImageInPlace writes, punches and reads back the spare image
// across the border of its first two shards, and puts back what was there.
func TestPlatformImageInPlace(t *testing.T) {
	ctx, l, image := openLab(t)
	must(t, l.Logout(ctx, image))
	root := mountHosting(ctx, t, l)
	s := blockstore.Open(root)
	img, err := s.Image(image.Name)
	must(t, err)
	f, err := s.OpenImage(img, blockstore.ReadWrite)
	must(t, err)
	closing(t, f)

	const off, size = shard - 4<<20 - 7, 8<<20 + 3
	before := make([]byte, size)
	_, err = f.ReadAt(before, off)
	must(t, err)
	defer func() {
		_, err := f.WriteAt(before, off)
		if err := errors.Join(err, f.Sync()); err != nil {
			t.Error(err)
		}
	}()
	want := make([]byte, size)
	_, err = rand.NewChaCha8([32]byte{1}).Read(want)
	must(t, err)
	n, err := f.WriteAt(want, off)
	if n != size || err != nil {
		t.Fatalf("WriteAt = %d, %v", n, err)
	}
	const hole = 2 << 20
	must(t, f.PunchHole(shard-hole/2, hole))
	clear(want[shard-hole/2-off : shard+hole/2-off])
	must(t, f.Sync())
	compareImage(t, s, img, off, want)
	compareImage(t, blockstore.Open(mountHosting(ctx, t, l)), img, off, want)
}

// compareImage reads through a new handle: the image must be the same inode,
// on any mount.
func compareImage(t *testing.T, s *blockstore.Store, img blockstore.Image, off int64, want []byte) {
	t.Helper()
	again, err := s.Image(img.Name)
	must(t, err)
	if d := cmp.Diff(img, again); d != "" {
		t.Errorf("image (-before +after):\n%s", d)
	}
	f, err := s.OpenImage(again, blockstore.ReadOnly)
	must(t, err)
	closing(t, f)
	got := make([]byte, len(want))
	_, err = f.ReadAt(got, off)
	must(t, err)
	if !bytes.Equal(got, want) {
		t.Error("the image reads back differently")
	}
}

// TestPlatformRestoreJournal works on a layout of its own below the sharded
// volume's root: publishing and locking through FUSE are what is real here.
func TestPlatformRestoreJournal(t *testing.T) {
	ctx, l, _ := openLab(t)
	root := filepath.Join(mountHosting(ctx, t, l), "blockstore-platform-test")
	must(t, os.RemoveAll(root))
	must(t, os.Mkdir(root, 0o700))
	defer func() { must(t, os.RemoveAll(root)) }()
	for _, dir := range []string{blockstore.MetaDir, blockstore.StoreDir} {
		must(t, os.Mkdir(filepath.Join(root, dir), 0))
	}
	addImage(t, root, "small", smallGBID, shard+4096)
	s := blockstore.Open(root)
	content, err := s.JournalBytes("small")
	must(t, err)
	if err := s.RestoreJournal("small", content); !errors.Is(err, blockstore.ErrJournalExists) {
		t.Errorf("RestoreJournal of what exists = %v", err)
	}
	must(t, os.Remove(filepath.Join(root, blockstore.MetaDir, "small")))

	release := holdLock(t, filepath.Join(root, blockstore.MetaDir, "meta.lock"))
	if err := s.RestoreJournal("small", content); !errors.Is(err, blockstore.ErrBusy) {
		t.Errorf("RestoreJournal while locked = %v, want ErrBusy", err)
	}
	release()
	must(t, s.RestoreJournal("small", content))
	if got := metaNames(t, root); got != "meta.lock small" {
		t.Errorf("block-meta holds %s", got)
	}
	got, err := s.JournalBytes("small")
	must(t, err)
	if !bytes.Equal(got, content) {
		t.Errorf("journal = %q, want %q", got, content)
	}
}

// TestPlatformNoHoles uses ramfs, which cannot punch.
func TestPlatformNoHoles(t *testing.T) {
	dir := t.TempDir()
	must(t, unix.Mount("none", dir, "ramfs", 0, ""))
	t.Cleanup(func() { must(t, unix.Unmount(dir, 0)) })
	for _, sub := range []string{blockstore.MetaDir, blockstore.StoreDir} {
		must(t, os.Mkdir(filepath.Join(dir, sub), 0))
	}
	addImage(t, dir, "small", smallGBID, 4096)
	s := blockstore.Open(dir)
	img, err := s.Image("small")
	must(t, err)
	f, err := s.OpenImage(img, blockstore.ReadWrite)
	must(t, err)
	closing(t, f)
	want := bytes.Repeat([]byte{7}, 4096)
	_, err = f.WriteAt(want, 0)
	must(t, err)
	if err := f.PunchHole(0, 4096); !errors.Is(err, blockstore.ErrNoHoles) || !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("PunchHole = %v, want ErrNoHoles", err)
	}
	got := make([]byte, 4096)
	_, err = f.ReadAt(got, 0)
	must(t, err)
	if !bytes.Equal(got, want) {
		t.Error("the range was changed")
	}
}
