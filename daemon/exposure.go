package daemon

import (
	"cmp"
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
	"github.com/glusterbackupd/glusterbackupd/kube"
)

// exposure is one round of an Exposer.
type exposure struct {
	*Exposer
	claims  map[string]ClaimStatus // By UID.
	objects []kube.VolumeSnapshot
	copies  []kube.SnapshotClaim // Only where they are shown.
	pause   time.Duration        // Until the next round.
}

// failed notes that a volume has to be looked at again.
func (r *exposure) failed(ctx context.Context, volume, what string, err error) {
	pause := exposeRetry
	switch {
	case heldElsewhere(err):
		pause = exposeSoon
	case lasting(err):
		// It is for the tenant or the admin to end, which takes its time.
		r.o.Logger.Debug("what tenants see is not up to date", "volume", volume, "of", what, "error", err)
		pause = exposePause
	case ctx.Err() == nil:
		r.o.Logger.Warn("what tenants see is not up to date", "volume", volume, "of", what, "error", err)
	}
	r.again(volume, pause)
}

// lasting says whether nothing will be better in a minute: a tenant has the name
// that is wanted, a pod uses a snapshot, or a quota or a missing right is in the
// way.
func lasting(err error) bool {
	return errors.Is(err, kube.ErrNameTaken) || errors.Is(err, kube.ErrInUse) || errors.Is(err, kube.ErrForbidden)
}

// again has a volume looked at once more after that time.
func (r *exposure) again(volume string, pause time.Duration) {
	r.pause = min(r.pause, pause)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.dirty[volume] = true
}

// annotate sets one annotation of a claim, or removes it when the value is
// empty. A claim that is gone needs none.
func (r *exposure) annotate(ctx context.Context, c ClaimStatus, key, value string) error {
	values := map[string]*string{key: &value}
	if value == "" {
		values[key] = nil
	}
	err := r.o.Claims.PatchClaimAnnotations(ctx, c.Key.Namespace, c.Key.Claim, values)
	if errors.Is(err, kube.ErrNoClaim) {
		return nil
	}
	return err
}

// audit makes the objects of a volume what they should be.
func (r *exposure) audit(ctx context.Context, volume string) {
	wanted, err := r.wanted(ctx, volume)
	if err != nil {
		r.failed(ctx, volume, "the volume", err)
		return
	}
	errs := r.auditClaims(ctx, volume, wanted)
	if r.api == kube.SnapshotsNone {
		wanted = nil
	}
	missing, surplus := compare(wanted, slices.DeleteFunc(slices.Clone(r.objects), func(o kube.VolumeSnapshot) bool {
		return o.Volume != volume || o.Deleting || r.unplaced(o.ClaimUID)
	}))
	for _, o := range surplus {
		errs = append(errs, r.o.Objects.Withdraw(ctx, o))
	}
	for _, w := range missing {
		errs = append(errs, r.o.Objects.Show(ctx, w))
	}
	if err := errors.Join(errs...); err != nil {
		r.failed(ctx, volume, "the volume", err)
	} else if len(missing) > 0 {
		r.again(volume, exposeRetry) // Are they ready by then?
	}
}

// auditClaims makes the snapshot claims of a volume what they should be: one for
// each snapshot of a claim with files. One that a pod uses stays.
func (r *exposure) auditClaims(ctx context.Context, volume string, wanted []kube.VolumeSnapshot) (errs []error) {
	if r.o.SnapshotClaims == nil {
		return nil
	}
	want := map[kube.SnapshotClaim]bool{}
	for _, w := range wanted {
		if !w.Block {
			want[kube.SnapshotClaim{
				Namespace: w.Namespace, Name: w.Name, Claim: w.Claim, ClaimUID: w.ClaimUID, Volume: w.Volume, Snapshot: w.Snapshot,
			}] = true
		}
	}
	for _, c := range r.copies {
		if c.Volume != volume || r.unplaced(c.ClaimUID) {
			continue
		}
		complete := c.Complete
		c.Complete = false
		switch {
		case !want[c]:
			errs = append(errs, r.o.SnapshotClaims.Withdraw(ctx, c))
		case complete:
			delete(want, c)
		}
	}
	for c := range want {
		c.PV = r.claims[c.ClaimUID].Claim.PV
		errs = append(errs, r.o.SnapshotClaims.Show(ctx, c))
		r.again(volume, exposeRetry) // Is it complete by then?
	}
	return errs
}

