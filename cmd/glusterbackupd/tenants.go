package main

import (
	"context"

	"github.com/glusterbackupd/glusterbackupd/config"
	"github.com/glusterbackupd/glusterbackupd/daemon"
	"github.com/glusterbackupd/glusterbackupd/kube"
)

// tenants is what the daemon does for those who have no access to it: it shows
// them what there is as objects of Kubernetes, and does what they ask for there.
// It is empty without Kubernetes.
type tenants struct {
	snapshots   *kube.Snapshots
	claims      *kube.SnapshotClaims // Nil unless they are wanted.
	exposer     *daemon.Exposer
	selfService *daemon.SelfService
}

// newTenants builds it. The exposer has to know of each snapshot that goes.
func (s *server) newTenants() (err error) {
	a := s.app
	if a.kube == nil {
		return nil
	}
	k := a.cfg.Kubernetes
	api := kube.SnapshotAPI(k.Snapshots)
	if k.Snapshots == config.SnapshotsAuto {
		api = ""
	}
	s.tenants.snapshots, err = a.kube.Snapshots(kube.SnapshotOptions{
		API: api, Repository: a.catalog.ID(), Class: k.SnapshotClass,
		Delete: k.SnapshotDeletion == config.DeleteSnapshot, Logger: a.log,
	})
	if err != nil {
		return err
	}
	o := daemon.ExposerOptions{
		Daemon: s.worker.Load, Status: s.service.Status, BackUpNow: s.service.BackUpNow,
		Objects: s.tenants.snapshots, Requests: s.tenants.snapshots, Claims: a.kube,
		Delete:  func() bool { return k.SnapshotDeletion == config.DeleteSnapshot },
		Changed: s.tenants.snapshots.Changed(), Logger: a.log,
	}
	if k.SnapshotClaims {
		if s.tenants.claims, err = a.kube.SnapshotClaims(a.catalog.ID()); err != nil {
			return err
		}
		o.SnapshotClaims = s.tenants.claims
	}
	if s.tenants.exposer, err = daemon.NewExposer(o); err != nil {
		return err
	}
	s.tenants.selfService, err = daemon.NewSelfService(daemon.SelfServiceOptions{
		Restores: func() daemon.Restores { return s.worker.Load() }, Candidates: s.service.Candidates, Claims: a.kube,
		Tell: s.tell.restored, Logger: a.log,
	})
	return err
}

// work returns what runs beside the service.
func (t *tenants) work() []func(context.Context) {
	if t.exposer == nil {
		return nil
	}
	return []func(context.Context){t.snapshots.Watch, t.exposer.Run, t.selfService.Run}
}

// observe hears how far work is.
func (t *tenants) observe(e daemon.Event) {
	if t.selfService != nil {
		t.selfService.Observe(e)
	}
}

// notice hears what the service says: what is shown of a volume changes with its
// backups and claims.
func (t *tenants) notice(n daemon.Notice) {
	if t.exposer == nil {
		return
	}
	switch n.Kind {
	case daemon.NoticeDone, daemon.NoticeRecovered, daemon.NoticeGone, daemon.NoticeCoverage:
		if n.Candidate.Volume != "" {
			t.exposer.Look(n.Candidate.Volume)
		}
	default:
	}
}

// snapshotUsers says who uses a snapshot through its claim.
func (t *tenants) snapshotUsers(ctx context.Context, name string) error {
	if t.claims == nil {
		return nil
	}
	return t.claims.Users(ctx, name)
}

// snapshotDeleted hears of each Gluster snapshot that was deleted.
func (t *tenants) snapshotDeleted(name string) {
	if t.exposer != nil {
		t.exposer.Deleted(name)
	}
}
