//go:build integration

package integration_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	heketiapi "github.com/heketi/heketi/client/api/go-client"
	types "github.com/heketi/heketi/pkg/glusterfs/api"

	"github.com/glusterbackupd/glusterbackupd/heketi"
	"github.com/glusterbackupd/glusterbackupd/test/lab/servers"
)

const (
	adminKey = "key-of-the-administrator"
	userKey  = "key-of-the-user"
)

// pool is what a test made in Heketi.
type pool struct {
	url     string
	process *servers.Process
	file    *types.VolumeInfoResponse
	block   *types.BlockVolumeInfoResponse // Named by Heketi.
	authed  *types.BlockVolumeInfoResponse // With a name of its own and CHAP.
}

// startHeketi starts the server and makes a cluster of three nodes, a file
// volume and two block volumes in it.
func startHeketi(t *testing.T) pool {
	t.Helper()
	env, port := newEnv(t), freePorts(t, 1)[0]
	process, url, err := env.Heketi(t.Context(), servers.HeketiOptions{Port: port, AdminKey: adminKey, UserKey: userKey})
	if err != nil {
		t.Fatal(err)
	}
	stop(t, process)
	options := heketiapi.DefaultClientOptions()
	options.PollDelay = 20
	api := heketiapi.NewClientWithOptions(url, "admin", adminKey, options)
	cluster := must[*types.ClusterInfoResponse](t)(api.ClusterCreate(&types.ClusterCreateRequest{
		ClusterFlags: types.ClusterFlags{Block: true, File: true},
	}))
	for i := range 3 {
		addNode(t, api, cluster.Id, i)
	}
	p := pool{url: url, process: process}
	p.file = makeVolume(t, api)
	makeBlock := must[*types.BlockVolumeInfoResponse](t)
	p.block = makeBlock(api.BlockVolumeCreate(&types.BlockVolumeCreateRequest{Size: 1}))
	p.authed = makeBlock(api.BlockVolumeCreate(&types.BlockVolumeCreateRequest{Size: 2, Name: "shop_db", Auth: true, Hacount: 2}))
	if p.authed.BlockVolume.Password == "" {
		t.Fatal("Heketi made no CHAP password")
	}
	return p
}

func addNode(t *testing.T, api *heketiapi.Client, cluster string, i int) {
	t.Helper()
	node := must[*types.NodeInfoResponse](t)(api.NodeAdd(&types.NodeAddRequest{
		Zone: i + 1, ClusterId: cluster,
		Hostnames: types.HostAddresses{Manage: []string{fmt.Sprintf("manage-%d", i)}, Storage: []string{fmt.Sprintf("storage-%d", i)}},
	}))
	device := types.DeviceAddRequest{Device: types.Device{Name: "/dev/vdb"}, NodeId: node.Id}
	if err := api.DeviceAdd(&device); err != nil {
		t.Fatal(err)
	}
}

func makeVolume(t *testing.T, api *heketiapi.Client) *types.VolumeInfoResponse {
	t.Helper()
	request := &types.VolumeCreateRequest{Size: 3}
	request.Durability.Type = types.DurabilityReplicate
	request.Durability.Replicate.Replica = 3
	request.Snapshot.Enable, request.Snapshot.Factor = true, 1.5
	return must[*types.VolumeInfoResponse](t)(api.VolumeCreate(request))
}

func heketiClient(t *testing.T, o heketi.Options) *heketi.Client {
	t.Helper()
	if o.Key == "" {
		o.Key = adminKey
	}
	c := must[*heketi.Client](t)(heketi.New(o))
	t.Cleanup(c.Close)
	return c
}