// unplaced says whether nobody knows on which volume an existing claim stands:
// then nothing of it is surplus.
func (r *exposure) unplaced(uid string) bool {
	c, exists := r.claims[uid]
	return exists && c.Volume == "" && c.Coverage != Deleting
}

// compare returns the wanted objects that are missing or not ready, and the
// existing ones that nobody wants. One object is enough for a claim's view of a
// snapshot: that of the tenant who asked for it, else our own.
func compare(wanted, objects []kube.VolumeSnapshot) (missing, surplus []kube.VolumeSnapshot) {
	type view struct{ claim, snapshot string }
	names := map[view]string{}
	for _, w := range wanted {
		names[view{w.ClaimUID, w.Snapshot}] = w.Name
	}
	asked := map[view]string{} // The names of tenants' own objects.
	for _, o := range objects {
		if o.Request != "" {
			asked[view{o.ClaimUID, o.Snapshot}] = o.Name
		}
	}
	ready := map[view]bool{}
	for _, o := range objects {
		v := view{o.ClaimUID, o.Snapshot}
		switch name, want := names[v]; {
		case !want, o.Request == "" && (asked[v] != "" || o.Name != name):
			surplus = append(surplus, o)
		case o.Ready:
			ready[v] = true
		}
	}
	for _, w := range wanted {
		v := view{w.ClaimUID, w.Snapshot}
		if ready[v] {
			continue
		}
		w.Name = cmp.Or(asked[v], w.Name) // An answer that was interrupted is finished.
		missing = append(missing, w)
	}
	return missing, surplus
}

// wanted returns the objects that a volume should have, and brings the
// annotations of its claims up to date.
func (r *exposure) wanted(ctx context.Context, volume string) (list []kube.VolumeSnapshot, err error) {
	var exist map[string]gluster.Snapshot // Only asked for when somebody stands on the volume.
	for _, c := range r.claims {
		if c.Volume != volume || c.Coverage == Deleting {
			continue
		}
		hosts := r.hostsOf(c)
		if len(hosts) == 0 {
			return nil, errNoHosts // Nothing is surplus because nobody can be asked.
		}
		backups, err := r.o.Daemon().TenantBackups(c.Claim)
		if err != nil {
			return nil, err
		}
		if err := r.listBackups(ctx, c, backups); err != nil {
			return nil, err
		}
		if exist == nil {
			if exist, err = r.o.Daemon().keptSnapshots(ctx, hosts, volume); err != nil {
				return nil, err
			}
		}
		hidden := r.hiddenOf(c)
		for _, b := range backups {
			s, kept := exist[b.Info.Snapshot]
			if kept && b.Info.Volume == volume && !slices.Contains(hidden, b.ID) {
				list = append(list, volumeSnapshot(c, b, s))
			}
		}
	}
	return list, nil
}

// tenantsOwn says whether a backup was made of a claim in this very namespace. An
// earlier one of the same name was perhaps somebody else's, whose data and even
// its existence is nobody's business.
func tenantsOwn(c kube.Claim, b catalog.Backup) bool {
	of := b.Info.Claim
	return of != nil && c.NamespaceUID != "" && of.NamespaceUID == c.NamespaceUID
}

// listed is how many backups the annotation of a claim names.
const listed = 20

