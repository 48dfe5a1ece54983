package daemon

import (
	"context"

	"github.com/glusterbackupd/glusterbackupd/copier"
	"github.com/glusterbackupd/glusterbackupd/gluster"
	"github.com/glusterbackupd/glusterbackupd/heketi"
	"github.com/glusterbackupd/glusterbackupd/kube"
)

// Snapshots is what a run needs of Gluster to freeze a volume and to give the
// frozen view back. *gluster.Client implements it.
type Snapshots interface {
	CreateSnapshot(ctx context.Context, r gluster.SnapshotRequest) (gluster.Snapshot, error)
	ActivateSnapshot(ctx context.Context, name string) error
	DeleteSnapshot(ctx context.Context, name string) error
	Snapshots(ctx context.Context, volume string) ([]gluster.Snapshot, error)
}

// Health is what the preflight asks Gluster before it takes a snapshot or
// writes. *gluster.Client implements it.
type Health interface {
	Volume(ctx context.Context, name string) (gluster.Volume, error)
	BrickStates(ctx context.Context, volume string) ([]gluster.BrickState, error)
	Pools(ctx context.Context, v gluster.Volume) ([]gluster.Pool, error)
	SnapshotLimits(ctx context.Context, volume string) (gluster.Limits, error)
}

// Gluster is one cluster as the daemon uses it.
type Gluster interface {
	Snapshots
	Health
}

// Mounts mounts snapshots and volumes on this host. *gluster.Mounter
// implements it.
type Mounts interface {
	MountSnapshot(ctx context.Context, servers []string, snapshot, volume, name string, o gluster.MountOptions) (string, error)
	MountVolume(ctx context.Context, servers []string, volume, name string, o gluster.MountOptions) (string, error)
	Unmount(ctx context.Context, dir string) error
	Leftovers() ([]string, error)
}

// Engine copies trees. *copier.Native and *copier.Rsync implement it.
type Engine interface {
	Copy(ctx context.Context, t copier.Tree) (copier.TreeResult, error)
}

// Commander runs one command on one host, for the sessions of an image.
type Commander interface {
	Run(ctx context.Context, args ...string) ([]byte, error)
	Name() string
}

// Resolver knows the claims and where they stand.
type Resolver interface {
	// Targets returns every claim that can be backed up, and for every other
	// one the reason why not.
	Targets(ctx context.Context) ([]Target, []Uncovered, error)
	// Target returns one claim, or an error that says why it cannot be used.
	Target(ctx context.Context, namespace, claim string) (Target, error)
	// Image returns the block image of that name, whether or not a claim
	// still stands for it.
	Image(ctx context.Context, name string) (Target, error)
	// Users returns the pods that use the claim. Where nobody can know
	// (no Kubernetes) it returns none.
	Users(ctx context.Context, t Target) ([]kube.Pod, error)
}

// claims is what the cluster resolver asks Kubernetes. *kube.Client
// implements it.
type claims interface {
	Claims(ctx context.Context, namespace string) ([]kube.Claim, error)
	Claim(ctx context.Context, namespace, name string) (kube.Claim, error)
	Objects(ctx context.Context, c kube.Claim) (map[string][]byte, error)
	Users(ctx context.Context, namespace, claim string) ([]kube.Pod, error)
}

// volumes is what the cluster resolver asks Heketi. *heketi.Client implements
// it.
type volumes interface {
	Volume(ctx context.Context, id string) (heketi.Volume, error)
	BlockVolume(ctx context.Context, id string) (heketi.BlockVolume, error)
	FindBlockVolume(ctx context.Context, name string) (heketi.BlockVolume, error)
}