func TestHeketi(t *testing.T) {
	p := startHeketi(t)
	c := heketiClient(t, heketi.Options{URL: p.url})
	if err := c.Ping(t.Context()); err != nil {
		t.Fatalf("ping: %v", err)
	}
	t.Run("volume", func(t *testing.T) { testVolume(t, c, p) })
	t.Run("block volumes", func(t *testing.T) { testBlockVolumes(t, c, p) })
	t.Run("lists", func(t *testing.T) { testLists(t, c, p) })
	t.Run("no secrets", func(t *testing.T) { testNoSecrets(t, c, p) })
	t.Run("missing ids", func(t *testing.T) { testMissing(t, c) })
	t.Run("refused", func(t *testing.T) { testRefused(t, p) })
	t.Run("clocks", func(t *testing.T) { testClocks(t, p) })
	t.Run("server down", func(t *testing.T) {
		if err := p.process.Stop(); err != nil {
			t.Fatal(err)
		}
		_, err := c.Volume(t.Context(), p.file.Id)
		if !errors.Is(err, heketi.ErrUnreachable) || !heketi.Temporary(err) || !strings.Contains(remedy(err), p.url) {
			t.Errorf("%v, remedy %q; want ErrUnreachable, temporary", err, remedy(err))
		}
	})
}

func testVolume(t *testing.T, c *heketi.Client, p pool) {
	got, err := c.Volume(t.Context(), p.file.Id)
	if err != nil {
		t.Fatal(err)
	}
	want := heketi.Volume{
		ID: p.file.Id, Name: "vol_" + p.file.Id, Cluster: p.file.Cluster, Size: 3 << 30, SnapshotFactor: 1.5,
		Hosts: []string{"storage-0", "storage-1", "storage-2"}, Bricks: got.Bricks,
	}
	slices.Sort(got.Hosts)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("volume (-want +got):\n%s", diff)
	}
	hosts := make(map[string]bool)
	for _, b := range got.Bricks {
		hosts[b.Host] = true
		if !strings.HasPrefix(b.Path, "/var/lib/heketi/mounts/vg_"+b.Device+"/brick_") {
			t.Errorf("brick %+v", b)
		}
		node, err := c.Node(t.Context(), b.Node)
		if err != nil || node.State != "online" || node.Cluster != p.file.Cluster ||
			node.Storage[0] != b.Host || node.Manage[0] != strings.Replace(b.Host, "storage", "manage", 1) {
			t.Errorf("node of %+v: %+v, %v", b, node, err)
		}
	}
	if len(got.Bricks) != 3 || len(hosts) != 3 {
		t.Errorf("bricks %+v, want one on each of three hosts", got.Bricks)
	}
}

func testBlockVolumes(t *testing.T, c *heketi.Client, p pool) {
	for _, made := range []*types.BlockVolumeInfoResponse{p.block, p.authed} {
		want := heketi.BlockVolume{
			ID: made.Id, Name: made.Name, Cluster: made.Cluster, HostingVolume: made.BlockHostingVolume,
			Size: int64(made.Size) << 30, Hosts: made.BlockVolume.Hosts, IQN: made.BlockVolume.Iqn, HA: made.Hacount,
		}
		byID, err := c.BlockVolume(t.Context(), made.Id)
		byName, nerr := c.FindBlockVolume(t.Context(), made.Name)
		if diff := cmp.Diff([]heketi.BlockVolume{want, want}, []heketi.BlockVolume{byID, byName}); diff != "" || err != nil || nerr != nil {
			t.Errorf("block volume %s, %v, %v (-want +got):\n%s", made.Name, err, nerr, diff)
		}
		hosting, err := c.Volume(t.Context(), byID.HostingVolume)
		if err != nil || !hosting.Block || !slices.Contains(hosting.BlockVolumes, made.Id) {
			t.Errorf("hosting volume of %s: %+v, %v", made.Name, hosting, err)
		}
	}
	for _, name := range []string{"nobody", "blockvol_" + p.file.Id, "blockvol_"} {
		if _, err := c.FindBlockVolume(t.Context(), name); !errors.Is(err, heketi.ErrNotFound) {
			t.Errorf("find %q: %v, want ErrNotFound", name, err)
		}
	}
}

