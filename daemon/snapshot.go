package daemon

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/glusterbackupd/glusterbackupd/catalog"
	"github.com/glusterbackupd/glusterbackupd/gluster"
)

// Snapshots of ours are named gb-<volume>-<UTC time>-<begin of the repository's
// id>, so that two BackupDisks that back up the same volume in the same second
// do not meet, and carry the whole id and their purpose in the description. Only
// the description makes one ours: a name alone could be somebody else's.
const (
	snapshotPrefix    = "gb-"
	snapshotTime      = "20060102T150405Z"
	idLength          = 8
	descriptionFormat = "glusterbackupd repository=%s purpose=%s"
)

// safetyGrace is how long a safety snapshot stays at least when its restore
// failed, whatever the retention says.
const safetyGrace = time.Hour

// purpose is why a snapshot was taken. It decides how long it stays.
type purpose string

const (
	forBackup purpose = "backup"
	forSafety purpose = "safety"
)

// longestInName is how much of a volume's name the name of a snapshot holds, and
// digestLength how much of it is a digest where that is not all. Gluster takes
// 254 bytes for a snapshot's name, but does not activate it when the name that a
// brick asks for its volume file by is longer than 255: glusterd's log says
// "volume name too long (/snaps/SNAPSHOT/ID/ID.HOST.run-gluster-snaps-ID-brick1-brick)"
// with an ID of 32 bytes. So a host of 60 bytes leaves some 70 for the snapshot.
// The volumes that Heketi names by itself have 36.
const longestInName = 36

// snapshotName returns the name of a snapshot of volume at that time.
func (d *Daemon) snapshotName(volume string, at time.Time) string {
	id := d.o.Catalog.ID()
	if len(volume) > longestInName {
		sum := sha256.Sum256([]byte(volume))
		volume = volume[:longestInName-digestLength-1] + "-" + hex.EncodeToString(sum[:])[:digestLength]
	}
	return snapshotPrefix + volume + "-" + at.UTC().Format(snapshotTime) + "-" + id[:min(len(id), idLength)]
}

// ownPurpose returns the purpose of a snapshot that this repository took, or
// false for all others.
func (d *Daemon) ownPurpose(s gluster.Snapshot) (purpose, bool) {
	for _, p := range []purpose{forBackup, forSafety} {
		if s.Description == d.description(p) && strings.HasPrefix(s.Name, snapshotPrefix) {
			return p, true
		}
	}
	return "", false
}

func (d *Daemon) description(p purpose) string {
	return fmt.Sprintf(descriptionFormat, d.o.Catalog.ID(), p)
}

// take creates a snapshot, not yet active. Its deletion is registered before the
// creation is even tried: a creation that timed out may have worked, and
// deleting a snapshot that does not exist is no error. What a creation makes only
// after all that is a leftover, which expire finds. keep says whether the
// snapshot shall stay after that, until its retention is over.
func (d *Daemon) take(ctx context.Context, g Snapshots, volume string, p purpose, rel *releases) (s gluster.Snapshot, keep func(bool), err error) {
	name := d.snapshotName(volume, time.Now())
	kept := false
	rel.add("delete snapshot "+name, func(ctx context.Context) error {
		if kept {
			return nil
		}
		return retry(ctx, d.o.Retries, func() error { return g.DeleteSnapshot(ctx, name) })
	})
	err = retry(ctx, d.o.Retries, func() error {
		s, err = g.CreateSnapshot(ctx, gluster.SnapshotRequest{Name: name, Volume: volume, Description: d.description(p)})
		if errors.Is(err, gluster.ErrSnapshotExists) {
			// An attempt that timed out has worked after all.
			s, err = d.own(ctx, g, volume, name, err)
		}
		return err
	})
	if err == nil && ctx.Err() != nil {
		err = context.Cause(ctx) // It was stopped while Gluster made it.
	}
	if err != nil {
		return s, nil, err
	}
	d.log.Info("snapshot taken", "volume", volume, "snapshot", name, "purpose", string(p))
	return s, func(k bool) { kept = k }, nil
}

// own returns the snapshot of that name if it is ours, else the error otherwise.
func (d *Daemon) own(ctx context.Context, g Snapshots, volume, name string, otherwise error) (gluster.Snapshot, error) {
	list, err := g.Snapshots(ctx, volume)
	if err != nil {
		return gluster.Snapshot{}, err
	}
	for _, s := range list {
		if _, ours := d.ownPurpose(s); ours && s.Name == name {
			return s, nil
		}
	}
	return gluster.Snapshot{}, otherwise
}

