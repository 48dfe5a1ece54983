package heketi

import (
	"context"
	"errors"
	"fmt"
	"path"
	"regexp"

	api "github.com/heketi/heketi/client/api/go-client"
	types "github.com/heketi/heketi/pkg/glusterfs/api"
)

// gib is the unit of Heketi's sizes.
const gib = 1 << 30

var (
	idPattern   = regexp.MustCompile(`^[0-9a-f]{32}$`)
	namePattern = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_-]{0,253}$`)
	hostPattern = regexp.MustCompile(`^[A-Za-z0-9:][A-Za-z0-9._:-]{0,252}$`)
	pathPattern = regexp.MustCompile(`^/[A-Za-z0-9_./-]+$`)
)

// Volume is a Gluster volume that Heketi made.
type Volume struct {
	// ID is Heketi's id, 32 hexadecimal digits.
	ID string
	// Name is the Gluster volume's name, safe for paths and commands.
	Name string
	// Cluster is the id of Heketi's cluster.
	Cluster string
	// Size is the size that was asked for, in bytes.
	Size int64
	// Block tells whether the volume hosts block volumes.
	Block bool
	// SnapshotFactor is the thin pool's size relative to the volume's: 1 means
	// that the pool has no room of its own for snapshots.
	SnapshotFactor float64
	// Hosts are the storage addresses of the cluster's nodes, any of which can
	// serve a mount.
	Hosts []string
	// Bricks are in Gluster's order.
	Bricks []Brick
	// BlockVolumes are the ids of the block volumes that it hosts.
	BlockVolumes []string
}

// Brick is one brick of a volume.
type Brick struct {
	// Host is the node's first storage address, as in Gluster's brick names.
	Host string
	// Path is the brick's folder on that host.
	Path string
	// Device and Node are Heketi's ids; the LVM volume group is vg_<Device>.
	Device, Node string
}

// Volume reads the volume with the id and the nodes of its bricks. An unknown
// id gives ErrNotFound.
func (c *Client) Volume(ctx context.Context, id string) (Volume, error) {
	const op = "read volume"
	var info *types.VolumeInfoResponse
	err := c.call(ctx, op, id, func(a *api.Client) (err error) {
		info, err = a.VolumeInfo(id)
		return err
	})
	if err != nil {
		return Volume{}, err
	}
	v := Volume{
		ID:             info.Id,
		Name:           info.Name,
		Cluster:        info.Cluster,
		Size:           int64(info.Size) * gib,
		Block:          info.Block,
		SnapshotFactor: float64(info.Snapshot.Factor),
		Hosts:          info.Mount.GlusterFS.Hosts,
		BlockVolumes:   info.BlockInfo.BlockVolumes,
	}
	if err := v.check(id); err != nil {
		return Volume{}, c.fail(op, id, ErrAnswer, err)
	}
	v.Bricks, err = c.bricks(ctx, id, info.Bricks)
	return v, err
}

// check looks for what must not reach a path or a command.
func (v Volume) check(id string) error {
	if v.ID != id {
		return fmt.Errorf("it is about another id, %.64q", v.ID)
	}
	if !namePattern.MatchString(v.Name) {
		return fmt.Errorf("volume name %.64q", v.Name)
	}
	return checkHosts(v.Hosts)
}

func checkHosts(hosts []string) error {
	for _, h := range hosts {
		if !hostPattern.MatchString(h) {
			return fmt.Errorf("host name %.64q", h)
		}
	}
	return nil
}

// bricks resolves the bricks' nodes, each node once.
func (c *Client) bricks(ctx context.Context, volume string, infos []types.BrickInfo) ([]Brick, error) {
	hosts := make(map[string]string)
	bricks := make([]Brick, 0, len(infos))
	for _, b := range infos {
		if !pathPattern.MatchString(b.Path) || path.Clean(b.Path) != b.Path {
			return nil, c.fail("read volume", volume, ErrAnswer, fmt.Errorf("brick path %.64q", b.Path))
		}
		if _, ok := hosts[b.NodeId]; !ok {
			host, err := c.storageHost(ctx, b.NodeId)
			if errors.Is(err, ErrNotFound) {
				// Not the volume is missing, so the sentinel must not say so.
				err = c.fail("read volume", volume, ErrAnswer, fmt.Errorf("brick on unknown node %.64q", b.NodeId))
			}
			if err != nil {
				return nil, err
			}
			hosts[b.NodeId] = host
		}
		bricks = append(bricks, Brick{Host: hosts[b.NodeId], Path: b.Path, Device: b.DeviceId, Node: b.NodeId})
	}
	return bricks, nil
}

// Volumes lists the ids of all volumes, block-hosting ones included.
func (c *Client) Volumes(ctx context.Context) ([]string, error) {
	var list *types.VolumeListResponse
	err := c.call(ctx, "list volumes", "", func(a *api.Client) (err error) {
		list, err = a.VolumeList()
		return err
	})
	if err != nil {
		return nil, err
	}
	return list.Volumes, nil
}