func testLists(t *testing.T, c *heketi.Client, p pool) {
	volumes, err := c.Volumes(t.Context())
	want := []string{p.file.Id, p.block.BlockHostingVolume}
	slices.Sort(volumes)
	slices.Sort(want)
	if !slices.Equal(volumes, want) || err != nil {
		t.Errorf("volumes %q, %v; want %q", volumes, err, want)
	}
	blocks, err := c.BlockVolumes(t.Context())
	want = []string{p.authed.Id, p.block.Id}
	slices.Sort(blocks)
	slices.Sort(want)
	if !slices.Equal(blocks, want) || err != nil {
		t.Errorf("block volumes %q, %v; want %q", blocks, err, want)
	}
	cluster, err := c.Cluster(t.Context(), p.file.Cluster)
	if err != nil || len(cluster.Nodes) != 3 || len(cluster.Volumes) != 2 || len(cluster.BlockVolumes) != 2 {
		t.Errorf("cluster %+v, %v; want 3 nodes, 2 volumes, 2 block volumes", cluster, err)
	}
}

func testNoSecrets(t *testing.T, c *heketi.Client, p pool) {
	v, err := c.BlockVolume(t.Context(), p.authed.Id)
	if err != nil {
		t.Fatal(err)
	}
	content, err := json.Marshal(v)
	text := fmt.Sprintf("%+v %#v %s %v %+v", v, v, content, err, c)
	for _, secret := range []string{p.authed.BlockVolume.Password, p.authed.BlockVolume.Username, adminKey} {
		if strings.Contains(text, secret) {
			t.Errorf("%q appears in %s", secret, text)
		}
	}
}

func testMissing(t *testing.T, c *heketi.Client) {
	missing := strings.Repeat("0", 32)
	_, volume := c.Volume(t.Context(), missing)
	_, block := c.BlockVolume(t.Context(), missing)
	_, node := c.Node(t.Context(), missing)
	_, cluster := c.Cluster(t.Context(), missing)
	for _, err := range []error{volume, block, node, cluster} {
		if !errors.Is(err, heketi.ErrNotFound) || heketi.Temporary(err) || remedy(err) == "" {
			t.Errorf("%v, remedy %q; want ErrNotFound", err, remedy(err))
		}
	}
}

func testRefused(t *testing.T, p pool) {
	tests := map[string]struct {
		options      heketi.Options
		text, remedy string
	}{
		"wrong key":    {heketi.Options{URL: p.url, Key: "wrong"}, "wrong key", "key_file"},
		"role user":    {heketi.Options{URL: p.url, User: "user", Key: userKey}, "not Heketi's administrator", "admin"},
		"unknown user": {heketi.Options{URL: p.url, User: "nobody"}, "does not know the user", "admin"},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			c := heketiClient(t, tt.options)
			_, volume := c.Volume(t.Context(), p.file.Id)
			for _, err := range []error{c.Ping(t.Context()), volume} {
				if !errors.Is(err, heketi.ErrUnauthorized) || heketi.Temporary(err) ||
					!strings.Contains(err.Error(), tt.text) || !strings.Contains(remedy(err), tt.remedy) {
					t.Errorf("%v, remedy %q; want ErrUnauthorized, %q, %q", err, remedy(err), tt.text, tt.remedy)
				}
			}
		})
	}
}

// testClocks lets the client sign its tokens in a bubble whose clock begins in
// the year 2000, while the server keeps the real time.
func testClocks(t *testing.T, p pool) {
	synctest.Test(t, func(t *testing.T) {
		c := must[*heketi.Client](t)(heketi.New(heketi.Options{URL: p.url, Key: adminKey}))
		for _, clock := range []string{"behind", "ahead"} {
			err := c.Ping(t.Context())
			if !errors.Is(err, heketi.ErrUnauthorized) || !strings.Contains(remedy(err), "clocks") || strings.Contains(remedy(err), "key_file") {
				t.Errorf("clock %s: %v, remedy %q; want ErrUnauthorized and the clocks", clock, err, remedy(err))
			}
			c.Close() // An open connection would hold up the bubble's clock.
			time.Sleep(200 * 365 * 24 * time.Hour)
		}
	})
}
