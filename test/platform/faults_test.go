//go:build platform && soak

package platform

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/glusterbackupd/glusterbackupd/catalog"
	"github.com/glusterbackupd/glusterbackupd/copier"
	"github.com/glusterbackupd/glusterbackupd/daemon"
	"github.com/glusterbackupd/glusterbackupd/gluster"
	"github.com/glusterbackupd/glusterbackupd/runner"
)

var errInjected = errors.New("injected fault")

// fault fails one operation: instead of doing it, or after it was done, as a
// time-out does whose request still took effect.
type fault struct {
	op    string
	after bool
}

// apply calls f unless the fault replaces it.
func (x fault) apply(op string, f func() error) error {
	if op != x.op {
		return f()
	}
	if x.after {
		return errors.Join(f(), errInjected)
	}
	return errInjected
}

// faultyGluster is the real cluster with one fault.
type faultyGluster struct {
	*gluster.Client
	fault
}

func (g faultyGluster) Volume(ctx context.Context, name string) (v gluster.Volume, err error) {
	err = g.apply("volume", func() error { v, err = g.Client.Volume(ctx, name); return err })
	return v, err
}

func (g faultyGluster) Snapshots(ctx context.Context, volume string) (s []gluster.Snapshot, err error) {
	err = g.apply("list", func() error { s, err = g.Client.Snapshots(ctx, volume); return err })
	return s, err
}

func (g faultyGluster) CreateSnapshot(ctx context.Context, r gluster.SnapshotRequest) (s gluster.Snapshot, err error) {
	err = g.apply("create", func() error { s, err = g.Client.CreateSnapshot(ctx, r); return err })
	return s, err
}

func (g faultyGluster) ActivateSnapshot(ctx context.Context, name string) error {
	return g.apply("activate", func() error { return g.Client.ActivateSnapshot(ctx, name) })
}

// faultyMounts are the real mounts with one fault.
type faultyMounts struct {
	*gluster.Mounter
	fault
}

func (m faultyMounts) MountSnapshot(ctx context.Context, servers []string, snapshot, volume, name string, o gluster.MountOptions) (dir string, err error) {
	err = m.apply("mount snapshot", func() error {
		dir, err = m.Mounter.MountSnapshot(ctx, servers, snapshot, volume, name, o)
		return err
	})
	return dir, err
}

func (m faultyMounts) MountVolume(ctx context.Context, servers []string, volume, name string, o gluster.MountOptions) (dir string, err error) {
	err = m.apply("mount volume", func() error {
		dir, err = m.Mounter.MountVolume(ctx, servers, volume, name, o)
		return err
	})
	return dir, err
}

// faultyEngine is the real engine with one fault.
type faultyEngine struct {
	*copier.Native
	fault
}

func (e faultyEngine) Copy(ctx context.Context, t copier.Tree) (r copier.TreeResult, err error) {
	op := "copy"
	if t.DryRun {
		op = "plan"
	}
	err = e.apply(op, func() error { r, err = e.Native.Copy(ctx, t); return err })
	return r, err
}

// faulty builds a daemon on the real stack with one fault, for one listed
// claim.
func (b *bench) faulty(repo *catalog.Repository, x fault, claim daemon.Target) *daemon.Daemon {
	b.Helper()
	ssh, err := runner.NewSSH(runner.SSHOptions{User: b.lab.SSHUser, KeyFile: b.lab.SSHKey, KnownHosts: b.lab.KnownHosts})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = ssh.Close() })
	client, err := gluster.New(gluster.Options{
		Hosts:   []gluster.Commander{ssh.Host(b.lab.Address)},
		Connect: func(host string) gluster.Commander { return ssh.Host(host) },
	})
	if err != nil {
		b.Fatal(err)
	}
	mounts, err := gluster.NewMounter(gluster.MounterOptions{Base: mountDir, Run: runner.NewLocal(runner.LocalOptions{})})
	if err != nil {
		b.Fatal(err)
	}
	engine, err := copier.NewNative(copier.NativeOptions{})
	if err != nil {
		b.Fatal(err)
	}
	d, err := daemon.New(daemon.Options{
		Catalog: repo, Resolver: daemon.NewStatic([]daemon.Target{claim}),
		Gluster: func([]string) (daemon.Gluster, error) { return faultyGluster{client, x}, nil },
		Connect: func(host string) daemon.Commander { return ssh.Host(host) },
		Mounts:  faultyMounts{mounts, x}, Engine: faultyEngine{engine, x},
	})
	if err != nil {
		b.Fatal(err)
	}
	return d
}

// TestFaultAtEachStep fails each step of a backup once, and then of a restore,
// before and after it took effect. Nothing may be left behind, and no backup
// may be listed that is not complete.
func TestFaultAtEachStep(t *testing.T) {
	b := newBench(t)
	key := catalog.Key{Namespace: "media", Claim: "docs"}
	claim := daemon.Target{Key: key, Volume: b.volumeOf("media/docs"), Hosts: []string{b.lab.Address}}
	b.backup("media/docs")
	repo, err := catalog.Open(b.disk, catalog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	backup := func(d *daemon.Daemon) error {
		time.Sleep(time.Second) // Backups are named by the second.
		return d.Backup(t.Context(), []daemon.Target{claim})[0].Err
	}
	restore := func(d *daemon.Daemon) error {
		_, err := d.Restore(t.Context(), daemon.RestoreRequest{Key: key})
		return err
	}
	for _, tt := range []struct {
		name string
		do   func(*daemon.Daemon) error
		ops  string
	}{
		{"backup", backup, "volume,list,create,activate,mount snapshot,copy"},
		{"restore", restore, "plan,create,mount volume,copy"},
	} {
		for op := range strings.SplitSeq(tt.ops, ",") {
			for _, after := range []bool{false, true} {
				if after && !slices.Contains([]string{"create", "activate", "copy"}, op) {
					continue // Reading leaves nothing; a mount that fails undoes itself, which is the mounter's own test.
				}
				name := tt.name + ": before " + op
				if after {
					name = tt.name + ": after " + op
				}
				t.Run(name, func(t *testing.T) {
					err := tt.do(b.faulty(repo, fault{op, after}, claim))
					if !errors.Is(err, errInjected) {
						t.Errorf("error %v", err)
					}
					if tt.name == "restore" && op == "copy" {
						b.assertSafetySnapshot(err)
					}
					b.assertNothingLeft()
					if list, err := repo.Backups(key); err != nil || len(list) != 1 {
						t.Errorf("backups after the fault: %d, %v", len(list), err)
					}
				})
			}
		}
	}
}

// assertSafetySnapshot checks that a restore that broke off while it wrote kept
// the snapshot of the state before, and named it in its error; then it removes
// the snapshot.
func (b *bench) assertSafetySnapshot(err error) {
	b.Helper()
	var broken *daemon.BrokenOffError
	left := b.snapshots()
	if !errors.As(err, &broken) || len(left) != 1 || left[0] != broken.Snapshot {
		b.Errorf("snapshots %v after %v", left, err)
	}
	b.deleteSnapshots()
}
