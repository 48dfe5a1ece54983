package heketi_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/glusterbackupd/glusterbackupd/heketi"
)

const node = `{"zone":1,"hostnames":{"manage":["gluster-0.manage"],"storage":["192.168.78.10","192.168.79.10"]},
	"cluster":"a735428abfce1a40340037811fb00bee","id":"` + nodeID + `","state":"online","devices":[]}`

const brickPath = "/var/lib/heketi/mounts/vg_bcf8d57730eeb564df90d9415d6d6c07/brick_11a3d458331d02f73ea4a1db33a604cc/brick"

func TestVolume(t *testing.T) {
	server := record(t, map[string]answer{
		"/volumes/" + volumeID: {body: fixture(t, "heketi-hosting-volume-info.json")},
		"/nodes/" + nodeID:     {body: node},
	})
	got, err := newClient(t, heketi.Options{URL: server.URL + "/"}).Volume(t.Context(), volumeID)
	if err != nil {
		t.Fatal(err)
	}
	want := heketi.Volume{
		ID:             volumeID,
		Name:           "vol_" + volumeID,
		Cluster:        "a735428abfce1a40340037811fb00bee",
		Size:           6 << 30,
		Block:          true,
		SnapshotFactor: 1,
		Hosts:          []string{"192.168.78.10"},
		Bricks: []heketi.Brick{{
			Host: "192.168.78.10", Path: brickPath, Device: "bcf8d57730eeb564df90d9415d6d6c07", Node: nodeID,
		}},
		BlockVolumes: []string{"636e259ca93cdb80fb1f7df51804d1b2", plainID, authID},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("volume (-want +got):\n%s", diff)
	}
}

func TestVolumeAsksEachNodeOnce(t *testing.T) {
	brick := `{"path":"` + brickPath + `","node":"` + nodeID + `"}`
	server := record(t, map[string]answer{
		"/volumes/" + volumeID: {body: `{"id":"` + volumeID + `","name":"v","bricks":[` + brick + `,` + brick + `,` + brick + `]}`},
		"/nodes/" + nodeID:     {body: node},
	})
	got, err := newClient(t, heketi.Options{URL: server.URL}).Volume(t.Context(), volumeID)
	if err != nil || len(got.Bricks) != 3 {
		t.Errorf("bricks %v, %v; want three", got.Bricks, err)
	}
	if want := "/volumes/" + volumeID + " /nodes/" + nodeID; server.asked() != want {
		t.Errorf("requests %q, want %q", server.asked(), want)
	}
}

func TestNode(t *testing.T) {
	server := record(t, map[string]answer{"/nodes/" + nodeID: {body: node}})
	got, err := newClient(t, heketi.Options{URL: server.URL}).Node(t.Context(), nodeID)
	want := heketi.Node{
		ID: nodeID, Cluster: "a735428abfce1a40340037811fb00bee", State: "online",
		Manage: []string{"gluster-0.manage"}, Storage: []string{"192.168.78.10", "192.168.79.10"},
	}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("node (-want +got), %v:\n%s", err, diff)
	}
}

func TestBlockVolume(t *testing.T) {
	server := record(t, map[string]answer{
		"/blockvolumes/" + plainID: {body: fixture(t, "heketi-blockvolume-info.json")},
		"/blockvolumes/" + authID:  {body: fixture(t, "heketi-blockvolume-info-auth.json")},
	})
	c := newClient(t, heketi.Options{URL: server.URL})
	tests := map[string]struct{ id, name, gbid string }{
		"plain":     {id: plainID, name: "blockvol_" + plainID, gbid: "7d8d3ac7-13ba-4827-b0d4-23af0f23a1dd"},
		"with CHAP": {id: authID, name: "blk_authed", gbid: "d0e3d94d-72c0-40d8-a572-8ba0ed60e23a"},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			got, err := c.BlockVolume(t.Context(), tt.id)
			want := heketi.BlockVolume{
				ID: tt.id, Name: tt.name, Cluster: "a735428abfce1a40340037811fb00bee", HostingVolume: volumeID,
				Size: 1 << 30, Hosts: []string{"192.168.78.10"}, IQN: "iqn.2016-12.org.gluster-block:" + tt.gbid, GBID: tt.gbid, HA: 1,
			}
			if diff := cmp.Diff(want, got); diff != "" || err != nil {
				t.Errorf("block volume (-want +got), %v:\n%s", err, diff)
			}
		})
	}
}

