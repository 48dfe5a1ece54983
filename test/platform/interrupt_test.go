//go:build platform

package platform

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// slow makes the configuration copy slowly enough to be interrupted.
func slow(s string) string { return s + "[copy]\nbandwidth_limit = \"2MiB\"\n" }

// interrupted starts a slow backup and sends it the signal once it copies. It
// returns the exit code.
func (b *bench) interrupted(sig syscall.Signal) int {
	b.Helper()
	cmd := b.command("backup", "shop/uploads")
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.awaitPartial()
	if err := cmd.Process.Signal(sig); err != nil {
		b.Fatal(err)
	}
	_ = cmd.Wait() // The exit code is what is looked at.
	return cmd.ProcessState.ExitCode()
}

// awaitPartial waits until data arrives in a half-written backup.
func (b *bench) awaitPartial() {
	b.Helper()
	b.await("copy", func() bool {
		list, _ := filepath.Glob(filepath.Join(b.disk, "*", "*", "*.partial", "data", "*"))
		return len(list) > 0
	})
}

// await waits until a command that was started has come to where it shall be
// disturbed.
func (b *bench) await(what string, there func() bool) {
	b.Helper()
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if there() {
			return
		}
	}
	b.Fatalf("no %s began within two minutes", what)
}

// TestInterruptedBackupLeavesNothing stops a backup in mid-copy the way a
// person and systemd do.
func TestInterruptedBackupLeavesNothing(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		t.Run(sig.String(), func(t *testing.T) {
			b := newBench(t)
			b.configure(slow)
			if code := b.interrupted(sig); code != 130 {
				t.Errorf("exit code %d, want 130", code)
			}
			b.assertNothingLeft()
		})
	}
}

// TestKilledBackupIsTidied kills a backup in mid-copy; the next command removes
// its mount, its half-written backup and its snapshot, and works.
func TestKilledBackupIsTidied(t *testing.T) {
	b := newBench(t)
	b.configure(slow)
	b.interrupted(syscall.SIGKILL)
	if len(b.snapshots()) != 1 {
		t.Fatalf("snapshots after the kill: %v", b.snapshots())
	}
	b.configure(nil)
	b.backup("shop/uploads")
	b.assertNothingLeft()
}

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
