package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/glusterbackupd/glusterbackupd/catalog"
	"github.com/glusterbackupd/glusterbackupd/copier"
	"github.com/glusterbackupd/glusterbackupd/gluster"
	"github.com/glusterbackupd/glusterbackupd/kube"
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
	// To is a local folder to restore into instead of the claim's volume.
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
	// Safety says whether a snapshot of the volume is taken first.
	Safety bool
	// Changed and Deleted are the number of files that the restore will write
	// and remove in the volume, and Changes names some of them.
	Changed, Deleted int64
	Changes          []string
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

// InUseError says that a restore was refused because somebody uses the claim.
type InUseError struct {
	Target Target
	Pods   []kube.Pod
}

// Error names the claim and the pods.
func (e *InUseError) Error() string {
	var pods []string
	for _, p := range e.Pods {
		pods = append(pods, fmt.Sprintf("%s/%s (%s)", p.Namespace, p.Name, p.Phase))
	}
	return fmt.Sprintf("%s is in use by pod %s", e.Target, strings.Join(pods, ", "))
}

// Remedy says how to end the use.
func (e *InUseError) Remedy() string {
	return "scale the workload to 0 and wait until its pods are gone, or restore to a folder with --to; nothing was changed"
}

// Restore puts a file claim's data back. It verifies the backup, refuses while
// a pod uses the claim, takes a safety snapshot, copies, and reads back what it
// wrote. If it dies while copying, the claim holds some old and some new files:
// run it again, or take the old state from the safety snapshot.
func (d *Daemon) Restore(ctx context.Context, q RestoreRequest) (Restored, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, d.o.Timeout,
		fmt.Errorf("claim %s: restore took longer than [backup] timeout %s", q.Key, d.o.Timeout))
	defer cancel()
	start := time.Now()
	q.Path = path.Clean("/" + q.Path)[1:]
	plan, err := d.planFiles(ctx, q)
	if err != nil {
		return Restored{Plan: plan}, err
	}
	var done Restored
	if q.To != "" {
		done, err = d.restoreToFolder(ctx, q, plan)
	} else {
		done, err = d.restoreToVolume(ctx, q, plan)
	}
	done.Took = time.Since(start)
	return done, err
}

// planFiles finds and verifies the backup and counts what will be restored.
func (d *Daemon) planFiles(ctx context.Context, q RestoreRequest) (Plan, error) {
	b, err := d.o.Catalog.Find(q.Key, q.At)
	if err != nil {
		return Plan{}, err
	}
	p := Plan{Backup: b, Path: q.Path, Delete: q.Delete, Target: q.To}
	if b.Info.Kind == catalog.KindBlock && q.To == "" {
		return p, &WrongKindError{q.Key, b.Info.Block.Name}
	}
	if p.Files, p.Bytes, err = count(ctx, b, q.Path); err != nil {
		return p, err
	}
	d.phase(PhaseVerify, q.Key, "")
	return p, b.Verify(ctx, q.Path, d.counted(PhaseVerify, q.Key))
}

// WrongKindError says that a block claim needs the other command.
type WrongKindError struct {
	Key   catalog.Key
	Image string
}

// Error names the claim and its image.
func (e *WrongKindError) Error() string {
	return fmt.Sprintf("claim %s is a block image (%s)", e.Key, e.Image)
}

