package daemon

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/glusterbackupd/glusterbackupd/catalog"
	"github.com/glusterbackupd/glusterbackupd/kube"
)

// SnapshotObjects are the VolumeSnapshots of this BackupDisk in the cluster.
// *kube.Snapshots implements it.
type SnapshotObjects interface {
	// API is what the cluster has for them, at the moment.
	API(ctx context.Context) (kube.SnapshotAPI, error)
	List(ctx context.Context) ([]kube.VolumeSnapshot, error)
	// Show makes what is missing of an object, and Withdraw removes it; both may
	// be repeated.
	Show(ctx context.Context, s kube.VolumeSnapshot) error
	Withdraw(ctx context.Context, s kube.VolumeSnapshot) error
}

// SnapshotRequests are the VolumeSnapshots by which tenants ask for one.
// *kube.Snapshots implements it.
type SnapshotRequests interface {
	// Requests are those that were not answered yet.
	Requests(ctx context.Context) ([]kube.SnapshotRequest, error)
	Answer(ctx context.Context, r kube.SnapshotRequest, s kube.VolumeSnapshot) error
	Refuse(ctx context.Context, r kube.SnapshotRequest, reason string) error
}

// SnapshotClaims are the claims that show the snapshots of this BackupDisk as
// volumes. *kube.SnapshotClaims implements it.
type SnapshotClaims interface {
	List(ctx context.Context) ([]kube.SnapshotClaim, error)
	Show(ctx context.Context, c kube.SnapshotClaim) error
	Withdraw(ctx context.Context, c kube.SnapshotClaim) error
}

// Annotator writes annotations of claims. *kube.Client implements it.
type Annotator interface {
	PatchClaimAnnotations(ctx context.Context, namespace, name string, values map[string]*string) error
}

// ExposerOptions are the parts of an Exposer. All but SnapshotClaims, Delete,
// Changed and Logger are required.
type ExposerOptions struct {
	// Daemon returns the one that holds the policies of now.
	Daemon func() *Daemon
	// Status and BackUpNow are those of the Service.
	Status    func() Status
	BackUpNow func(ctx context.Context, k catalog.Key, since time.Time) error
	Objects   SnapshotObjects
	Requests  SnapshotRequests
	Claims    Annotator
	// SnapshotClaims, when set, show the snapshots of claims with files as claims
	// too.
	SnapshotClaims SnapshotClaims
	// Delete says whether a tenant who deletes a VolumeSnapshot deletes the
	// Gluster snapshot; else it stays until its time is over, and is only not
	// shown any more. It may change.
	Delete func() bool
	// Changed says that something happened to the objects.
	Changed <-chan struct{}
	Logger  *slog.Logger
}

// Exposer shows tenants what there is: each snapshot of a volume from which a
// backup was made as one VolumeSnapshot for each claim on the volume, and on the
// claim itself the list of its backups. It also does what tenants ask for by
// creating and deleting VolumeSnapshots.
//
// What is shown is worked out from the BackupDisk and from Gluster each time, so
// that nothing has to be remembered: an Exposer that dies anywhere is continued
// by the next one, on this host or another. Only what a tenant does not want to
// see is kept, as an annotation of the claim.
type Exposer struct {
	o    ExposerOptions
	kick chan struct{}
	api  kube.SnapshotAPI // At the last round.
	// hidden are the backups, by the claim's UID, that a tenant does not want to
	// see any more. It belongs to Run.
	hidden map[string][]string

	mu    sync.Mutex
	dirty map[string]bool // Volumes to be looked at,
	gone  map[string]bool // and those of these snapshots.
	all   bool            // Look at every volume.
}

const (
	// exposePause is the time after which every volume is looked at without
	// being asked for, exposeRetry the same after an error, and exposeSoon while
	// somebody works on a volume.
	exposePause = time.Hour
	exposeRetry = time.Minute
	exposeSoon  = 20 * time.Second
	// exposeRest is between two rounds in any case: what a round does is told as
	// a change too.
	exposeRest = time.Second
)

