package daemon

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/glusterbackupd/glusterbackupd/catalog"
	"github.com/glusterbackupd/glusterbackupd/copier"
	"github.com/glusterbackupd/glusterbackupd/manifest"
)

// RestoreRequest says what to put back, and where.
type RestoreRequest struct {
	Key catalog.Key
	// At selects the backup as catalog.Find does; empty means the latest.
	At string
	// Path limits the restore to one file or folder of the claim, relative to
	// its root. Empty means all.
	Path string
	// To is a local folder, new or empty, to restore into instead of the
	// claim's volume.
	To string
	// Delete removes files of the target that are not in the backup.
	Delete bool
	// DryRun ends after the plan.
	DryRun bool
	// Confirm is called with the plan before anything is written. An error
	// ends the restore. Optional.
	Confirm Confirm
}

// Confirm is asked before a restore writes. An error ends the restore; nil
// Confirm agrees.
type Confirm func(Plan) error

func (c Confirm) ask(p Plan) error {
	if c == nil {
		return nil
	}
	return c(p)
}

// Plan is what a restore will do.
type Plan struct {
	Backup catalog.Backup
	// Target describes where the data goes.
	Target string
	// Volume is the Gluster volume that is written to, or empty.
	Volume string
	Path   string
	// Files and Bytes are what the backup holds below Path.
	Files, Bytes int64
	Delete       bool
	// Unwatched says that nobody can tell whether the files are in use: there
	// is no Kubernetes to ask for pods. Of an image its sessions tell.
	Unwatched bool
	// Safety says whether a snapshot of the volume is taken first.
	Safety bool
	// Changed and Deleted are the number of files that the restore will write
	// and remove in the volume, and Changes names some of them.
	Changed, Deleted int64
	Changes          []string
	// bytes is what will be written, for the check of the room.
	bytes int64
	// Needed is the most space in bytes that the thin pools need, and Room what
	// the fullest of them has; both are 0 when the target is local.
	Needed, Room int64
}

// Restored is what a restore did.
type Restored struct {
	Plan Plan
	// SafetySnapshot is the snapshot of the state before, or empty.
	SafetySnapshot string
	// Written is the number of bytes written.
	Written int64
	// Compared is the number of entries, or for images of bytes, that were
	// read back and found equal.
	Compared int64
	Took     time.Duration
}

// Restore puts a file claim's data back. It verifies the backup, refuses while
// a pod uses the claim, takes a safety snapshot, copies, and reads back what it
// wrote. If it dies while copying, the claim holds some old and some new files:
// run it again, or take the old state from the safety snapshot.
func (d *Daemon) Restore(ctx context.Context, q RestoreRequest) (done Restored, err error) {
	start := time.Now()
	defer func() { done.Took = time.Since(start) }()
	if q.Path, err = cleanPath(q.Path); err != nil {
		return done, err
	}
	if done.Plan, err = d.planFiles(ctx, q); err != nil {
		return done, err
	}
	if q.To != "" {
		err = d.restoreToFolder(ctx, q, &done)
	} else {
		err = d.restoreToVolume(ctx, q, &done)
	}
	return done, err
}

// bounded returns ctx with the configured time-out. It begins with the writing,
// so that neither a person who thinks about the plan nor a long verification
// uses it up.
func (d *Daemon) bounded(ctx context.Context, what string) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, d.o.Timeout, fmt.Errorf("%s took longer than [backup] timeout %s", what, d.o.Timeout))
}

// cleanPath takes slashes around a path away. A path that leads out of the
// claim is an error, and never the whole claim by accident.
func cleanPath(p string) (string, error) {
	trimmed := strings.Trim(p, "/")
	if trimmed == "" || trimmed == "." {
		return "", nil
	}
	if !filepath.IsLocal(trimmed) {
		return "", &PathError{p}
	}
	return filepath.Clean(trimmed), nil
}

// planFiles finds the backup and counts what will be restored.
func (d *Daemon) planFiles(ctx context.Context, q RestoreRequest) (Plan, error) {
	b, err := d.o.Catalog.Find(q.Key, q.At)
	if err != nil {
		return Plan{}, err
	}
	p := Plan{Backup: b, Path: q.Path, Delete: q.Delete, Target: q.To}
	if b.Info.Kind == catalog.KindBlock && q.To == "" {
		return p, &WrongKindError{q.Key, b.Info.Block.Name}
	}
	p.Files, p.Bytes, err = count(ctx, b, q.Path)
	return p, err
}

// count sums what the manifest holds at and below sub.
func count(ctx context.Context, b catalog.Backup, sub string) (files, bytes int64, err error) {
	found := false
	for e, err := range b.Below(ctx, sub) {
		if err != nil {
			return 0, 0, err
		}
		found = true
		if e.Type == manifest.File {
			files++
			if e.HardlinkOf == "" {
				bytes += e.Size
			}
		}
	}
	if !found {
		return 0, 0, &NoPathError{b, sub}
	}
	return files, bytes, nil
}

// verify reads the part of the backup that will be restored once to its end.
func (d *Daemon) verify(ctx context.Context, b catalog.Backup, sub string) error {
	d.phase(PhaseVerify, b.Key, "")
	return b.Verify(ctx, catalog.VerifyOptions{Sub: sub, Progress: d.counted(PhaseVerify, b.Key)})
}

// counted adapts a count of bytes read to observers.
func (d *Daemon) counted(p Phase, k catalog.Key) func(int64) {
	return func(n int64) {
		d.o.Observe(Event{Claim: k, Phase: p, Progress: copier.Progress{Bytes: n}})
	}
}