// expire deletes our snapshots of volume that should not exist: those older
// than their retention, and those of runs that died before they published. The
// caller holds the lock of the volume and has no run on it, so that a snapshot
// for a backup that no backup names is a leftover. One that cannot be deleted now
// is left to the next run, with a warning. Keys are claims of the volume that the
// caller knows of.
func (d *Daemon) expire(ctx context.Context, g Snapshots, volume string, now time.Time, keys ...catalog.Key) error {
	var list []gluster.Snapshot
	err := retry(ctx, d.o.Retries, func() (err error) {
		list, err = g.Snapshots(ctx, volume)
		return err
	})
	if err != nil {
		return err
	}
	published := publications{d: d, since: now.Add(-d.o.Keep.Backup), keys: keys}
	for _, s := range list {
		p, ours := d.ownPurpose(s)
		if !ours {
			continue
		}
		known := true // Where it matters; else the age alone decides.
		if p == forBackup && now.Sub(s.Created) < d.o.Keep.Backup {
			if known, err = published.has(s.Name); err != nil {
				return err
			}
		}
		if !expired(s, p, known, d.o.Keep, now) {
			continue
		}
		err := error(nil)
		if p == forBackup && known { // Only these are shown to tenants.
			err = d.o.SnapshotUsers(ctx, s.Name)
		}
		if err == nil {
			err = retry(ctx, d.o.Retries, func() error { return g.DeleteSnapshot(ctx, s.Name) })
		}
		if err != nil {
			d.log.Warn("snapshot is due but was not deleted", "volume", volume, "snapshot", s.Name, "error", err)
			continue
		}
		d.log.Info("snapshot deleted", "volume", volume, "snapshot", s.Name, "purpose", string(p))
	}
	return ctx.Err()
}

// ExpireForgotten expires our snapshots of volumes that the BackupDisk knows and
// no target stands on any more: a claim that was deleted or is no longer listed.
// As long as one is left, Heketi refuses to delete its volume. Such a volume is
// looked for on the hosts of the targets; one that is gone is no error. Each is
// locked while it is worked on; one that is locked already is left alone.
func (d *Daemon) ExpireForgotten(ctx context.Context, targets []Target) error {
	volumes, err := d.forgotten(targets)
	if err != nil || len(volumes) == 0 || len(targets) == 0 {
		return err
	}
	g, err := d.o.Gluster(targets[0].Hosts)
	if err != nil {
		return err
	}
	var errs []error
	for _, v := range volumes {
		err := d.withVolume(v, func() error { return d.expire(ctx, g, v, time.Now()) })
		if !errors.Is(err, gluster.ErrNoVolume) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// forgotten returns the volumes of the newest backups that no target stands on.
func (d *Daemon) forgotten(targets []Target) ([]string, error) {
	keys, err := d.o.Catalog.Keys()
	if err != nil {
		return nil, err
	}
	var volumes []string
	for _, k := range keys {
		newest, ok, err := d.o.Catalog.Newest(k)
		if err != nil {
			return nil, err
		}
		if !ok {
			continue
		}
		v := newest.Info.Volume
		known := slices.ContainsFunc(targets, func(t Target) bool { return t.Volume == v })
		if !known && !slices.Contains(volumes, v) {
			volumes = append(volumes, v)
		}
	}
	return volumes, nil
}

// expired is the snapshot retention: published says whether a backup was made
// from the snapshot.
func expired(s gluster.Snapshot, p purpose, published bool, keep SnapshotRetention, now time.Time) bool {
	age := now.Sub(s.Created)
	if p == forSafety {
		return age >= max(keep.Safety, safetyGrace)
	}
	return !published || age >= keep.Backup
}

// publications tells from which snapshots backups were made. It asks the claims
// that are at hand first: nearly always one of them has the snapshot, and reading
// all claims for each volume would take the longer the more there are.
type publications struct {
	d     *Daemon
	since time.Time
	keys  []catalog.Key
	near  map[string]bool
	all   func(name string) bool
}

func (p *publications) has(name string) (_ bool, err error) {
	if p.near == nil {
		p.near = map[string]bool{}
		for _, k := range p.keys {
			if err := p.d.snapshotsOf(k, p.since, p.near); err != nil {
				return false, err
			}
		}
	}
	if p.near[name] {
		return true, nil
	}
	if p.all == nil {
		if p.all, err = p.d.publishedSnapshots(p.since); err != nil {
			return false, err
		}
	}
	return p.all(name), nil
}

// snapshotsOf adds the snapshots from which backups of the claim since then were
// made.
func (d *Daemon) snapshotsOf(k catalog.Key, since time.Time, names map[string]bool) error {
	backups, err := d.o.Catalog.Backups(k)
	if err != nil {
		return err
	}
	for _, b := range backups {
		if !b.Time.Before(since) {
			names[b.Info.Snapshot] = true
		}
	}
	return nil
}

// publishedSnapshots returns whether a backup since the given time was made from
// a snapshot. While a backup on the BackupDisk is damaged it answers yes for
// all: the snapshot may be the last good copy of what the damaged one held.
func (d *Daemon) publishedSnapshots(since time.Time) (func(name string) bool, error) {
	problems, err := d.o.Catalog.Problems()
	if err != nil {
		return nil, err
	}
	if len(problems) > 0 {
		d.log.Warn("damaged backups on the BackupDisk: no snapshot is taken for a leftover; see glusterbackupd check", "problems", len(problems))
		return func(string) bool { return true }, nil
	}
	keys, err := d.o.Catalog.Keys()
	if err != nil {
		return nil, err
	}
	names := map[string]bool{}
	for _, k := range keys {
		if err := d.snapshotsOf(k, since, names); err != nil {
			return nil, err
		}
	}
	return func(name string) bool { return names[name] }, nil
}
