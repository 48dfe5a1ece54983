package glusterd2

import (
	"context"
	"fmt"
	"math"
	"strings"

	"github.com/gluster/glusterd2/pkg/api"
	"github.com/gluster/glusterd2/pkg/restclient"

	"github.com/glusterbackupd/glusterbackupd/gluster"
)

// Volume returns the volume's properties. A missing volume yields
// gluster.ErrNoVolume.
func (c *Client) Volume(ctx context.Context, name string) (gluster.Volume, error) {
	if err := gluster.ValidVolume(name); err != nil {
		return gluster.Volume{}, err
	}
	q := call{op: "volume info", volume: name, reads: true}
	var answer api.VolumeListResp
	err := c.do(ctx, q, func(r *restclient.Client) (err error) {
		answer, err = r.Volumes(name)
		return err
	})
	if err != nil {
		return gluster.Volume{}, err
	}
	if len(answer) != 1 {
		return gluster.Volume{}, q.odd(c.set.Host(), "%d volumes", len(answer))
	}
	return c.volume(q, api.VolumeInfo(answer[0]))
}

// volume translates what glusterd2 tells.
func (c *Client) volume(q call, x api.VolumeInfo) (gluster.Volume, error) {
	v := gluster.Volume{
		Name: x.Name, ID: x.ID.String(), Type: x.Type.String(), Status: x.State.String(),
		DistCount: x.DistCount, ReplicaCount: x.ReplicaCount, ArbiterCount: x.ArbiterCount, DisperseCount: x.DisperseCount,
		Options: make(map[string]string, len(x.Options)), SnapshotCount: len(x.SnapList),
	}
	if v.Name != q.volume || len(x.ID) == 0 || x.State > api.VolStopped {
		return gluster.Volume{}, q.odd(c.set.Host(), "volume %q with id %q and state %d", x.Name, x.ID, x.State)
	}
	// glusterd2 writes features/shard where glusterd writes features.shard.
	for name, value := range x.Options {
		v.Options[strings.ReplaceAll(name, "/", ".")] = value
	}
	for _, b := range bricks(x.Subvols) {
		if b.Hostname == "" || !strings.HasPrefix(b.Path, "/") {
			return gluster.Volume{}, q.odd(c.set.Host(), "brick %q:%q", b.Hostname, b.Path)
		}
		v.Bricks = append(v.Bricks, gluster.Brick{Host: b.Hostname, Path: b.Path, Arbiter: b.Type == api.Arbiter})
	}
	if len(v.Bricks) == 0 {
		return gluster.Volume{}, q.odd(c.set.Host(), "no bricks")
	}
	return v, nil
}

// bricks returns the bricks of all subvolumes, in the volume's order.
func bricks(subvolumes []api.Subvol) []api.BrickInfo {
	var all []api.BrickInfo
	for _, s := range subvolumes {
		all = append(all, s.Bricks...)
		all = append(all, bricks(s.Subvols)...)
	}
	return all
}

// BrickStates returns the state of every brick of the volume, in the volume's
// order. A brick whose node is disconnected is offline too. A stopped volume
// yields gluster.ErrVolumeStopped.
func (c *Client) BrickStates(ctx context.Context, volume string) ([]gluster.BrickState, error) {
	v, err := c.Volume(ctx, volume)
	if err != nil {
		return nil, err
	}
	q := call{op: "bricks status", volume: volume, reads: true}
	if !v.Started() {
		e := q.error(c.set.Host(), gluster.ErrVolumeStopped, nil)
		e.Err = because{fmt.Errorf("its state is %s", v.Status), remedy(e)}
		return nil, e
	}
	var answer api.BricksStatusResp
	err = c.do(ctx, q, func(r *restclient.Client) (err error) {
		answer, err = r.BricksStatus(volume)
		return err
	})
	if err != nil {
		return nil, err
	}
	found := make(map[gluster.Brick]api.BrickStatus)
	for _, s := range answer {
		found[gluster.Brick{Host: s.Info.Hostname, Path: s.Info.Path}] = s
	}
	states := make([]gluster.BrickState, 0, len(v.Bricks))
	for _, b := range v.Bricks {
		s := gluster.BrickState{Host: b.Host, Path: b.Path}
		if x := found[gluster.Brick{Host: b.Host, Path: b.Path}]; x.Online {
			s.Online, s.PID = true, x.Pid
		}
		states = append(states, s)
	}
	return states, nil
}

// NoPools says what it disables that glusterd2 tells no pool's level: of the
// bricks it tells no LV at all, and of active snapshots their own LV's level.
const NoPools = "not available over glusterd2: the levels of thin pools are neither checked before a backup or restore nor watched, " +
	"and a restore does not check that what it writes has room; glusterd2 itself refuses a snapshot from 90 % on"

// Pools always returns an error that matches gluster.ErrUnavailable.
func (c *Client) Pools(_ context.Context, v gluster.Volume) ([]gluster.Pool, error) {
	e := call{op: "thin pools", volume: v.Name}.error(c.set.Host(), gluster.ErrUnavailable, nil)
	e.Message = NoPools
	return nil, e
}

// SnapshotLimits returns how many snapshots the volume has; glusterd2 has no
// limits (GET /v1/snapshots/config answers 501 there).
func (c *Client) SnapshotLimits(ctx context.Context, volume string) (gluster.Limits, error) {
	v, err := c.Volume(ctx, volume)
	if err != nil {
		return gluster.Limits{}, err
	}
	return gluster.Limits{Hard: math.MaxInt, SoftPercent: 100, Count: v.SnapshotCount}, nil
}
