package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/glusterbackupd/glusterbackupd/gluster"
)

// ErrNotCovered means that a snapshot of the volume would fail or harm it, so
// that none was tried. The text says why.
var ErrNotCovered = errors.New("not covered")

// PoolFullError says that a thin pool is too full for one more snapshot: a full
// pool shuts the live brick down, and deleting the snapshot then does not bring
// it back.
type PoolFullError struct {
	Volume string
	Pool   gluster.Pool
	// What is "data" or "metadata"; Percent its level and Limit the highest
	// allowed one.
	What           string
	Percent, Limit float64
}

// Error names the volume, the pool, its host and both levels.
func (e *PoolFullError) Error() string {
	return fmt.Sprintf("volume %s: thin pool %s/%s on %s is %.1f %% full (%s), above the limit of %.0f %%",
		e.Volume, e.Pool.VG, e.Pool.Name, e.Pool.Host, e.Percent, e.What, e.Limit)
}

// PoolHealthError says that LVM reports a thin pool as broken.
type PoolHealthError struct {
	Volume string
	Pool   gluster.Pool
}

// Error names the volume, the pool and LVM's own word.
func (e *PoolHealthError) Error() string {
	return fmt.Sprintf("volume %s: thin pool %s/%s on %s is not healthy: %s", e.Volume, e.Pool.VG, e.Pool.Name, e.Pool.Host, e.Pool.Health)
}

// Is makes the error one of ErrNotCovered.
func (e *PoolHealthError) Is(target error) bool { return target == ErrNotCovered }

// Remedy says where to begin.
func (e *PoolHealthError) Remedy() string {
	return fmt.Sprintf("see lvs -a -o +lv_health_status %s on %s; a pool out of space needs lvextend, one with damaged metadata lvconvert --repair", e.Pool.VG, e.Pool.Host)
}

// Is makes the error one of ErrNotCovered.
func (e *PoolFullError) Is(target error) bool { return target == ErrNotCovered }

// Remedy says how to make room.
func (e *PoolFullError) Remedy() string {
	return fmt.Sprintf("delete old snapshots of %s (gluster snapshot list %s), extend the pool (lvextend %s/%s on %s), or raise [limits] pool_%s",
		e.Volume, e.Volume, e.Pool.VG, e.Pool.Name, e.Pool.Host, e.What)
}

// BrickDownError says that a brick does not run, so that the volume cannot be
// snapshotted.
type BrickDownError struct {
	Volume string
	Brick  gluster.BrickState
}

// Error names the volume and the brick.
func (e *BrickDownError) Error() string {
	return fmt.Sprintf("volume %s: brick %s:%s is down", e.Volume, e.Brick.Host, e.Brick.Path)
}

// Is makes the error one of ErrNotCovered.
func (e *BrickDownError) Is(target error) bool { return target == ErrNotCovered }

// Remedy says how to look at the brick and start it.
func (e *BrickDownError) Remedy() string {
	return fmt.Sprintf("see gluster volume status %s and the brick's log on %s; gluster volume start %s force starts a brick that is not running",
		e.Volume, e.Brick.Host, e.Volume)
}

// preflight refuses volumes that a snapshot would fail on or harm. It returns
// the volume and its thin pools, none where the transport cannot tell them.
func (d *Daemon) preflight(ctx context.Context, g Health, name string) (gluster.Volume, []gluster.Pool, error) {
	v, err := g.Volume(ctx, name)
	if err != nil {
		return v, nil, err
	}
	states, err := g.BrickStates(ctx, name)
	if err != nil {
		return v, nil, err
	}
	for _, s := range states {
		if !s.Online {
			return v, nil, &BrickDownError{name, s}
		}
	}
	if err := d.checkLimits(ctx, g, name); err != nil {
		return v, nil, err
	}
	pools, err := g.Pools(ctx, v)
	if errors.Is(err, gluster.ErrUnavailable) {
		d.log.Warn("thin pools cannot be checked", "volume", name, "reason", err)
		return v, nil, nil
	}
	if err != nil {
		return v, nil, err
	}
	return v, pools, poolsBelow(name, pools, d.o.Limits)
}

// checkLimits refuses a volume whose number of snapshots has reached its limit
// and warns of auto-delete, which could remove snapshots of ours and others'.
func (d *Daemon) checkLimits(ctx context.Context, g Health, name string) error {
	l, err := g.SnapshotLimits(ctx, name)
	if err != nil {
		return err
	}
	if l.AutoDelete {
		d.log.Warn("gluster's snapshot auto-delete is on and may delete any snapshot of the volume; turn it off with: gluster snapshot config auto-delete disable",
			"volume", name)
	}
	if l.Count >= l.Hard {
		return &SnapshotLimitError{name, l}
	}
	return nil
}

// SnapshotLimitError says that the volume may have no more snapshots.
type SnapshotLimitError struct {
	Volume string
	Limits gluster.Limits
}

// Error names the volume and its limit.
func (e *SnapshotLimitError) Error() string {
	return fmt.Sprintf("volume %s: has %d snapshots, and its limit is %d", e.Volume, e.Limits.Count, e.Limits.Hard)
}

// Is makes the error one of ErrNotCovered.
func (e *SnapshotLimitError) Is(target error) bool { return target == ErrNotCovered }

// Remedy says how to make room.
func (e *SnapshotLimitError) Remedy() string {
	return fmt.Sprintf("delete old snapshots (gluster snapshot list %s), or raise the limit (gluster snapshot config %s snap-max-hard-limit N)", e.Volume, e.Volume)
}

// sharded says whether the volume cuts large files into shards, so that a write
// may move no time of the file that it is in.
func sharded(v gluster.Volume) bool {
	value := strings.ToLower(v.Options["features.shard"])
	return slices.Contains([]string{"on", "enable", "yes", "true", "1"}, value)
}

// subvolumes is the number of parts that files are distributed over.
func subvolumes(v gluster.Volume) int {
	return max(len(v.Bricks)/max(v.ReplicaCount, v.DisperseCount, 1), 1)
}

// poolsBelow is the rule for thin pool levels.
func poolsBelow(volume string, pools []gluster.Pool, l Limits) error {
	for _, p := range pools {
		if p.Health != "" {
			return &PoolHealthError{volume, p}
		}
		if p.Data >= l.PoolData {
			return &PoolFullError{volume, p, "data", p.Data, l.PoolData}
		}
		if p.Metadata >= l.PoolMetadata {
			return &PoolFullError{volume, p, "metadata", p.Metadata, l.PoolMetadata}
		}
	}
	return nil
}
