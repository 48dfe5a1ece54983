package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/glusterbackupd/glusterbackupd/catalog"
	"github.com/glusterbackupd/glusterbackupd/config"
	"github.com/glusterbackupd/glusterbackupd/copier"
	"github.com/glusterbackupd/glusterbackupd/daemon"
	"github.com/glusterbackupd/glusterbackupd/gluster"
	"github.com/glusterbackupd/glusterbackupd/heketi"
	"github.com/glusterbackupd/glusterbackupd/kube"
	"github.com/glusterbackupd/glusterbackupd/runner"
)

// app is everything that a command works with, built from the configuration.
type app struct {
	cfg     *config.Config
	log     *slog.Logger
	catalog *catalog.Repository // nil in a check
	kube    *kube.Client        // nil without [kubernetes]
	heketi  *heketi.Client      // nil without [heketi]
	ssh     *runner.SSH         // nil unless transport is ssh
	local   *runner.Local
	cluster clusters
	daemon  *daemon.Daemon
	// command tells others who holds a lock; empty means what is done under it.
	command string
}

// checkFolder is the folder of the mounts of checks, below [gluster] mount_dir.
// It is apart from those of the BackupDisks, because a check needs none.
const checkFolder = "check"

// clusters hands out one Gluster client per set of hosts.
type clusters struct {
	mu   sync.Mutex
	made map[string]*gluster.Client
}

// openApp loads the configuration and builds all parts. It connects to nothing
// but the BackupDisk.
func openApp(g *globals, observe func(daemon.Event)) (*app, error) {
	c, err := g.load()
	if err != nil {
		return nil, err
	}
	a := &app{cfg: c, log: g.logger(c.Log), command: g.command}
	if err := a.openDisk(); err != nil {
		return nil, err
	}
	if err := a.connect(); err != nil {
		return nil, err
	}
	a.daemon, err = a.newDaemon(observe)
	return a, err
}

// openCheck is openApp without the BackupDisk, which a check can do without.
func openCheck(g *globals) (*app, error) {
	c, err := g.load()
	if err != nil {
		return nil, err
	}
	a := &app{cfg: c, log: g.logger(c.Log)}
	if err := a.connect(); err != nil {
		return nil, err
	}
	a.daemon, err = a.newDaemon(nil)
	return a, err
}

// openLocal is openApp for what needs the BackupDisk only. The daemon that it
// builds can reach no cluster.
func openLocal(g *globals, observe func(daemon.Event)) (*app, error) {
	c, err := g.parse()
	if err != nil {
		return nil, err
	}
	a := &app{cfg: c, log: g.logger(c.Log), local: runner.NewLocal(runner.LocalOptions{})}
	if err := a.openDisk(); err != nil {
		return nil, err
	}
	a.daemon, err = a.newDaemon(observe)
	return a, err
}

func (a *app) openDisk() (err error) {
	a.catalog, err = catalog.Open(a.cfg.Destination.Path, catalog.Options{Logger: a.log})
	return err
}

// connect builds the clients; none of them dials yet.
func (a *app) connect() (err error) {
	c := a.cfg
	a.local = runner.NewLocal(runner.LocalOptions{Logger: a.log})
	if c.Gluster.Transport == config.TransportSSH {
		a.ssh, err = runner.NewSSH(runner.SSHOptions{
			User: c.Gluster.SSH.User, Port: c.Gluster.SSH.Port,
			KeyFile: c.Gluster.SSH.KeyFile, KnownHosts: c.Gluster.SSH.KnownHosts,
			DialTimeout: time.Duration(c.Gluster.SSH.DialTimeout), KeepAlive: time.Duration(c.Gluster.SSH.KeepAlive),
			Logger: a.log,
		})
		if err != nil {
			return err
		}
	}
	if c.Kubernetes != nil {
		if a.kube, err = kube.New(kube.Options{Kubeconfig: c.Kubernetes.Kubeconfig}); err != nil {
			return err
		}
	}
	if c.Heketi != nil {
		a.heketi, err = newHeketi(c.Heketi)
	}
	return err
}

func newHeketi(c *config.Heketi) (*heketi.Client, error) {
	key, err := c.Key()
	if err != nil {
		return nil, err
	}
	return heketi.New(heketi.Options{
		URL: c.URL, User: c.User, Key: key, CAFile: c.CAFile, Timeout: time.Duration(c.Timeout),
	})
}

// newEngine returns the copy engine. Only rsync needs a program, and asks it for
// its version at once.
func newEngine(c config.Copy, log *slog.Logger) (daemon.Engine, error) {
	if c.Engine == config.EngineRsync {
		return copier.NewRsync(copier.RsyncOptions{Command: c.Rsync, BandwidthLimit: int64(c.BandwidthLimit), Logger: log})
	}
	return copier.NewNative(copier.NativeOptions{BandwidthLimit: int64(c.BandwidthLimit), Logger: log})
}

func (a *app) newDaemon(observe func(daemon.Event)) (*daemon.Daemon, error) {
	return a.newDaemonWith(a.cfg, observe)
}

