package heketi

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

	api "github.com/heketi/heketi/client/api/go-client"
	types "github.com/heketi/heketi/pkg/glusterfs/api"
)

// An iSCSI name, and how gluster-block makes it
// (gluster/gluster-block rpc/block_common.h).
var (
	targetPattern = regexp.MustCompile(`^[A-Za-z0-9.:-]{0,223}$`)
	iqnPattern    = regexp.MustCompile(`^iqn\.2016-12\.org\.gluster-block:([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})$`)
)

// BlockVolume is a gluster-block image that Heketi made. Heketi's CHAP
// credentials are left out.
type BlockVolume struct {
	// ID is Heketi's id, 32 hexadecimal digits.
	ID string
	// Name is gluster-block's name, safe for paths and commands; unless the
	// StorageClass has a prefix it is blockvol_<ID>. Names are unique within
	// one hosting volume only.
	Name string
	// Cluster is the id of Heketi's cluster.
	Cluster string
	// HostingVolume is the id of the volume that holds the image.
	HostingVolume string
	// Size is that of the image, in bytes.
	Size int64
	// Hosts export the image as iSCSI targets.
	Hosts []string
	// IQN is the iSCSI target's name.
	IQN string
	// GBID names the image's file in block-store and comes from the IQN; ""
	// when that is none of gluster-block's.
	GBID string
	// HA is the number of hosts that were asked for.
	HA int
}

// BlockVolume reads the block volume with the id. An unknown id gives
// ErrNotFound.
func (c *Client) BlockVolume(ctx context.Context, id string) (BlockVolume, error) {
	info, err := c.blockInfo(ctx, id)
	if err != nil {
		return BlockVolume{}, err
	}
	return c.blockVolume(id, info)
}

// BlockVolumes lists the ids of all block volumes.
func (c *Client) BlockVolumes(ctx context.Context) ([]string, error) {
	var list *types.BlockVolumeListResponse
	err := c.call(ctx, "list block volumes", "", func(a *api.Client) (err error) {
		list, err = a.BlockVolumeList()
		return err
	})
	if err != nil {
		return nil, err
	}
	return list.BlockVolumes, nil
}

// FindBlockVolume returns the block volume with the name. A name of the form
// blockvol_<id> takes one request. For any other name all block volumes are
// read one by one, since Heketi has no search and two hosting volumes may have
// an image of the same name: that gives ErrAmbiguous. No match gives
// ErrNotFound, a malformed name ErrName.
func (c *Client) FindBlockVolume(ctx context.Context, name string) (BlockVolume, error) {
	const op = "find block volume"
	if !namePattern.MatchString(name) {
		return BlockVolume{}, c.fail(op, name, ErrName, errors.New("a name has letters, digits, _ and - only"))
	}
	if id, ok := strings.CutPrefix(name, "blockvol_"); ok && idPattern.MatchString(id) {
		v, err := c.BlockVolume(ctx, id)
		if err == nil && v.Name == name || err != nil && !errors.Is(err, ErrNotFound) {
			return v, err
		}
	}
	found, err := c.searchBlockVolumes(ctx, name)
	if err != nil {
		return BlockVolume{}, err
	}
	switch len(found) {
	case 0:
		return BlockVolume{}, &Error{
			Op: op, ID: name, URL: c.url, kind: ErrNotFound,
			remedy: "List the block volumes that Heketi knows: heketi-cli blockvolume list.",
		}
	case 1:
		return found[0], nil
	}
	var ids []string
	for _, v := range found {
		ids = append(ids, v.ID)
	}
	return BlockVolume{}, &Error{
		Op: op, ID: name, URL: c.url, kind: ErrAmbiguous,
		cause:  fmt.Errorf("block volumes %s", strings.Join(ids, ", ")),
		remedy: "Compare them with heketi-cli blockvolume info ID, and name the claim instead of the block volume.",
	}
}

// searchBlockVolumes reads all block volumes and returns those with the name.
// One that is deleted meanwhile is passed over.
func (c *Client) searchBlockVolumes(ctx context.Context, name string) ([]BlockVolume, error) {
	ids, err := c.BlockVolumes(ctx)
	if err != nil {
		return nil, err
	}
	var found []BlockVolume
	for _, id := range ids {
		info, err := c.blockInfo(ctx, id)
		if errors.Is(err, ErrNotFound) || err == nil && info.Name != name {
			continue
		}
		if err != nil {
			return nil, err
		}
		v, err := c.blockVolume(id, info)
		if err != nil {
			return nil, err
		}
		found = append(found, v)
	}
	return found, nil
}

func (c *Client) blockInfo(ctx context.Context, id string) (*types.BlockVolumeInfoResponse, error) {
	var info *types.BlockVolumeInfoResponse
	err := c.call(ctx, "read block volume", id, func(a *api.Client) (err error) {
		info, err = a.BlockVolumeInfo(id)
		return err
	})
	return info, err
}

// blockVolume takes over what is no secret, and checks it.
func (c *Client) blockVolume(id string, info *types.BlockVolumeInfoResponse) (BlockVolume, error) {
	v := BlockVolume{
		ID:            info.Id,
		Name:          info.Name,
		Cluster:       info.Cluster,
		HostingVolume: info.BlockHostingVolume,
		Size:          int64(info.Size) * gib,
		Hosts:         info.BlockVolume.Hosts,
		IQN:           info.BlockVolume.Iqn,
		HA:            info.Hacount,
	}
	if m := iqnPattern.FindStringSubmatch(v.IQN); m != nil {
		v.GBID = m[1]
	}
	if err := v.check(id); err != nil {
		return BlockVolume{}, c.fail("read block volume", id, ErrAnswer, err)
	}
	return v, nil
}

func (v BlockVolume) check(id string) error {
	switch {
	case v.ID != id:
		return fmt.Errorf("it is about another id, %.64q", v.ID)
	case !namePattern.MatchString(v.Name):
		return fmt.Errorf("block volume name %.64q", v.Name)
	case !targetPattern.MatchString(v.IQN):
		return fmt.Errorf("iSCSI name %.64q", v.IQN)
	case !idPattern.MatchString(v.HostingVolume):
		return fmt.Errorf("hosting volume id %.64q", v.HostingVolume)
	}
	return checkHosts(v.Hosts)
}
