package gluster_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/glusterbackupd/glusterbackupd/gluster"
)

// A pool that no device-mapper knows: what it holds is in a file. The real one is asked
// in TestPlatform; here it is also stopped at a given moment.
const (
	fakeDmsetup = `#!/bin/sh
held=$(cat "$STATE/held")
if [ -n "$SLOW" ] && [ "$SLOW" = "$4" ]; then touch "$STATE/hangs"; sleep 1; fi
case "$1 $4" in
"status ") if [ "$held" = broken ]; then exit 1; fi; echo "0 800 thin-pool 3 20/4096 30/800 $held rw discard_passdown queue_if_no_space - 1024" ;;
"message reserve_metadata_snap") [ "$held" = - ] || exit 1; echo "${ROOT:-17}" >"$STATE/held" ;;
"message release_metadata_snap") [ "$held" != - ] || exit 1; echo - >"$STATE/held" ;;
*) exit 1 ;;
esac
`
	fakeThinDelta = `#!/bin/sh
if [ -n "$HANG" ]; then touch "$STATE/hangs"; sleep 50; fi
if [ -n "$FAIL" ]; then exit 1; fi
if [ -n "$LOSE" ]; then echo 55 >"$STATE/held"; fi
echo '<superblock data_block_size="128"><diff left="5" right="6">'
echo '<same begin="0" length="1"/>'
echo '</diff></superblock>'
`
)

// fakePool is such a pool, and a folder for the notes.
type fakePool struct {
	*testing.T
	dir string
}

func newFakePool(t *testing.T, held, note string) fakePool {
	t.Helper()
	p := fakePool{t, t.TempDir()}
	for name, text := range map[string]string{"dmsetup": fakeDmsetup, "thin_delta": fakeThinDelta, "held": held} {
		if err := os.WriteFile(filepath.Join(p.dir, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if note != "" {
		if err := os.MkdirAll(filepath.Join(p.dir, "pools"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(p.dir, "pools", "vg-pool-tpool"), []byte(note), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

// command runs the script in a process group of its own, as the runner does.
func (p fakePool) command(ctx context.Context, shell string, env ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, shell, "-c", gluster.DeltaScript, "sh", "vg-pool-tpool", "/dev/null", "5", "6", filepath.Join(p.dir, "pools"))
	cmd.Env = append(os.Environ(), append(env, "PATH="+p.dir+":"+os.Getenv("PATH"), "STATE="+p.dir)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return cmd
}

func (p fakePool) read(name string) string {
	p.Helper()
	content, err := os.ReadFile(filepath.Join(p.dir, name))
	if err != nil {
		p.Fatal(err)
	}
	return strings.TrimSpace(string(content))
}

// TestDeltaScript has the pool held by nobody, by somebody, and by a script of ours that
// was killed.
func TestDeltaScript(t *testing.T) {
	for name, tt := range map[string]struct {
		held, note, env string
		out             string // A part of it; "" where the script fails.
		after           string // What is held then.
	}{
		"free":               {held: "-", out: "</superblock>", after: "-"},
		"after another boot": {held: "-", note: "17\n", out: "</superblock>", after: "-"},
		"of another":         {held: "9", out: "held 9", after: "9"},
		"of another later":   {held: "9", note: "17\n", out: "held 9", after: "9"},
		"ours":               {held: "17", note: "17\n", out: "</superblock>", after: "-"},
		"no answer":          {held: "broken", note: "\n", after: "broken"},
		"odd answer":         {held: "Fail", note: "Fail\n", after: "Fail"},
		"thin_delta fails":   {held: "-", env: "FAIL=1", after: "-"},
		"taken away":         {held: "-", env: "LOSE=1", after: "55"},
		"odd answer later":   {held: "-", env: "ROOT=x", after: "-"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newFakePool(t, tt.held, tt.note)
			out, err := p.command(t.Context(), "sh", tt.env).Output()
			if (err == nil) != (tt.out != "") || !strings.Contains(string(out), tt.out) || strings.Contains(string(out), "<same") {
				t.Errorf("%q, %v", out, err)
			}
			if got := p.read("held"); got != tt.after {
				t.Errorf("%s is held, want %s", got, tt.after)
			}
			if tt.note == "" && p.read("pools/vg-pool-tpool") != "" {
				t.Error("a note is left although nothing of ours is held")
			}
		})
	}
}

// TestDeltaScriptIsStopped stops the script while it takes the pool's metadata, reads it,
// and lets it go: nothing is held then, and thin_delta has ended; killed while that reads,
// it leaves a note for the next one.
func TestDeltaScriptIsStopped(t *testing.T) {
	for _, shell := range []string{"dash", "bash"} {
		if _, err := exec.LookPath(shell); err != nil {
			t.Fatal(err)
		}
		for _, tt := range []struct {
			name, env  string
			sig        syscall.Signal
			held, note string
		}{
			{"taking", "SLOW=reserve_metadata_snap", syscall.SIGTERM, "-", ""},
			{"reading", "HANG=1", syscall.SIGTERM, "-", ""},
			{"letting go", "SLOW=release_metadata_snap", syscall.SIGTERM, "-", ""},
			{"killed", "HANG=1", syscall.SIGKILL, "17", "17"},
		} {
			t.Run(shell+" "+tt.name, func(t *testing.T) {
				p := newFakePool(t, "-", "")
				start := time.Now()
				if err := p.signalled(shell, tt.env, tt.sig); err == nil && tt.name != "letting go" {
					t.Error("the script succeeded")
				}
				if took := time.Since(start); took > 20*time.Second {
					t.Errorf("it took %s", took)
				}
				if held, note := p.read("held"), p.read("pools/vg-pool-tpool"); held != tt.held || note != tt.note {
					t.Errorf("%s is held, the note is %q", held, note)
				}
				if out, err := p.command(t.Context(), shell).Output(); err != nil || !strings.Contains(string(out), "</superblock>") || p.read("held") != "-" {
					t.Errorf("the next one: %s, %v, held %s", out, err, p.read("held"))
				}
			})
		}
	}
}

// signalled runs the script and sends a signal to all of it once it hangs.
func (p fakePool) signalled(shell, env string, sig syscall.Signal) error {
	p.Helper()
	cmd := p.command(p.Context(), shell, env)
	if err := cmd.Start(); err != nil {
		p.Fatal(err)
	}
	for range 1000 {
		if _, err := os.Stat(filepath.Join(p.dir, "hangs")); err == nil {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if err := syscall.Kill(-cmd.Process.Pid, sig); err != nil {
		p.Fatal(err)
	}
	return cmd.Wait()
}
