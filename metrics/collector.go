package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// stateCollector turns a State into metrics.
type stateCollector struct {
	state func() State

	claimInfo, claimState, lastSuccess, interval *prometheus.Desc
	nextRun, lastSize, backups                   *prometheus.Desc
	poolInfo, poolData, poolMetadata, snapshots  *prometheus.Desc
	diskFree, diskSize, lastVerified             *prometheus.Desc
}

func newStateCollector(state func() State) *stateCollector {
	claim := func(name, help string, more ...string) *prometheus.Desc {
		return desc("claim_"+name, help, append([]string{"namespace", "claim"}, more...)...)
	}
	pool := func(name, help string, more ...string) *prometheus.Desc {
		return desc("thin_pool_"+name, help, append([]string{"host", "vg", "pool"}, more...)...)
	}
	return &stateCollector{
		state:        state,
		claimInfo:    claim("info", "Always 1; the labels tell the claim's Gluster volume and kind: file or block.", "volume", "kind"),
		claimState:   claim("state", "1 for the state that the claim is in, 0 for the others: covered, excluded, uncovered, pending and failing.", "state"),
		lastSuccess:  claim("last_success_timestamp_seconds", "Time of the claim's newest complete backup; missing if there is none."),
		interval:     claim("expected_interval_seconds", "Longest time that the claim's schedule leaves between two slots; missing for a claim that is not backed up."),
		nextRun:      claim("next_run_timestamp_seconds", "When the claim's next run is due; missing if none is."),
		lastSize:     claim("last_backup_size_bytes", "Size of the claim's newest complete backup; missing if there is none."),
		backups:      claim("backups", "Complete backups of the claim on the BackupDisk."),
		poolInfo:     pool("info", "Always 1; tells the volumes with a brick on the thin pool.", "volume"),
		poolData:     pool("data_ratio", "How full the data of a thin pool under a volume is, from 0 to 1."),
		poolMetadata: pool("metadata_ratio", "How full the metadata of a thin pool under a volume is, from 0 to 1."),
		snapshots:    desc("snapshots", "Own snapshots of the volume held on Gluster.", "volume"),
		diskFree:     desc("backup_disk_free_bytes", "Room on the BackupDisk that backups may still use; missing while it is not mounted."),
		diskSize:     desc("backup_disk_size_bytes", "Size of the BackupDisk; missing while it is not mounted."),
		lastVerified: desc("last_verify_timestamp_seconds", "When the claim was verified whose last verification is the longest ago; missing while not known."),
	}
}

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(namespace+"_"+name, help, labels, nil)
}

// Describe implements [prometheus.Collector].
func (c *stateCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		c.claimInfo, c.claimState, c.lastSuccess, c.interval, c.nextRun, c.lastSize, c.backups,
		c.poolInfo, c.poolData, c.poolMetadata, c.snapshots, c.diskFree, c.diskSize, c.lastVerified,
	} {
		ch <- d
	}
}

// Collect implements [prometheus.Collector].
func (c *stateCollector) Collect(ch chan<- prometheus.Metric) {
	s := c.state()
	c.collectClaims(ch, s.Claims)
	c.collectPools(ch, s.Pools)
	for volume, n := range s.Snapshots {
		send(ch, c.snapshots, float64(n), volume)
	}
	if s.Disk.Total > 0 {
		send(ch, c.diskFree, float64(s.Disk.Free))
		send(ch, c.diskSize, float64(s.Disk.Total))
	}
	sendTime(ch, c.lastVerified, s.LastVerified)
}

// collectClaims sends each claim once: the registry would take a series that
// comes twice for a fault of the whole scrape.
func (c *stateCollector) collectClaims(ch chan<- prometheus.Metric, claims []Claim) {
	seen := make(map[[2]string]bool, len(claims))
	for _, claim := range claims {
		key := [2]string{claim.Namespace, claim.Claim}
		if !seen[key] {
			c.collectClaim(ch, claim)
		}
		seen[key] = true
	}
}

func (c *stateCollector) collectClaim(ch chan<- prometheus.Metric, claim Claim) {
	name := []string{claim.Namespace, claim.Claim}
	send(ch, c.claimInfo, 1, claim.Namespace, claim.Claim, claim.Volume, claim.Kind)
	for _, state := range claimStates() {
		value := 0.0
		if state == claim.State {
			value = 1
		}
		send(ch, c.claimState, value, claim.Namespace, claim.Claim, string(state))
	}
	send(ch, c.backups, float64(claim.Backups), name...)
	sendTime(ch, c.lastSuccess, claim.LastSuccess, name...)
	sendTime(ch, c.nextRun, claim.NextRun, name...)
	if claim.ExpectedInterval > 0 {
		send(ch, c.interval, claim.ExpectedInterval.Seconds(), name...)
	}
	if !claim.LastSuccess.IsZero() {
		send(ch, c.lastSize, float64(claim.LastSize), name...)
	}
}

// collectPools sends the levels of a pool once and names each of its volumes.
func (c *stateCollector) collectPools(ch chan<- prometheus.Metric, pools []Pool) {
	levels, infos := map[[3]string]bool{}, map[[4]string]bool{}
	for _, p := range pools {
		if key := [3]string{p.Host, p.VG, p.Pool}; !levels[key] {
			levels[key] = true
			send(ch, c.poolData, p.Data, key[:]...)
			send(ch, c.poolMetadata, p.Metadata, key[:]...)
		}
		if key := [4]string{p.Host, p.VG, p.Pool, p.Volume}; !infos[key] {
			infos[key] = true
			send(ch, c.poolInfo, 1, key[:]...)
		}
	}
}

// send makes a metric that cannot be made, for a label that is not UTF-8, an
// error of the scrape instead of a panic.
func send(ch chan<- prometheus.Metric, d *prometheus.Desc, value float64, labels ...string) {
	m, err := prometheus.NewConstMetric(d, prometheus.GaugeValue, value, labels...)
	if err != nil {
		m = prometheus.NewInvalidMetric(d, err)
	}
	ch <- m
}

func sendTime(ch chan<- prometheus.Metric, d *prometheus.Desc, t time.Time, labels ...string) {
	if !t.IsZero() {
		send(ch, d, seconds(t), labels...)
	}
}
