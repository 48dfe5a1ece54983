package runner_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/glusterbackupd/glusterbackupd/runner"
)

func TestLocalOutput(t *testing.T) {
	l := runner.NewLocal(runner.LocalOptions{})
	out, err := l.Run(t.Context(), "printf", "%s|", "a b", "$HOME", "'")
	if err != nil || string(out) != "a b|$HOME|'|" {
		t.Errorf("Run = %q, %v", out, err)
	}
}

func TestLocalExitError(t *testing.T) {
	l := runner.NewLocal(runner.LocalOptions{})
	out, err := l.Run(t.Context(), "sh", "-c", "echo out; echo first >&2; echo 'last line' >&2; exit 7")
	var exit *runner.ExitError
	if !errors.As(err, &exit) {
		t.Fatalf("Run = %v, want an *ExitError", err)
	}
	want := runner.ExitError{Host: "localhost", Command: "sh", Code: 7, Stderr: "first\nlast line\n"}
	if *exit != want {
		t.Errorf("error = %+v, want %+v", *exit, want)
	}
	if string(out) != "out\n" {
		t.Errorf("output = %q", out)
	}
	if msg := err.Error(); msg != "sh on localhost: exit code 7: last line" {
		t.Errorf("message = %q", msg)
	}
}

func TestLocalSignal(t *testing.T) {
	_, err := runner.NewLocal(runner.LocalOptions{}).Run(t.Context(), "sh", "-c", "kill -9 $$")
	var exit *runner.ExitError
	if !errors.As(err, &exit) || exit.Code != 137 {
		t.Errorf("Run = %v, want exit code 137", err)
	}
}

func TestLocalStderrTail(t *testing.T) {
	_, err := runner.NewLocal(runner.LocalOptions{}).Run(t.Context(), "sh", "-c", "seq 1 100000 >&2; exit 1")
	var exit *runner.ExitError
	if !errors.As(err, &exit) || len(exit.Stderr) != 4096 || !strings.HasSuffix(exit.Stderr, "\n99999\n100000\n") {
		t.Errorf("Run = %v", err)
	}
}

func TestLocalRefusedArguments(t *testing.T) {
	l := runner.NewLocal(runner.LocalOptions{})
	for desc, args := range map[string][]string{"none": nil, "empty": {""}, "NUL": {"echo", "a\x00b"}} {
		if _, err := l.Run(t.Context(), args...); !errors.Is(err, runner.ErrArgument) {
			t.Errorf("%s: %v, want ErrArgument", desc, err)
		}
	}
}

func TestLocalMissingCommand(t *testing.T) {
	_, err := runner.NewLocal(runner.LocalOptions{}).Run(t.Context(), "no-such-command-here")
	if err == nil || !strings.Contains(err.Error(), "not found") {
		t.Errorf("Run = %v", err)
	}
}

func TestLocalOutputTooLarge(t *testing.T) {
	l := runner.NewLocal(runner.LocalOptions{MaxOutput: 1000})
	_, err := l.Run(t.Context(), "yes")
	var full *runner.OutputError
	if !errors.Is(err, runner.ErrOutputTooLarge) || !errors.As(err, &full) || full.Limit != 1000 {
		t.Errorf("Run = %v, want ErrOutputTooLarge", err)
	}
	if out, err := l.Run(t.Context(), "printf", "%01000d", "0"); err != nil || len(out) != 1000 {
		t.Errorf("output of exactly the limit: %d bytes, %v", len(out), err)
	}
}

// A cancelled command ends with everything that it started, also when that
// ignores SIGTERM and holds the output open.
func TestLocalCancel(t *testing.T) {
	pidFile := filepath.Join(t.TempDir(), "pid")
	cause := errors.New("shutting down")
	ctx, cancel := context.WithCancelCause(t.Context())
	l := runner.NewLocal(runner.LocalOptions{Grace: 50 * time.Millisecond})
	ended := make(chan error, 1)
	go func() {
		script := `trap '' TERM; sh -c 'trap "" TERM; echo $$ >"$0.new"; mv "$0.new" "$0"; while :; do sleep 0.05; done' "$1" & wait`
		_, err := l.Run(ctx, "sh", "-c", script, "sh", pidFile)
		ended <- err
	}()
	pid := waitPID(t, pidFile)
	cancel(cause)
	select {
	case err := <-ended:
		if !errors.Is(err, cause) {
			t.Errorf("Run = %v, want the context's cause", err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("Run did not return after its context ended")
	}
	waitGone(t, pid)
}

func TestLocalCancelledBefore(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	mark := filepath.Join(t.TempDir(), "mark")
	_, err := runner.NewLocal(runner.LocalOptions{}).Run(ctx, "touch", mark)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Run = %v", err)
	}
	if _, err := os.Stat(mark); err == nil {
		t.Error("the command was run")
	}
}

func waitPID(t *testing.T, path string) int {
	t.Helper()
	for range 3000 {
		if b, err := os.ReadFile(path); err == nil {
			pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
			if err != nil {
				t.Fatal(err)
			}
			return pid
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("%s did not appear", path)
	return 0
}

func waitGone(t *testing.T, pid int) {
	t.Helper()
	for range 3000 {
		if !running(pid) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("process %d is still there", pid)
}

// running does not count a zombie: in a container nobody may reap it.
func running(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	return err == nil && !strings.Contains(string(stat), ") Z ")
}
