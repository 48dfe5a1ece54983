package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/glusterbackupd/glusterbackupd/catalog"
	"github.com/glusterbackupd/glusterbackupd/config"
	"github.com/glusterbackupd/glusterbackupd/daemon"
	"github.com/glusterbackupd/glusterbackupd/kube"
	"github.com/glusterbackupd/glusterbackupd/metrics"
	"github.com/glusterbackupd/glusterbackupd/notify"
	"github.com/glusterbackupd/glusterbackupd/systemd"
)

// server is the running daemon: the service and everything around it.
type server struct {
	g       *globals
	app     *app
	manager *systemd.Notifier
	cache   *kube.Cache // Nil without Kubernetes.
	worker  worker
	service *daemon.Service
	janitor *daemon.Janitor
	pools   *daemon.PoolWatch
	tenants tenants
	verify  *daemon.Verifier
	tell    *teller
	metrics *metrics.Metrics
	http    *metrics.Server // Nil without [metrics] listen.
	state   *liveState
	alive   atomic.Int64  // Unix time of the last turn of the service's loop.
	stand   chan struct{} // Asks for another line in systemctl status.
	states  chan struct{} // Asks for the state of the cluster to be saved.
	showing sync.Mutex    // Keeps an older line from being sent after a newer one.

	mu     sync.Mutex
	cfg    *config.Config // As read last.
	remark string         // What an admin has to do about the last reload, or "".
}

// worker is the daemon that runs use; a reload puts another one in its place,
// and runs that work go on with the old one.
type worker struct{ atomic.Pointer[daemon.Daemon] }

// BackUp implements daemon.Worker.
func (w *worker) BackUp(ctx context.Context, claims []daemon.Candidate) []daemon.Result {
	return w.Load().BackUp(ctx, claims)
}

// Prune implements daemon.Worker.
func (w *worker) Prune(ctx context.Context, c daemon.Candidate) (int, error) {
	return w.Load().Prune(ctx, c)
}

// newServer builds everything. It reads the BackupDisk and, with Kubernetes,
// waits until the claims are known; it starts nothing else.
func newServer(ctx context.Context, g *globals, manager *systemd.Notifier) (*server, error) {
	s := &server{g: g, manager: manager, state: newLiveState(), stand: make(chan struct{}, 1), states: make(chan struct{}, 1)}
	var err error
	if s.app, err = openApp(g, hooks{observe: s.observe, snapshotDeleted: s.tenants.snapshotDeleted, snapshotUsers: s.tenants.snapshotUsers}); err != nil {
		return nil, err
	}
	s.cfg = s.app.cfg
	s.worker.Store(s.app.daemon)
	s.metrics, err = metrics.New(metrics.Options{State: s.metricsState, Version: version, Logger: s.app.log})
	if err != nil {
		return nil, err
	}
	inventory, err := s.inventory(ctx)
	if err != nil {
		return nil, errors.Join(err, s.app.close())
	}
	if err := s.assemble(inventory); err != nil {
		return nil, errors.Join(err, s.app.close())
	}
	return s, nil
}

// inventory returns who knows the claims: the informers of Kubernetes, or the
// list of the configuration.
func (s *server) inventory(ctx context.Context) (daemon.Inventory, error) {
	if s.app.kube == nil {
		return daemon.FixedInventory(s.app.listed()), nil
	}
	s.status("waiting for Kubernetes")
	var err error
	if s.cache, err = s.app.kube.Watch(ctx, kube.WatchOptions{}); err != nil {
		return nil, err
	}
	return daemon.NewClusterInventory(s.cache, s.app.newCluster()), nil
}

