package glusterd2

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/gluster/glusterd2/pkg/api"
	"github.com/gluster/glusterd2/pkg/restclient"

	"github.com/glusterbackupd/glusterbackupd/gluster"
)

// CreateSnapshot takes a snapshot and returns it as glusterd2 then describes it.
// Without an answer the snapshot is looked for; an error that matches
// gluster.ErrTimeout means that it is not there (yet): the caller then has to
// delete it by name, as after a cancelled context.
func (c *Client) CreateSnapshot(ctx context.Context, r gluster.SnapshotRequest) (gluster.Snapshot, error) {
	if err := r.Valid(); err != nil {
		return gluster.Snapshot{}, err
	}
	q := call{op: "snapshot create", volume: r.Volume, snapshot: r.Name}
	var answer api.SnapCreateResp
	err := c.do(ctx, q, func(client *restclient.Client) (err error) {
		// The name is used as it is, because TimeStamp is false.
		answer, err = client.SnapshotCreate(api.SnapCreateReq{VolName: r.Volume, SnapName: r.Name, Description: r.Description})
		return err
	})
	if errors.Is(err, gluster.ErrTimeout) {
		return gluster.Settle(ctx, c, r.Name, err, func(s gluster.Snapshot, err error) bool { return err == nil && r.Made(s) })
	}
	if err != nil {
		return gluster.Snapshot{}, err
	}
	s, err := c.snapshot(q, api.SnapInfo(answer))
	if err == nil && !r.Made(s) {
		err = q.odd(c.set.Host(), "the new snapshot is %+v", s)
	}
	return s, err
}

// ActivateSnapshot starts the snapshot's bricks; an active one is left as it is.
func (c *Client) ActivateSnapshot(ctx context.Context, name string) error {
	return c.setActive(ctx, "snapshot activate", name, true)
}

// DeactivateSnapshot stops the snapshot's bricks; an inactive one is left as it
// is. The snapshot must not be mounted.
func (c *Client) DeactivateSnapshot(ctx context.Context, name string) error {
	return c.setActive(ctx, "snapshot deactivate", name, false)
}

func (c *Client) setActive(ctx context.Context, op, name string, active bool) error {
	if err := gluster.ValidSnapshot(name); err != nil {
		return err
	}
	err := c.do(ctx, call{op: op, snapshot: name}, func(r *restclient.Client) error {
		if active {
			return r.SnapshotActivate(api.SnapActivateReq{}, name)
		}
		return r.SnapshotDeactivate(name)
	})
	switch {
	case errors.Is(err, gluster.ErrTimeout):
		_, err = gluster.Settle(ctx, c, name, err, func(s gluster.Snapshot, err error) bool { return err == nil && s.Active == active })
		return err
	case alreadySo(err):
		return nil
	}
	return err
}

// DeleteSnapshot deletes the snapshot, active or not. A missing one is a
// success.
func (c *Client) DeleteSnapshot(ctx context.Context, name string) error {
	if err := gluster.ValidSnapshot(name); err != nil {
		return err
	}
	err := c.do(ctx, call{op: "snapshot delete", snapshot: name}, func(r *restclient.Client) error {
		return r.SnapshotDelete(name)
	})
	switch {
	case errors.Is(err, gluster.ErrNoSnapshot):
		return nil
	case errors.Is(err, gluster.ErrTimeout):
		_, err = gluster.Settle(ctx, c, name, err, func(_ gluster.Snapshot, err error) bool { return errors.Is(err, gluster.ErrNoSnapshot) })
	}
	return err
}

// SnapshotInfo returns one snapshot. A missing one yields gluster.ErrNoSnapshot.
func (c *Client) SnapshotInfo(ctx context.Context, name string) (gluster.Snapshot, error) {
	if err := gluster.ValidSnapshot(name); err != nil {
		return gluster.Snapshot{}, err
	}
	q := call{op: "snapshot info", snapshot: name, reads: true}
	var answer api.SnapGetResp
	err := c.do(ctx, q, func(r *restclient.Client) (err error) {
		answer, err = r.SnapshotInfo(name)
		return err
	})
	if err != nil {
		return gluster.Snapshot{}, err
	}
	s, err := c.snapshot(q, api.SnapInfo(answer))
	if err == nil && s.Name != name {
		err = q.odd(c.set.Host(), "it is about snapshot %q", s.Name)
	}
	return s, err
}

