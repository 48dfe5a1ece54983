package copier

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/time/rate"

	"github.com/glusterbackupd/glusterbackupd/manifest"
)

// treeJob is one copy of a tree that is running.
type treeJob struct {
	Tree
	ctx  context.Context
	stop context.CancelCauseFunc
	rate *rate.Limiter // nil for no limit.
	crew *crew

	dev     uint64 // Of the source.
	root    *place
	groups  groups
	taken   manifest.Inodes // Inodes of the destination.
	reused  manifest.Inodes // Inodes of the reference.
	old     *fingerprints
	marks   *fingerprintWriter
	sums    *digester
	digests *Digests
	buffers sync.Pool
	lists   sync.Pool

	found, done counts
	listing     atomic.Int64 // Folders that are not listed to their end.
	deleted     atomic.Int64
	failures    failures
	report      reporter

	mu      sync.Mutex
	changes []string
	omitted int64
	misses  []string
}

// counts are entries of all types, regular files among them, and bytes. Of what
// is done, files and bytes are those whose content was copied.
type counts struct{ entries, files, bytes atomic.Int64 }

// place is a folder that is being copied. Its descriptors stay open until
// everything in it is done.
type place struct {
	parent        *place
	name          string
	path          string // Below the root; "." is the root.
	src, dst, ref int
	st            unix.Stat_t // Of the source.
	xattrs        xattrs      // Of the source.
	made          bool        // The destination was made by this copy.
	spoiled       atomic.Bool // Half a file is in the destination and cannot be removed.
	fresh         bool        // The destination was empty or not there before.
	inherits      bool        // The destination's default ACL goes to what is made in it.
	only          []string    // The way to Tree.Path, when it leads through here.
	left          atomic.Int64
}

// item is a name in a place of the source.
type item struct {
	at   *place
	name string
	st   unix.Stat_t
	of   *group // Of an inode with several names.
	sum  []byte // SHA-256 of the content, if that was copied and is to be known.
}

func (it *item) path() string { return joinPath(it.at.path, it.name) }

func newTreeJob(ctx context.Context, t Tree, workers int) *treeJob {
	j := &treeJob{Tree: t}
	if j.Frozen.IsZero() {
		j.Frozen = time.Now()
	}
	j.ctx, j.stop = context.WithCancelCause(ctx)
	j.groups.byInode = map[uint64]*group{}
	j.buffers.New = func() any { return new([bufferSize]byte) }
	j.lists.New = func() any { return new([listBuffer]byte) }
	j.report.call = t.Progress
	j.report.meter = newMeter(0)
	j.crew = newCrew(workers, j.work)
	return j
}

// run copies, then deletes what the source lacks.
func (j *treeJob) run(ctx context.Context) (err error) {
	defer j.stop(nil)
	if j.old, err = openFingerprints(j.ReferenceFingerprints); err != nil {
		return err
	}
	defer j.old.close()
	if err := j.openNewFingerprints(); err != nil {
		return err
	}
	defer j.marks.discard()
	defer j.sums.discard()
	if err := j.openRoot(); err != nil {
		return err
	}
	j.copyAll()
	if err := j.failed(ctx); err != nil {
		return err
	}
	if j.Delete {
		j.deleteExtra()
		if err := j.failed(ctx); err != nil {
			return err
		}
	}
	if err := j.marks.finish(); err != nil {
		return err
	}
	if j.digests, err = j.sums.finish(); err != nil {
		return err
	}
	j.report.last(j)
	return nil
}

// failed is the error of what went before.
func (j *treeJob) failed(ctx context.Context) error {
	if ctx.Err() != nil {
		return fmt.Errorf("copy of %s: %w", j.Source, context.Cause(ctx))
	}
	return j.failures.err()
}

// copyAll works until the root is done. Whatever happens, every folder that was
// opened is closed.
func (j *treeJob) copyAll() {
	j.found.entries.Add(1)
	j.listing.Add(1)
	root, done := j.root, make(chan struct{})
	root.left.Store(1)
	go func() {
		defer close(done)
		j.list(root)
	}()
	j.crew.run(func() {
		<-done
		j.crew.wait()
	}, func() int64 { return j.done.entries.Load() + j.done.bytes.Load()>>17 })
}

// work does one item, in any of the goroutines.
func (j *treeJob) work(it *item) {
	if isDir(&it.st) {
		j.enter(it)
		return
	}
	j.entry(it)
}

func (j *treeJob) stopped() bool { return j.ctx.Err() != nil }

// leave says that one thing in p is done. The last one finishes p.
func (j *treeJob) leave(p *place) {
	for p != nil && p.left.Add(-1) == 0 {
		if !j.stopped() {
			j.finishFolder(p)
		}
		for _, fd := range []int{p.src, p.dst, p.ref} {
			closeFD(fd)
		}
		if p == j.root {
			j.crew.finish()
		}
		p = p.parent
	}
}

// settle counts an item that was dealt with, or keeps its error.
func (j *treeJob) settle(err error) {
	if err != nil {
		j.fail(err)
		return
	}
	j.done.entries.Add(1)
	j.report.tick(j)
}

// fail keeps an error, and stops everything if no other file can fare better.
func (j *treeJob) fail(err error) {
	if j.stopped() {
		return // What fails now fails because of that.
	}
	if j.failures.add(err) {
		j.stop(err)
	}
}

// change notes what a dry run would do.
func (j *treeJob) change(what, path string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.changes) == MaxChanges {
		j.omitted++
		return
	}
	j.changes = append(j.changes, fmt.Sprintf("%-10s %s", what, manifest.Escape(path)))
}

// missed notes a change that the fingerprints do not show.
func (j *treeJob) missed(path string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.misses) < MaxMissed {
		j.misses = append(j.misses, path)
	}
}

func (j *treeJob) result() TreeResult {
	slices.SortFunc(j.changes, func(a, b string) int { return strings.Compare(a[11:], b[11:]) })
	return TreeResult{
		Entries: j.found.entries.Load(), Files: j.found.files.Load(), Bytes: j.found.bytes.Load(),
		FilesTransferred: j.done.files.Load(), BytesTransferred: j.done.bytes.Load(),
		Deleted: j.deleted.Load(), Digests: j.digests, Missed: j.misses, Changes: j.changes, ChangesOmitted: j.omitted,
	}
}

// reporter calls Tree.Progress, from one goroutine at a time and not too often.
type reporter struct {
	call  func(Progress)
	mu    sync.Mutex
	meter *meter
	at    time.Time
}

const reportEvery = 50 * time.Millisecond

func (r *reporter) tick(j *treeJob) {
	if r.call == nil || !r.mu.TryLock() {
		return
	}
	defer r.mu.Unlock()
	if now := time.Now(); now.Sub(r.at) >= reportEvery {
		r.at = now
		r.tell(j)
	}
}

func (r *reporter) last(j *treeJob) {
	if r.call != nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.tell(j)
	}
}

func (r *reporter) tell(j *treeJob) {
	p := r.meter.add(j.done.bytes.Load())
	p.Files, p.ETA = j.done.entries.Load(), 0
	if j.listing.Load() == 0 {
		p.TotalFiles = j.found.entries.Load()
	}
	if p.TotalFiles > 0 && p.Files > 0 {
		perFile := time.Since(r.meter.started).Seconds() / float64(p.Files)
		p.ETA = time.Duration(perFile * float64(p.TotalFiles-p.Files) * float64(time.Second))
	}
	r.call(p)
}
