package metrics

import "time"

// State is what is true at the time of a scrape. Zero values mean unknown, and
// what is unknown is not exposed.
type State struct {
	// Claims are all claims that are known, covered or not. A claim that is
	// named twice is exposed once, as it is named first.
	Claims []Claim
	// Pools are the thin pools under the volumes; one that several volumes
	// share is named once for each.
	Pools []Pool
	// Snapshots is the number of our own snapshots held on Gluster, by volume.
	Snapshots map[string]int
	// Disk is the BackupDisk; zero while it is not mounted.
	Disk BackupDisk
	// LastVerified is when the claim was verified whose last verification is the
	// longest ago.
	LastVerified time.Time
}

// Claim is one claim of the cluster or the configuration.
type Claim struct {
	Namespace, Claim string
	// Volume is the Gluster volume that holds the data, for an image the
	// blockhost volume; "" while there is none.
	Volume string
	// Kind is "file" or "block".
	Kind  string
	State ClaimState
	// LastSuccess is the time of the newest complete backup.
	LastSuccess time.Time
	// ExpectedInterval is the longest time that the claim's schedule leaves
	// between two slots; 0 for a claim that is not backed up.
	ExpectedInterval time.Duration
	NextRun          time.Time
	// LastSize is the size of the newest backup in bytes, and Backups the
	// number of backups on the BackupDisk.
	LastSize int64
	Backups  int
}

// ClaimState says whether a claim is backed up.
type ClaimState string

// The states of a claim.
const (
	Covered   ClaimState = "covered"
	Excluded  ClaimState = "excluded"  // On somebody's wish.
	Uncovered ClaimState = "uncovered" // Not on Gluster, or not to be found there.
	Pending   ClaimState = "pending"   // Without a volume, so far.
	Failing   ClaimState = "failing"   // Covered, but the last run failed.
)

func claimStates() []ClaimState {
	return []ClaimState{Covered, Excluded, Uncovered, Pending, Failing}
}

// Pool is an LVM thin pool under a brick of a volume.
type Pool struct {
	Host, VG, Pool string
	Volume         string
	Data, Metadata float64 // How full, from 0 to 1.
}

// BackupDisk is the file system that holds the backups. Sizes are in bytes.
type BackupDisk struct {
	Free  int64 // What backups may still use.
	Total int64
}
