//go:build platform && soak

package glusterd2_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gluster/glusterd2/pkg/api"
	"github.com/gluster/glusterd2/pkg/restclient"

	"github.com/glusterbackupd/glusterbackupd/gluster"
	"github.com/glusterbackupd/glusterbackupd/gluster/glusterd2"
	"github.com/glusterbackupd/glusterbackupd/gluster/glustertest"
	"github.com/glusterbackupd/glusterbackupd/runner"
	"github.com/glusterbackupd/glusterbackupd/test/lab"
)

// makeBricks makes a thin LV with the bricks of two volumes, and one brick on
// the root file system.
const makeBricks = `
truncate -s 700M /var/tmp/gbgd2.img
loop=$(losetup -f --show /var/tmp/gbgd2.img)
pvcreate -qq "$loop" && vgcreate -qq vg-gbgd2 "$loop"
lvcreate -qq -L 500M --poolmetadatasize 8M --thinpool tp vg-gbgd2
lvcreate -qq -V 400M --thin -n brick vg-gbgd2/tp
mkfs.xfs -q -i size=512 /dev/vg-gbgd2/brick
mkdir -p /bricks/gbgd2/thin /bricks/gbgd2/thick
mount /dev/vg-gbgd2/brick /bricks/gbgd2/thin
mkdir /bricks/gbgd2/thin/started /bricks/gbgd2/thin/created
`

const removeBricks = `
if mountpoint -q /bricks/gbgd2/thin; then umount /bricks/gbgd2/thin; fi
if vgs vg-gbgd2 >/dev/null 2>&1; then vgremove -qq -y vg-gbgd2; fi
for l in $(losetup -n -O NAME -j /var/tmp/gbgd2.img); do pvremove -qq -y "$l" || true; losetup -d "$l"; done
rm -rf /var/tmp/gbgd2.img /bricks/gbgd2
`

// TestRealServer asks glusterd2 itself, with bricks of glusterfs 10.3. Tested here
// and nowhere else are the right and the wrong secret; volume and brick states;
// empty snapshot lists; missing volumes and snapshots in every call; and the
// refusal of a snapshot of a volume that is missing, not started, not on LVM, or
// on thin LVs: that one fails in the last step before the snapshot, because a
// brick of glusterfs 10 does not understand glusterd2's barrier. All successes of
// create, activate, deactivate, delete, info, list and status are therefore tested
// only with the server of server_test.go.
func TestRealServer(t *testing.T) {
	l, err := lab.Load()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	script := func(text string) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 5*time.Minute)
		defer cancel()
		if out, err := l.Script(ctx, text); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	script(removeBricks)
	script(makeBricks)
	t.Cleanup(func() { script(removeBricks) })
	g, err := l.StartGlusterd2(t.Context())
	if g != nil {
		t.Cleanup(func() {
			if err := g.Stop(context.WithoutCancel(t.Context())); err != nil {
				t.Error(err)
			}
		})
	}
	if err != nil {
		t.Fatal(err)
	}
	makeVolumes(t, g)
	options := glusterd2.Options{URLs: []string{g.URL}, Secret: g.Secret}
	c := newClient(t, options)
	glustertest.TestAnswers(t, glustertest.Setup{
		Pool: c, Volume: "gbgd2_started", Stopped: "gbgd2_created", Prefix: "gbgd2-", NoLevels: true, Path: "/snaps/s",
		Bricks: []gluster.Brick{{Host: l.Address, Path: "/bricks/gbgd2/thin/started"}},
	})
	t.Run("refused create", func(t *testing.T) { refusedCreate(t, c) })
	t.Run("authentication", func(t *testing.T) { authentication(t, options) })
	t.Run("next server", func(t *testing.T) {
		o := options
		o.URLs = []string{silent(t), g.URL}
		if _, err := newClient(t, o).Volume(t.Context(), "gbgd2_started"); err != nil {
			t.Error(err)
		}
	})
	t.Run("not glusterd2", func(t *testing.T) {
		// glusterd itself listens on the port that glusterd2 has by default.
		o := options
		o.URLs, o.Timeout = []string{"http://" + l.Address + ":24007"}, 5*time.Second
		if err := newClient(t, o).Ping(t.Context()); err == nil || strings.Contains(err.Error(), g.Secret) {
			t.Errorf("Ping of glusterd = %v", err)
		}
	})
}

