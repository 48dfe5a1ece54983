package gluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os/exec"
	"strings"
	"time"

	"github.com/glusterbackupd/glusterbackupd/gluster/failover"
	"github.com/glusterbackupd/glusterbackupd/runner"
)

// DefaultTimeout is the default of Options.Timeout. Gluster's own is 120 s, too
// short for a snapshot of a busy volume.
const DefaultTimeout = 10 * time.Minute

// Commander runs commands on one host. *runner.Host, *runner.Local and
// *runner.Pod are Commanders.
type Commander interface {
	Run(ctx context.Context, args ...string) ([]byte, error)
	Name() string
}

// Options are the settings of a Client. Hosts is required.
type Options struct {
	// Hosts are nodes of the pool. One is asked; the next only when it cannot
	// be reached.
	Hosts []Commander
	// Connect returns the Commander for a brick's host, as the volume names it.
	// Nil looks for a member of Hosts with that name.
	Connect func(host string) Commander
	// Command starts the gluster program, default {"gluster"}. What precedes
	// its last element, as in {"docker", "exec", "glusterfs", "gluster"}, also
	// precedes the commands that look at a brick's logical volumes.
	Command []string
	// Timeout is how long gluster waits for glusterd, in whole seconds, default
	// 10 min. It limits the command on the host, which outlives its connection.
	Timeout time.Duration
	// Outages are shared by clients whose hosts overlap, so that a dead host
	// costs all of them one time-out; nil means that this client remembers for
	// itself.
	Outages *failover.Outages
	// Logger receives a warning when a host is passed over; nil discards.
	Logger *slog.Logger
}

// Client asks one pool. It is safe for concurrent use.
type Client struct {
	opts Options
	set  *failover.Set // Of opts.Hosts.
}

// New checks the options; it runs nothing.
func New(o Options) (*Client, error) {
	if len(o.Hosts) == 0 {
		return nil, errors.New("gluster: no host")
	}
	if len(o.Command) == 0 {
		o.Command = []string{"gluster"}
	}
	if o.Timeout <= 0 {
		o.Timeout = DefaultTimeout
	}
	if o.Timeout < time.Second {
		return nil, fmt.Errorf("gluster: timeout %v is less than a second", o.Timeout)
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Connect == nil {
		hosts := o.Hosts
		o.Connect = func(host string) Commander {
			for _, h := range hosts {
				if h.Name() == host {
					return h
				}
			}
			return nil
		}
	}
	names := make([]string, len(o.Hosts))
	for i, h := range o.Hosts {
		names[i] = h.Name()
	}
	set, err := failover.New(failover.Options{Names: names, Outages: o.Outages, Logger: o.Logger})
	if err != nil {
		return nil, fmt.Errorf("gluster: %w", err)
	}
	return &Client{opts: o, set: set}, nil
}

// SnapshotPath is what glusterd serves an active snapshot under to those who
// mount it.
func (*Client) SnapshotPath(snapshot, volume string) string { return SnapshotPath(snapshot, volume) }

// Ping asks for the names of the volumes. Success means that a host is reached,
// that the gluster command is there, and that glusterd answers it.
func (c *Client) Ping(ctx context.Context) error {
	_, err := c.do(ctx, call{op: "volume list"})
	return err
}

// call is one gluster command and what errors say about it.
type call struct {
	op               string // The command's words, such as "snapshot create".
	volume, snapshot string
	args             []string // What follows the words.
}

// error returns an *Error about the call.
func (q call) error(host string, kind, cause error) *Error {
	return &Error{Op: q.op, Volume: q.volume, Snapshot: q.snapshot, Host: host, Kind: kind, Err: cause}
}

// reads tells whether the call changes nothing, so that asking a second host
// does no harm when the first one was lost on the way.
func (q call) reads() bool {
	switch q.op {
	case "volume info", "volume status", "volume list", "snapshot info", "snapshot status", "snapshot config":
		return true
	}
	return false
}

// do runs the call on the host that answered last, or on the next one that can
// be reached, and returns the answer of a success. Only hosts on which the
// command has certainly not run are passed over; a question that changes nothing
// may have been asked. Errors of trust or identity are returned at once: the
// admin must see them, another host or not.
func (c *Client) do(ctx context.Context, q call) (a *answer, err error) {
	err = c.set.Do(ctx, func(i int) (err error) {
		a, err = c.ask(ctx, c.opts.Hosts[i], q)
		return err
	}, func(err error) failover.Verdict {
		switch {
		case distrusted(err):
			return failover.Distrusted
		case errors.Is(err, runner.ErrUnreachable), errors.Is(err, ErrNoDaemon),
			q.reads() && errors.Is(err, runner.ErrConnectionLost):
			return failover.Unreached
		}
		return failover.Answered
	})
	if err != nil {
		return nil, err
	}
	return a, nil
}

// host returns the name of the host that answered last.
func (c *Client) host() string { return c.set.Host() }

// distrusted tells whether one side refused the other's identity.
func distrusted(err error) bool {
	return errors.Is(err, runner.ErrHostKey) || errors.Is(err, runner.ErrAuth) || errors.Is(err, ErrCertificate)
}

// ask runs the call on one host.
func (c *Client) ask(ctx context.Context, host Commander, q call) (*answer, error) {
	args := append([]string{}, c.opts.Command...)
	args = append(args, "--mode=script", fmt.Sprintf("--timeout=%d", int(c.opts.Timeout/time.Second)), "--xml")
	args = append(args, strings.Fields(q.op)...)
	out, err := host.Run(ctx, append(args, q.args...)...)
	text := strings.TrimSpace(string(out))
	var exit *runner.ExitError
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return nil, q.error(host.Name(), ErrFailed, err)
	case err != nil && !errors.As(err, &exit):
		if errors.Is(err, runner.ErrConnectionLost) {
			return nil, q.error(host.Name(), ErrTimeout, err)
		}
		return nil, fmt.Errorf("%s%s: %w", q.op, q.error("", nil, nil).object(), err)
	case strings.HasPrefix(text, "Error : Request timed out"):
		return nil, q.error(host.Name(), ErrTimeout, nil)
	case strings.HasPrefix(text, "Connection failed."):
		return nil, q.error(host.Name(), ErrNoDaemon, nil)
	case err != nil && !strings.HasPrefix(text, "<?xml"):
		e := q.error(host.Name(), ErrFailed, err)
		e.Message = firstLine(text)
		return nil, e
	}
	a, err := parseAnswer(out)
	if err != nil {
		return nil, fmt.Errorf("%s%s on %s: %w", q.op, q.error("", nil, nil).object(), host.Name(), err)
	}
	if a.OpRet == nil || *a.OpRet == 0 {
		a.text = out
		return a, nil
	}
	return nil, refusal(a, q, host.Name())
}

// refusal turns opErrno and opErrstr into an *Error.
func refusal(a *answer, q call, host string) *Error {
	message := strings.TrimSpace(a.OpErrstr)
	if message == "(null)" {
		message = ""
	}
	if message == "" {
		message = strings.TrimSpace(a.Output)
	}
	e := q.error(host, kindOf(a.OpErrno, message), nil)
	e.Errno, e.Message = a.OpErrno, message
	return e
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	if len(line) > 200 {
		line = line[:200] + "…"
	}
	return line
}
