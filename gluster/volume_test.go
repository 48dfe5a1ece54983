package gluster_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/glusterbackupd/glusterbackupd/gluster"
)

func TestVolume(t *testing.T) {
	const hosting = "vol_dfe9c3289d058ad0b1252c95b868c144"
	c := client(t, host("volume info gbrec_r2", "volume-info-replica.xml", "volume info "+hosting, "volume-info-hosting.xml",
		"volume info gbrec", "volume-info-stopped.xml"))
	v, err := c.Volume(t.Context(), "gbrec_r2")
	if err != nil {
		t.Fatal(err)
	}
	want := gluster.Volume{
		Name: "gbrec_r2", ID: "1598159c-d4e7-4e24-9d1c-e8f29554e8c6", Type: "Replicate", Status: "Started", DistCount: 1, ReplicaCount: 2,
		Bricks: []gluster.Brick{
			{Host: "192.168.77.10", Path: "/bricks/gbrec/b/brick"},
			{Host: "192.168.77.10", Path: "/bricks/gbrec/c/brick"},
		},
		Options: map[string]string{
			"cluster.granular-entry-heal": "on", "storage.fips-mode-rchecksum": "on", "transport.address-family": "inet",
			"nfs.disable": "on", "performance.client-io-threads": "off",
		},
	}
	if diff := cmp.Diff(want, v); diff != "" || !v.Started() {
		t.Errorf("Volume differs (-want +got):\n%s", diff)
	}
	v, err = c.Volume(t.Context(), hosting)
	if err != nil || v.SnapshotCount != 2 || v.Options["features.shard"] != "on" || len(v.Options) != 28 {
		t.Errorf("Volume = %+v, %v", v, err)
	}
	if v, err = c.Volume(t.Context(), "gbrec"); err != nil || v.Started() {
		t.Errorf("stopped volume = %+v, %v", v, err)
	}
}

func TestBrickStates(t *testing.T) {
	c := client(t, host("volume info gbrec_r2", "volume-info-replica.xml",
		"volume status gbrec_r2", "volume-status-replica.xml volume-status-brickdown.xml"))
	b := gluster.BrickState{Host: "192.168.77.10", Path: "/bricks/gbrec/b/brick", Online: true, PID: 2527}
	up := gluster.BrickState{Host: "192.168.77.10", Path: "/bricks/gbrec/c/brick", Online: true, PID: 2547}
	down := gluster.BrickState{Host: up.Host, Path: up.Path}
	for _, want := range [][]gluster.BrickState{{b, up}, {b, down}} {
		got, err := c.BrickStates(t.Context(), "gbrec_r2")
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("BrickStates differ (-want +got), %v:\n%s", err, diff)
		}
	}
}

// A brick that volume status does not mention, because its node is away, is
// offline.
func TestBrickStatesOfMissingNode(t *testing.T) {
	c := client(t, host("volume info gbrec", "volume-info.xml", "volume status gbrec", "volume-status-foreign.xml"))
	got, err := c.BrickStates(t.Context(), "gbrec")
	want := []gluster.BrickState{{Host: "192.168.77.10", Path: "/bricks/gbrec/a/brick"}}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("BrickStates differ (-want +got), %v:\n%s", err, diff)
	}
}

func TestVolumeRefusals(t *testing.T) {
	c := client(t, host("volume info nosuch", "volume-info-missing.xml", "volume info gbrec", "volume-info-stopped.xml",
		"volume status gbrec", "volume-status-stopped.xml", "volume info gbrec_r2", "volume-info-replica.xml",
		"volume status gbrec_r2", "volume-status-missing.xml"))
	if _, err := c.Volume(t.Context(), "nosuch"); !errors.Is(err, gluster.ErrNoVolume) {
		t.Errorf("missing volume: %v", err)
	}
	if _, err := c.BrickStates(t.Context(), "gbrec"); !errors.Is(err, gluster.ErrVolumeStopped) {
		t.Errorf("stopped volume: %v", err)
	}
	if _, err := c.BrickStates(t.Context(), "gbrec_r2"); !errors.Is(err, gluster.ErrNoVolume) {
		t.Errorf("volume that vanished: %v", err)
	}
}

func TestVolumesXML(t *testing.T) {
	c := client(t, host("volume info", "volume-info-replica.xml"))
	text, err := c.VolumesXML(t.Context())
	if err != nil || !strings.HasPrefix(string(text), "<?xml") || !strings.Contains(string(text), "gbrec_r2") || strings.Contains(string(text), "snapshotCount") {
		t.Errorf("%s, %v", text, err)
	}
	if _, err := client(t, host("volume info", "snapshot-info.xml")).VolumesXML(t.Context()); !errors.Is(err, gluster.ErrAnswer) {
		t.Errorf("another answer: %v", err)
	}
}
