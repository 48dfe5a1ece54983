package copier

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// RsyncOptions configure the rsync engine. The zero value is usable.
type RsyncOptions struct {
	// Command is the rsync program and what goes before its arguments; nil
	// means "rsync" from PATH.
	Command []string
	// BandwidthLimit is in bytes a second, rounded up to 1024; 0 means none.
	BandwidthLimit int64
	// StopDelay is how long a cancelled rsync may take to remove its temporary
	// file before it is killed; 0 means 10 s.
	StopDelay time.Duration
	// Logger gets one debug line for each command; nil means none.
	Logger *slog.Logger
}

// Rsync copies trees with the rsync program. It is safe for concurrent use.
type Rsync struct {
	command   []string
	limit     int64
	stopDelay time.Duration
	root      bool
	fsync     bool // The program knows --fsync.
	log       *slog.Logger
}

// minRsync is the first version that compares nanoseconds (--modify-window=-1).
var minRsync = [3]int{3, 1, 3}

// fsyncRsync is the first version that knows --fsync.
var fsyncRsync = [3]int{3, 2, 4}

// RsyncVersionError says that the installed rsync cannot do what exact copies
// need.
type RsyncVersionError struct {
	// Command is the program that was asked.
	Command string
	// Found is the first line of its answer.
	Found string
	// Lacks names what is missing, such as "version 3.1.3" or "ACLs".
	Lacks string
}

// Error implements error.
func (e *RsyncVersionError) Error() string {
	return fmt.Sprintf("%s lacks %s (found %q)", e.Command, e.Lacks, e.Found)
}

// Remedy tells the admin what to do.
func (e *RsyncVersionError) Remedy() string {
	return "install rsync 3.1.3 or newer, built with ACLs, xattrs and hard links (your distribution's package \"rsync\")"
}

// NewRsync asks the program for its version and abilities. The error is an
// *RsyncVersionError when they do not suffice, and Is exec.ErrNotFound when
// there is no such program.
func NewRsync(o RsyncOptions) (*Rsync, error) {
	if len(o.Command) == 0 {
		o.Command = []string{"rsync"}
	}
	if o.StopDelay <= 0 {
		o.StopDelay = 10 * time.Second
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.BandwidthLimit < 0 {
		return nil, errors.New("negative bandwidth limit")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, o.Command[0], append(o.Command[1:len(o.Command):len(o.Command)], "--version")...)
	cmd.Env = environment()
	cmd.WaitDelay = time.Second
	answer, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("rsync version: %w", err)
	}
	if err := checkVersion(strings.Join(o.Command, " "), string(answer)); err != nil {
		return nil, err
	}
	return &Rsync{
		command:   o.Command,
		limit:     o.BandwidthLimit,
		stopDelay: o.StopDelay,
		root:      os.Geteuid() == 0,
		fsync:     atLeast(string(answer), fsyncRsync),
		log:       o.Logger.With("component", "rsync"),
	}, nil
}

var (
	versionLine = regexp.MustCompile(`^rsync\s+version\s+v?(\d+)\.(\d+)\.(\d+)`)
	notAble     = regexp.MustCompile(`\bno (ACLs|xattrs|hardlinks|symlinks)\b`)
)

func checkVersion(command, answer string) error {
	first, _, _ := strings.Cut(answer, "\n")
	if !versionLine.MatchString(first) {
		return &RsyncVersionError{command, first, "a version that is understood"}
	}
	if !atLeast(answer, minRsync) {
		return &RsyncVersionError{command, first, "version 3.1.3"}
	}
	if m := notAble.FindStringSubmatch(answer); m != nil {
		return &RsyncVersionError{command, first, m[1]}
	}
	return nil
}

// atLeast says whether rsync's answer to --version names this version or a newer
// one.
func atLeast(answer string, least [3]int) bool {
	m := versionLine.FindStringSubmatch(answer)
	if m == nil {
		return false
	}
	var have [3]int
	for i := range have {
		n, err := strconv.Atoi(m[i+1])
		if err != nil {
			return false
		}
		have[i] = n
	}
	return slices.Compare(have[:], least[:]) >= 0
}

// Copy copies t and waits until every process of it has ended, also when ctx is
// cancelled; the error then Is context.Cause(ctx). A failed rsync yields an
// *RsyncError, also when only one file of many failed: on a snapshot nothing
// may vanish or be unreadable. What was copied before an error stays in Dest,
// never a half file under its final name. An rsync that has to be killed, by
// the stop delay or from outside, leaves one file ".name.XXXXXX" behind.
func (r *Rsync) Copy(ctx context.Context, t Tree) (TreeResult, error) {
	t, err := t.checked()
	if err != nil {
		return TreeResult{}, err
	}
	res, err := r.copyOnce(ctx, t)
	var failed *RsyncError
	if errors.As(err, &failed) && failed.again {
		// See staleACL: only a run without any message is taken for success.
		first := res
		res, err = r.copyOnce(ctx, t)
		res.FilesTransferred += first.FilesTransferred
		res.BytesTransferred += first.BytesTransferred
		res.Deleted += first.Deleted
	}
	return res, err
}

func (r *Rsync) copyOnce(ctx context.Context, t Tree) (TreeResult, error) {
	out := &rsyncOutput{progress: t.Progress, dryRun: t.DryRun, started: time.Now()}
	var stdin io.Reader
	if t.Path != "" {
		// "./" keeps a name that begins with '#' from being a comment, and
		// brings the attributes of the source folder itself.
		stdin = strings.NewReader("./" + t.Path + "\x00")
	}
	args := r.args(t)
	r.log.DebugContext(ctx, "start", "from", t.Source, "to", t.Dest, "args", args)
	if err := r.run(ctx, args, stdin, out.line); err != nil {
		return out.result, err
	}
	return out.finish()
}