// makeVolumes makes the volumes by glusterd2's own client.
func makeVolumes(t *testing.T, g *lab.Glusterd2) {
	t.Helper()
	admin := &restclient.Client{}
	for _, set := range []restclient.ClientFunc{
		restclient.WithHTTPClient(&http.Client{Transport: &http.Transport{}, Timeout: time.Minute}), restclient.WithBaseURL(g.URL), restclient.WithUsername("glustercli"), restclient.WithPassword(g.Secret),
	} {
		if err := set(admin); err != nil {
			t.Fatal(err)
		}
	}
	peers, err := admin.Peers()
	if err != nil || len(peers) != 1 {
		t.Fatalf("peers %+v, %v", peers, err)
	}
	for name, v := range map[string]struct{ path, port string }{
		"gbgd2_started": {"/bricks/gbgd2/thin/started", "49981"},
		"gbgd2_created": {"/bricks/gbgd2/thin/created", "49982"},
		"gbgd2_thick":   {"/bricks/gbgd2/thick", "49983"},
	} {
		q := api.VolCreateReq{
			Name: name, Force: true, Flags: map[string]bool{"allow-root-dir": true, "reuse-bricks": true},
			Subvols: []api.SubvolReq{{Type: "distribute", Bricks: []api.BrickReq{{PeerID: peers[0].ID.String(), Path: v.path}}}},
			VolOptionReq: api.VolOptionReq{
				// A brick of glusterfs 10 would else take glusterd's port.
				Options:        map[string]string{"server.transport.socket.listen-port": v.port},
				VolOptionFlags: api.VolOptionFlags{AllowAdvanced: true, AllowExperimental: true, AllowDeprecated: true},
			},
		}
		if _, err := admin.VolumeCreate(q); err != nil {
			t.Fatal(err)
		}
		if name == "gbgd2_created" {
			continue
		}
		if err := admin.VolumeStart(name, false); err != nil {
			t.Fatal(err)
		}
	}
}

func refusedCreate(t *testing.T, c *glusterd2.Client) {
	for volume, words := range map[string]string{
		"gbgd2_thick":   "snap-create.Validate",
		"gbgd2_started": "remote procedure cannot decode params",
	} {
		_, err := c.CreateSnapshot(t.Context(), gluster.SnapshotRequest{Name: "gbgd2-refused", Volume: volume})
		var e *gluster.Error
		if !errors.Is(err, gluster.ErrFailed) || gluster.Temporary(err) || !errors.As(err, &e) || e.Remedy() == "" || !strings.Contains(err.Error(), words) {
			t.Errorf("CreateSnapshot of %s = %v, want a final ErrFailed with %q", volume, err, words)
		}
		if all, err := c.Snapshots(t.Context(), volume); err != nil || len(all) != 0 {
			t.Errorf("after the refusal Snapshots = %+v, %v", all, err)
		}
	}
}

func authentication(t *testing.T, right glusterd2.Options) {
	for desc, change := range map[string]func(*glusterd2.Options){
		"wrong secret": func(o *glusterd2.Options) { o.Secret = strings.Repeat("0", len(o.Secret)) },
		"wrong user":   func(o *glusterd2.Options) { o.User = "admin" },
	} {
		o := right
		change(&o)
		err := newClient(t, o).Ping(t.Context())
		if !errors.Is(err, runner.ErrAuth) || gluster.Temporary(err) || strings.Contains(err.Error(), right.Secret) {
			t.Errorf("%s: Ping = %v, want a final ErrAuth", desc, err)
		}
	}
}
