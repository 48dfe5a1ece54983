package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/glusterbackupd/glusterbackupd/config"
	"github.com/glusterbackupd/glusterbackupd/daemon"
	"github.com/glusterbackupd/glusterbackupd/gluster"
	"github.com/glusterbackupd/glusterbackupd/gluster/failover"
	"github.com/glusterbackupd/glusterbackupd/gluster/glusterd2"
	"github.com/glusterbackupd/glusterbackupd/kube"
	"github.com/glusterbackupd/glusterbackupd/runner"
)

// localhost is the name of this machine as a Gluster host.
const localhost = "localhost"

// pool is what the daemon and the checks want of one Gluster pool.
type pool interface {
	daemon.Gluster
	Ping(ctx context.Context) error
}

// pools hands out one client per set of Gluster hosts, all over the transport of
// the configuration. The zero value reaches nothing.
type pools struct {
	cfg   *config.Gluster
	log   *slog.Logger
	local *runner.Local
	ssh   *runner.SSH  // nil unless the transport is ssh
	pods  *runner.Pods // nil unless the transport is pod
	// secret returns that of glusterd2, which no formatting verb finds in here.
	secret func() string
	// outages are known to all clients: the sets of hosts overlap.
	outages *failover.Outages
	made    *made
}

// errOffline says that a command that needs the BackupDisk only asked Gluster.
var errOffline = errors.New("this command reaches no Gluster")

// made are the clients by their hosts.
type made struct {
	mu sync.Mutex
	by map[string]pool
}

// newPools builds what the transport needs; it connects to nothing.
func newPools(c *config.Config, local *runner.Local, log *slog.Logger) (pools, error) {
	g := &c.Gluster
	p := pools{cfg: g, log: log, local: local, outages: &failover.Outages{}, made: &made{by: map[string]pool{}}}
	var err error
	switch g.Transport {
	case config.TransportSSH:
		p.ssh, err = runner.NewSSH(runner.SSHOptions{
			User: g.SSH.User, Port: g.SSH.Port, KeyFile: g.SSH.KeyFile, KnownHosts: g.SSH.KnownHosts,
			DialTimeout: time.Duration(g.SSH.DialTimeout), KeepAlive: time.Duration(g.SSH.KeepAlive), Logger: log,
		})
	case config.TransportPod:
		p.pods, err = newPods(c, log)
	case config.TransportGlusterd2:
		var secret string
		secret, err = g.Glusterd2.Secret()
		p.secret = func() string { return secret }
	case config.TransportLocal:
	}
	return p, err
}

func newPods(c *config.Config, log *slog.Logger) (*runner.Pods, error) {
	o := c.Gluster.Pod
	if o.Kubeconfig == "" && c.Kubernetes != nil {
		o.Kubeconfig = c.Kubernetes.Kubeconfig
	}
	api, err := kube.RESTConfig(o.Kubeconfig)
	if err != nil {
		return nil, remedied{err, "set gluster.pod.kubeconfig to a kubeconfig that may run commands in the pods of Gluster"}
	}
	return runner.NewPods(runner.PodOptions{
		Config: api, Namespace: o.Namespace, Selector: o.Selector, Container: o.Container,
		DialTimeout: time.Duration(o.DialTimeout), Logger: log,
	})
}

// glusterHosts returns the hosts that the configuration names, which go before
// those that Heketi names.
func glusterHosts(c *config.Gluster) []string {
	if len(c.Hosts) == 0 && c.Transport == config.TransportGlusterd2 {
		return c.Glusterd2.Hosts()
	}
	return c.Hosts
}

// snapshotPath returns what the pool serves snapshots under.
func snapshotPath(t config.Transport) func(snapshot, volume string) string {
	if t == config.TransportGlusterd2 {
		return glusterd2.SnapshotPath
	}
	return gluster.SnapshotPath
}

// at returns the client for the pool of these hosts.
func (p *pools) at(hosts []string) (daemon.Gluster, error) { return p.client(hosts) }

func (p *pools) client(hosts []string) (pool, error) {
	if p.made == nil {
		return nil, errOffline
	}
	p.made.mu.Lock()
	defer p.made.mu.Unlock()
	name := strings.Join(hosts, ",")
	if known, ok := p.made.by[name]; ok {
		return known, nil
	}
	client, err := p.connectAll(hosts)
	if err != nil {
		return nil, err
	}
	p.made.by[name] = client
	return client, nil
}

func (p *pools) connectAll(hosts []string) (pool, error) {
	timeout := time.Duration(p.cfg.Timeout)
	if p.cfg.Transport == config.TransportGlusterd2 {
		o := p.cfg.Glusterd2
		return glusterd2.New(glusterd2.Options{
			URLs: o.URLs, User: o.User, Secret: p.secret(), CAFile: o.CAFile,
			DialTimeout: time.Duration(o.DialTimeout), Timeout: timeout, Outages: p.outages, Logger: p.log,
		})
	}
	o := gluster.Options{
		Connect: func(host string) gluster.Commander { return p.connect(host) },
		Command: p.cfg.Command(), Timeout: timeout, Outages: p.outages, Logger: p.log,
	}
	for _, h := range hosts {
		o.Hosts = append(o.Hosts, p.connect(h))
	}
	if p.cfg.Transport == config.TransportLocal {
		// Any of the pool's hosts can be asked about it, and this is the one.
		if i := slices.IndexFunc(hosts, isThisHost); i >= 0 {
			o.Hosts = []gluster.Commander{p.local}
		}
	}
	return gluster.New(o)
}

// connect returns the commander of a Gluster host. What a host that cannot be
// asked would have said must never be guessed.
func (p *pools) connect(host string) daemon.Commander {
	switch {
	case p.made == nil:
		return unreachable{host, errOffline, ""}
	case p.ssh != nil:
		return p.ssh.Host(host)
	case p.pods != nil:
		return p.pods.Host(host)
	case p.cfg.Transport == config.TransportGlusterd2:
		return unreachable{
			host, fmt.Errorf("no command can be run on host %s: %w", host, gluster.ErrUnavailable),
			"glusterd2 runs no commands: use [gluster] transport = \"ssh\" for what needs them",
		}
	case isThisHost(host):
		return p.local
	}
	return unreachable{
		host, fmt.Errorf("host %s is not this host, and [gluster] transport local reaches no other", host),
		"use [gluster] transport = \"ssh\"",
	}
}

// close gives back the connections.
func (p *pools) close() error {
	if p.ssh != nil {
		return p.ssh.Close()
	}
	return nil
}

// unreachable is a host that the transport cannot run commands on.
type unreachable struct {
	host   string
	err    error
	remedy string
}

func (u unreachable) Name() string { return u.host }

func (u unreachable) Run(context.Context, ...string) ([]byte, error) {
	return nil, remedied{u.err, u.remedy}
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
