package provision

import (
	"context"
	"time"

	"github.com/heketi/heketi/pkg/glusterfs/api"

	"github.com/glusterbackupd/glusterbackupd/test/lab"
)

// device is the guest's disk that Heketi manages.
const device = "/dev/vdb"

// hostingGB is the size of the blockhost volume. Like each one that Heketi
// makes it has no room for snapshots beyond that in its thin pool.
const hostingGB = 8

// topology makes Heketi's one cluster with its one node and device.
func (p *provisioner) topology() error {
	id, err := p.cluster()
	if err != nil {
		return err
	}
	cluster, err := p.heketi.ClusterInfo(id)
	if err != nil {
		return err
	}
	node, err := p.node(cluster)
	if err != nil {
		return err
	}
	if len(node.DevicesInfo) == 0 {
		request := &api.DeviceAddRequest{NodeId: node.Id}
		request.Name = device
		if err := p.heketi.DeviceAdd(request); err != nil {
			return err
		}
	}
	return p.save(func(s *lab.State) { s.Cluster = id })
}

// cluster returns the id of the one cluster, made when there is none.
func (p *provisioner) cluster() (string, error) {
	list, err := p.heketi.ClusterList()
	if err != nil {
		return "", err
	}
	if len(list.Clusters) > 0 {
		return list.Clusters[0], nil
	}
	made, err := p.heketi.ClusterCreate(&api.ClusterCreateRequest{ClusterFlags: api.ClusterFlags{Block: true, File: true}})
	if err != nil {
		return "", err
	}
	return made.Id, nil
}

// node returns the cluster's node, made when there is none.
func (p *provisioner) node(cluster *api.ClusterInfoResponse) (*api.NodeInfoResponse, error) {
	if len(cluster.Nodes) > 0 {
		return p.heketi.NodeInfo(cluster.Nodes[0])
	}
	return p.heketi.NodeAdd(&api.NodeAddRequest{
		Zone: 1, ClusterId: cluster.Id,
		Hostnames: api.HostAddresses{Manage: []string{p.lab.Address}, Storage: []string{p.lab.Address}},
	})
}

// discard deletes what a run that was killed had made through Heketi but not
// written down.
func (p *provisioner) discard(ctx context.Context) error {
	if err := p.idle(ctx); err != nil {
		return err
	}
	known := map[string]bool{p.lab.HostingID: true}
	for _, c := range p.lab.Claims {
		known[c.HeketiID] = true
	}
	for _, i := range p.lab.Images {
		known[i.HeketiID] = true
	}
	images, err := p.heketi.BlockVolumeList()
	if err != nil {
		return err
	}
	if err := deleteOthers(images.BlockVolumes, known, p.heketi.BlockVolumeDelete); err != nil {
		return err
	}
	volumes, err := p.heketi.VolumeList()
	if err != nil {
		return err
	}
	return deleteOthers(volumes.Volumes, known, p.heketi.VolumeDelete)
}

// deleteOthers deletes the ids that are not known.
func deleteOthers(ids []string, known map[string]bool, del func(id string) error) error {
	for _, id := range ids {
		if known[id] {
			continue
		}
		if err := del(id); err != nil {
			return err
		}
	}
	return nil
}

// idle waits until Heketi works on nothing.
func (p *provisioner) idle(ctx context.Context) error {
	for {
		operations, err := p.heketi.OperationsInfo()
		if err != nil || operations.InFlight == 0 {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(time.Second):
		}
	}
}

// volume makes the Gluster volume of a file claim, as the in-tree provisioner
// asks for it, and remembers it at once.
func (p *provisioner) volume(w wantedFile) (lab.Claim, error) {
	if c, ok := p.known(w.namespace, w.name); ok {
		return c, nil
	}
	request := &api.VolumeCreateRequest{
		Size: w.sizeGB, Gid: w.gid, Durability: api.VolumeDurabilityInfo{Type: api.DurabilityDistributeOnly},
	}
	request.Snapshot.Enable, request.Snapshot.Factor = true, w.snapshotFactor
	v, err := p.heketi.VolumeCreate(request)
	if err != nil {
		return lab.Claim{}, err
	}
	c := lab.Claim{
		Namespace: w.namespace, Name: w.name, Kind: lab.File, HeketiID: v.Id, Volume: v.Name, Annotated: !w.old,
	}
	return c, p.save(func(s *lab.State) { s.Claims = append(s.Claims, c) })
}

// hosting makes the blockhost volume. Heketi would make one by itself, but
// with three replicas.
func (p *provisioner) hosting() error {
	if p.lab.HostingID != "" {
		return nil
	}
	v, err := p.heketi.VolumeCreate(&api.VolumeCreateRequest{
		Size: hostingGB, Block: true, Durability: api.VolumeDurabilityInfo{Type: api.DurabilityDistributeOnly},
	})
	if err != nil {
		return err
	}
	return p.save(func(s *lab.State) { s.HostingID, s.HostingVolume = v.Id, v.Name })
}

// image makes a block image and remembers it at once.
func (p *provisioner) image(w wantedImage) (lab.Image, error) {
	if i, ok := p.knownImage(w); ok {
		return i, nil
	}
	b, err := p.heketi.BlockVolumeCreate(&api.BlockVolumeCreateRequest{Size: 1, Name: w.name, Hacount: 1, Auth: w.auth})
	if err != nil {
		return lab.Image{}, err
	}
	if b.BlockHostingVolume != p.lab.HostingID {
		return lab.Image{}, errUnexpected("blockhost volume of "+b.Name, b.BlockHostingVolume)
	}
	gbid, err := gbidOf(b.BlockVolume.Iqn)
	if err != nil {
		return lab.Image{}, err
	}
	i := lab.Image{
		Namespace: w.namespace, Claim: w.claim, Name: b.Name, HeketiID: b.Id, GBID: gbid, IQN: b.BlockVolume.Iqn,
		Size: int64(b.Size) << 30, Auth: w.auth, FSType: w.fsType,
	}
	return i, p.save(func(s *lab.State) { s.Images = append(s.Images, i) })
}