// newDaemonWith is newDaemon with the policies of another configuration.
func (a *app) newDaemonWith(c *config.Config, observe func(daemon.Event)) (*daemon.Daemon, error) {
	engine, err := newEngine(a.cfg.Copy, a.log)
	if err != nil {
		return nil, err
	}
	folder := checkFolder
	if a.catalog != nil {
		// One folder per BackupDisk, so that two of them on one host never
		// take each other's mounts for leftovers.
		folder = a.catalog.ID()
	}
	mounts, err := a.mounter(folder)
	if err != nil {
		return nil, err
	}
	return daemon.New(daemon.Options{
		Catalog: a.catalog, Command: a.command, Resolver: a.resolver(), Gluster: a.glusterAt, Connect: a.connectTo,
		Mounts: mounts, Engine: engine, FullCompare: time.Duration(c.Copy.FullCompare),
		Limits:   daemon.Limits{PoolData: float64(c.Limits.PoolData), PoolMetadata: float64(c.Limits.PoolMetadata)},
		Keep:     daemon.SnapshotRetention{Backup: time.Duration(c.Retention.Snapshots), Safety: time.Duration(c.Retention.SafetySnapshots)},
		Parallel: c.Backup.Parallel, ParallelSnapshots: c.Backup.ParallelSnapshots, Retries: c.Backup.Retries, Timeout: time.Duration(c.Backup.Timeout),
		Observe: observe, Logger: a.log,
	})
}

// mounter mounts in a folder of that name.
func (a *app) mounter(folder string) (*gluster.Mounter, error) {
	return gluster.NewMounter(gluster.MounterOptions{
		Base: filepath.Join(a.cfg.Gluster.MountDir, folder), Run: a.local, Logger: a.log,
	})
}

// tidyChecks removes what a check that died left mounted.
func (a *app) tidyChecks(ctx context.Context) error {
	m, err := a.mounter(checkFolder)
	if err != nil {
		return err
	}
	return daemon.TidyChecks(ctx, m)
}

func (a *app) resolver() daemon.Resolver {
	if a.kube != nil {
		return daemon.NewCluster(a.kube, a.heketi, a.cfg.Gluster.Hosts)
	}
	return daemon.NewStatic(a.listed())
}

// listed are the volumes of the configuration.
func (a *app) listed() (targets []daemon.Target) {
	for _, v := range a.cfg.Volumes {
		key, _ := catalog.ParseKey(v.Claim) // The configuration was validated.
		targets = append(targets, daemon.Target{Key: key, Volume: v.Volume, Image: v.Image, Hosts: a.cfg.Gluster.Hosts})
	}
	return targets
}

// connectTo returns the commander of a Gluster host. Without ssh only this host
// can be asked: what another one would have said must never be guessed.
func (a *app) connectTo(host string) daemon.Commander {
	switch {
	case a.ssh != nil:
		return a.ssh.Host(host)
	case isThisHost(host):
		return a.local
	}
	return unreachable{host}
}

// unreachable is a host that the transport local cannot ask.
type unreachable struct{ host string }

func (u unreachable) Name() string { return u.host }

func (u unreachable) Run(context.Context, ...string) ([]byte, error) {
	return nil, remedied{
		fmt.Errorf("host %s is not this host, and [gluster] transport local reaches no other", u.host),
		"use [gluster] transport = \"ssh\"",
	}
}

// lookupTimeout bounds the look-up of a host's addresses.
const lookupTimeout = 5 * time.Second

// isThisHost says whether a name or address of a Gluster host is ours.
func isThisHost(host string) bool {
	if name, err := os.Hostname(); err == nil && strings.EqualFold(name, host) {
		return true
	}
	ctx, cancel := context.WithTimeout(context.Background(), lookupTimeout)
	defer cancel()
	addresses, err := net.DefaultResolver.LookupHost(ctx, host)
	if err != nil {
		return false
	}
	own, err := net.InterfaceAddrs()
	if err != nil {
		return false
	}
	return slices.ContainsFunc(own, func(a net.Addr) bool {
		ip, _, err := net.ParseCIDR(a.String())
		return err == nil && slices.Contains(addresses, ip.String())
	})
}

// glusterAt returns the client for the cluster of these hosts.
func (a *app) glusterAt(hosts []string) (daemon.Gluster, error) {
	a.cluster.mu.Lock()
	defer a.cluster.mu.Unlock()
	name := strings.Join(hosts, ",")
	if made, ok := a.cluster.made[name]; ok {
		return made, nil
	}
	o := gluster.Options{
		Connect: func(host string) gluster.Commander { return a.connectTo(host) },
		Command: a.cfg.Gluster.Command(), Timeout: time.Duration(a.cfg.Gluster.Timeout), Logger: a.log,
	}
	for _, h := range hosts {
		o.Hosts = append(o.Hosts, a.connectTo(h))
	}
	made, err := gluster.New(o)
	if err != nil {
		return nil, err
	}
	if a.cluster.made == nil {
		a.cluster.made = map[string]*gluster.Client{}
	}
	a.cluster.made[name] = made
	return made, nil
}

// close ends the connections.
func (a *app) close() error {
	if a.ssh == nil {
		return nil
	}
	return a.ssh.Close()
}
