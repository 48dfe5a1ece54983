//go:build platform && soak

package platform

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestTwoInstances starts more commands while a backup copies: what it works on
// is refused, and everything else works beside it.
func TestTwoInstances(t *testing.T) {
	b := newBench(t)
	b.backup("media/docs")
	b.backup("shop/uploads")
	dir, _ := b.mount(b.volumeOf("shop/uploads"))
	b.bigFile(dir) // An unchanged claim would be copied in no time.
	b.configure(slow)
	cmd := b.command("backup", "shop/uploads")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	b.awaitPartial()
	resume := b.pause(cmd)
	b.configure(nil)
	holder := []string{`claim shop/uploads is locked by "backup"`, fmt.Sprintf("process %d on ", cmd.Process.Pid)}
	b.refused(11, holder, "backup", "shop/uploads")
	b.refused(11, holder, "restore", "shop/uploads", "--yes")
	b.refused(11, holder, "protect", "shop/uploads", "--at", "latest")
	if o := b.run("backup", "shop/uploads", "media/docs"); o.code != 3 || !strings.Contains(o.stderr, holder[0]) {
		t.Errorf("backup of both: exit %d", o.code)
	}
	b.must("restore", "media/docs", "--yes")
	b.must("restore", "shop/uploads", "--dry-run")
	b.must("protect", "media/docs", "--at", "latest")
	b.must("prune")
	b.must("list")
	resume()
	if err := cmd.Wait(); err != nil {
		t.Errorf("the first backup: %v", err)
	}
	b.must("verify", "shop/uploads")
	b.must("restore", "shop/uploads", "--yes")
}

// pause stops the command, so that it is in mid-copy however long the test takes,
// and returns what lets it go on.
func (b *bench) pause(cmd *exec.Cmd) (resume func()) {
	b.Helper()
	resume = func() { _ = cmd.Process.Signal(syscall.SIGCONT) } // Twice is once too often, and does no harm.
	b.Cleanup(resume)
	if err := cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		b.Fatal(err)
	}
	return resume
}

// bigFile puts a file of random content, which takes a while to copy when that
// is slow, into a mounted volume until the test ends.
func (b *bench) bigFile(dir string) (path string) {
	b.Helper()
	path = filepath.Join(dir, "big.bin")
	b.random(path, 24<<20)
	b.Cleanup(func() {
		if err := os.RemoveAll(path); err != nil {
			b.Error(err)
		}
	})
	return path
}

// TestRestoreBlockWithoutClaim restores an image that Heketi knows and
// Kubernetes does not, from a backup that was made when it had a claim.
func TestRestoreBlockWithoutClaim(t *testing.T) {
	b := newBench(t)
	img := b.image("/")
	b.standalone("shop/gone=" + b.lab.HostingVolume + "/" + img.Name)
	b.backup("shop/gone")
	b.configure(nil)
	path := b.live(img)
	write(t, path, 5*shard, 1<<20, 9)
	done := b.restore("restore-block", img.Name)
	if done.Compared != img.Size {
		t.Errorf("%d of %d bytes compared", done.Compared, img.Size)
	}
}
