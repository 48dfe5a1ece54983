package gluster

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// Snapshot is what "gluster snapshot info" tells.
type Snapshot struct {
	Name, UUID  string
	Description string
	Volume      string    // The volume it was taken of.
	Created     time.Time // UTC, in whole seconds, by the clock of a Gluster node.
	Active      bool      // Its bricks run; only then it can be mounted.
}

// SnapshotRequest asks for a snapshot.
type SnapshotRequest struct {
	Name   string // Unique in the pool; letters, digits, "_" and "-".
	Volume string
	// Description is printable ASCII, at most 1024 bytes, and begins with a
	// letter or digit; may be empty.
	Description string
}

// SnapshotBrick is one brick of a snapshot.
type SnapshotBrick struct {
	Host, Path string
	Running    bool    // The brick process runs.
	PID        int     // On the host, 0 when it does not run.
	VG         string  // LVM volume group; like the next two zero while the snapshot is inactive.
	Data       float64 // How full the snapshot's own LV is, in percent; not the pool.
	Size       string  // Size of the LV as LVM prints it, such as "6.00g".
}

// Limits bound the snapshots of a volume.
type Limits struct {
	Hard             int     // Snapshots that the volume may have at most.
	SoftPercent      float64 // Share of Hard above which Gluster warns.
	AutoDelete       bool    // Gluster deletes the oldest snapshot above the soft limit, whosever it is.
	ActivateOnCreate bool    // New snapshots are active.
	Count            int     // Snapshots that the volume has.
}

// CreateSnapshot takes a snapshot and returns it as Gluster then describes it.
// When glusterd gave no answer in time, the snapshot is looked for; an error
// that matches ErrTimeout means that it is not there (yet): the caller then has
// to delete it by name, as after a cancelled context.
func (c *Client) CreateSnapshot(ctx context.Context, r SnapshotRequest) (Snapshot, error) {
	if err := r.Valid(); err != nil {
		return Snapshot{}, err
	}
	q := call{op: "snapshot create", volume: r.Volume, snapshot: r.Name, args: []string{r.Name, r.Volume, "no-timestamp"}}
	if r.Description != "" {
		q.args = append(q.args, "description", r.Description)
	}
	a, err := c.do(ctx, q)
	if errors.Is(err, ErrTimeout) {
		return Settle(ctx, c, r.Name, err, func(s Snapshot, err error) bool { return err == nil && r.Made(s) })
	}
	if err != nil {
		return Snapshot{}, err
	}
	if a.SnapCreate == nil || a.SnapCreate.Name != r.Name {
		return Snapshot{}, fmt.Errorf("snapshot create %s: %w: it is about %+v", r.Name, ErrAnswer, a.SnapCreate)
	}
	s, err := c.SnapshotInfo(ctx, r.Name)
	if err == nil && !r.Made(s) {
		err = fmt.Errorf("snapshot create %s: %w: the new snapshot is %+v", r.Name, ErrAnswer, s)
	}
	return s, err
}

// Valid tells whether Gluster takes the names and the description. The error
// matches ErrName.
func (r SnapshotRequest) Valid() error {
	return errors.Join(ValidSnapshot(r.Name), ValidVolume(r.Volume), validDescription(r.Description))
}

// Made tells whether s is the snapshot that r asks for.
func (r SnapshotRequest) Made(s Snapshot) bool {
	return s.Name == r.Name && s.Volume == r.Volume && s.Description == r.Description
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
	if err := ValidSnapshot(name); err != nil {
		return err
	}
	a, err := c.do(ctx, call{op: op, snapshot: name, args: []string{name}})
	var e *Error
	switch {
	case errors.Is(err, ErrTimeout):
		_, err = Settle(ctx, c, name, err, func(s Snapshot, err error) bool { return err == nil && s.Active == active })
		return err
	case errors.As(err, &e) && e.Errno == errInvalid:
		// "Already activated" has this number, but so have other refusals.
		if s, infoErr := c.SnapshotInfo(ctx, name); infoErr == nil && s.Active == active {
			return nil
		}
		return err
	case err != nil:
		return err
	}
	done := a.SnapDeactivate
	if active {
		done = a.SnapActivate
	}
	if done == nil || done.Name != name {
		return fmt.Errorf("%s %s: %w: it is about %+v", op, name, ErrAnswer, done)
	}
	return nil
}