// assemble builds the service and its helpers.
func (s *server) assemble(inventory daemon.Inventory) (err error) {
	a := s.app
	settings, err := settingsOf(a.cfg)
	if err != nil {
		return err
	}
	s.tell = &teller{
		log: a.log, metrics: s.metrics, status: func() daemon.Status { return s.service.Status() },
		queue: make(chan func(context.Context), queued), kick: func() { s.janitor.Kick() },
	}
	o := daemon.ServiceOptions{
		Inventory: inventory, Worker: &s.worker, Ledger: ledger{s}, Settings: settings,
		Notice: s.notice, Alive: s.beat, Logger: a.log,
	}
	if a.kube != nil {
		host, _ := os.Hostname() // Events are of use without it.
		s.tell.events = a.kube.Events(kube.EventOptions{Host: host})
		o.Changed = s.cache.Changed()
		o.HeldPause = time.Duration(a.cfg.Kubernetes.Lease) / heldLooks
		if o.Leases, err = a.leases(host); err != nil {
			return err
		}
	}
	if err := s.setNotifier(a.cfg); err != nil {
		return err
	}
	if s.service, err = daemon.NewService(o); err != nil {
		return err
	}
	if err := errors.Join(s.newHelpers(), s.newTenants()); err != nil {
		return err
	}
	return s.newHTTP()
}

// heldLooks is how often another daemon's lease is looked at in its time.
const heldLooks = 5

// leases returns how daemons on several masters share the work. The identity
// must differ between two daemons of one host too, so it holds the process's
// number.
func (a *app) leases(host string) (daemon.Leases, error) {
	k := a.cfg.Kubernetes
	leases, err := a.kube.Leases(kube.LeaseOptions{
		Namespace: k.LeaseNamespace, Identity: fmt.Sprintf("%s_%d", host, os.Getpid()),
		Duration: time.Duration(k.Lease), Logger: a.log,
	})
	if err != nil {
		return nil, err
	}
	return &daemon.KubeLeases{Leases: leases, Suffix: "-" + a.catalog.ID()[:8], Logger: a.log}, nil
}

// ledgerOf returns the ledger for the snapshot retention of a configuration.
func (a *app) ledgerOf(c *config.Config) daemon.CatalogLedger {
	return daemon.CatalogLedger{Catalog: a.catalog, Snapshots: time.Duration(c.Retention.Snapshots)}
}

// ledger is the one of the configuration that was read last.
type ledger struct{ *server }

// Last implements daemon.Ledger.
func (l ledger) Last(k catalog.Key, now time.Time) (daemon.Last, bool, error) {
	return l.app.ledgerOf(l.config()).Last(k, now)
}

// newHelpers builds what works beside the service.
func (s *server) newHelpers() (err error) {
	s.janitor, err = daemon.NewJanitor(daemon.JanitorOptions{
		Daemon: s.worker.Load, Status: s.service.Status, Cancel: s.service.CancelVolume,
		Policy: s.deletedPolicy, Pruned: s.metrics.Pruned, Logger: s.app.log,
	})
	if err != nil {
		return err
	}
	s.verify, err = daemon.NewVerifier(daemon.VerifierOptions{
		Daemon: s.worker.Load, Status: s.service.Status, Tell: s.tell.verified, Logger: s.app.log,
		Every: func() time.Duration { return time.Duration(s.config().Backup.Verify) },
	})
	if err != nil {
		return err
	}
	s.pools, err = daemon.NewPoolWatch(daemon.PoolWatchOptions{
		Volumes: s.volumesWithSnapshots, Relieve: s.relieve,
		Every: time.Duration(s.app.cfg.Limits.PoolCheck),
		Tell: func(p daemon.Pressure) {
			s.state.pools(p)
			s.tell.pool(p)
		},
		Logger: s.app.log,
	})
	return err
}

func (s *server) newHTTP() (err error) {
	if s.app.cfg.Metrics.Listen == "" {
		return nil
	}
	s.http, err = metrics.NewServer(metrics.ServerOptions{
		Listen: s.app.cfg.Metrics.Listen, Logger: s.app.log,
		Handler: s.metrics.Handler(metrics.HealthChecks{
			Alive: s.healthy, Ready: s.missing, Status: func() any { return statusOutputOf(s.service.Status()) },
		}),
	})
	return err
}

