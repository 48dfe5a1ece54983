package main

import (
	"context"
	"log/slog"
	"path/filepath"
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
	local   *runner.Local
	gluster pools
	daemon  *daemon.Daemon
	hooks   hooks
	// command tells others who holds a lock; empty means what is done under it.
	command string
}

// hooks are told what the daemon does; each may be nil.
type hooks struct {
	observe         func(daemon.Event)
	snapshotDeleted func(name string)
	snapshotUsers   func(ctx context.Context, name string) error
	full            bool // Backups read everything.
}

// checkFolder is the folder of the mounts of checks, below [gluster] mount_dir.
// It is apart from those of the BackupDisks, because a check needs none.
const checkFolder = "check"

// openApp loads the configuration and builds all parts. It connects to nothing
// but the BackupDisk.
func openApp(g *globals, h hooks) (*app, error) {
	c, err := g.load()
	if err != nil {
		return nil, err
	}
	a := &app{cfg: c, log: g.logger(c.Log), command: g.command, hooks: h}
	if err := a.openDisk(); err != nil {
		return nil, err
	}
	if err := a.connect(); err != nil {
		return nil, err
	}
	a.daemon, err = a.newDaemon(c)
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
	a.daemon, err = a.newDaemon(c)
	return a, err
}

// openLocal is openApp for what needs the BackupDisk only. The daemon that it
// builds can reach no cluster.
func openLocal(g *globals, h hooks) (*app, error) {
	c, err := g.parse()
	if err != nil {
		return nil, err
	}
	a := &app{cfg: c, log: g.logger(c.Log), local: runner.NewLocal(runner.LocalOptions{}), hooks: h}
	if err := a.openDisk(); err != nil {
		return nil, err
	}
	a.daemon, err = a.newDaemon(c)
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
	if a.gluster, err = newPools(c, a.local, a.log); err != nil {
		return err
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

// newDaemon returns a daemon with the policies of a configuration, which may be
// another one than that of the connections.
func (a *app) newDaemon(c *config.Config) (*daemon.Daemon, error) {
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
	o := daemon.Options{
		Catalog: a.catalog, Command: a.command, Resolver: a.resolver(), Gluster: a.gluster.at, Connect: a.gluster.connect,
		Mounts: mounts, Engine: engine, FullCompare: time.Duration(c.Copy.FullCompare), Full: a.hooks.full,
		TrackImages: c.Copy.TrackImages, TrackChunks: c.Copy.TrackChunks,
		Limits:   daemon.Limits{PoolData: float64(c.Limits.PoolData), PoolMetadata: float64(c.Limits.PoolMetadata)},
		Keep:     daemon.SnapshotRetention{Backup: time.Duration(c.Retention.Snapshots), Safety: time.Duration(c.Retention.SafetySnapshots)},
		Parallel: c.Backup.Parallel, ParallelSnapshots: c.Backup.ParallelSnapshots, Retries: c.Backup.Retries, Timeout: time.Duration(c.Backup.Timeout),
		Observe: a.hooks.observe, SnapshotDeleted: a.hooks.snapshotDeleted, SnapshotUsers: a.hooks.snapshotUsers, Logger: a.log,
	}
	if a.kube != nil && a.heketi != nil {
		o.Storage, o.Claims, o.Hosts = a.heketi, a.kube, glusterHosts(&a.cfg.Gluster)
	}
	return daemon.New(o)
}

// mounter mounts in a folder of that name.
func (a *app) mounter(folder string) (*gluster.Mounter, error) {
	return gluster.NewMounter(gluster.MounterOptions{
		Base: filepath.Join(a.cfg.Gluster.MountDir, folder), Run: a.local, Logger: a.log,
		SnapshotPath: snapshotPath(a.cfg.Gluster.Transport),
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
		return a.newCluster()
	}
	return daemon.NewStatic(a.listed())
}

// newCluster resolves claims by Kubernetes and Heketi.
func (a *app) newCluster() *daemon.Cluster {
	return daemon.NewCluster(a.kube, a.heketi, glusterHosts(&a.cfg.Gluster))
}

// listed are the volumes of the configuration.
func (a *app) listed() (targets []daemon.Target) {
	for _, v := range a.cfg.Volumes {
		key, _ := catalog.ParseKey(v.Claim) // The configuration was validated.
		targets = append(targets, daemon.Target{Key: key, Volume: v.Volume, Image: v.Image, Hosts: a.staticHosts()})
	}
	return targets
}

// staticHosts returns the hosts of volumes that no Heketi tells the hosts of.
func (a *app) staticHosts() []string {
	hosts := glusterHosts(&a.cfg.Gluster)
	if len(hosts) == 0 && a.cfg.Gluster.Transport == config.TransportLocal {
		return []string{localhost}
	}
	return hosts
}

// close ends the connections.
func (a *app) close() error {
	return a.gluster.close()
}
