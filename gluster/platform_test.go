//go:build platform

package gluster_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/glusterbackupd/glusterbackupd/gluster"
	"github.com/glusterbackupd/glusterbackupd/runner"
	"github.com/glusterbackupd/glusterbackupd/test/lab"
)

// These tests run against real Gluster in the lab, inside its network namespace.
// They make volumes of their own, on a small thin pool of their own.
const (
	single  = "gbtest_single"  // One brick on a thin LV.
	replica = "gbtest_replica" // Two bricks on thin LVs.
	plain   = "gbtest_plain"   // One brick on the root file system.
	created = "gbtest_created" // Never started.
)

// removeScript takes the volumes away, as far as they are there; $1 is unused.
const removeScript = `
for s in $(gluster snapshot list | grep '^gbtest' || true); do gluster --mode=script snapshot delete "$s" >/dev/null; done
for v in $(gluster volume list | grep '^gbtest_' || true); do
	gluster --mode=script volume stop "$v" force >/dev/null 2>&1 || true
	gluster --mode=script volume delete "$v" >/dev/null
done
for b in a b c; do if mountpoint -q /bricks/gbtest/$b; then umount /bricks/gbtest/$b; fi; done
if vgs vg-gbtest >/dev/null 2>&1; then vgremove -qq -y vg-gbtest; fi
for l in $(losetup -n -O NAME -j /var/tmp/gbtest.img); do pvremove -qq -y "$l" || true; losetup -d "$l"; done
rm -rf /var/tmp/gbtest.img /bricks/gbtest /bricks/gbtest_plain
`

const makeScript = `
truncate -s 1500M /var/tmp/gbtest.img
loop=$(losetup -f --show /var/tmp/gbtest.img)
pvcreate -qq "$loop" && vgcreate -qq vg-gbtest "$loop"
lvcreate -qq -L 1200M --poolmetadatasize 16M --thinpool tp-gbtest vg-gbtest
for b in a b c; do
	lvcreate -qq -V 400M --thin -n "brick-$b" vg-gbtest/tp-gbtest
	mkfs.xfs -q -i size=512 "/dev/vg-gbtest/brick-$b"
	mkdir -p "/bricks/gbtest/$b"
	mount -o nouuid "/dev/vg-gbtest/brick-$b" "/bricks/gbtest/$b"
	mkdir "/bricks/gbtest/$b/brick"
done
mkdir -p /bricks/gbtest_plain
gluster --mode=script volume create gbtest_single "$1:/bricks/gbtest/a/brick"
gluster --mode=script volume create gbtest_replica replica 2 "$1:/bricks/gbtest/b/brick" "$1:/bricks/gbtest/c/brick" force
gluster --mode=script volume create gbtest_plain "$1:/bricks/gbtest_plain" force
gluster --mode=script volume create gbtest_created "$1:/bricks/gbtest/a/created"
for v in gbtest_single gbtest_replica gbtest_plain; do gluster --mode=script volume start "$v"; done
`

// platform is the lab with the tests' own volumes.
type platform struct {
	lab    *lab.Lab
	ssh    *runner.SSH
	client *gluster.Client
}

func TestPlatform(t *testing.T) {
	p := newPlatform(t)
	t.Run("snapshot life", p.testLife)
	t.Run("refusals", p.testRefusals)
	t.Run("no answer in time", p.testTimeout)
	t.Run("hosts", p.testHosts)
	t.Run("pools", p.testPools)
	t.Run("chunks", p.testChunks)
	t.Run("brick down", p.testBrickDown)
	t.Run("volume stopped", p.testStopped)
	t.Run("stale mount", p.testStale)
	t.Run("busy mount", p.testBusy)
	t.Run("foreign mount", p.testForeign)
	t.Run("silent server", p.testSilent)
	t.Run("fallback server", p.testFallback)
}

func newPlatform(t *testing.T) *platform {
	t.Helper()
	l, err := lab.Load()
	if err != nil {
		t.Fatal(err)
	}
	p := &platform{lab: l}
	p.script(t, removeScript)
	t.Cleanup(func() {
		p.script(t, removeScript)
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	p.script(t, makeScript, l.Address)
	p.ssh, err = runner.NewSSH(runner.SSHOptions{User: l.SSHUser, KeyFile: l.SSHKey, KnownHosts: l.KnownHosts})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.ssh.Close() })
	p.client = p.newClient(t, gluster.Options{})
	return p
}

