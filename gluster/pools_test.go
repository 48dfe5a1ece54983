package gluster_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/glusterbackupd/glusterbackupd/gluster"
	"github.com/glusterbackupd/glusterbackupd/runner"
)

const (
	findmnt = "env LC_ALL=C findmnt -n -v -o SOURCE --target "
	lvs     = "env LC_ALL=C lvs --reportformat json --units b --nosuffix -o " +
		"vg_name,lv_name,pool_lv,lv_size,data_percent,metadata_percent,lv_health_status,lv_attr "
)

func volume(bricks ...string) gluster.Volume {
	v := gluster.Volume{Name: "gbrec"}
	for _, path := range bricks {
		v.Bricks = append(v.Bricks, gluster.Brick{Host: "192.168.77.10", Path: path})
	}
	return v
}

func TestPools(t *testing.T) {
	h := host(findmnt+"/bricks/gbrec/a/brick", "findmnt-thin.txt", findmnt+"/bricks/gbrec/a/brick2", "findmnt-thin.txt", lvs+"vg_gbrec", "lvs.json")
	got, err := client(t, h).Pools(t.Context(), volume("/bricks/gbrec/a/brick", "/bricks/gbrec/a/brick2"))
	want := []gluster.Pool{{
		Host: "192.168.77.10", VG: "vg_gbrec", Name: "tp_gbrec", Size: 1258291200, Data: 16.37, Metadata: 10.74,
		Bricks: []string{"/bricks/gbrec/a/brick", "/bricks/gbrec/a/brick2"},
	}}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("Pools differ (-want +got), %v:\n%s", err, diff)
	}
	if n := strings.Count(strings.Join(h.calls, "\n"), " lvs "); n != 1 {
		t.Errorf("lvs was run %d times", n)
	}
}

// The pool's commands run where gluster does.
func TestPoolsInContainer(t *testing.T) {
	prefix := "docker exec glusterfs "
	h := host(prefix+findmnt+"/b/brick", "findmnt-thin.txt", prefix+lvs+"vg_gbrec", "lvs.json")
	c, err := gluster.New(gluster.Options{
		Hosts: []gluster.Commander{host()}, Command: strings.Fields(prefix + "gluster"), Timeout: time.Minute,
		Connect: func(name string) gluster.Commander {
			if name != "192.168.77.10" {
				t.Errorf("connected to %q", name)
			}
			return h
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if pools, err := c.Pools(t.Context(), volume("/b/brick")); err != nil || len(pools) != 1 {
		t.Errorf("Pools = %+v, %v", pools, err)
	}
}

func TestPoolsNotThin(t *testing.T) {
	tests := map[string]string{
		"root file system":   "/dev/vda",
		"a pool itself":      "/dev/mapper/vg_gbrec-tp_gbrec",
		"unknown LV":         "/dev/vg_gbrec/gone",
		"dm name, no LV":     "/dev/mapper/luks",
		"option for VG":      "/dev/mapper/--all-x",
		"overlay":            "overlay",
		"odd characters":     "/dev/mapper/a b-c",
		"NFS":                "server:/export",
		"by-id, not VG/LV":   "/dev/disk/by-id/x",
		"directory climbing": "/dev/../x",
	}
	for desc, source := range tests {
		t.Run(desc, func(t *testing.T) {
			h := host(lvs+"vg_gbrec", "lvs.json")
			h.literal[findmnt+"/b/brick"] = source + "\n"
			_, err := client(t, h).Pools(t.Context(), volume("/b/brick"))
			if !errors.Is(err, gluster.ErrNotThin) || !strings.Contains(err.Error(), "192.168.77.10:/b/brick") {
				t.Errorf("Pools = %v, want ErrNotThin with the brick", err)
			}
		})
	}
}

// The device mapper doubles hyphens inside names.
func TestPoolsHyphens(t *testing.T) {
	h := host()
	h.literal[findmnt+"/b/brick"] = "/dev/mapper/vg--x-brick--1\n"
	h.literal[lvs+"vg-x"] = `{"report":[{"lv":[
		{"vg_name":"vg-x","lv_name":"brick-1","pool_lv":"tp-1","lv_size":"1","data_percent":"0,50","metadata_percent":"","lv_attr":"Vwi-aotz--"},
		{"vg_name":"vg-x","lv_name":"tp-1","pool_lv":"","lv_size":"4096","data_percent":"100.00","metadata_percent":"7,25",
		 "lv_health_status":"out_of_data","lv_attr":"twi-aotzD-"}]}]}`
	got, err := client(t, h).Pools(t.Context(), volume("/b/brick"))
	want := []gluster.Pool{{
		Host: "192.168.77.10", VG: "vg-x", Name: "tp-1", Size: 4096, Data: 100, Metadata: 7.25, Bricks: []string{"/b/brick"}, Health: "out_of_data",
	}}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("Pools differ (-want +got), %v:\n%s", err, diff)
	}
}

// A pool whose numbers are missing is no empty pool.
func TestPoolsUnexpected(t *testing.T) {
	for desc, out := range map[string]string{
		"prose":      "  Volume group \"vg\" not found\n",
		"no report":  `{"report":[]}`,
		"inactive":   `{"report":[{"lv":[{"lv_name":"b","pool_lv":"p","lv_attr":"Vwi"},{"lv_name":"p","lv_size":"4096","data_percent":"","metadata_percent":""}]}]}`,
		"size":       `{"report":[{"lv":[{"lv_name":"b","pool_lv":"p","lv_attr":"Vwi"},{"lv_name":"p","lv_size":"4.00g","data_percent":"1","metadata_percent":"1"}]}]}`,
		"no pool":    `{"report":[{"lv":[{"lv_name":"b","pool_lv":"p","lv_attr":"Vwi"}]}]}`,
		"above 100%": `{"report":[{"lv":[{"lv_name":"b","pool_lv":"p","lv_attr":"Vwi"},{"lv_name":"p","lv_size":"4096","data_percent":"101","metadata_percent":"1"}]}]}`,
	} {
		h := host()
		h.literal[findmnt+"/b/brick"], h.literal[lvs+"vg"] = "/dev/vg/b\n", out
		if p, err := client(t, h).Pools(t.Context(), volume("/b/brick")); !errors.Is(err, gluster.ErrAnswer) {
			t.Errorf("%s: Pools = %+v, %v, want ErrAnswer", desc, p, err)
		}
	}
}

func TestPoolsUnreachable(t *testing.T) {
	h := host()
	h.fail = func(string) error { return unreachable(h.name) }
	if _, err := client(t, h).Pools(t.Context(), volume("/b/brick")); !errors.Is(err, runner.ErrUnreachable) || !gluster.Temporary(err) {
		t.Errorf("Pools = %v, want a temporary ErrUnreachable", err)
	}
	v := gluster.Volume{Name: "v", Bricks: []gluster.Brick{{Host: "elsewhere", Path: "/b"}}}
	if _, err := client(t, host()).Pools(t.Context(), v); err == nil || !strings.Contains(err.Error(), "elsewhere") {
		t.Errorf("Pools = %v, want an error about the host", err)
	}
}
