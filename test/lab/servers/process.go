package servers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// ErrExited says that a server ended before it was ready.
var ErrExited = errors.New("server ended before it was ready")

// Process is a server that runs. The value can be written as JSON and read
// back by another program, which may then stop the server.
type Process struct {
	Name    string `json:"name"`
	PID     int    `json:"pid"`
	Started uint64 `json:"started"` // Start time in clock ticks since boot, from /proc/PID/stat.
	Log     string `json:"log"`     // File with the server's output.
}

// Alive says whether this very process still runs; a later process with the
// same number is not mistaken for it.
func (p *Process) Alive() bool {
	started, running := startTime(p.PID)
	return running && started == p.Started
}

// Stop ends the server: SIGTERM, then SIGKILL after five seconds. It returns
// when the process is gone, and does nothing when it already is.
func (p *Process) Stop() error {
	for _, step := range []struct {
		signal syscall.Signal
		wait   time.Duration
	}{{syscall.SIGTERM, 5 * time.Second}, {syscall.SIGKILL, 5 * time.Second}} {
		if !p.Alive() {
			return nil
		}
		if err := syscall.Kill(p.PID, step.signal); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("stop %s (pid %d): %w", p.Name, p.PID, err)
		}
		for end := time.Now().Add(step.wait); time.Now().Before(end) && p.Alive(); {
			time.Sleep(20 * time.Millisecond)
		}
	}
	if p.Alive() {
		return fmt.Errorf("stop %s: pid %d does not end", p.Name, p.PID)
	}
	return nil
}

// startTime reads field 22 of /proc/PID/stat (proc(5)). A zombie counts as
// gone.
func startTime(pid int) (ticks uint64, running bool) {
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return 0, false
	}
	return parseStat(stat)
}

// parseStat takes the state and the start time out of a line of
// /proc/PID/stat. The name in it may hold spaces and parentheses.
func parseStat(stat []byte) (ticks uint64, running bool) {
	end := bytes.LastIndexByte(stat, ')')
	if end < 0 {
		return 0, false
	}
	fields := strings.Fields(string(stat[end+1:]))
	if len(fields) < 20 || fields[0] == "Z" || fields[0] == "X" {
		return 0, false
	}
	ticks, err := strconv.ParseUint(fields[19], 10, 64)
	return ticks, err == nil
}

// Start runs args as a server called name, with its output in <Dir>/<name>.log.
// It does not wait until the server is ready.
func (e Env) Start(name string, args ...string) (*Process, error) {
	if err := os.MkdirAll(e.Dir, 0o700); err != nil {
		return nil, err
	}
	logName := filepath.Join(e.Dir, name+".log")
	log, err := os.OpenFile(logName, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	args = e.enter(args)
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = e.Dir, log, log
	pid, err := e.launch(cmd)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	started, _ := startTime(pid)
	return &Process{Name: name, PID: pid, Started: started, Log: logName}, nil
}

// launch starts cmd. A detached server gets a session of its own; any other is
// killed when this program dies. The kernel ties that to the thread that
// started it, so a goroutine keeps the thread for as long as the server runs.
func (e Env) launch(cmd *exec.Cmd) (pid int, err error) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if !e.Detach {
		cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // Only reaps the child: Stop and Alive ask the kernel.
		}
	}()
	if err := <-started; err != nil {
		return 0, err
	}
	return cmd.Process.Pid, nil
}

// enter prefixes args so that they run in the network namespace.
func (e Env) enter(args []string) []string {
	if e.NetNS == "" {
		return args
	}
	return append([]string{"nsenter", "--net=" + NetNSPath(e.NetNS), "--"}, args...)
}

// NetNSPath is the file that iproute2 keeps for a named network namespace.
func NetNSPath(name string) string { return filepath.Join("/run/netns", name) }

// Wait asks ready until it answers nil. It gives up when ctx ends or when the
// process does, with the last lines of the log in the error.
func (p *Process) Wait(ctx context.Context, ready func(context.Context) error) error {
	for {
		last := ready(ctx)
		if last == nil {
			return nil
		}
		if !p.Alive() {
			return fmt.Errorf("%s: %w: %s", p.Name, ErrExited, tail(p.Log))
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready (%w), last answer: %w", p.Name, context.Cause(ctx), last)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// tail returns the last kilobyte of a log file.
func tail(name string) string {
	content, err := os.ReadFile(name)
	if err != nil {
		return err.Error()
	}
	return string(content[max(0, len(content)-1024):])
}

// startAndWait starts a server and waits until ready; on failure the server is
// stopped again.
func (e Env) startAndWait(ctx context.Context, name string, ready func(context.Context) error, args ...string) (*Process, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	p, err := e.Start(name, args...)
	if err != nil {
		return nil, err
	}
	if err := p.Wait(ctx, ready); err != nil {
		return nil, errors.Join(err, p.Stop())
	}
	return p, nil
}

// enterNetNS moves the calling thread into the named network namespace.
func enterNetNS(name string) error {
	fd, err := unix.Open(NetNSPath(name), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("network namespace %s: %w", name, err)
	}
	return errors.Join(unix.Setns(fd, unix.CLONE_NEWNET), unix.Close(fd))
}
