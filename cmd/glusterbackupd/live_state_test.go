package main

import (
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/glusterbackupd/glusterbackupd/catalog"
	"github.com/glusterbackupd/glusterbackupd/copier"
	"github.com/glusterbackupd/glusterbackupd/daemon"
	"github.com/glusterbackupd/glusterbackupd/metrics"
)

// TestLevelsGrowOld: a volume without snapshots is not looked at, and its last
// level says nothing of today.
func TestLevelsGrowOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLiveState()
		l.pools(daemon.Pressure{Volume: "old", Pools: []daemon.PoolLevel{{Data: 90}}})
		time.Sleep(2 * time.Minute)
		l.pools(daemon.Pressure{Volume: "new", Pools: []daemon.PoolLevel{{Data: 50}}})
		if known := l.known(time.Minute); len(known) != 2 || known["old"][0].Data != 90 {
			t.Errorf("after two minutes: %v", known)
		}
		time.Sleep(2 * time.Minute)
		if known := l.known(time.Minute); len(known) != 1 || known["new"][0].Data != 50 {
			t.Errorf("after four minutes: %v", known)
		}
	})
}

// TestPhasesAreMeasured plays a run of two claims on one volume, of which each
// phase lasts as many seconds as its place, beside a run that has not ended.
func TestPhasesAreMeasured(t *testing.T) {
	s := &server{state: newLiveState()}
	m, err := metrics.New(metrics.Options{State: s.metricsState, Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	s.metrics = m
	synctest.Test(t, func(*testing.T) {
		key := catalog.Key{Namespace: "shop", Claim: "db"}
		s.observe(daemon.Event{Volume: "other", Phase: daemon.PhaseCopy})
		for n, e := range []daemon.Event{
			{Phase: daemon.PhasePreflight},
			{Phase: daemon.PhaseSnapshot},
			{Phase: daemon.PhaseMount},
			{Phase: daemon.PhaseCopy, Claim: key},
			{Phase: daemon.PhaseCopy, Claim: key, Progress: copier.Progress{Bytes: 1}},
			{Phase: daemon.PhasePublish, Claim: key},
			{Phase: daemon.PhaseCopy, Claim: key},
			{Phase: daemon.PhasePublish, Claim: key},
			{Phase: daemon.PhaseRelease},
			{Phase: daemon.PhaseEnd},
		} {
			e.Volume = "vol"
			s.observe(e)
			time.Sleep(time.Duration(n+1) * time.Second)
		}
	})
	scrape := httptest.NewRecorder()
	m.Handler(metrics.HealthChecks{
		Alive: func() error { return nil }, Ready: func() []string { return nil }, Status: func() any { return nil },
	}).ServeHTTP(scrape, httptest.NewRequest("GET", "/metrics", nil))
	for phase, want := range map[string]string{
		"preflight": "1 1", "snapshot": "2 1", "mount": "3 1", "copy": "16 2", "publish": "14 2", "release": "9 1",
	} {
		sum, count, _ := strings.Cut(want, " ")
		const name = "glusterbackupd_phase_duration_seconds"
		for _, line := range []string{
			name + "_sum{phase=\"" + phase + "\"} " + sum + "\n", name + "_count{phase=\"" + phase + "\"} " + count + "\n",
		} {
			if !strings.Contains(scrape.Body.String(), line) {
				t.Errorf("no %q", line)
			}
		}
	}
}
