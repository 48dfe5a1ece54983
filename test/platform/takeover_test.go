//go:build platform && soak

package platform

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// twoDaemons starts two daemons on the lab's API server, or on what stands
// before it.
func (b *bench) twoDaemons(edit func(port int) func(string) string) [2]*running {
	return [2]*running{b.daemon(19283, edit(19283)), b.daemon(19284, edit(19284))}
}

// oneClaim labels shop/uploads, so that a selector can choose it alone.
func (b *bench) oneClaim() string {
	b.Helper()
	b.kubectl("-n", "shop", "label", "--overwrite", "pvc", "uploads", "gb-test=alone")
	b.Cleanup(func() { b.kubectl("-n", "shop", "label", "pvc", "uploads", "gb-test-") })
	return "selector = \"gb-test=alone\"\n"
}

// worker returns which of the daemons copies now, by the lock's holder.
func (b *bench) worker(daemons [2]*running) (works, waits *running) {
	b.Helper()
	files, err := filepath.Glob(filepath.Join(b.disk, ".glusterbackup", "locks", "*"))
	if err != nil {
		b.Fatal(err)
	}
	for _, f := range files {
		var holder struct{ PID int }
		text, err := os.ReadFile(f)
		if err != nil || json.Unmarshal(text, &holder) != nil {
			continue
		}
		for n, d := range daemons {
			if d.cmd.Process.Pid == holder.PID {
				return d, daemons[1-n]
			}
		}
	}
	b.Fatal("no daemon holds a lock")
	return nil, nil
}

// TestDaemonTakesOver kills the daemon that copies; the other one finishes the
// claim within the lease's time, and nothing is left of the dead one.
func TestDaemonTakesOver(t *testing.T) {
	b := newBench(t)
	only := b.oneClaim()
	expression, _ := soon(20 * time.Second)
	daemons := b.twoDaemons(func(port int) func(string) string {
		return func(s string) string {
			return slow(daemonConfig(port, fmt.Sprintf("schedule = %q\nfirst_backup = \"0s\"\n", expression), only, "lease = \"15s\"\n")(s))
		}
	})
	b.awaitPartial()
	dead, heir := b.worker(daemons)
	killed := time.Now()
	dead.stop(syscall.SIGKILL)
	b.within(2*time.Minute, "the other daemon's copy", func() bool { return strings.Contains(heir.logged(), `msg="snapshot taken"`) })
	t.Logf("figures: the other daemon began %s after the kill, with a lease of 15 s", time.Since(killed).Round(100*time.Millisecond))
	b.within(3*time.Minute, "the backup", func() bool { return b.countOf("shop/uploads") == 1 })
	b.within(2*time.Minute, "the end of the trash", func() bool {
		left, err := filepath.Glob(filepath.Join(b.disk, "shop", "uploads", ".trash-*"))
		return err == nil && len(left) == 0
	})
	if code := heir.stop(syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if n := b.countOf("shop/uploads"); n != 1 {
		t.Errorf("%d backups of one slot", n)
	}
	b.must("verify", "shop/uploads")
}