// NewExposer returns an Exposer that Run starts.
func NewExposer(o ExposerOptions) (*Exposer, error) {
	if o.Daemon == nil || o.Status == nil || o.BackUpNow == nil || o.Objects == nil || o.Requests == nil || o.Claims == nil {
		return nil, errors.New("daemon: Daemon, Status, BackUpNow, Objects, Requests and Claims are required")
	}
	if o.Delete == nil {
		o.Delete = func() bool { return false }
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Exposer{o: o, kick: make(chan struct{}, 1), hidden: map[string][]string{}, dirty: map[string]bool{}, gone: map[string]bool{}, all: true}, nil
}

// Look asks for a look at a volume soon, or at all with "". It may be called by
// any goroutine.
func (e *Exposer) Look(volume string) {
	e.mu.Lock()
	if volume == "" {
		e.all = true
	} else {
		e.dirty[volume] = true
	}
	e.mu.Unlock()
	ask(e.kick)
}

// Deleted says that a Gluster snapshot is gone. It may be called by any goroutine.
func (e *Exposer) Deleted(snapshot string) {
	e.mu.Lock()
	e.gone[snapshot] = true
	e.mu.Unlock()
	ask(e.kick)
}

// Run works until ctx ends.
func (e *Exposer) Run(ctx context.Context) {
	whole := time.NewTicker(exposePause)
	defer whole.Stop()
	for ctx.Err() == nil {
		pause := time.NewTimer(e.round(ctx))
		select {
		case <-ctx.Done():
		case <-pause.C:
		case <-e.kick:
		case <-e.o.Changed:
		case <-whole.C:
			e.Look("")
		}
		pause.Stop()
		rest := time.NewTimer(exposeRest)
		select {
		case <-ctx.Done():
		case <-rest.C:
		}
		rest.Stop()
	}
}

// round does what can be done now, and returns after how long there shall be
// another one.
func (e *Exposer) round(ctx context.Context) (pause time.Duration) {
	st := e.o.Status()
	if !st.Ready || st.Err != nil {
		return exposeSoon
	}
	r := &exposure{Exposer: e, claims: claimsByUID(st), pause: exposePause}
	if err := e.learn(ctx, r); err != nil {
		return e.postpone(ctx, "what is shown", err)
	}
	r.obey(ctx)
	r.requests(ctx)
	for _, volume := range e.due(r) {
		if ctx.Err() != nil {
			e.Look(volume)
			break
		}
		r.audit(ctx, volume)
	}
	return r.pause
}

// learn asks what the cluster has for VolumeSnapshots, and which there are. When
// their definitions were just installed, every volume is to be looked at.
func (e *Exposer) learn(ctx context.Context, r *exposure) error {
	api, err := e.o.Objects.API(ctx)
	if err != nil {
		return err
	}
	if api == kube.SnapshotsNone {
		r.pause = exposeRetry
	} else if e.api != api {
		e.Look("")
	}
	e.api = api
	if r.objects, err = e.o.Objects.List(ctx); err != nil || e.o.SnapshotClaims == nil {
		return err
	}
	r.copies, err = e.o.SnapshotClaims.List(ctx)
	return err
}

func (e *Exposer) postpone(ctx context.Context, what string, err error) time.Duration {
	if ctx.Err() == nil {
		e.o.Logger.Warn("what tenants see is not known now", "of", what, "error", err)
	}
	return exposeRetry
}

// due returns the volumes to look at, and forgets that they are to be.
func (e *Exposer) due(r *exposure) []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.all {
		for _, c := range r.claims {
			if c.Volume != "" {
				e.dirty[c.Volume] = true
			}
		}
	}
	for _, o := range r.objects {
		if e.all || e.gone[o.Snapshot] {
			e.dirty[o.Volume] = true
		}
	}
	for _, c := range r.copies {
		if e.all || e.gone[c.Snapshot] {
			e.dirty[c.Volume] = true
		}
	}
	volumes := slices.Sorted(maps.Keys(e.dirty))
	e.dirty, e.gone, e.all = map[string]bool{}, map[string]bool{}, false
	return volumes
}

// claimsByUID returns the claims that Kubernetes knows.
func claimsByUID(st Status) map[string]ClaimStatus {
	claims := map[string]ClaimStatus{}
	for _, c := range st.Claims {
		if c.Claim.UID != "" {
			claims[c.Claim.UID] = c
		}
	}
	return claims
}