// listBackups tells on the claim which backups it has, the newest first, and
// forgets which snapshots are hidden that no longer have a backup.
func (r *exposure) listBackups(ctx context.Context, c ClaimStatus, backups []catalog.Backup) error {
	var ids []string
	for _, b := range slices.Backward(backups) {
		ids = append(ids, b.ID)
	}
	hidden := slices.DeleteFunc(r.hiddenOf(c), func(id string) bool { return !slices.Contains(ids, id) })
	if len(hidden) == 0 {
		delete(r.hidden, c.Claim.UID)
	}
	value := strings.Join(ids, " ")
	if len(ids) > listed {
		value = fmt.Sprintf("%s (and %d older)", strings.Join(ids[:listed], " "), len(ids)-listed)
	}
	for key, v := range map[string]string{kube.BackupsAnnotation: value, kube.HiddenAnnotation: strings.Join(hidden, " ")} {
		if c.Claim.Annotations[key] == v {
			continue
		}
		if err := r.annotate(ctx, c, key, v); err != nil {
			return err
		}
	}
	return nil
}

// volumeSnapshot describes the snapshot of a backup for its tenant.
func volumeSnapshot(c ClaimStatus, b catalog.Backup, s gluster.Snapshot) kube.VolumeSnapshot {
	v := kube.VolumeSnapshot{
		Namespace: c.Key.Namespace, Name: snapshotObjectName(c.Key.Claim, b.Time),
		Claim: c.Key.Claim, ClaimUID: c.Claim.UID, Volume: b.Info.Volume, Snapshot: s.Name,
		Backup: b.ID, Schedule: c.Schedule.String(), Created: s.Created,
		Size: b.Summary.Bytes, Block: b.Info.Kind == catalog.KindBlock,
	}
	if b.Info.Block != nil {
		v.Size = b.Info.Block.Size
	}
	return v
}

const (
	// objectTime is how the names of objects say when a backup was made.
	objectTime = "-20060102-150405"
	// longestClaim is how much of a claim's name fits into the name of an object,
	// and digestLength how much of a digest tells two longer ones apart.
	longestClaim = 253 - len(objectTime)
	digestLength = 8
)

// snapshotObjectName returns the name under which tenants see a snapshot: that of
// the claim, and the time in UTC.
func snapshotObjectName(claim string, at time.Time) string {
	if len(claim) > longestClaim {
		sum := sha256.Sum256([]byte(claim))
		claim = claim[:longestClaim-digestLength-1] + "-" + hex.EncodeToString(sum[:])[:digestLength]
	}
	return claim + at.UTC().Format(objectTime)
}

// keptSnapshots returns the snapshots of a volume that this BackupDisk's runs
// took for backups and that can be mounted.
func (d *Daemon) keptSnapshots(ctx context.Context, hosts []string, volume string) (map[string]gluster.Snapshot, error) {
	g, err := d.o.Gluster(hosts)
	if err != nil {
		return nil, err
	}
	list, err := g.Snapshots(ctx, volume)
	if err != nil && !errors.Is(err, gluster.ErrNoVolume) {
		return nil, err
	}
	kept := map[string]gluster.Snapshot{}
	for _, s := range list {
		if p, ours := d.ownPurpose(s); ours && p == forBackup && s.Active {
			kept[s.Name] = s
		}
	}
	return kept, nil
}

// DropSnapshot deletes one snapshot that was taken for a backup. One that is gone
// is no error; one that is not this BackupDisk's is left alone.
func (d *Daemon) DropSnapshot(ctx context.Context, hosts []string, volume, name string) (err error) {
	lock, err := d.o.Catalog.Lock("delete a snapshot", catalog.VolumeScope(volume))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Release()) }()
	kept, err := d.keptSnapshots(ctx, hosts, volume)
	if err != nil {
		return err
	}
	if _, ours := kept[name]; !ours {
		return nil
	}
	g, err := d.o.Gluster(hosts)
	if err != nil {
		return err
	}
	if err = d.o.SnapshotUsers(ctx, name); err == nil {
		err = g.DeleteSnapshot(ctx, name)
	}
	if err != nil {
		return fmt.Errorf("volume %s: snapshot %s: %w", volume, name, err)
	}
	d.log.Info("snapshot deleted, since its VolumeSnapshot is", "volume", volume, "snapshot", name)
	return nil
}