func (p *platform) newClient(t *testing.T, o gluster.Options) *gluster.Client {
	t.Helper()
	if o.Hosts == nil {
		o.Hosts = []gluster.Commander{p.ssh.Host(p.lab.Address)}
	}
	o.Connect = func(host string) gluster.Commander { return p.ssh.Host(host) }
	c, err := gluster.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// script runs a shell script in the guest; a cleanup's context is not the test's.
func (p *platform) script(t *testing.T, script string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 5*time.Minute)
	defer cancel()
	out, err := p.lab.Script(ctx, script, args...)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return string(out)
}

// snapshot makes a snapshot that the test deletes at its end.
func (p *platform) snapshot(t *testing.T, name, volume string) gluster.Snapshot {
	t.Helper()
	t.Cleanup(func() {
		if err := p.client.DeleteSnapshot(context.WithoutCancel(t.Context()), name); err != nil {
			t.Error(err)
		}
	})
	s, err := p.client.CreateSnapshot(t.Context(), gluster.SnapshotRequest{Name: name, Volume: volume, Description: description})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (p *platform) testLife(t *testing.T) {
	c, ctx := p.client, t.Context()
	m := p.mounter(t)
	live := p.mountVolume(t, m, single, "live", gluster.MountOptions{})
	put(t, live+"/file", "as it was")
	putACL(t, live+"/file")
	const name = "gbtest-life"
	s := p.snapshot(t, name, single)
	if s.Name != name || s.Volume != single || s.Description != description || s.Active || time.Since(s.Created).Abs() > 10*time.Minute {
		t.Errorf("CreateSnapshot = %+v", s)
	}
	if _, err := c.CreateSnapshot(ctx, gluster.SnapshotRequest{Name: name, Volume: single}); !errors.Is(err, gluster.ErrSnapshotExists) {
		t.Errorf("second CreateSnapshot = %v, want ErrSnapshotExists", err)
	}
	if b, err := c.SnapshotStatus(ctx, name); err != nil || len(b) != 1 || b[0].Running {
		t.Errorf("SnapshotStatus = %+v, %v, want one brick that does not run", b, err)
	}
	if all, err := c.Snapshots(ctx, single); err != nil || len(all) != 1 || all[0] != s {
		t.Errorf("Snapshots = %+v, %v", all, err)
	}
	var e *gluster.MountError
	if _, err := m.MountSnapshot(ctx, p.servers(), name, single, "early", gluster.MountOptions{}); !errors.As(err, &e) || !errors.Is(err, gluster.ErrMount) || e.Log == "" {
		t.Errorf("mount of an inactive snapshot = %v, want ErrMount with the client's words", err)
	}
	for range 2 { // Active already, the second time.
		if err := c.ActivateSnapshot(ctx, name); err != nil {
			t.Fatal(err)
		}
	}
	if b, err := c.SnapshotStatus(ctx, name); err != nil || len(b) != 1 || !b[0].Running || b[0].PID == 0 || b[0].VG != "vg-gbtest" {
		t.Errorf("SnapshotStatus = %+v, %v, want one brick that runs", b, err)
	}
	put(t, live+"/file", "changed")
	p.checkSnapshotMount(t, m, name)
	for range 2 {
		if err := c.DeactivateSnapshot(ctx, name); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if err := c.DeleteSnapshot(ctx, name); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.SnapshotInfo(ctx, name); !errors.Is(err, gluster.ErrNoSnapshot) {
		t.Errorf("SnapshotInfo = %v, want ErrNoSnapshot", err)
	}
	if _, err := c.SnapshotStatus(ctx, name); !errors.Is(err, gluster.ErrNoSnapshot) {
		t.Errorf("SnapshotStatus = %v, want ErrNoSnapshot", err)
	}
}

func (p *platform) testRefusals(t *testing.T) {
	c, ctx := p.client, t.Context()
	const missing = "gbtest_missing"
	calls := map[string]func() error{
		"Volume":         func() error { _, err := c.Volume(ctx, missing); return err },
		"BrickStates":    func() error { _, err := c.BrickStates(ctx, missing); return err },
		"Snapshots":      func() error { _, err := c.Snapshots(ctx, missing); return err },
		"SnapshotLimits": func() error { _, err := c.SnapshotLimits(ctx, missing); return err },
		"CreateSnapshot": func() error {
			_, err := c.CreateSnapshot(ctx, gluster.SnapshotRequest{Name: "gbtest-x", Volume: missing})
			return err
		},
	}
	for what, call := range calls {
		if err := call(); !errors.Is(err, gluster.ErrNoVolume) || gluster.Temporary(err) {
			t.Errorf("%s of a missing volume = %v, want a final ErrNoVolume", what, err)
		}
	}
	for _, call := range []func(context.Context, string) error{c.ActivateSnapshot, c.DeactivateSnapshot} {
		if err := call(ctx, "gbtest-missing"); !errors.Is(err, gluster.ErrNoSnapshot) {
			t.Errorf("activation of a missing snapshot = %v, want ErrNoSnapshot", err)
		}
	}
	if _, err := c.CreateSnapshot(ctx, gluster.SnapshotRequest{Name: "gbtest-x", Volume: plain}); !errors.Is(err, gluster.ErrNotThin) {
		t.Errorf("snapshot of bricks that are not thin = %v, want ErrNotThin", err)
	}
	p.testLimit(t)
}

func (p *platform) testLimit(t *testing.T) {
	c, ctx := p.client, t.Context()
	p.script(t, `gluster --mode=script snapshot config "$1" snap-max-hard-limit 1`, single)
	defer p.script(t, `gluster --mode=script snapshot config "$1" snap-max-hard-limit 256`, single)
	p.snapshot(t, "gbtest-only", single)
	l, err := c.SnapshotLimits(ctx, single)
	if want := (gluster.Limits{Hard: 1, SoftPercent: 90, Count: 1}); err != nil || l != want {
		t.Errorf("SnapshotLimits = %+v, %v, want %+v", l, err, want)
	}
	_, err = c.CreateSnapshot(ctx, gluster.SnapshotRequest{Name: "gbtest-more", Volume: single})
	if !errors.Is(err, gluster.ErrSnapshotLimit) || gluster.Temporary(err) {
		t.Errorf("snapshot above the limit = %v, want a final ErrSnapshotLimit", err)
	}
}

// Gluster gives up waiting after a second and makes the snapshot all the same.
func (p *platform) testTimeout(t *testing.T) {
	c := p.newClient(t, gluster.Options{Timeout: time.Second})
	t.Cleanup(func() {
		if err := p.client.DeleteSnapshot(context.WithoutCancel(t.Context()), "gbtest-slow"); err != nil {
			t.Error(err)
		}
	})
	s, err := c.CreateSnapshot(t.Context(), gluster.SnapshotRequest{Name: "gbtest-slow", Volume: single, Description: description})
	if err != nil || s.Name != "gbtest-slow" || s.Description != description {
		t.Errorf("CreateSnapshot = %+v, %v", s, err)
	}
}

func (p *platform) testHosts(t *testing.T) {
	const nobody = "192.168.77.99"
	c := p.newClient(t, gluster.Options{Hosts: []gluster.Commander{p.ssh.Host(nobody), p.ssh.Host(p.lab.Address)}})
	if _, err := c.Volume(t.Context(), single); err != nil {
		t.Errorf("with a dead first host: %v", err)
	}
	c = p.newClient(t, gluster.Options{Hosts: []gluster.Commander{p.ssh.Host(nobody)}})
	if _, err := c.Volume(t.Context(), single); !errors.Is(err, runner.ErrUnreachable) || !gluster.Temporary(err) {
		t.Errorf("with a dead host only: %v, want a temporary ErrUnreachable", err)
	}
	c = p.newClient(t, gluster.Options{Command: []string{"gluster", "--remote-host=" + nobody}})
	if _, err := c.Volume(t.Context(), single); !errors.Is(err, gluster.ErrNoDaemon) || !gluster.Temporary(err) {
		t.Errorf("without glusterd: %v, want a temporary ErrNoDaemon", err)
	}
}

func (p *platform) testPools(t *testing.T) {
	for _, name := range []string{single, replica} {
		v, err := p.client.Volume(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		if v.SingleCopy() != (name == single) {
			t.Errorf("SingleCopy of %s = %t", name, v.SingleCopy())
		}
		pools, err := p.client.Pools(t.Context(), v)
		if err != nil || len(pools) != 1 || len(pools[0].Bricks) != len(v.Bricks) {
			t.Fatalf("Pools = %+v, %v, want one with all bricks of %s", pools, err, name)
		}
		var data, metadata float64
		out := p.script(t, "LC_ALL=C lvs --noheadings -o data_percent,metadata_percent vg-gbtest/tp-gbtest")
		if _, err := fmt.Sscan(out, &data, &metadata); err != nil {
			t.Fatal(err)
		}
		// The file systems write their logs meanwhile.
		if got := pools[0]; got.Host != p.lab.Address || got.VG != "vg-gbtest" || got.Name != "tp-gbtest" || got.Size != 1200<<20 ||
			math.Abs(got.Data-data) > 1 || math.Abs(got.Metadata-metadata) > 1 || got.Data == 0 || got.Health != "" {
			t.Errorf("pool = %+v, lvs says %v, %v", got, data, metadata)
		}
	}
	v, err := p.client.Volume(t.Context(), plain)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.client.Pools(t.Context(), v); !errors.Is(err, gluster.ErrNotThin) || !strings.Contains(err.Error(), v.Bricks[0].String()) {
		t.Errorf("Pools = %v, want ErrNotThin with the brick", err)
	}
}

func (p *platform) testBrickDown(t *testing.T) {
	c, ctx := p.client, t.Context()
	states, err := c.BrickStates(ctx, replica)
	if err != nil || len(states) != 2 || !states[0].Online || !states[1].Online {
		t.Fatalf("BrickStates = %+v, %v, want two online", states, err)
	}
	p.script(t, `kill -9 "$1"`, fmt.Sprint(states[1].PID))
	p.wait(t, "the second brick to be offline", func() bool {
		got, err := c.BrickStates(ctx, replica)
		return err == nil && got[0] == states[0] && got[1] == gluster.BrickState{Host: states[1].Host, Path: states[1].Path}
	})
	_, err = c.CreateSnapshot(ctx, gluster.SnapshotRequest{Name: "gbtest-down", Volume: replica})
	if !errors.Is(err, gluster.ErrBrickDown) || gluster.Temporary(err) {
		t.Errorf("CreateSnapshot = %v, want a final ErrBrickDown", err)
	}
	p.script(t, `gluster --mode=script volume start "$1" force`, replica)
	p.wait(t, "both bricks to be online", func() bool {
		got, err := c.BrickStates(ctx, replica)
		return err == nil && got[0].Online && got[1].Online
	})
	p.snapshot(t, "gbtest-up", replica)
}

func (p *platform) testStopped(t *testing.T) {
	p.script(t, `gluster --mode=script volume stop "$1"`, single)
	defer p.script(t, `gluster --mode=script volume start "$1"`, single)
	if v, err := p.client.Volume(t.Context(), single); err != nil || v.Started() {
		t.Errorf("Volume = %+v, %v, want a stopped one", v, err)
	}
	if _, err := p.client.BrickStates(t.Context(), single); !errors.Is(err, gluster.ErrVolumeStopped) {
		t.Errorf("BrickStates = %v, want ErrVolumeStopped", err)
	}
	_, err := p.client.CreateSnapshot(t.Context(), gluster.SnapshotRequest{Name: "gbtest-stopped", Volume: single})
	if !errors.Is(err, gluster.ErrVolumeStopped) {
		t.Errorf("CreateSnapshot = %v, want ErrVolumeStopped", err)
	}
}

// wait asks until the lab has come to a state.
func (*platform) wait(t *testing.T, what string, reached func() bool) {
	t.Helper()
	for range 300 {
		if reached() {
			return
		}
		time.Sleep(200 * time.Millisecond)
	}
	t.Fatalf("waited in vain for %s", what)
}
