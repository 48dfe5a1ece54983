package copier_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/glusterbackupd/glusterbackupd/copier"
	"github.com/glusterbackupd/glusterbackupd/copier/copiertest"
)

func newRsync(t *testing.T, o copier.RsyncOptions) *copier.Rsync {
	t.Helper()
	r, err := copier.NewRsync(o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestRsyncConforms(t *testing.T) {
	copiertest.TestEngine(t, func() copiertest.Engine { return newRsync(t, copier.RsyncOptions{}) })
}

// script returns the path of a program that stands in for rsync.
func script(t *testing.T, body string) []string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "rsync")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+body), 0o700); err != nil {
		t.Fatal(err)
	}
	return []string{path}
}

func TestNewRsyncChecksVersion(t *testing.T) {
	tests := map[string]struct{ answer, lacks string }{
		"oldest":     {answer: "rsync  version 3.1.3  protocol version 31"},
		"debian":     {answer: "rsync  version 3.2.7  protocol version 31"},
		"git":        {answer: "rsync  version v3.4.0dev  protocol version 32"},
		"next":       {answer: "rsync  version 4.0.0  protocol version 33"},
		"too old":    {answer: "rsync  version 3.1.2  protocol version 31", lacks: "version 3.1.3"},
		"ancient":    {answer: "rsync  version 2.9.9  protocol version 29", lacks: "version 3.1.3"},
		"openrsync":  {answer: "openrsync: protocol version 29, rsync version 2.6.9 compatible", lacks: "a version that is understood"},
		"no ACLs":    {answer: "rsync  version 3.2.7  protocol version 31\nCapabilities:\n  64-bit files, no ACLs, xattrs", lacks: "ACLs"},
		"no xattr":   {answer: "rsync  version 3.2.7  protocol version 31\nCapabilities:\n  64-bit files, ACLs, no xattrs", lacks: "xattrs"},
		"no crtimes": {answer: "rsync  version 3.2.7  protocol version 31\nCapabilities:\n  ACLs, xattrs, no crtimes"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := copier.NewRsync(copier.RsyncOptions{Command: script(t, "cat <<'E'\n"+tt.answer+"\nE\n")})
			var version *copier.RsyncVersionError
			switch {
			case tt.lacks == "" && err != nil:
				t.Errorf("error %v", err)
			case tt.lacks != "" && (!errors.As(err, &version) || version.Lacks != tt.lacks || version.Remedy() == ""):
				t.Errorf("error %v, want one that says that %s is lacking", err, tt.lacks)
			}
		})
	}
}

func TestNewRsyncWithoutProgram(t *testing.T) {
	_, err := copier.NewRsync(copier.RsyncOptions{Command: []string{"no-such-rsync"}})
	if !errors.Is(err, exec.ErrNotFound) {
		t.Errorf("error %v, want %v", err, exec.ErrNotFound)
	}
	if _, err := copier.NewRsync(copier.RsyncOptions{BandwidthLimit: -1}); err == nil {
		t.Error("a negative limit was taken")
	}
}

func folderWith(t *testing.T, name string, size int) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(strings.Repeat("x", size)), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestRsyncCancelRemovesTemporaryFile cancels in the middle of one file.
func TestRsyncCancelRemovesTemporaryFile(t *testing.T) {
	r := newRsync(t, copier.RsyncOptions{BandwidthLimit: 1 << 20})
	src, dest := folderWith(t, "big", 64<<20), t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	temps := make(chan []string, 1)
	go func() {
		defer cancel()
		for ctx.Err() == nil {
			if found, _ := filepath.Glob(filepath.Join(dest, ".big.*")); len(found) > 0 {
				temps <- found
				return
			}
			time.Sleep(time.Millisecond)
		}
	}()
	_, err := r.Copy(ctx, copier.Tree{Source: src, Dest: dest})
	if !errors.Is(err, context.Canceled) || len(temps) != 1 {
		t.Fatalf("error %v, %d temporary files seen", err, len(temps))
	}
	left, err := os.ReadDir(dest)
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// TestRsyncThatDoesNotStop has a program that ignores SIGTERM and a child that
// holds its output.
func TestRsyncThatDoesNotStop(t *testing.T) {
	pids := filepath.Join(t.TempDir(), "pids")
	r := newRsync(t, copier.RsyncOptions{
		Command: script(t, `[ "$1" = --version ] && { echo "rsync  version 3.2.7"; exit; }
trap '' TERM
sleep 600 & echo $! > `+pids+`; echo $$ >> `+pids+`; mv `+pids+" "+pids+`.done
while :; do sleep 600; done`),
		StopDelay: 50 * time.Millisecond,
	})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		for ctx.Err() == nil {
			if _, err := os.Stat(pids + ".done"); err == nil {
				cancel()
			}
			time.Sleep(time.Millisecond)
		}
	}()
	_, err := r.Copy(ctx, copier.Tree{Source: t.TempDir(), Dest: t.TempDir()})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("error %v, want %v", err, context.Canceled)
	}
	list, err := os.ReadFile(pids + ".done")
	if err != nil {
		t.Fatal(err)
	}
	for pid := range strings.FieldsSeq(string(list)) {
		waitForEnd(t, pid)
	}
}

// waitForEnd fails unless the process, which has been killed, ends or is a
// zombie.
func waitForEnd(t *testing.T, pid string) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		status, err := os.ReadFile("/proc/" + pid + "/stat")
		if err != nil || strings.Contains(string(status), ") Z ") {
			return
		}
	}
	t.Errorf("process %s still runs", pid)
}

func TestRsyncBandwidthLimit(t *testing.T) {
	r := newRsync(t, copier.RsyncOptions{BandwidthLimit: 1 << 20})
	start := time.Now()
	if _, err := r.Copy(t.Context(), copier.Tree{Source: folderWith(t, "f", 2<<20), Dest: t.TempDir()}); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took < time.Second {
		t.Errorf("2 MiB at 1 MiB/s took only %v", took)
	}
}

// TestRsyncEnvironment has settings that would change what rsync does.
func TestRsyncEnvironment(t *testing.T) {
	home := t.TempDir()
	if err := os.WriteFile(filepath.Join(home, ".popt"), []byte("rsync alias --stats --dry-run --stats\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("HOME", home)
	t.Setenv("LANG", "de_DE.UTF-8")
	t.Setenv("RSYNC_MAX_ALLOC", "1")
	src, dest := folderWith(t, "f", 10), t.TempDir()
	res, err := newRsync(t, copier.RsyncOptions{}).Copy(t.Context(), copier.Tree{Source: src, Dest: dest})
	if err != nil || res.FilesTransferred != 1 {
		t.Fatalf("result %+v, error %v", res, err)
	}
	if _, err := os.Stat(filepath.Join(dest, "f")); err != nil {
		t.Error(err)
	}
}
