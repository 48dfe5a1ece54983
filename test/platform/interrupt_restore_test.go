//go:build platform && soak

package platform

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// signals end a command the way a person, systemd and the kernel's killer of
// processes do. The last one leaves it no time for anything.
var signals = []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGKILL}

// interruptedRestore starts a restore and sends it the signal once it writes.
// It checks what such a restore has to leave and to say: the safety snapshot
// stays, and unless the process was killed it is named, nothing is mounted, and
// the exit code is 130.
func (b *bench) interruptedRestore(sig syscall.Signal, writes func() bool, args ...string) {
	b.Helper()
	cmd := b.command(append(args, "--yes")...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.await("restore", writes)
	start := time.Now()
	if err := cmd.Process.Signal(sig); err != nil {
		b.Fatal(err)
	}
	_ = cmd.Wait() // The exit code is what is looked at.
	b.Logf("figures: %v: ended with exit code %d after %s\n%s", sig, cmd.ProcessState.ExitCode(), time.Since(start).Round(10*time.Millisecond), stderr.String())
	safety := b.snapshots()
	if len(safety) != 1 {
		b.Fatalf("%v: safety snapshots after it: %q", sig, safety)
	}
	if sig == syscall.SIGKILL {
		if len(b.mounts()) == 0 {
			b.Errorf("%v: nothing was mounted, so that the signal came too late", sig)
		}
		return
	}
	if code := cmd.ProcessState.ExitCode(); code != 130 {
		b.Errorf("%v: exit code %d, want 130", sig, code)
	}
	// The log names the snapshot too, long before.
	_, said, _ := strings.Cut(stderr.String(), "error: ")
	if !strings.Contains(said, safety[0]) || !strings.Contains(said, "remedy: ") {
		b.Errorf("%v: not both the safety snapshot %s and a remedy are named", sig, safety[0])
	}
	b.assertNoMounts()
}

// TestInterruptedRestoreOfFiles stops the restore of a claim in mid-copy, and
// runs it again.
func TestInterruptedRestoreOfFiles(t *testing.T) {
	b := newBench(t)
	b.Cleanup(b.deleteSnapshots)
	volume := b.volumeOf("shop/uploads")
	dir, _ := b.mount(volume)
	big := b.bigFile(dir)
	r := b.backup("shop/uploads")
	want := scan(t, r.Backup.Path)
	// The copy of the big file has such a name until it is whole.
	halves := func() []string {
		list, _ := filepath.Glob(filepath.Join(dir, ".big.bin.*"))
		return list
	}
	for _, sig := range signals {
		if err := os.Remove(big); err != nil {
			t.Fatal(err)
		}
		b.configure(slow)
		b.interruptedRestore(sig, func() bool { return len(halves()) > 0 }, "restore", "shop/uploads")
		if sig != syscall.SIGKILL { // Then the next restore removes it.
			b.await("removal of the half-written file", func() bool { return len(halves()) == 0 })
		}
		b.configure(nil)
		if done := b.restore("restore", "shop/uploads"); done.Changed == 0 {
			t.Errorf("%v: the second restore had nothing to do", sig)
		}
		view, unmount := b.mount(volume)
		assertEqual(t, want, scan(t, view))
		unmount()
		b.assertNoMounts()
		b.deleteSnapshots()
	}
}

// TestInterruptedRestoreOfAnImage stops the restore of an image when it has
// written the first bytes: it is half old, half new then, and whole after the
// restore was run again.
func TestInterruptedRestoreOfAnImage(t *testing.T) {
	b := newBench(t)
	b.Cleanup(b.deleteSnapshots)
	img := b.smallImage("halfway")
	b.listed(img)
	r := b.backup("block/halfway")
	path := b.live(img)
	ino, want := inode(t, path), hashFile(t, filepath.Join(r.Backup.Path, "block-store", img.GBID))
	first := begin(t, path)
	for n, sig := range signals {
		write(t, path, 0, 96<<20, uint64(10+n))
		b.interruptedRestore(sig, func() bool { return begin(t, path) == first }, "restore-block", img.Name)
		if hashFile(t, path) == want {
			t.Errorf("%v: the image is whole: the signal came too late", sig)
		}
		if done := b.restore("restore-block", img.Name); done.BytesWritten == 0 || done.Compared != img.Size {
			t.Errorf("%v: the second restore did %+v", sig, done)
		}
		if got := hashFile(t, path); got != want || inode(t, path) != ino {
			t.Errorf("%v: image %s on inode %d, want %s on %d", sig, got, inode(t, path), want, ino)
		}
		b.assertNoMounts()
		b.deleteSnapshots()
	}
}

// begin returns the first bytes of an image.
func begin(t testing.TB, path string) string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	text := make([]byte, 4096)
	if _, err := f.ReadAt(text, 0); err != nil {
		t.Fatal(err)
	}
	return string(text)
}
