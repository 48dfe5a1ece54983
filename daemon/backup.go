package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/glusterbackupd/glusterbackupd/blockstore"
	"github.com/glusterbackupd/glusterbackupd/catalog"
	"github.com/glusterbackupd/glusterbackupd/copier"
	"github.com/glusterbackupd/glusterbackupd/gluster"
	"github.com/glusterbackupd/glusterbackupd/kube"
)

// Result is what became of one claim in a backup.
type Result struct {
	Target Target
	// Backup is the published backup; its zero value when Err is set.
	Backup catalog.Backup
	// Err says why there is none. It may also be set beside a published
	// backup when something could not be given back afterwards.
	Err error
	// Took is the time from the claim's own copy to its publication.
	Took time.Duration
}

// Backup makes one backup of each target, with one snapshot per volume, and
// returns one result for each, in the order of volumes. Each run locks its volume
// and its claims; where somebody else works on one of them, the results of the
// run are *catalog.LockedError. An error of one run does not stop the others; a cancelled ctx stops all, after they gave back
// what they hold.
func (d *Daemon) Backup(ctx context.Context, targets []Target) []Result {
	runs := group(targets)
	results := make([][]Result, len(runs))
	var workers errgroup.Group
	workers.SetLimit(d.o.Parallel)
	for i, r := range runs {
		workers.Go(func() error {
			results[i] = d.backupVolume(ctx, r)
			return nil
		})
	}
	_ = workers.Wait() // The workers return no errors; each result has its own.
	var all []Result
	for _, r := range results {
		all = append(all, r...)
	}
	return all
}

// backupVolume is one run. Whatever happens, it gives back what it acquired.
func (d *Daemon) backupVolume(ctx context.Context, r run) []Result {
	ctx, cancel := context.WithTimeoutCause(ctx, d.o.Timeout,
		fmt.Errorf("volume %s: run took longer than [backup] timeout %s", r.volume, d.o.Timeout))
	defer cancel()
	rel := &releases{log: d.log}
	results, err := d.copyVolume(ctx, r, rel)
	d.phase(PhaseRelease, catalog.Key{}, r.volume)
	left := rel.run(ctx)
	d.phase(PhaseEnd, catalog.Key{}, r.volume)
	if left != nil {
		left = fmt.Errorf("volume %s: left behind: %w", r.volume, left)
	}
	if err != nil {
		results = nil
		for _, t := range r.targets {
			results = append(results, Result{Target: t, Err: err})
		}
	}
	for i := range results {
		results[i].Err = errors.Join(results[i].Err, left)
	}
	return results
}

// copyVolume locks and freezes the volume, mounts the frozen view and copies each target.
// An error is one of the whole run; errors of single targets are in their
// results.
func (d *Daemon) copyVolume(ctx context.Context, r run, rel *releases) ([]Result, error) {
	if err := d.lockRun(ctx, r, rel); err != nil {
		return nil, err
	}
	frozen, err := d.freeze(ctx, r, rel)
	if err != nil {
		return nil, err
	}
	var results []Result
	published := false
	for _, t := range r.targets {
		start := time.Now()
		b, err := d.backupTarget(ctx, t, frozen)
		if err != nil {
			err = fmt.Errorf("%s: %w", t, err)
		}
		published = published || err == nil
		results = append(results, Result{Target: t, Backup: b, Err: err, Took: time.Since(start)})
	}
	if published && d.o.Keep.Backup > 0 {
		frozen.keep(true)
	}
	return results, nil
}

// frozen is a mounted snapshot.
type frozen struct {
	gluster  Gluster
	lives    []string // Since when the bricks run, as asked before the snapshot; nil when not known.
	snapshot gluster.Snapshot
	chunks   map[string]chunkDeltas // By the id of the older snapshot.
	started  time.Time
	volume   gluster.Volume
	dir      string
	keep     func(bool)
}

// freeze checks the volume, tidies our old snapshots of it, takes a new one and
// mounts it.
func (d *Daemon) freeze(ctx context.Context, r run, rel *releases) (frozen, error) {
	f := frozen{started: time.Now(), chunks: map[string]chunkDeltas{}}
	d.phase(PhasePreflight, catalog.Key{}, r.volume)
	g, err := d.o.Gluster(r.hosts)
	if err != nil {
		return f, err
	}
	f.gluster = g
	if err := d.expire(ctx, g, r.volume, time.Now(), r.keys()...); err != nil {
		return f, err
	}
	if f.volume, _, err = d.preflight(ctx, g, r.volume); err != nil {
		return f, err
	}
	f.lives = d.brickLives(ctx, g, r)
	d.phase(PhaseSnapshot, catalog.Key{}, r.volume)
	f.snapshot, f.keep, err = d.take(ctx, g, r.volume, forBackup, rel)
	if err != nil {
		return f, err
	}
	if err := retry(ctx, d.o.Retries, func() error { return g.ActivateSnapshot(ctx, f.snapshot.Name) }); err != nil {
		return f, err
	}
	d.phase(PhaseMount, catalog.Key{}, r.volume)
	f.dir, err = d.mountSnapshot(ctx, r.hosts, f.snapshot.Name, r.volume, gluster.MountOptions{
		DirectIO: slices.ContainsFunc(r.targets, Target.Block), SingleCopy: f.volume.SingleCopy(),
	}, rel)
	return f, err
}