// errInvalid is EINVAL, which Gluster uses for what has no number of its own.
const errInvalid = 22

// DeleteSnapshot deletes the snapshot, active or not. A missing one is a
// success.
func (c *Client) DeleteSnapshot(ctx context.Context, name string) error {
	if err := ValidSnapshot(name); err != nil {
		return err
	}
	q := call{op: "snapshot delete", snapshot: name, args: []string{name}}
	a, err := c.do(ctx, q)
	switch {
	case errors.Is(err, ErrNoSnapshot):
		return nil
	case errors.Is(err, ErrTimeout):
		_, err = Settle(ctx, c, name, err, func(_ Snapshot, err error) bool { return errors.Is(err, ErrNoSnapshot) })
		return err
	case err != nil:
		return err
	}
	if a.SnapDelete == nil || len(a.SnapDelete.Snapshots) != 1 || a.SnapDelete.Snapshots[0].Name != name {
		return fmt.Errorf("snapshot delete %s: %w: it is not about this one snapshot", name, ErrAnswer)
	}
	if d := a.SnapDelete.Snapshots[0]; d.Status != "Success" {
		e := q.error(c.host(), kindOf(d.OpErrno, d.OpErrstr), nil)
		e.Errno, e.Message = d.OpErrno, d.OpErrstr
		return e
	}
	return nil
}

// infoer tells about one snapshot. *Client is one.
type infoer interface {
	SnapshotInfo(ctx context.Context, name string) (Snapshot, error)
}

// Settle finds out whether a command without an answer took effect: done judges
// the snapshot as it is now. Gluster may need a moment more, so it is asked a
// few times before the original error is returned. It is for the clients of all
// transports.
func Settle(ctx context.Context, c infoer, name string, original error, done func(Snapshot, error) bool) (Snapshot, error) {
	const tries, pause = 4, 3 * time.Second
	for try := 1; ; try++ {
		s, err := c.SnapshotInfo(ctx, name)
		if done(s, err) {
			return s, nil
		}
		if err != nil && !errors.Is(err, ErrNoSnapshot) {
			original = errors.Join(original, err)
		}
		if try == tries {
			return Snapshot{}, original
		}
		select {
		case <-ctx.Done():
			return Snapshot{}, errors.Join(original, context.Cause(ctx))
		case <-time.After(pause):
		}
	}
}

// SnapshotInfo returns one snapshot. A missing one yields ErrNoSnapshot.
func (c *Client) SnapshotInfo(ctx context.Context, name string) (Snapshot, error) {
	if err := ValidSnapshot(name); err != nil {
		return Snapshot{}, err
	}
	a, err := c.do(ctx, call{op: "snapshot info", snapshot: name, args: []string{name}})
	if err != nil {
		return Snapshot{}, err
	}
	all, err := a.SnapInfo.snapshots()
	if err == nil && (len(all) != 1 || all[0].Name != name) {
		err = fmt.Errorf("%w: not exactly this snapshot", ErrAnswer)
	}
	if err != nil {
		return Snapshot{}, fmt.Errorf("snapshot info %s: %w", name, err)
	}
	return all[0], nil
}

// Snapshots returns all snapshots of the volume in Gluster's order, oldest
// first.
func (c *Client) Snapshots(ctx context.Context, volume string) ([]Snapshot, error) {
	if err := ValidVolume(volume); err != nil {
		return nil, err
	}
	a, err := c.do(ctx, call{op: "snapshot info", volume: volume, args: []string{"volume", volume}})
	if err != nil {
		return nil, err
	}
	all, err := a.SnapInfo.snapshots()
	if err != nil {
		return nil, fmt.Errorf("snapshot info of volume %s: %w", volume, err)
	}
	for _, s := range all {
		if s.Volume != volume {
			return nil, fmt.Errorf("snapshot info of volume %s: %w: it is about volume %q", volume, ErrAnswer, s.Volume)
		}
	}
	return all, nil
}

