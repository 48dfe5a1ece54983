//go:build platform

package platform

import (
	"path/filepath"
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
