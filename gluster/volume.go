package gluster

import (
	"context"
	"fmt"
	"regexp"
)

// Volume is what "gluster volume info" tells.
type Volume struct {
	Name, ID string
	Type     string // Such as "Distribute", "Replicate", "Distributed-Replicate".
	Status   string // "Created", "Started" or "Stopped".

	DistCount, ReplicaCount, ArbiterCount, DisperseCount int

	Bricks        []Brick
	Options       map[string]string // The options that were set, not the defaults.
	SnapshotCount int
}

// Started tells whether the volume serves clients.
func (v Volume) Started() bool { return v.Status == "Started" }

// Brick is one folder of a volume on one host.
type Brick struct {
	Host    string // As the volume was made with: a name or an address.
	Path    string // Absolute, on the host.
	Arbiter bool   // Holds names and metadata, but no file data.
}

// String returns "HOST:PATH".
func (b Brick) String() string { return b.Host + ":" + b.Path }

// BrickState is what "gluster volume status" tells about a brick.
type BrickState struct {
	Host, Path string
	Online     bool
	PID        int // Process id on the host, 0 when offline or unknown.
}

// Volume returns the volume's properties. A missing volume yields ErrNoVolume.
func (c *Client) Volume(ctx context.Context, name string) (Volume, error) {
	if err := ValidVolume(name); err != nil {
		return Volume{}, err
	}
	a, err := c.do(ctx, call{op: "volume info", volume: name, args: []string{name}})
	if err != nil {
		return Volume{}, err
	}
	if a.VolInfo == nil || a.VolInfo.Count == nil || *a.VolInfo.Count != len(a.VolInfo.Volumes) || len(a.VolInfo.Volumes) != 1 {
		return Volume{}, fmt.Errorf("volume info %s: %w: not exactly one volume", name, ErrAnswer)
	}
	v, err := a.VolInfo.Volumes[0].volume()
	if err == nil && v.Name != name {
		err = fmt.Errorf("%w: it is about volume %q", ErrAnswer, v.Name)
	}
	if err != nil {
		return Volume{}, fmt.Errorf("volume info %s: %w", name, err)
	}
	return v, nil
}

// snapshotCount is left out of VolumesXML: it changes with every backup.
var snapshotCount = regexp.MustCompile(`[ \t]*<snapshotCount>[0-9]*</snapshotCount>\n?`)

// VolumesXML returns what "gluster volume info --xml" says of all volumes but the
// number of their snapshots, for people and for scripts that build them again.
func (c *Client) VolumesXML(ctx context.Context) ([]byte, error) {
	a, err := c.do(ctx, call{op: "volume info"})
	if err != nil {
		return nil, err
	}
	if a.VolInfo == nil || a.VolInfo.Count == nil || *a.VolInfo.Count != len(a.VolInfo.Volumes) {
		return nil, fmt.Errorf("volume info: %w: it does not list as many volumes as it counts", ErrAnswer)
	}
	return snapshotCount.ReplaceAll(a.text, nil), nil
}

func (x volumeXML) volume() (Volume, error) {
	v := Volume{
		Name: x.Name, ID: x.ID, Type: x.Type, Status: x.Status,
		DistCount: x.DistCount, ReplicaCount: x.ReplicaCount, ArbiterCount: x.ArbiterCount, DisperseCount: x.DisperseCount,
		Options: make(map[string]string, len(x.Options)),
	}
	if x.ID == "" || x.Status == "" || x.SnapshotCount == nil {
		return Volume{}, fmt.Errorf("%w: no id, status or snapshot count", ErrAnswer)
	}
	v.SnapshotCount = *x.SnapshotCount
	if len(x.Bricks) == 0 || len(x.Bricks) != x.BrickCount {
		return Volume{}, fmt.Errorf("%w: %d bricks are listed, %d counted", ErrAnswer, len(x.Bricks), x.BrickCount)
	}
	for _, b := range x.Bricks {
		host, path, err := splitBrick(b.Name)
		if err != nil {
			return Volume{}, err
		}
		v.Bricks = append(v.Bricks, Brick{Host: host, Path: path, Arbiter: b.Arbiter == 1})
	}
	for _, o := range x.Options {
		v.Options[o.Name] = o.Value
	}
	return v, nil
}

// BrickStates returns the state of every brick of the volume, in the volume's
// order. A brick whose node is disconnected is offline too. A stopped volume
// yields ErrVolumeStopped.
func (c *Client) BrickStates(ctx context.Context, volume string) ([]BrickState, error) {
	v, err := c.Volume(ctx, volume)
	if err != nil {
		return nil, err
	}
	a, err := c.do(ctx, call{op: "volume status", volume: volume, args: []string{volume}})
	if err != nil {
		return nil, err
	}
	if a.VolStatus == nil || len(a.VolStatus.Volumes) != 1 || a.VolStatus.Volumes[0].Name != volume {
		return nil, fmt.Errorf("volume status %s: %w: not exactly this volume", volume, ErrAnswer)
	}
	// Nodes that are disconnected are left out, daemons that are not bricks are in.
	nodes := make(map[Brick]nodeXML)
	for _, n := range a.VolStatus.Volumes[0].Nodes {
		nodes[Brick{Host: n.Host, Path: n.Path}] = n
	}
	states := make([]BrickState, 0, len(v.Bricks))
	for _, b := range v.Bricks {
		s := BrickState{Host: b.Host, Path: b.Path}
		if n := nodes[Brick{Host: b.Host, Path: b.Path}]; n.Status == 1 {
			s.Online, s.PID = true, n.PID
		}
		states = append(states, s)
	}
	return states, nil
}
