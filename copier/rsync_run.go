package copier

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// run runs rsync with args until it and its children have ended. Cancelling
// ctx asks rsync to end, which lets it remove its temporary file, and kills the
// whole process group after the stop delay.
func (r *Rsync) run(ctx context.Context, args []string, stdin io.Reader, line func([]byte)) error {
	if ctx.Err() != nil {
		return fmt.Errorf("rsync: %w", context.Cause(ctx))
	}
	var msgs messages
	stdout, stderr := &lineWriter{emit: line}, &lineWriter{emit: msgs.line}
	all := append(r.command[1:len(r.command):len(r.command)], args...)
	cmd := exec.CommandContext(ctx, r.command[0], all...)
	cmd.Env, cmd.Dir = environment(), "/"
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, stdout, stderr
	// A group of its own: a Ctrl-C on the terminal reaches us alone, and we
	// decide. If we die, rsync gets SIGTERM; the kernel watches the thread that
	// started it, so that thread must stay.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()

	err := r.wait(cmd)
	stdout.flush()
	stderr.flush()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil && err != nil:
		return fmt.Errorf("rsync: %w", context.Cause(ctx))
	case err == nil:
		return nil
	case errors.As(err, &exit):
		code := exit.ExitCode()
		return &RsyncError{
			Code: code, Meaning: meaning(code), Stderr: msgs.String(), Errno: msgs.errno,
			again: code == 23 && msgs.spurious > 0 && msgs.real == 0,
		}
	}
	return fmt.Errorf("rsync: %w", err)
}

// wait starts cmd and waits for it and for the children of rsync, which hold
// its standard output and error.
func (r *Rsync) wait(cmd *exec.Cmd) error {
	var kill *time.Timer
	killAll := func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.Cancel = func() error {
		kill = time.AfterFunc(r.stopDelay, killAll)
		// Only the first process: it ends the others in turn. With the whole
		// group at once, the receiver can get its second signal while it cleans
		// up after the first, and then leaves its temporary file behind.
		return cmd.Process.Signal(syscall.SIGTERM)
	}
	cmd.WaitDelay = r.stopDelay + time.Second
	if err := cmd.Start(); err != nil {
		return err
	}
	err := cmd.Wait()
	if kill != nil {
		kill.Stop()
	}
	if errors.Is(err, exec.ErrWaitDelay) {
		killAll() // Some child still has our pipes, so the group exists.
	}
	return err
}

// lineWriter calls emit for each line; both newline and carriage return end
// one, and what exceeds maxLine is cut off.
type lineWriter struct {
	emit func([]byte)
	buf  []byte
}

const maxLine = 32 << 10

// Write never fails.
func (w *lineWriter) Write(p []byte) (int, error) {
	n := len(p)
	for {
		i := bytes.IndexAny(p, "\r\n")
		if i < 0 {
			w.keep(p)
			return n, nil
		}
		w.keep(p[:i])
		w.flush()
		p = p[i+1:]
	}
}

func (w *lineWriter) keep(p []byte) {
	w.buf = append(w.buf, p[:min(len(p), maxLine-len(w.buf))]...)
}

func (w *lineWriter) flush() {
	if len(w.buf) > 0 {
		w.emit(w.buf)
	}
	w.buf = w.buf[:0]
}
