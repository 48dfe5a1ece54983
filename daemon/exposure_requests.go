package daemon

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/glusterbackupd/glusterbackupd/catalog"
	"github.com/glusterbackupd/glusterbackupd/kube"
)

// requests answers tenants who ask for a snapshot of their claim, once there is
// a backup that began after they asked.
func (r *exposure) requests(ctx context.Context) {
	list, err := r.o.Requests.Requests(ctx)
	if err != nil {
		r.pause = min(r.pause, r.postpone(ctx, "what tenants ask for", err))
		return
	}
	for _, q := range list {
		if ctx.Err() != nil {
			return
		}
		if err := r.answer(ctx, q); err != nil {
			r.pause = min(r.pause, r.postpone(ctx, "request "+q.Namespace+"/"+q.Name, err))
		}
	}
}

// requestPatience is how long a request waits for its claim to be there: both may
// come from one file, and Heketi may be away for a moment.
const requestPatience = 5 * time.Minute

func (r *exposure) answer(ctx context.Context, q kube.SnapshotRequest) error {
	c, exists := r.claimNamed(q.Namespace, q.Claim)
	switch {
	case (!exists || c.Coverage == Pending || c.Coverage == NotCovered) && time.Since(q.Created) < requestPatience:
		r.pause = min(r.pause, exposeRetry)
		return nil
	case !exists:
		return r.o.Requests.Refuse(ctx, q, fmt.Sprintf("there is no claim %s in namespace %s", q.Claim, q.Namespace))
	case c.Coverage != Covered:
		return r.o.Requests.Refuse(ctx, q, fmt.Sprintf("claim %s is not backed up: %s", q.Claim, c.Reason))
	}
	backups, err := r.o.Daemon().TenantBackups(c.Claim)
	if err != nil {
		return err
	}
	n := slices.IndexFunc(backups, func(b catalog.Backup) bool { return b.Time.After(q.Created) })
	if n < 0 {
		if c.Err != nil && c.Tried.After(q.Created) && !c.Running {
			return r.o.Requests.Refuse(ctx, q, "the backup failed: "+c.Err.Error())
		}
		r.pause = min(r.pause, exposeSoon)
		return r.o.BackUpNow(ctx, c.Key, q.Created.Add(time.Second))
	}
	exist, err := r.o.Daemon().keptSnapshots(ctx, c.Hosts, c.Volume)
	if err != nil {
		return err
	}
	s, kept := exist[backups[n].Info.Snapshot]
	if !kept {
		return r.o.Requests.Refuse(ctx, q, fmt.Sprintf(
			"backup %s was made, but its snapshot is not kept on Gluster; the admin decides that by [retention] snapshots", backups[n].ID))
	}
	v := volumeSnapshot(c, backups[n], s)
	if err := r.o.Requests.Answer(ctx, q, v); err != nil {
		return err
	}
	// The tenant's own object stands for it, so that no second one is needed.
	v.Name, v.Request = q.Name, q.Name
	r.objects = append(r.objects, v)
	return nil
}

func (r *exposure) claimNamed(namespace, name string) (ClaimStatus, bool) {
	for _, c := range r.claims {
		if c.Key == (catalog.Key{Namespace: namespace, Claim: name}) {
			return c, true
		}
	}
	return ClaimStatus{}, false
}