func (x *snapInfoXML) snapshots() ([]Snapshot, error) {
	if x == nil || x.Count == nil || *x.Count != len(x.Snapshots) {
		return nil, fmt.Errorf("%w: no snapshots, or another number than counted", ErrAnswer)
	}
	all := make([]Snapshot, 0, len(x.Snapshots))
	for _, xs := range x.Snapshots {
		if len(xs.Volumes) != 1 || xs.Name == "" || xs.UUID == "" {
			return nil, fmt.Errorf("%w: snapshot %q has %d volumes and id %q", ErrAnswer, xs.Name, len(xs.Volumes), xs.UUID)
		}
		s := Snapshot{Name: xs.Name, UUID: xs.UUID, Description: xs.Description}
		var err error
		if s.Created, err = parseTime(xs.CreateTime); err != nil {
			return nil, err
		}
		switch status := xs.Volumes[0].Status; status {
		case "Started":
			s.Active = true
		case "Stopped":
		default:
			return nil, fmt.Errorf("%w: status %q of snapshot %s", ErrAnswer, status, s.Name)
		}
		switch {
		case xs.Volumes[0].Origin != nil:
			s.Volume = xs.Volumes[0].Origin.Name
		case x.Origin != nil:
			s.Volume = x.Origin.Name
		default:
			return nil, fmt.Errorf("%w: no volume of snapshot %s", ErrAnswer, s.Name)
		}
		all = append(all, s)
	}
	return all, nil
}

// SnapshotStatus returns the bricks of one snapshot.
func (c *Client) SnapshotStatus(ctx context.Context, name string) ([]SnapshotBrick, error) {
	if err := ValidSnapshot(name); err != nil {
		return nil, err
	}
	a, err := c.do(ctx, call{op: "snapshot status", snapshot: name, args: []string{name}})
	if err != nil {
		return nil, err
	}
	x := a.SnapStatus
	if x != nil && len(x.Snapshots) == 0 {
		// This one request succeeds for a missing snapshot, with nothing in it.
		return nil, call{op: "snapshot status", snapshot: name}.error(c.host(), ErrNoSnapshot, nil)
	}
	if x == nil || len(x.Snapshots) != 1 || x.Snapshots[0].Name != name || len(x.Snapshots[0].Volumes) != 1 {
		return nil, fmt.Errorf("snapshot status %s: %w: not exactly this snapshot", name, ErrAnswer)
	}
	var bricks []SnapshotBrick
	for _, xb := range x.Snapshots[0].Volumes[0].Bricks {
		b, err := xb.brick()
		if err != nil {
			return nil, fmt.Errorf("snapshot status %s: %w", name, err)
		}
		bricks = append(bricks, b)
	}
	return bricks, nil
}

func (x snapBrickXML) brick() (SnapshotBrick, error) {
	b := SnapshotBrick{Running: x.Running == "Yes"}
	var err error
	if b.Host, b.Path, err = splitBrick(x.Path); err != nil {
		return b, err
	}
	if x.Data != notAvailable {
		b.VG, b.Size = x.VG, x.Size
		if b.Data, err = parsePercent(x.Data); err != nil {
			return b, err
		}
	}
	if b.Running {
		if b.PID, err = strconv.Atoi(x.PID); err != nil {
			return b, fmt.Errorf("%w: process id %q", ErrAnswer, x.PID)
		}
	}
	return b, nil
}

// notAvailable stands for what an inactive snapshot does not have.
const notAvailable = "N/A"

// SnapshotLimits returns the limits in force for the volume and how many
// snapshots it has.
func (c *Client) SnapshotLimits(ctx context.Context, volume string) (Limits, error) {
	v, err := c.Volume(ctx, volume)
	if err != nil {
		return Limits{}, err
	}
	a, err := c.do(ctx, call{op: "snapshot config", volume: volume, args: []string{volume}})
	if err != nil {
		return Limits{}, err
	}
	x := a.SnapConfig
	if x == nil || x.System == nil || len(x.Volumes) != 1 || x.Volumes[0].Name != volume || x.Volumes[0].HardLimit < 1 {
		return Limits{}, fmt.Errorf("snapshot config %s: %w: no limits of this volume", volume, ErrAnswer)
	}
	soft, err := parsePercent(x.System.SoftLimit)
	if err != nil {
		return Limits{}, fmt.Errorf("snapshot config %s: %w", volume, err)
	}
	return Limits{
		Hard: x.Volumes[0].HardLimit, SoftPercent: soft, Count: v.SnapshotCount,
		AutoDelete: x.System.AutoDelete == "enable", ActivateOnCreate: x.System.ActivateOnCreate == "enable",
	}, nil
}
