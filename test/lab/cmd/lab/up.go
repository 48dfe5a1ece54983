package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/glusterbackupd/glusterbackupd/test/lab"
	"github.com/glusterbackupd/glusterbackupd/test/lab/guest"
	"github.com/glusterbackupd/glusterbackupd/test/lab/promtool"
	"github.com/glusterbackupd/glusterbackupd/test/lab/provision"
	"github.com/glusterbackupd/glusterbackupd/test/lab/servers"
)

// Ports inside the lab's own network namespace.
const (
	etcdPort       = 23790
	etcdPeerPort   = 23800
	apiPort        = 16443
	controllerPort = 16444
	heketiPort     = 18080
)

// blockhostGroup is what "volume set V group gluster-block", Heketi's option
// for blockhost volumes, means in the lab: Gluster's own file of that name
// (gluster/glusterfs extras/group-gluster-block) without the settings that it
// refuses on a volume without replicas.
const blockhostGroup = `performance.quick-read=off
performance.read-ahead=off
performance.io-cache=off
performance.stat-prefetch=off
performance.open-behind=off
performance.readdir-ahead=off
performance.strict-o-direct=on
performance.client-io-threads=on
performance.io-thread-count=32
performance.high-prio-threads=32
performance.normal-prio-threads=32
performance.low-prio-threads=32
performance.least-prio-threads=4
client.event-threads=8
server.event-threads=8
network.remote-dio=disable
cluster.eager-lock=enable
features.shard=on
features.shard-block-size=64MB
user.cifs=off
server.allow-insecure=on
cluster.choose-local=off
cluster.lookup-optimize=off
`

// up makes the lab, or completes it. A lab whose guest or one of whose servers
// is gone has lost state that the others still have, so it is made anew.
func up(ctx context.Context) error {
	s := newSteps()
	l, err := lab.Load()
	if err == nil && !complete(ctx, l) {
		err = s.do("the old lab is broken: down", func() error { return down(ctx) })
		l = nil
	}
	if err != nil && !errors.Is(err, lab.ErrDown) {
		return err
	}
	if l == nil {
		if l, err = start(ctx, s); err != nil {
			return err
		}
	}
	defer l.Close()
	if !l.Provisioned {
		if err := unmount(halfFilled); err != nil {
			return err
		}
	}
	if err := provision.Run(ctx, l, s.do); err != nil {
		return err
	}
	s.total("the lab is up")
	return nil
}

// bare makes a lab in which nothing is stored, where there is none.
func bare(ctx context.Context) error {
	if _, err := lab.Load(); !errors.Is(err, lab.ErrDown) {
		return errors.Join(errors.New("a lab is up: take it down first"), err)
	}
	s := newSteps()
	l, err := start(ctx, s)
	if err != nil {
		return err
	}
	defer l.Close()
	if err := s.do("heketi: cluster, node, device", func() error { return provision.Topology(l) }); err != nil {
		return err
	}
	s.total("the lab is up, without volumes and claims")
	return nil
}

// provisionOnly fills a lab that runs.
func provisionOnly(ctx context.Context) error {
	l, err := lab.Load()
	if err != nil {
		return err
	}
	defer l.Close()
	return provision.Run(ctx, l, newSteps().do)
}

// complete says whether every server of the lab runs and the guest answers.
func complete(ctx context.Context, l *lab.Lab) bool {
	names := map[string]bool{}
	for _, p := range l.Servers {
		if !p.Alive() {
			return false
		}
		names[p.Name] = true
	}
	for _, name := range []string{"guest", "etcd", "kube-apiserver", "kube-controller-manager", "heketi"} {
		if !names[name] {
			return false
		}
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	_, err := l.Guest(ctx, "systemctl", "is-active", "glusterd")
	return err == nil
}

// setup prepares what outlives a lab: packages, servers, the guest's image. The
// image is made beside the rest, since it waits for the network and its disk
// while compilers do not.
func setup(ctx context.Context, s *steps) (image guest.Image, err error) {
	if err := s.do("host packages", func() error { return installPackages(ctx) }); err != nil {
		return image, err
	}
	var g errgroup.Group // A failed build does not kill the other, which may have something mounted.
	g.Go(func() error {
		return s.do("guest image", func() (err error) {
			image, err = guest.BuildImage(ctx, servers.CacheDir())
			return err
		})
	})
	g.Go(func() error { return programs(ctx, s) })
	err = g.Wait()
	return image, err
}

// programs builds what the lab runs and its tests use.
func programs(ctx context.Context, s *steps) error {
	if err := s.do("servers (heketi, kube-apiserver, ...)", func() error {
		o := servers.BuildOptions{Logger: slog.Default()}
		// The definitions of VolumeSnapshots too: in the lab there is no network.
		_, err := servers.SnapshotCRDs(ctx, o)
		return errors.Join(servers.Build(ctx, o), err)
	}); err != nil {
		return err
	}
	return s.do("promtool", func() error {
		_, err := promtool.Install(ctx, filepath.Join(servers.CacheDir(), "bin"))
		return err
	})
}

// start makes a lab where there is none.
func start(ctx context.Context, s *steps) (*lab.Lab, error) {
	image, err := setup(ctx, s)
	if err != nil {
		return nil, err
	}
	b := &builder{ctx: ctx, env: servers.Env{Dir: lab.Dir, NetNS: lab.NetNS, Detach: true}, lab: newLab()}
	for _, step := range []struct {
		name string
		do   func() error
	}{
		{"leftovers of an older lab", func() error { return down(ctx) }},
		{"keys and seed disk", b.seed},
		{"network namespace " + lab.NetNS, func() error { return guest.MakeNetwork(ctx, lab.NetNS) }},
		{"guest: power on", func() error { return b.guest(image) }},
		{"etcd", b.etcd},
		{"kube-apiserver", b.api},
		{"kube-controller-manager", b.controller},
		{"guest: booted, glusterd answers", b.booted},
		{"heketi", b.heketi},
	} {
		if err := s.do(step.name, step.do); err != nil {
			return nil, err
		}
	}
	return b.lab, nil
}

func newLab() *lab.Lab {
	file := func(name string) string { return filepath.Join(lab.Dir, name) }
	return &lab.Lab{State: lab.State{
		NetNS: lab.NetNS, Address: guest.Address, Address2: guest.Address2,
		SSHUser: "root", SSHKey: file("id_ed25519"), KnownHosts: file("known_hosts"),
		HeketiUser: "admin", HeketiKeyFile: file("heketi.key"), HeketiCLI: servers.Env{}.HeketiCLI(),
	}}
}

// buildStandin compiles the stand-in for gluster-block for the guest.
func buildStandin(ctx context.Context) ([]byte, error) {
	target := filepath.Join(lab.Dir, "gluster-block")
	const pkg = "github.com/glusterbackupd/glusterbackupd/test/lab/cmd/gluster-block"
	cmd := exec.CommandContext(ctx, "go", "build", "-ldflags", "-s -w", "-o", target, pkg)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build the stand-in for gluster-block: %w: %s", err, bytes.TrimSpace(out))
	}
	return os.ReadFile(target)
}

// waitFor repeats a question until it has an answer.
func waitFor(ctx context.Context, limit time.Duration, ask func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		err := ask(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w, last answer: %s", context.Cause(ctx), strings.TrimSpace(err.Error()))
		case <-time.After(300 * time.Millisecond):
		}
	}
}

// buildGlusterd2 is apart from setup, since few need it.
func buildGlusterd2(ctx context.Context) error {
	_, err := servers.BuildGlusterd2(ctx, servers.BuildOptions{Logger: slog.Default()})
	return err
}