// mountSnapshot mounts an active snapshot until rel gives it back. The volume must
// be locked.
func (d *Daemon) mountSnapshot(ctx context.Context, hosts []string, snapshot, volume string, o gluster.MountOptions, rel *releases) (string, error) {
	name, err := mountName(kindSnapshot, volume)
	if err != nil {
		return "", err
	}
	dir, err := d.o.Mounts.MountSnapshot(ctx, hosts, snapshot, volume, name, o)
	if err != nil {
		return "", err
	}
	rel.add("unmount "+dir, func(ctx context.Context) error { return d.o.Mounts.Unmount(ctx, dir) })
	return dir, nil
}

// backupTarget copies one target out of the frozen volume and publishes it. If
// the process dies anywhere in here, what stays is a *.partial folder that
// the next run on the claim removes; a backup exists only after Publish.
func (d *Daemon) backupTarget(ctx context.Context, t Target, f frozen) (catalog.Backup, error) {
	staging, err := d.o.Catalog.Begin(t.Key, f.started)
	if err != nil {
		return catalog.Backup{}, err
	}
	b, err := d.fill(ctx, staging, t, f)
	if err != nil {
		return catalog.Backup{}, errors.Join(err, staging.Abort())
	}
	d.log.Info("backup published", "claim", t.Key.String(), "backup", b.ID, "volume", t.Volume,
		"files", b.Summary.Files, "bytes", b.Summary.Bytes)
	return b, nil
}

func (d *Daemon) fill(ctx context.Context, s *catalog.Staging, t Target, f frozen) (catalog.Backup, error) {
	for name, content := range t.Objects {
		if err := s.WriteObject(name, content); err != nil {
			return catalog.Backup{}, err
		}
	}
	info := catalog.Info{
		Kind:         catalog.KindFile,
		Volume:       t.Volume,
		Snapshot:     f.snapshot.Name,
		SnapshotUUID: f.snapshot.UUID,
		SnapshotTime: f.snapshot.Created,
		Started:      f.started,
		Claim:        claimInfo(t.Claim),
	}
	info.Host, _ = os.Hostname() // Only a hint for the reader of backup.json.
	d.phase(PhaseCopy, t.Key, t.Volume)
	var err error
	publish := catalog.PublishOptions{Progress: d.counted(PhasePublish, t.Key)}
	if t.Block() {
		publish.Images, err = d.fillImage(ctx, s, t, f, &info)
	} else {
		var digests *copier.Digests
		if digests, err = d.fillTree(ctx, s, t, f, &info); err == nil {
			defer digests.Close()
			publish.Copied = digests.Check
		}
	}
	if err != nil {
		return catalog.Backup{}, err
	}
	d.phase(PhasePublish, t.Key, t.Volume)
	info.Finished = time.Now()
	return s.Publish(ctx, info, publish)
}

// claimInfo returns what a backup keeps of its claim; nil without Kubernetes.
func claimInfo(c kube.Claim) *catalog.ClaimInfo {
	if c.UID == "" {
		return nil
	}
	return &catalog.ClaimInfo{
		UID: c.UID, NamespaceUID: c.NamespaceUID, PersistentVolume: c.PV, StorageClass: c.StorageClass, Size: c.Size,
	}
}

func (d *Daemon) fillTree(ctx context.Context, s *catalog.Staging, t Target, f frozen, info *catalog.Info) (*copier.Digests, error) {
	if err := refuseBlockhost(f.dir, t); err != nil {
		return nil, err
	}
	tree := copier.Tree{
		Source: f.dir,
		Dest:   s.Data(),
		// A write into a later shard moves no time of the file that it is in.
		Checksum: sharded(f.volume),
		Progress: d.progress(PhaseCopy, t.Key, t.Volume),
	}
	tree.Fingerprints, tree.Frozen = s.Fingerprints(), f.started
	tree.Digests = s.Fingerprints() + ".digests"
	if previous, ok := s.Previous(); ok && previous.Info.Kind == catalog.KindFile {
		tree.Reference, tree.ReferenceFingerprints = previous.DataDir(), previous.Fingerprints()
		// The same size and time in another volume is not the same file.
		tree.Checksum = tree.Checksum || previous.Info.Volume != t.Volume || d.full(previous, f.started)
	}
	res, err := d.o.Engine.Copy(ctx, tree)
	d.tellMissed(t, f, res)
	info.Copied = catalog.CopyStats{
		Files: res.Files, Bytes: res.Bytes,
		FilesTransferred: res.FilesTransferred, BytesTransferred: res.BytesTransferred,
	}
	return res.Digests, err
}

// BlockhostError says that a volume is listed as files but holds block images,
// which are not to be copied and restored as files.
type BlockhostError struct{ Target Target }

// Error names the claim and the volume.
func (e *BlockhostError) Error() string {
	return fmt.Sprintf("%s: volume %s holds block images", e.Target, e.Target.Volume)
}

// Remedy says how to list it.
func (e *BlockhostError) Remedy() string {
	return "list each image under [[volumes]] with the key image"
}

// refuseBlockhost refuses a mounted volume with gluster-block's layout.
func refuseBlockhost(dir string, t Target) error {
	_, err := os.Lstat(filepath.Join(dir, blockstore.MetaDir, "meta.lock"))
	if err == nil {
		return &BlockhostError{t}
	}
	return nil
}

// progress adapts a copy's progress to observers.
func (d *Daemon) progress(p Phase, k catalog.Key, volume string) func(copier.Progress) {
	return func(now copier.Progress) {
		d.o.Observe(Event{Claim: k, Volume: volume, Phase: p, Progress: now})
	}
}