// Snapshots returns all snapshots of the volume, oldest first.
func (c *Client) Snapshots(ctx context.Context, volume string) ([]gluster.Snapshot, error) {
	if err := gluster.ValidVolume(volume); err != nil {
		return nil, err
	}
	q := call{op: "snapshot list", volume: volume, reads: true}
	var answer api.SnapListResp
	err := c.do(ctx, q, func(r *restclient.Client) (err error) {
		answer, err = r.SnapshotList(volume)
		return err
	})
	if err != nil {
		return nil, err
	}
	var all []gluster.Snapshot
	for _, list := range answer {
		for _, x := range list.SnapList {
			s, err := c.snapshot(q, x)
			if err == nil && s.Volume != volume {
				err = q.odd(c.set.Host(), "it is about volume %q", s.Volume)
			}
			if err != nil {
				return nil, err
			}
			all = append(all, s)
		}
	}
	slices.SortStableFunc(all, func(a, b gluster.Snapshot) int { return a.Created.Compare(b.Created) })
	return all, nil
}

// snapshot translates what glusterd2 tells.
func (c *Client) snapshot(q call, x api.SnapInfo) (gluster.Snapshot, error) {
	s := gluster.Snapshot{
		Name: x.VolInfo.Name, UUID: x.VolInfo.ID.String(), Description: x.Description, Volume: x.ParentVolName,
		Created: x.CreatedAt.UTC().Truncate(time.Second), Active: x.VolInfo.State == api.VolStarted,
	}
	if s.Name == "" || s.UUID == "" || s.Volume == "" || s.Created.IsZero() || x.VolInfo.State > api.VolStopped {
		return gluster.Snapshot{}, q.odd(c.set.Host(), "snapshot %+v in state %d", s, x.VolInfo.State)
	}
	return s, nil
}

// SnapshotStatus returns the bricks of one snapshot, in the order of their
// hosts and paths. Of an inactive snapshot glusterd2 tells no bricks; those
// of its volume are returned, as not running.
func (c *Client) SnapshotStatus(ctx context.Context, name string) ([]gluster.SnapshotBrick, error) {
	if err := gluster.ValidSnapshot(name); err != nil {
		return nil, err
	}
	q := call{op: "snapshot status", snapshot: name, reads: true}
	var info api.SnapGetResp
	err := c.do(ctx, q, func(r *restclient.Client) (err error) {
		info, err = r.SnapshotInfo(name)
		return err
	})
	if err != nil {
		return nil, err
	}
	if info.VolInfo.State != api.VolStarted {
		var list []gluster.SnapshotBrick
		for _, b := range bricks(info.VolInfo.Subvols) {
			list = append(list, gluster.SnapshotBrick{Host: b.Hostname, Path: b.Path})
		}
		return list, nil
	}
	var answer api.SnapStatusResp
	err = c.do(ctx, q, func(r *restclient.Client) (err error) {
		answer, err = r.SnapshotStatus(name)
		return err
	})
	if err != nil {
		return nil, err
	}
	if answer.SnapName != name {
		return nil, q.odd(c.set.Host(), "it is about snapshot %q", answer.SnapName)
	}
	return snapshotBricks(answer.BrickStatus), nil
}

// snapshotBricks translates the states, which glusterd2 gives in no order.
func snapshotBricks(states []api.SnapBrickStatus) []gluster.SnapshotBrick {
	list := make([]gluster.SnapshotBrick, 0, len(states))
	for _, x := range states {
		b := gluster.SnapshotBrick{
			Host: x.Brick.Info.Hostname, Path: x.Brick.Info.Path, Running: x.Brick.Online,
			VG: x.LvData.VgName, Data: float64(x.LvData.DataPercentage), Size: x.LvData.LvSize,
		}
		if b.Running {
			b.PID = x.Brick.Pid
		}
		list = append(list, b)
	}
	slices.SortFunc(list, func(a, b gluster.SnapshotBrick) int {
		return compareBricks(gluster.Brick{Host: a.Host, Path: a.Path}, gluster.Brick{Host: b.Host, Path: b.Path})
	})
	return list
}

func compareBricks(a, b gluster.Brick) int {
	if a.String() < b.String() {
		return -1
	}
	return 1
}
