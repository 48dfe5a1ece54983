package main

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
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
	catalog *catalog.Repository
	kube    *kube.Client   // nil without [kubernetes]
	heketi  *heketi.Client // nil without [heketi]
	ssh     *runner.SSH    // nil unless transport is ssh
	local   *runner.Local
	cluster clusters
	daemon  *daemon.Daemon
	lock    *catalog.Lock
}

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
	a := &app{cfg: c, log: g.logger(c.Log)}
	if a.catalog, err = catalog.Open(c.Destination.Path, catalog.Options{Logger: a.log}); err != nil {
		return nil, err
	}
	if err := a.connect(); err != nil {
		return nil, err
	}
	if a.daemon, err = a.newDaemon(observe); err != nil {
		return nil, err
	}
	return a, nil
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

func (a *app) newDaemon(observe func(daemon.Event)) (*daemon.Daemon, error) {
	engine, err := copier.NewRsync(copier.RsyncOptions{
		Command: a.cfg.Copy.Rsync, BandwidthLimit: int64(a.cfg.Copy.BandwidthLimit), Logger: a.log,
	})
	if err != nil {
		return nil, err
	}
	mounts, err := gluster.NewMounter(gluster.MounterOptions{
		// One folder per BackupDisk, so that two of them on one host never
		// take each other's mounts for leftovers.
		Base: filepath.Join(a.cfg.Gluster.MountDir, a.catalog.ID()), Run: a.local, Logger: a.log,
	})
	if err != nil {
		return nil, err
	}
	c := a.cfg
	return daemon.New(daemon.Options{
		Catalog: a.catalog, Resolver: a.resolver(), Gluster: a.glusterAt, Connect: a.connectTo,
		Mounts: mounts, Engine: engine,
		Limits:   daemon.Limits{PoolData: float64(c.Limits.PoolData), PoolMetadata: float64(c.Limits.PoolMetadata)},
		Keep:     daemon.SnapshotRetention{Backup: time.Duration(c.Retention.Snapshots), Safety: time.Duration(c.Retention.SafetySnapshots)},
		Parallel: c.Backup.Parallel, Retries: c.Backup.Retries, Timeout: time.Duration(c.Backup.Timeout),
		Observe: observe, Logger: a.log,
	})
}

func (a *app) resolver() daemon.Resolver {
	if a.kube != nil {
		return daemon.NewCluster(a.kube, a.heketi, a.cfg.Gluster.Hosts)
	}
	var targets []daemon.Target
	for _, v := range a.cfg.Volumes {
		key, _ := catalog.ParseKey(v.Claim) // The configuration was validated.
		targets = append(targets, daemon.Target{Key: key, Volume: v.Volume, Image: v.Image, Hosts: a.cfg.Gluster.Hosts})
	}
	return daemon.NewStatic(targets)
}

// connectTo returns the commander of a Gluster host.
func (a *app) connectTo(host string) daemon.Commander {
	if a.ssh == nil {
		return a.local
	}
	return a.ssh.Host(host)
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

// own takes the BackupDisk's lock for this command and tidies what a command
// that died left behind.
func (a *app) own(ctx context.Context, command string) (err error) {
	if a.lock, err = a.catalog.Lock(command); err != nil {
		return err
	}
	return a.daemon.Tidy(ctx)
}

// close gives back lock and connections.
func (a *app) close() error {
	var errs []error
	if a.lock != nil {
		errs = append(errs, a.lock.Release())
	}
	if a.ssh != nil {
		errs = append(errs, a.ssh.Close())
	}
	return errors.Join(errs...)
}
