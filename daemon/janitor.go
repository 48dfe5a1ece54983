package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/glusterbackupd/glusterbackupd/catalog"
	"github.com/glusterbackupd/glusterbackupd/gluster"
	"github.com/glusterbackupd/glusterbackupd/retention"
)

// JanitorOptions are the parts of a Janitor. All but Logger are required.
type JanitorOptions struct {
	// Daemon returns the one that holds the policies of now.
	Daemon func() *Daemon
	// Status and Cancel are those of the Service.
	Status func() Status
	Cancel func(volume string, cause error) bool
	// Policy says how long the backups of a claim that no longer exists stay
	// after the newest one, 0 for good, and how far apart backups of a right
	// clock may lie. It may change.
	Policy func() (keep, grid time.Duration)
	// Pruned is told how many backups of deleted claims were removed.
	Pruned func(int)
	Logger *slog.Logger
}

// Janitor clears up: snapshots of ours whose time is over, or whose run died
// before it published; of claims that are gone or going all our snapshots, as
// long as one of which Heketi refuses to delete the volume, and after the time
// for deleted claims their backups; and, at its own pace, what was taken off the
// BackupDisk's list.
type Janitor struct {
	o    JanitorOptions
	kick chan struct{}
	// trash asks for a look at the trash.
	trash chan struct{}
	// bare are the volumes on which the last look found no snapshot of ours, by
	// the time of their newest backup then: without a newer one there is none.
	bare map[string]time.Time
}

const (
	// janitorPause is the time between two rounds that nobody asked for,
	// janitorSoon the same while somebody works on the volume of a deleted
	// claim, and janitorRetry while its snapshots cannot be deleted.
	janitorPause = time.Hour
	janitorSoon  = 20 * time.Second
	janitorRetry = 5 * time.Minute
	// trashRate is how many files and folders are deleted in a second, so that
	// a run beside it does not wait for the disk.
	trashRate = 2000
	// snapshotSlack is how much longer than it should a snapshot may have
	// stayed, because nothing ran.
	snapshotSlack = 30 * 24 * time.Hour
)

// errDeleted ends a run on a volume that is to be deleted.
var errDeleted = errors.New("the claim is being deleted")

// NewJanitor returns a Janitor that Run starts.
func NewJanitor(o JanitorOptions) (*Janitor, error) {
	if o.Daemon == nil || o.Status == nil || o.Cancel == nil || o.Policy == nil || o.Pruned == nil {
		return nil, errors.New("daemon: Daemon, Status, Cancel, Policy and Pruned are required")
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Janitor{
		o: o, kick: make(chan struct{}, 1), trash: make(chan struct{}, 1), bare: map[string]time.Time{},
	}, nil
}

// Kick asks for a round soon. It may be called by any goroutine.
func (j *Janitor) Kick() {
	ask(j.kick)
}

func ask(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Run works until ctx ends. The trash is emptied apart, since that may take
// hours and a deleted claim cannot wait for it.
func (j *Janitor) Run(ctx context.Context) {
	var emptier sync.WaitGroup
	defer emptier.Wait()
	emptier.Go(func() { j.emptyTrash(ctx) })
	for ctx.Err() == nil {
		pause := time.NewTimer(j.round(ctx))
		ask(j.trash)
		select {
		case <-ctx.Done():
		case <-pause.C:
		case <-j.kick:
		}
		pause.Stop()
	}
}

// emptyTrash deletes what was taken off the BackupDisk's list, until ctx ends.
func (j *Janitor) emptyTrash(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-j.trash:
		}
		if _, err := j.o.Daemon().o.Catalog.EmptyTrash(ctx, catalog.EmptyOptions{Rate: trashRate}); err != nil && ctx.Err() == nil {
			j.o.Logger.Warn("removed backups still take room on the BackupDisk", "error", err)
		}
	}
}

// round does what can be done now, and returns after how long there shall be
// another one; what fails is tried again in that.
func (j *Janitor) round(ctx context.Context) (pause time.Duration) {
	st := j.o.Status()
	if !st.Ready || st.Err != nil {
		return janitorSoon
	}
	pause, err := j.claims(ctx, st)
	if err != nil && ctx.Err() == nil {
		j.o.Logger.Warn("what deleted claims left is not cleared up yet", "error", err)
	}
	j.expire(ctx, st)
	return pause
}

// expire looks at each volume that may have snapshots of ours. One on which
// somebody works now is left to the run there, or to the next round. A claim
// that is deleted meanwhile does not wait for the rest.
func (j *Janitor) expire(ctx context.Context, st Status) {
	newest, hosts, stood := map[string]time.Time{}, map[string][]string{}, standing{used: map[string]bool{}}
	for _, c := range st.Claims {
		stood.add(c)
		if c.Volume != "" && !c.Running && c.Coverage != Deleting {
			newest[c.Volume] = latest(newest[c.Volume], c.Last.Started)
			hosts[c.Volume] = c.Hosts
		}
	}
	for volume, at := range newest {
		if ctx.Err() != nil || len(j.kick) > 0 {
			return
		}
		if len(hosts[volume]) == 0 {
			hosts[volume] = stood.hosts // The claim was not looked up, like one that is excluded.
		}
		if known, ok := j.bare[volume]; ok && known.Equal(at) || len(hosts[volume]) == 0 {
			continue
		}
		left, err := j.o.Daemon().ExpireSnapshots(ctx, hosts[volume], volume)
		switch {
		case heldElsewhere(err), ctx.Err() != nil:
		case err != nil:
			j.o.Logger.Warn("old snapshots of a volume are still there", "volume", volume, "error", err)
		case left == 0:
			j.bare[volume] = at
		}
	}
}