func (s *server) setNotifier(c *config.Config) error {
	if c.Notify.Ping == "" && c.Notify.Webhook == "" {
		s.tell.notifier.Store(nil)
		return nil
	}
	n, err := notify.New(notify.Options{
		Ping: c.Notify.Ping, Webhook: c.Notify.Webhook, Timeout: time.Duration(c.Notify.Timeout), Logger: s.app.log,
	})
	if err == nil {
		s.tell.notifier.Store(n)
	}
	return err
}

// run works until ctx ends and everything has been given back.
func (s *server) run(ctx context.Context, hangup <-chan os.Signal) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	if s.http != nil {
		if err := s.http.Start(ctx); err != nil {
			return err
		}
		s.app.log.Info("metrics are served", "address", s.http.Addr())
	}
	if err := errors.Join(s.app.daemon.Tidy(ctx), s.app.tidyChecks(ctx)); err != nil {
		s.app.log.Warn("leftovers of a process that died could not be removed", "error", err)
	}
	// Events of the last runs are written after the service has ended.
	telling, quiet := context.WithCancel(context.WithoutCancel(ctx))
	var helpers, voices errgroup.Group
	works := []func(context.Context){s.janitor.Run, s.pools.Run, s.verify.Run, s.watchDisk, s.keepState, func(ctx context.Context) { s.reloads(ctx, hangup) }}
	for _, work := range append(works, s.tenants.work()...) {
		helpers.Go(func() error {
			work(ctx)
			return nil
		})
	}
	voices.Go(func() error {
		s.tell.run(telling)
		return nil
	})
	stopping := context.AfterFunc(ctx, func() {
		s.said(s.manager.Stopping())
		s.status("stopping: runs give back their mounts and snapshots")
	})
	defer stopping()
	err := s.service.Run(ctx)
	stop()
	_ = helpers.Wait() // None returns an error.
	s.tell.flush()
	quiet()
	_ = voices.Wait() // Nor does this one.
	return err
}

func (s *server) close() error {
	var errs []error
	if s.http != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		errs = append(errs, s.http.Shutdown(ctx))
	}
	return errors.Join(append(errs, s.app.close())...)
}

// notice hears what the service says.
func (s *server) notice(n daemon.Notice) {
	if n.Kind == daemon.NoticeReady {
		s.said(s.manager.Ready())
	}
	s.tell.tell(n)
	s.tenants.notice(n)
	if n.Kind == daemon.NoticeReady || n.Kind == daemon.NoticeRound {
		s.wantState()
	}
	s.stands()
}

// beat is called at each turn of the service's loop, which so feeds the
// watchdog itself.
func (s *server) beat() {
	s.alive.Store(time.Now().Unix())
	if _, watched := s.manager.WatchdogInterval(); watched {
		s.said(s.manager.Watchdog())
	}
}

// status shows one line in systemctl status.
func (s *server) status(format string, a ...any) {
	s.said(s.manager.Status(fmt.Sprintf(format, a...)))
}

// said notes that the service manager was not reached. It acts by itself on
// what it does not hear.
func (s *server) said(err error) {
	if err != nil {
		s.app.log.Debug("service manager was not reached", "error", err)
	}
}

// relieve is RelievePools with the levels that are configured now.
func (s *server) relieve(ctx context.Context, hosts []string, volume string) (daemon.Pressure, error) {
	l := s.config().Limits
	limits := daemon.Limits{PoolData: float64(l.PoolDataDelete), PoolMetadata: float64(l.PoolMetadataDelete)}
	return s.worker.Load().RelievePools(ctx, hosts, volume, limits, func(cause error) bool {
		return s.service.CancelVolume(volume, cause)
	})
}

func (s *server) config() *config.Config {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cfg
}

// deletedPolicy is the Policy of the janitor.
func (s *server) deletedPolicy() (keep, grid time.Duration) {
	c := s.config()
	settings, err := settingsOf(c)
	if err != nil {
		return 0, 0 // The configuration was validated; keep for good in any case.
	}
	r := settings.Rules
	return time.Duration(c.Retention.DeletedClaims), r.Retention.Grid(r.Schedule.Rhythm(time.Now()))
}