// Remedy names the command.
func (e *WrongKindError) Remedy() string {
	return fmt.Sprintf("glusterbackupd restore-block %s", e.Image)
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

// NoPathError says that the backup does not hold the path.
type NoPathError struct {
	Backup catalog.Backup
	Path   string
}

// Error names the backup and the path.
func (e *NoPathError) Error() string {
	return fmt.Sprintf("claim %s: backup %s holds no %q", e.Backup.Key, e.Backup.ID, e.Path)
}

// Is makes the error one of catalog.ErrNoBackup: nothing matched.
func (e *NoPathError) Is(target error) bool { return target == catalog.ErrNoBackup }

// Remedy says where to look.
func (e *NoPathError) Remedy() string {
	return "the path is relative to the claim's root; look for it in " + e.Backup.DataDir()
}

// restoreToFolder restores into a local folder, which need not exist.
func (d *Daemon) restoreToFolder(ctx context.Context, q RestoreRequest, p Plan) (Restored, error) {
	done := Restored{Plan: p}
	if err := q.Confirm.ask(p); err != nil || q.DryRun {
		return done, err
	}
	dir, err := filepath.Abs(q.To)
	if err != nil {
		return done, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return done, err
	}
	return d.putBack(ctx, q, done, dir)
}

// restoreToVolume restores into the claim's live volume.
func (d *Daemon) restoreToVolume(ctx context.Context, q RestoreRequest, p Plan) (done Restored, err error) {
	done.Plan = p
	t, err := d.o.Resolver.Target(ctx, q.Key.Namespace, q.Key.Claim)
	if err != nil {
		return done, err
	}
	if t.Block() {
		return done, &WrongKindError{q.Key, t.Image}
	}
	done.Plan.Target, done.Plan.Volume, done.Plan.Safety = t.String(), t.Volume, true
	g, err := d.o.Gluster(t.Hosts)
	if err != nil {
		return done, err
	}
	if err := d.refuseInUse(ctx, t); err != nil {
		return done, err
	}
	if err := d.planVolume(ctx, g, q, t, &done.Plan); err != nil {
		return done, err
	}
	if err := q.Confirm.ask(done.Plan); err != nil || q.DryRun {
		return done, err
	}
	rel := &releases{log: d.log}
	defer func() { err = errors.Join(err, rel.run(ctx)) }()
	if done.SafetySnapshot, err = d.safety(ctx, g, t.Volume, rel); err != nil {
		return done, err
	}
	dir, err := d.mountLive(ctx, t, gluster.MountOptions{}, rel)
	if err != nil {
		return done, err
	}
	if err := d.refuseInUse(ctx, t); err != nil {
		return done, err
	}
	return d.putBack(ctx, q, done, dir)
}

// planVolume looks through a read-only mount at what the restore would change,
// and checks that the volume is healthy and has room for it.
func (d *Daemon) planVolume(ctx context.Context, g Health, q RestoreRequest, t Target, p *Plan) (err error) {
	v, pools, err := d.preflight(ctx, g, t.Volume)
	if err != nil {
		return err
	}
	rel := &releases{log: d.log}
	defer func() { err = errors.Join(err, rel.run(ctx)) }()
	dir, err := d.mountLive(ctx, t, gluster.MountOptions{ReadOnly: true}, rel)
	if err != nil {
		return err
	}
	res, err := d.o.Engine.Copy(ctx, copier.Tree{
		Source: p.Backup.DataDir(), Dest: dir, Path: q.Path, Delete: q.Delete, DryRun: true,
	})
	if err != nil {
		return fmt.Errorf("%s: compare with the volume: %w", t, obstructed(err, q.Delete))
	}
	p.Changed, p.Deleted, p.Changes = res.FilesTransferred, res.Deleted, res.Changes
	p.Needed, p.Room, err = room(v, pools, res.BytesTransferred, d.o.Limits)
	return err
}

// ObstructedError says that the volume holds something that cannot be replaced
// without deleting what is in it.
type ObstructedError struct{ Err error }

// Error is the copy engine's, which names the path.
func (e *ObstructedError) Error() string { return e.Err.Error() }

// Unwrap returns the copy engine's error.
func (e *ObstructedError) Unwrap() error { return e.Err }

// Remedy says how to get past it.
func (e *ObstructedError) Remedy() string {
	return "a folder that is not empty stands where the backup has something else: move it away, or repeat with --delete, which removes it; the safety snapshot keeps it. Nothing was changed"
}

// obstructed tells a partial copy in which something stood in the way, which
// --delete would remove, from all other errors.
func obstructed(err error, deletes bool) error {
	var partial *copier.RsyncError
	if !deletes && errors.As(err, &partial) && strings.Contains(partial.Stderr, "could not make way") {
		return &ObstructedError{err}
	}
	return err
}

// refuseInUse returns an *InUseError while pods use the target.
func (d *Daemon) refuseInUse(ctx context.Context, t Target) error {
	pods, err := d.o.Resolver.Users(ctx, t)
	if err != nil {
		return err
	}
	if len(pods) > 0 {
		return &InUseError{t, pods}
	}
	return nil
}

// safety takes the snapshot of the state before a restore. It stays until its
// retention is over, also when the restore fails: then it is most needed.
func (d *Daemon) safety(ctx context.Context, g Gluster, volume string, rel *releases) (string, error) {
	d.phase(PhaseSnapshot, catalog.Key{}, volume)
	if err := d.expire(ctx, g, volume, time.Now()); err != nil {
		return "", err
	}
	s, keep, err := d.take(ctx, g, volume, forSafety, rel)
	if err != nil {
		return "", err
	}
	if d.o.Keep.Safety > 0 {
		keep()
	}
	return s.Name, nil
}

// mountLive mounts the target's volume and registers the unmount.
func (d *Daemon) mountLive(ctx context.Context, t Target, o gluster.MountOptions, rel *releases) (string, error) {
	d.phase(PhaseMount, t.Key, t.Volume)
	kind := "volume"
	if o.ReadOnly {
		kind = "view"
	}
	dir, err := d.o.Mounts.MountVolume(ctx, t.Hosts, t.Volume, mountName(kind, t.Volume), o)
	if err != nil {
		return "", err
	}
	rel.add("unmount "+dir, func(ctx context.Context) error { return d.o.Mounts.Unmount(ctx, dir) })
	return dir, nil
}

// putBack copies the backup's data into dir and compares what dir then holds
// with the manifest.
func (d *Daemon) putBack(ctx context.Context, q RestoreRequest, done Restored, dir string) (Restored, error) {
	b := done.Plan.Backup
	d.phase(PhaseCopy, q.Key, done.Plan.Volume)
	res, err := d.o.Engine.Copy(ctx, copier.Tree{
		Source: b.DataDir(), Dest: dir, Path: q.Path, Delete: q.Delete,
		// What has the right size and time may still have the wrong content:
		// that can be why somebody restores.
		Checksum: true,
		Progress: d.progress(PhaseCopy, q.Key, done.Plan.Volume),
	})
	done.Written = res.BytesTransferred
	if err != nil {
		return done, fmt.Errorf("claim %s: %w", q.Key, err)
	}
	d.phase(PhaseReadBack, q.Key, done.Plan.Volume)
	done.Compared, err = d.compareTree(ctx, b, dir, q)
	if err != nil {
		return done, fmt.Errorf("claim %s: read back: %w", q.Key, err)
	}
	return done, nil
}

// counted adapts a count of bytes read to observers.
func (d *Daemon) counted(p Phase, k catalog.Key) func(int64) {
	return func(n int64) {
		d.o.Observe(Event{Claim: k, Phase: p, Progress: copier.Progress{Bytes: n}})
	}
}
