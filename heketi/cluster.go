package heketi

import (
	"context"
	"errors"
	"fmt"

	api "github.com/heketi/heketi/client/api/go-client"
	types "github.com/heketi/heketi/pkg/glusterfs/api"
)

// Cluster is a Gluster pool that Heketi manages.
type Cluster struct {
	// ID is Heketi's id.
	ID string
	// Nodes, Volumes and BlockVolumes are ids.
	Nodes, Volumes, BlockVolumes []string
}

// Node is a host of a Gluster pool.
type Node struct {
	// ID and Cluster are Heketi's ids.
	ID, Cluster string
	// State is "online", "offline" or "failed", as the admin set it: Heketi
	// does not watch its nodes.
	State string
	// Manage are the addresses where Heketi runs commands, Storage those that
	// Gluster uses in brick names and for mounts. Neither is empty.
	Manage, Storage []string
}

// Cluster reads one cluster. An unknown id gives ErrNotFound.
func (c *Client) Cluster(ctx context.Context, id string) (Cluster, error) {
	const op = "read cluster"
	var info *types.ClusterInfoResponse
	err := c.call(ctx, op, id, func(a *api.Client) (err error) {
		info, err = a.ClusterInfo(id)
		return err
	})
	if err != nil {
		return Cluster{}, err
	}
	if info.Id != id {
		return Cluster{}, c.fail(op, id, ErrAnswer, fmt.Errorf("it is about another id, %.64q", info.Id))
	}
	return Cluster{ID: info.Id, Nodes: info.Nodes, Volumes: info.Volumes, BlockVolumes: info.BlockVolumes}, nil
}

// Node reads one node. An unknown id gives ErrNotFound.
func (c *Client) Node(ctx context.Context, id string) (Node, error) {
	const op = "read node"
	var info *types.NodeInfoResponse
	err := c.call(ctx, op, id, func(a *api.Client) (err error) {
		info, err = a.NodeInfo(id)
		return err
	})
	if err != nil {
		return Node{}, err
	}
	n := Node{
		ID:      info.Id,
		Cluster: info.ClusterId,
		State:   string(info.State),
		Manage:  info.Hostnames.Manage,
		Storage: info.Hostnames.Storage,
	}
	if err := n.check(id); err != nil {
		return Node{}, c.fail(op, id, ErrAnswer, err)
	}
	return n, nil
}

func (n Node) check(id string) error {
	if n.ID != id {
		return fmt.Errorf("it is about another id, %.64q", n.ID)
	}
	if len(n.Manage) == 0 || len(n.Storage) == 0 {
		return errors.New("a node without addresses")
	}
	return errors.Join(checkHosts(n.Manage), checkHosts(n.Storage))
}

func (c *Client) storageHost(ctx context.Context, node string) (string, error) {
	n, err := c.Node(ctx, node)
	if err != nil {
		return "", err
	}
	return n.Storage[0], nil
}

func (c *Client) clusterIDs(ctx context.Context) ([]string, error) {
	var list *types.ClusterListResponse
	err := c.call(ctx, "list clusters", "", func(a *api.Client) (err error) {
		list, err = a.ClusterList()
		return err
	})
	if err != nil {
		return nil, err
	}
	return list.Clusters, nil
}
