package main

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/glusterbackupd/glusterbackupd/daemon"
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
