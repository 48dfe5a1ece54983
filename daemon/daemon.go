package daemon

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/glusterbackupd/glusterbackupd/catalog"
	"github.com/glusterbackupd/glusterbackupd/copier"
)

// Options are the parts that the daemon puts together, and its policies.
type Options struct {
	// Catalog is the BackupDisk. Required but for the checks. Each call locks
	// in it what it works on.
	Catalog *catalog.Repository
	// Command tells others who holds a lock; empty means the operation: backup,
	// restore or restore-block.
	Command string
	// Resolver finds claims. Required but for restores to a folder.
	Resolver Resolver
	// Gluster returns the client for the cluster of these hosts. Required.
	Gluster func(hosts []string) (Gluster, error)
	// Mounts, Engine and Connect are required. Connect returns the commander
	// that runs commands on an iSCSI exporting host.
	Mounts  Mounts
	Engine  Engine
	Connect func(host string) Commander
	// Storage and Claims make new claims; Hosts, when there are any, are mounted
	// from instead of those that Storage names. Optional.
	Storage Storage
	Claims  ClaimBuilder
	Hosts   []string
	// Limits are the levels above which no snapshot is taken.
	Limits Limits
	// Keep says how long snapshots stay on Gluster.
	Keep SnapshotRetention
	// FullCompare is the time after which a backup reads every file, whatever is
	// known of it; 0 means never.
	FullCompare time.Duration
	// Full has every backup do so.
	Full bool
	// TrackImages asks the bricks which parts of an image cannot have changed, and
	// does not read those.
	TrackImages bool
	// TrackChunks asks the thin pools, too, which parts of those that have changed
	// cannot have, while the snapshot of the last backup is kept. Without TrackImages it
	// does nothing.
	TrackChunks bool
	// Parallel is the number of runs at a time; 0 means 1.
	Parallel int
	// ParallelSnapshots is the number of snapshots that are created, activated
	// or deleted at a time; 0 means 1.
	ParallelSnapshots int
	// Retries is the number of repetitions of a step that failed with a
	// temporary error.
	Retries int
	// Timeout bounds one run or restore; 0 means 4 hours.
	Timeout time.Duration
	// SnapshotDeleted is told the name of each Gluster snapshot that was deleted,
	// from several goroutines; it must not block. Optional.
	SnapshotDeleted func(name string)
	// SnapshotUsers returns an error while somebody uses a Gluster snapshot of a
	// published backup, or nobody knows: then it is not deleted, unless its thin
	// pool fills up. Optional.
	SnapshotUsers func(ctx context.Context, name string) error
	// Observe is called with progress, from several goroutines. Optional.
	Observe func(Event)
	// Logger gets what an admin wants to find later. Optional.
	Logger *slog.Logger
}

// Limits are thin pool levels in percent.
type Limits struct {
	// PoolData and PoolMetadata are the fill levels of a brick's thin pool at
	// which no new snapshot is taken; 0 means 80.
	PoolData, PoolMetadata float64
}

// SnapshotRetention says how long our snapshots stay on Gluster after the
// command that took them. Zero means: deleted as soon as it is done.
type SnapshotRetention struct {
	// Backup is for snapshots that a published backup was made from.
	Backup time.Duration
	// Safety is for snapshots taken before a restore.
	Safety time.Duration
}

// Daemon runs backups and restores. Its methods are safe for concurrent use; two
// on one volume exclude each other by a *catalog.LockedError.
type Daemon struct {
	o   Options
	log *slog.Logger
}

// defaultLimit is the thin pool level in percent when none is configured, and
// defaultTimeout the longest run.
const (
	defaultLimit   = 80
	defaultTimeout = 4 * time.Hour
)

// New returns a Daemon, or an error that names the missing parts.
func New(o Options) (*Daemon, error) {
	if o.Gluster == nil || o.Mounts == nil || o.Engine == nil || o.Connect == nil {
		return nil, errors.New("daemon: Gluster, Mounts, Engine and Connect are required")
	}
	if o.Limits.PoolData == 0 {
		o.Limits.PoolData = defaultLimit
	}
	if o.Limits.PoolMetadata == 0 {
		o.Limits.PoolMetadata = defaultLimit
	}
	if o.Timeout == 0 {
		o.Timeout = defaultTimeout
	}
	if o.SnapshotDeleted == nil {
		o.SnapshotDeleted = func(string) {}
	}
	if o.SnapshotUsers == nil {
		o.SnapshotUsers = func(context.Context, string) error { return nil }
	}
	if o.Observe == nil {
		o.Observe = func(Event) {}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	o.Parallel = max(o.Parallel, 1)
	cluster, places := o.Gluster, make(chan struct{}, max(o.ParallelSnapshots, 1))
	o.Gluster = func(hosts []string) (Gluster, error) {
		g, err := cluster(hosts)
		if err != nil {
			return nil, err
		}
		return paced{g, places, o.SnapshotDeleted, o.Logger}, nil
	}
	return &Daemon{o: o, log: o.Logger}, nil
}

// ErrInvalid means that a request cannot be meant as it was made.
var ErrInvalid = errors.New("invalid request")

// Phase is a step of a run, for progress and logs.
type Phase string

// The phases, in the order in which a user meets them.
const (
	PhaseVerify    Phase = "verify"
	PhaseProvision Phase = "provision"
	PhasePreflight Phase = "preflight"
	PhaseSnapshot  Phase = "snapshot"
	PhaseMount     Phase = "mount"
	PhaseCopy      Phase = "copy"
	PhasePublish   Phase = "publish"
	PhaseReadBack  Phase = "read back"
	PhaseRelease   Phase = "release"
	// PhaseEnd is told when a backup run has given everything back.
	PhaseEnd Phase = "end"
)

// Event tells where a run stands.
type Event struct {
	// Claim is the claim at work; empty while the step is the volume's.
	Claim catalog.Key
	// Volume is the Gluster volume; empty for restores to a folder.
	Volume string
	Phase  Phase
	// Progress is set in the phases that read or write data.
	Progress copier.Progress
}

// phase tells observers and the log that a step begins.
func (d *Daemon) phase(p Phase, k catalog.Key, volume string) {
	d.o.Observe(Event{Claim: k, Volume: volume, Phase: p})
	d.log.Debug("phase begins", "phase", string(p), "claim", k.String(), "volume", volume)
}
