package daemon

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/glusterbackupd/glusterbackupd/kube"
)

// obey does what tenants want who have deleted a VolumeSnapshot. First it is
// written down that the claim's owner does not want to see it, then the Gluster
// snapshot goes, and the object at last: after a crash in between the object is
// still there and all of it is done again.
func (r *exposure) obey(ctx context.Context) {
	for _, o := range slices.Clone(r.objects) {
		if !o.Deleting || ctx.Err() != nil {
			continue
		}
		if err := r.remove(ctx, o); err != nil {
			r.failed(ctx, o.Volume, "VolumeSnapshot "+o.Namespace+"/"+o.Name+", which was deleted", err)
			continue
		}
		r.objects = slices.DeleteFunc(r.objects, func(x kube.VolumeSnapshot) bool {
			return x.Namespace == o.Namespace && x.Name == o.Name
		})
	}
}

func (r *exposure) remove(ctx context.Context, o kube.VolumeSnapshot) error {
	c, exists := r.claims[o.ClaimUID]
	if o.Withdrawn || !exists || r.twin(o) {
		return r.o.Objects.Withdraw(ctx, o)
	}
	if err := r.hide(ctx, c, o.Backup); err != nil {
		return err
	}
	if r.o.Delete() {
		if err := r.drop(ctx, o); err != nil {
			return err
		}
	}
	return r.o.Objects.Withdraw(ctx, o)
}

// twin says whether the claim has another object for the same snapshot, so that
// its tenant still wants to see it.
func (r *exposure) twin(o kube.VolumeSnapshot) bool {
	return slices.ContainsFunc(r.objects, func(x kube.VolumeSnapshot) bool {
		return x.ClaimUID == o.ClaimUID && x.Volume == o.Volume && x.Snapshot == o.Snapshot && !x.Deleting && x.Name != o.Name
	})
}

// drop deletes the Gluster snapshot of an object that its tenant has deleted,
// unless somebody else may want it.
func (r *exposure) drop(ctx context.Context, o kube.VolumeSnapshot) error {
	needed, err := r.needed(o)
	if err != nil || needed {
		return err
	}
	hosts := r.hostsOf(r.claims[o.ClaimUID])
	if len(hosts) == 0 {
		return errNoHosts
	}
	return r.o.Daemon().DropSnapshot(ctx, hosts, o.Volume, o.Snapshot)
}

// errNoHosts means that nobody knows now, as while Heketi is away, where the
// volumes are.
var errNoHosts = errors.New("the Gluster hosts are not known")

// needed says whether another claim has a backup from the same Gluster snapshot
// and its tenant has not deleted the view of it: a snapshot of a blockhost volume
// belongs to all its images. The BackupDisk is asked, since an object may be
// missing only for the moment.
func (r *exposure) needed(o kube.VolumeSnapshot) (bool, error) {
	for uid, c := range r.claims {
		if uid == o.ClaimUID || c.Coverage == Deleting || c.Volume != "" && c.Volume != o.Volume {
			continue
		}
		backups, err := r.o.Daemon().TenantBackups(c.Claim)
		if err != nil {
			return true, err
		}
		for _, b := range backups {
			if b.Info.Volume == o.Volume && b.Info.Snapshot == o.Snapshot && !slices.Contains(r.hiddenOf(c), b.ID) {
				return true, nil
			}
		}
	}
	return false, nil
}

// hostsOf returns the hosts of a claim's volume, or where it was not looked up
// those of any: all that Heketi manages are one cluster's.
func (r *exposure) hostsOf(c ClaimStatus) []string {
	if len(c.Hosts) > 0 {
		return c.Hosts
	}
	for _, other := range r.claims {
		if len(other.Hosts) > 0 {
			return other.Hosts
		}
	}
	return nil
}

// hide notes on the claim that the snapshot of a backup is not to be shown. What
// was hidden a moment ago may not have come back from the API server yet, so it
// is remembered too.
func (r *exposure) hide(ctx context.Context, c ClaimStatus, backup string) error {
	hidden := r.hiddenOf(c)
	if backup == "" || slices.Contains(hidden, backup) {
		return nil
	}
	hidden = append(hidden, backup)
	if err := r.annotate(ctx, c, kube.HiddenAnnotation, strings.Join(hidden, " ")); err != nil {
		return err
	}
	r.hidden[c.Claim.UID] = hidden
	return nil
}

// hiddenOf returns the backups whose snapshots the claim's tenant has deleted.
func (r *exposure) hiddenOf(c ClaimStatus) []string {
	hidden := slices.Clone(r.hidden[c.Claim.UID])
	for _, id := range strings.Fields(c.Claim.Annotations[kube.HiddenAnnotation]) {
		if !slices.Contains(hidden, id) {
			hidden = append(hidden, id)
		}
	}
	return hidden
}
