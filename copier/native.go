package copier

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/time/rate"
)

// NativeOptions configure the native engine. The zero value is usable.
type NativeOptions struct {
	// BandwidthLimit is in bytes a second; 0 means none.
	BandwidthLimit int64
	// Workers is how many files are worked on at the same time at most; 0 means
	// 64. How many really are is found out while the copy runs.
	Workers int
	// Logger gets one debug line for each copy; nil means none.
	Logger *slog.Logger
}

// Native copies trees itself, many files at a time. It is safe for concurrent
// use, and needs root: owners, devices and all extended attributes are kept.
type Native struct {
	limit   int64
	workers int
	log     *slog.Logger
}

const defaultCrew = 64

// Threads is what runtime.GOMAXPROCS should be at least in a process that copies. A
// thread that waits for Gluster keeps its place among those that run Go code; with
// one place for each CPU, the scheduler takes it away and gives it back at every
// call, which costs 3 to 10 % of a copy of small files, and twice that of a slow volume.
const Threads = 32

// NewNative returns the native engine.
func NewNative(o NativeOptions) (*Native, error) {
	if o.BandwidthLimit < 0 {
		return nil, errors.New("negative bandwidth limit")
	}
	if o.Workers < 0 {
		return nil, fmt.Errorf("%d workers", o.Workers)
	}
	if o.Workers == 0 {
		o.Workers = defaultCrew
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Native{limit: o.BandwidthLimit, workers: o.Workers, log: o.Logger.With("component", "copy")}, nil
}

// Copy copies t and returns when nothing of it runs any more, also when ctx is
// cancelled; the error then Is context.Cause(ctx). What could not be copied is
// in a *TreeError, path by path: an entry that fails does not stop the others,
// a destination that is full does. What was copied before an error stays in
// Dest. A process that is killed leaves up to Workers half files behind: named
// ".NAME.glusterbackupd-XXXXXX", which a copy with Tidy removes, or, in a folder that
// this copy made and that only root can enter before it is complete (mode 0700),
// under their own names with a time that is not the source's, which the next copy
// replaces.
//
// Source and destination are walked by names relative to open folders. No
// symlink is followed, and paths may be of any length. Folders are listed in
// pieces and nothing is kept of a file that is done, so that memory does not
// grow with the tree, but for inodes with several names: some 100 bytes and the
// path for each of them.
func (n *Native) Copy(ctx context.Context, t Tree) (TreeResult, error) {
	t, err := t.checked()
	if err != nil {
		return TreeResult{}, err
	}
	if ctx.Err() != nil {
		return TreeResult{}, fmt.Errorf("copy of %s: %w", t.Source, context.Cause(ctx))
	}
	j := newTreeJob(ctx, t, n.workers)
	if n.limit > 0 {
		j.rate = rate.NewLimiter(rate.Limit(n.limit), int(min(n.limit, bufferSize)))
	}
	started := time.Now()
	err = j.run(ctx)
	n.log.DebugContext(ctx, "copied", "from", t.Source, "to", t.Dest, "entries", j.done.entries.Load(),
		"bytes", j.done.bytes.Load(), "workers", j.crew.most.Load(), "seconds", time.Since(started).Seconds())
	return j.result(), err
}
