package runner

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// Defaults of LocalOptions and SSHOptions.
const (
	DefaultMaxOutput = 16 << 20
	DefaultGrace     = 5 * time.Second
)

// localName is the host's name in errors of local commands.
const localName = "localhost"

// LocalOptions are the settings of a Local runner; the zero value is usable.
type LocalOptions struct {
	// MaxOutput is the limit of standard output in bytes, default 16 MiB.
	MaxOutput int64
	// Grace is the time between SIGTERM and SIGKILL when the context ends, and
	// the time that is given to a background process which holds the output
	// open after the command itself has ended. Default 5 s.
	Grace time.Duration
	// Logger receives one debug record per command; nil discards.
	Logger *slog.Logger
}

// Local runs commands on this machine, without a shell, in "/" and with
// LC_ALL=C. It is safe for concurrent use.
type Local struct {
	opts LocalOptions
}

// NewLocal returns a runner for this machine.
func NewLocal(o LocalOptions) *Local {
	if o.MaxOutput <= 0 {
		o.MaxOutput = DefaultMaxOutput
	}
	if o.Grace <= 0 {
		o.Grace = DefaultGrace
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Local{opts: o}
}

// Name returns "localhost".
func (l *Local) Name() string { return localName }

// Run runs args and returns the standard output. A command that ran and failed
// yields its output together with an *ExitError, one that wrote too much an
// error that matches ErrOutputTooLarge. When ctx ends, the command and all that
// it started in its process group get SIGTERM and after the grace time SIGKILL,
// and the error matches the context's cause.
func (l *Local) Run(ctx context.Context, args ...string) ([]byte, error) {
	if err := checkArgs(args); err != nil {
		return nil, err
	}
	if err := context.Cause(ctx); err != nil {
		return nil, fmt.Errorf("%s on %s: %w", commandName(args), localName, err)
	}
	run, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stdout := &bounded{limit: l.opts.MaxOutput, full: func() { cancel(ErrOutputTooLarge) }}
	stderr := &tail{}
	cmd := l.command(run, args)
	cmd.Stdout, cmd.Stderr = stdout, stderr
	start := time.Now()
	err := cmd.Run()
	if run.Err() != nil && cmd.Process != nil {
		// A grandchild that ignored SIGTERM survives exec's own kill.
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	}
	l.opts.Logger.DebugContext(ctx, "command ended", "host", localName, "args", args, "duration", time.Since(start), "ok", err == nil)
	return l.result(run, commandName(args), stdout, stderr, err)
}

func (l *Local) command(ctx context.Context, args []string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	// A group of its own: a key press on the terminal must not reach a command
	// that the caller wants to finish or to end itself.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error {
		if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM); !errors.Is(err, syscall.ESRCH) {
			return err
		}
		return os.ErrProcessDone
	}
	cmd.WaitDelay = l.opts.Grace
	return cmd
}

// result maps what exec reports to this package's errors.
func (l *Local) result(ctx context.Context, name string, stdout *bounded, stderr *tail, err error) ([]byte, error) {
	var exit *exec.ExitError
	switch {
	case errors.Is(context.Cause(ctx), ErrOutputTooLarge):
		return nil, &OutputError{Host: localName, Command: name, Limit: l.opts.MaxOutput}
	case err == nil:
		return stdout.Bytes(), nil
	case ctx.Err() != nil:
		return nil, fmt.Errorf("%s on %s: %w", name, localName, context.Cause(ctx))
	case errors.As(err, &exit):
		return stdout.Bytes(), &ExitError{Host: localName, Command: name, Code: exitCode(exit), Stderr: stderr.String()}
	}
	return nil, fmt.Errorf("%s on %s: %w", name, localName, err)
}

func exitCode(e *exec.ExitError) int {
	if ws, ok := e.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	return e.ExitCode()
}