func TestFindBlockVolume(t *testing.T) {
	const other, gone = "636e259ca93cdb80fb1f7df51804d1b2", "00000000000000000000000000000000"
	authed := fixture(t, "heketi-blockvolume-info-auth.json")
	answers := map[string]answer{
		"/blockvolumes":            {body: `{"blockvolumes":["` + gone + `","` + plainID + `","` + authID + `","` + other + `"]}`},
		"/blockvolumes/" + plainID: {body: fixture(t, "heketi-blockvolume-info.json")},
		"/blockvolumes/" + authID:  {body: authed},
		"/blockvolumes/" + other:   {body: strings.NewReplacer(authID, other, "blk_authed", "twin").Replace(authed)},
	}
	tests := map[string]struct {
		name, want string
		twin       bool
		err        error
	}{
		"by id":              {name: "blockvol_" + plainID, want: plainID},
		"by its own name":    {name: "blk_authed", want: authID},
		"unknown id":         {name: "blockvol_" + strings.Repeat("1", 32), err: heketi.ErrNotFound},
		"unknown name":       {name: "blk_other", err: heketi.ErrNotFound},
		"two of that name":   {name: "blk_authed", twin: true, err: heketi.ErrAmbiguous},
		"path":               {name: "blockvol_../../etc", err: heketi.ErrName},
		"option":             {name: "--help", err: heketi.ErrName},
		"newline at the end": {name: "blk_authed\n", err: heketi.ErrName},
		"empty":              {name: "", err: heketi.ErrName},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			mine := make(map[string]answer)
			for path, a := range answers {
				if tt.twin {
					a.body = strings.ReplaceAll(a.body, "twin", "blk_authed")
				}
				mine[path] = a
			}
			server := record(t, mine)
			got, err := newClient(t, heketi.Options{URL: server.URL}).FindBlockVolume(t.Context(), tt.name)
			if got.ID != tt.want || !errors.Is(err, tt.err) {
				t.Errorf("FindBlockVolume(%q) = %q, %v; want %q, %v", tt.name, got.ID, err, tt.want, tt.err)
			}
			if errors.Is(tt.err, heketi.ErrName) && server.asked() != "" {
				t.Errorf("a malformed name was sent: %s", server.asked())
			}
		})
	}
}

func TestMalformedIDsAreNotSent(t *testing.T) {
	server := record(t, nil)
	c := newClient(t, heketi.Options{URL: server.URL})
	for _, id := range []string{"x", "../clusters", strings.Repeat("A", 32), volumeID + "\n", volumeID + "/.."} {
		_, v := c.Volume(t.Context(), id)
		_, b := c.BlockVolume(t.Context(), id)
		_, n := c.Node(t.Context(), id)
		_, k := c.Cluster(t.Context(), id)
		for _, err := range []error{v, b, n, k} {
			if !errors.Is(err, heketi.ErrName) {
				t.Errorf("id %q: %v, want ErrName", id, err)
			}
		}
	}
	if server.asked() != "" {
		t.Errorf("requests were sent: %s", server.asked())
	}
}

func TestUnsafeAnswers(t *testing.T) {
	volume := fixture(t, "heketi-hosting-volume-info.json")
	block := fixture(t, "heketi-blockvolume-info.json")
	tests := map[string]struct{ volume, block, node string }{
		"other volume":        {volume: strings.ReplaceAll(volume, volumeID, authID)},
		"volume name":         {volume: strings.Replace(volume, `"vol_`, `"-vol_`, 1)},
		"volume host":         {volume: strings.Replace(volume, `["192`, `["-oProxyCommand=x","192`, 1)},
		"brick path":          {volume: strings.Replace(volume, `"path":"/var`, `"path":"/var/../../etc`, 1)},
		"unknown node":        {volume: strings.ReplaceAll(volume, nodeID, authID)},
		"node without host":   {node: strings.Replace(node, `"192.168.78.10","192.168.79.10"`, "", 1)},
		"empty volume":        {volume: "{}"},
		"no JSON":             {volume: "<html>"},
		"other type":          {volume: `{"id":{}}`},
		"other block volume":  {block: strings.ReplaceAll(block, plainID, authID)},
		"block volume name":   {block: strings.Replace(block, `"name":"blockvol_`, `"name":"../blockvol_`, 1)},
		"hosting volume":      {block: strings.Replace(block, volumeID, "../x", 1)},
		"block volume host":   {block: strings.Replace(block, `["192`, `["$(x)","192`, 1)},
		"iSCSI name":          {block: strings.Replace(block, "iqn.2016", "/iqn.2016", 1)},
		"larger than allowed": {block: strings.Repeat(" ", 17<<20) + block},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			answers := map[string]answer{
				"/volumes/" + volumeID:     {body: volume},
				"/nodes/" + nodeID:         {body: node},
				"/blockvolumes/" + plainID: {body: block},
			}
			for path, body := range map[string]string{
				"/volumes/" + volumeID: tt.volume, "/nodes/" + nodeID: tt.node, "/blockvolumes/" + plainID: tt.block,
			} {
				if body != "" {
					answers[path] = answer{body: body}
				}
			}
			c := newClient(t, heketi.Options{URL: record(t, answers).URL})
			_, verr := c.Volume(t.Context(), volumeID)
			_, berr := c.BlockVolume(t.Context(), plainID)
			bad, good := verr, berr
			if tt.block != "" {
				bad, good = berr, verr
			}
			if !errors.Is(bad, heketi.ErrAnswer) || errors.Is(bad, heketi.ErrNotFound) || heketi.Temporary(bad) {
				t.Errorf("got %v, want ErrAnswer", bad)
			}
			if good != nil {
				t.Errorf("the unchanged answer: %v", good)
			}
		})
	}
}
