package daemon

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/glusterbackupd/glusterbackupd/catalog"
	"github.com/glusterbackupd/glusterbackupd/kube"
	"github.com/glusterbackupd/glusterbackupd/schedule"
)

// manyClaims is an inventory of claims that nothing else is asked about.
type manyClaims []Candidate

func (m manyClaims) Candidates(context.Context, Rules) ([]Candidate, error) { return m, nil }

// BenchmarkStartWith10000Claims starts a service of 10,000 claims, half of which
// have a backup on a BackupDisk in memory, and stops it when all are known. It
// reports the time until then, that of one status and of one plan, and the heap
// that the service holds.
func BenchmarkStartWith10000Claims(b *testing.B) {
	const claims = 10_000
	dir, err := os.MkdirTemp("/dev/shm", "scale-") //nolint:usetesting // In memory, where b.TempDir is on a disk.
	if err != nil {
		b.Skip("no /dev/shm: ", err)
	}
	b.Cleanup(func() { _ = os.RemoveAll(dir) })
	if _, err := catalog.Init(dir, catalog.Options{}); err != nil {
		b.Fatal(err)
	}
	r, err := catalog.Open(dir, catalog.Options{})
	if err != nil {
		b.Fatal(err)
	}
	every, err := schedule.Parse("0 0 * * *", time.UTC)
	if err != nil {
		b.Fatal(err)
	}
	list := make(manyClaims, 0, claims)
	for n := range claims {
		k := catalog.Key{Namespace: fmt.Sprintf("ns-%d", n%200), Claim: fmt.Sprintf("claim-%d", n)}
		list = append(list, Candidate{
			Key: k, Coverage: Covered, Volume: fmt.Sprintf("vol_%d", n), Hosts: []string{"gluster1"}, Schedule: every,
			Claim: kube.Claim{UID: fmt.Sprint("uid-", n), Namespace: k.Namespace, Name: k.Claim},
		})
		if n%2 == 0 {
			publish(b, r, k, time.Now().Add(-time.Hour), catalog.Info{Kind: catalog.KindFile, Volume: list[n].Volume})
		}
	}
	for b.Loop() {
		measureStart(b, list, CatalogLedger{Catalog: r})
	}
}

func measureStart(b *testing.B, list manyClaims, ledger Ledger) {
	b.Helper()
	before := heap()
	ready := make(chan struct{})
	s, err := NewService(ServiceOptions{
		Inventory: list, Ledger: ledger, Worker: &office{},
		Settings: Settings{Spread: 24 * time.Hour, FirstBackup: 24 * time.Hour},
		Notice: func(n Notice) {
			if n.Kind == NoticeReady {
				close(ready)
			}
		},
	})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	ended := make(chan error)
	start := time.Now()
	go func() { ended <- s.Run(ctx) }()
	<-ready
	b.ReportMetric(time.Since(start).Seconds(), "s/start")
	start = time.Now()
	st := s.Status()
	b.ReportMetric(float64(time.Since(start).Milliseconds()), "ms/status")
	if len(st.Claims) != len(list) {
		b.Errorf("%d claims", len(st.Claims))
	}
	cancel()
	if err := <-ended; err != nil {
		b.Error(err)
	}
	s.changed = true
	start = time.Now()
	s.stopping = false
	s.plan(time.Now())
	b.ReportMetric(float64(time.Since(start).Milliseconds()), "ms/plan")
	b.ReportMetric(float64(heap()-before)/1e6, "MB/heap")
	runtime.KeepAlive(s)
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
