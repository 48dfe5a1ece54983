package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/glusterbackupd/glusterbackupd/catalog"
	"github.com/glusterbackupd/glusterbackupd/daemon"
	"github.com/glusterbackupd/glusterbackupd/metrics"
)

// liveState is what the daemon remembers for /metrics, so that a scrape waits
// for neither Gluster nor the BackupDisk.
type liveState struct {
	mu     sync.Mutex
	levels map[string]lookedAt // By volume.
	disk   metrics.BackupDisk
	phases map[string]phaseBegun // By volume.
}

// lookedAt is what a look at the thin pools of a volume found.
type lookedAt struct {
	pools []daemon.PoolLevel
	at    time.Time
}

// phaseBegun is the phase that a run is in.
type phaseBegun struct {
	phase daemon.Phase
	at    time.Time
}

func newLiveState() *liveState {
	return &liveState{levels: map[string]lookedAt{}, phases: map[string]phaseBegun{}}
}

func (l *liveState) pools(p daemon.Pressure) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.levels[p.Volume] = lookedAt{p.Pools, time.Now()}
}

// missedLooks is for how many looks at its thin pools a volume may be missing
// before their levels are no longer told: they are only looked at while it has
// snapshots of ours, and an old level would keep an alert for ever.
const missedLooks = 3

// known returns the levels that are not too old, by volume.
func (l *liveState) known(every time.Duration) map[string][]daemon.PoolLevel {
	l.mu.Lock()
	defer l.mu.Unlock()
	known := map[string][]daemon.PoolLevel{}
	for volume, look := range l.levels {
		if time.Since(look.at) > missedLooks*every {
			delete(l.levels, volume)
			continue
		}
		known[volume] = look.pools
	}
	return known
}

// phaseNames are those of daemon in metrics.
var phaseNames = map[daemon.Phase]metrics.Phase{
	daemon.PhasePreflight: metrics.Preflight, daemon.PhaseSnapshot: metrics.Snapshot, daemon.PhaseMount: metrics.Mount,
	daemon.PhaseCopy: metrics.Copy, daemon.PhasePublish: metrics.Publish, daemon.PhaseRelease: metrics.Release,
}

// observe is the daemon's Observe: it measures the phases of runs.
func (s *server) observe(e daemon.Event) {
	s.tenants.observe(e)
	if e.Volume == "" || e.Progress.Bytes > 0 {
		return
	}
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	before, now := s.state.phases[e.Volume], time.Now()
	if before.phase == e.Phase {
		return
	}
	if name, ok := phaseNames[before.phase]; ok {
		s.metrics.PhaseEnded(name, now.Sub(before.at))
	}
	s.state.phases[e.Volume] = phaseBegun{e.Phase, now}
	if e.Phase == daemon.PhaseEnd {
		delete(s.state.phases, e.Volume)
	}
}

// diskPause is the time between two looks at the room on the BackupDisk.
const diskPause = time.Minute

// watchDisk looks at the room on the BackupDisk, and shows in systemctl status
// how the daemon stands, until ctx ends.
func (s *server) watchDisk(ctx context.Context) {
	ticks := time.NewTicker(diskPause)
	defer ticks.Stop()
	for {
		disk := metrics.BackupDisk{}
		if free, total, err := s.app.catalog.Free(); err == nil {
			disk = metrics.BackupDisk{Free: free, Total: total}
		}
		s.state.mu.Lock()
		s.state.disk = disk
		s.state.mu.Unlock()
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
		case <-s.stand:
		}
		s.showStatus()
	}
}

// stands asks for a new line in systemctl status. The service's Notice calls it,
// which cannot ask the service for its status.
func (s *server) stands() {
	select {
	case s.stand <- struct{}{}:
	default:
	}
}