// claims clears up behind deleted claims, and returns when to look again.
func (j *Janitor) claims(ctx context.Context, st Status) (pause time.Duration, err error) {
	exist, stood := map[catalog.Key]bool{}, standing{used: map[string]bool{}}
	pause = janitorPause
	var errs []error
	release := func(volume string) {
		switch err := j.release(ctx, stood, volume); {
		case err == nil:
		case errors.Is(err, errDeleted), heldElsewhere(err):
			pause = janitorSoon
		default:
			pause = min(pause, janitorRetry)
			errs = append(errs, err)
		}
	}
	for _, c := range st.Claims {
		exist[c.Key] = true
		stood.add(c)
	}
	for _, c := range st.Claims {
		if c.Coverage == Deleting && c.Volume != "" {
			release(c.Volume)
		}
	}
	gone, all, err := j.o.Daemon().gone(exist)
	if err != nil {
		return pause, errors.Join(append(errs, err)...)
	}
	keep, grid := j.o.Policy()
	for key, volume := range gone {
		if ctx.Err() != nil {
			break
		}
		if volume != "" {
			release(volume)
		}
		n, err := j.o.Daemon().PruneDeleted(ctx, key, keep, grid, all)
		j.o.Pruned(n)
		errs = append(errs, err)
	}
	return pause, errors.Join(errs...)
}

// standing says on which volumes claims stand that are not on their way out.
type standing struct {
	used  map[string]bool
	hosts []string // Of any volume: all that Heketi manages are one cluster's.
}

func (s *standing) add(c ClaimStatus) {
	if len(c.Hosts) > 0 && len(s.hosts) == 0 {
		s.hosts = c.Hosts
	}
	if c.Coverage == Deleting {
		return
	}
	// Where nobody can say now, as while Heketi is away, it is where its newest
	// backup was made.
	if volume := cmp.Or(c.Volume, c.Last.Volume); volume != "" {
		s.used[volume] = true
	}
}

// release deletes our snapshots of a volume that no claim needs any more. A run
// that works on it is told to end, and errDeleted says so.
func (j *Janitor) release(ctx context.Context, s standing, volume string) error {
	if s.used[volume] || len(s.hosts) == 0 {
		return nil
	}
	if j.o.Cancel(volume, errDeleted) {
		return errDeleted // Its own snapshot goes as it ends, and the others after that.
	}
	return j.o.Daemon().DropSnapshots(ctx, s.hosts, volume)
}

// gone returns the claims that have backups and do not exist, each with the
// volume of its newest backup if a snapshot of it may still be kept; and the
// backups of all claims.
func (d *Daemon) gone(exist map[catalog.Key]bool) (gone map[catalog.Key]string, all []retention.Item, err error) {
	keys, err := d.o.Catalog.Keys()
	if err != nil {
		return nil, nil, err
	}
	gone = map[catalog.Key]string{}
	for _, k := range keys {
		backups, err := d.o.Catalog.Backups(k)
		if err != nil {
			return nil, nil, err
		}
		all = append(all, ItemsOf(backups)...)
		if exist[k] {
			continue
		}
		gone[k] = ""
		if len(backups) == 0 {
			continue
		}
		if b := backups[len(backups)-1]; time.Since(b.Time) < d.o.Keep.Backup+snapshotSlack {
			gone[k] = b.Info.Volume
		}
	}
	return gone, all, nil
}

// ExpireSnapshots deletes our snapshots of a volume whose time is over and those
// of runs that died, and returns how many of ours are left.
func (d *Daemon) ExpireSnapshots(ctx context.Context, hosts []string, volume string) (left int, err error) {
	lock, err := d.o.Catalog.Lock("delete old snapshots", catalog.VolumeScope(volume))
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, lock.Release()) }()
	g, err := d.o.Gluster(hosts)
	if err != nil {
		return 0, err
	}
	if err := d.expire(ctx, g, volume, time.Now()); err != nil {
		return 0, err
	}
	list, err := g.Snapshots(ctx, volume)
	for _, s := range list {
		if _, ours := d.ownPurpose(s); ours {
			left++
		}
	}
	return left, err
}

// DropSnapshots deletes all snapshots that this BackupDisk's runs took of a
// volume. A volume that is gone has none.
func (d *Daemon) DropSnapshots(ctx context.Context, hosts []string, volume string) (err error) {
	lock, err := d.o.Catalog.Lock("delete snapshots", catalog.VolumeScope(volume))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Release()) }()
	g, err := d.o.Gluster(hosts)
	if err != nil {
		return err
	}
	list, err := g.Snapshots(ctx, volume)
	if errors.Is(err, gluster.ErrNoVolume) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, s := range list {
		if _, ours := d.ownPurpose(s); !ours {
			continue
		}
		err := d.o.SnapshotUsers(ctx, s.Name)
		if err == nil {
			err = g.DeleteSnapshot(ctx, s.Name)
		}
		if err != nil {
			return fmt.Errorf("volume %s: snapshot %s: %w", volume, s.Name, err)
		}
		d.log.Info("snapshot deleted, since the claim is", "volume", volume, "snapshot", s.Name)
	}
	return nil
}