func (s *server) showStatus() {
	s.showing.Lock()
	defer s.showing.Unlock()
	st := s.service.Status()
	covered, failing, overdue := 0, 0, 0
	var next time.Time
	for _, c := range st.Claims {
		if c.Coverage == daemon.Covered {
			covered++
		}
		if c.Err != nil {
			failing++
		}
		if c.Overdue {
			overdue++
		}
		if !c.Next.IsZero() && (next.IsZero() || c.Next.Before(next)) {
			next = c.Next
		}
	}
	line := fmt.Sprintf("%d claims covered, %d failing, %d overdue, %d runs at work", covered, failing, overdue, st.Running)
	if !next.IsZero() {
		line += ", next at " + next.UTC().Format(time.RFC3339)
	}
	s.mu.Lock()
	if s.remark != "" {
		line = s.remark + "; " + line
	}
	s.mu.Unlock()
	s.status("%s", line)
}

// stateNames are those of daemon in metrics; foreign claims are not exposed.
var stateNames = map[daemon.Coverage]metrics.ClaimState{
	daemon.Covered: metrics.Covered, daemon.Excluded: metrics.Excluded, daemon.NotCovered: metrics.Uncovered,
	daemon.Pending: metrics.Pending, daemon.Deleting: metrics.Excluded,
}

// metricsState is the State of the metrics.
func (s *server) metricsState() metrics.State {
	var state metrics.State
	if s.service == nil {
		return state
	}
	state.LastVerified = s.verify.Oldest()
	snapshots := map[string]map[string]bool{}
	for _, c := range s.service.Status().Claims {
		name, exposed := stateNames[c.Coverage]
		if !exposed {
			continue
		}
		if c.Err != nil {
			name = metrics.Failing
		}
		kind := string(catalog.KindFile)
		if c.Image != "" {
			kind = string(catalog.KindBlock)
		}
		state.Claims = append(state.Claims, metrics.Claim{
			Namespace: c.Key.Namespace, Claim: c.Key.Claim, Volume: c.Volume, Kind: kind, State: name,
			LastSuccess: c.Last.Started, ExpectedInterval: c.Interval, NextRun: c.Next,
			LastSize: c.Last.Bytes, Backups: c.Last.Count,
		})
		for _, snapshot := range c.Last.Snapshots {
			if snapshots[c.Last.Volume] == nil {
				snapshots[c.Last.Volume] = map[string]bool{}
			}
			snapshots[c.Last.Volume][snapshot] = true
		}
	}
	state.Snapshots = map[string]int{}
	for volume, names := range snapshots {
		state.Snapshots[volume] = len(names)
	}
	s.state.mu.Lock()
	state.Disk = s.state.disk
	s.state.mu.Unlock()
	for volume, levels := range s.state.known(time.Duration(s.app.cfg.Limits.PoolCheck)) {
		for _, p := range levels {
			state.Pools = append(state.Pools, metrics.Pool{
				Host: p.Host, VG: p.VG, Pool: p.Name, Volume: volume, Data: p.Data / 100, Metadata: p.Metadata / 100,
			})
		}
	}
	return state
}

// volumesWithSnapshots are those whose thin pools are watched: a run works on
// them, or the snapshot of a backup is still kept.
func (s *server) volumesWithSnapshots() map[string][]string {
	volumes := map[string][]string{}
	for _, c := range s.service.Status().Claims {
		if c.Volume != "" && (c.Running || len(c.Last.Snapshots) > 0) {
			volumes[c.Volume] = c.Hosts
		}
	}
	return volumes
}

// deadAfter is how long the service's loop may be silent.
const deadAfter = 5 * time.Minute

// healthy is what /healthz asks.
func (s *server) healthy() error {
	beat := time.Unix(s.alive.Load(), 0)
	if silent := time.Since(beat); s.alive.Load() > 0 && silent > deadAfter {
		return fmt.Errorf("the scheduler has been silent for %s", silent.Round(time.Second))
	}
	return nil
}

// missing is what /readyz asks.
func (s *server) missing() (lines []string) {
	st := s.service.Status()
	if !st.Ready {
		lines = append(lines, "the claims are not known yet")
	}
	if st.Err != nil {
		lines = append(lines, "claims: "+st.Err.Error())
	}
	if s.cache != nil {
		if last, err := s.cache.Contact(); err != nil {
			lines = append(lines, fmt.Sprintf("Kubernetes, last heard %s: %v", last.UTC().Format(time.RFC3339), err))
		}
	}
	return lines
}
