// Package daemon decides what happens when and in which order: which claims
// stand on which Gluster volume, one backup run, one restore, and what is
// tidied up afterwards.
//
// A run is one Gluster volume at one time. It takes a snapshot, mounts it
// read-only, copies every due claim of that volume to the BackupDisk and gives
// everything back in reverse order, also when it fails or is cancelled: each
// acquire puts its release on a stack, and each release has a bounded context
// of its own. A restore verifies the backup first, refuses while the claim is
// in use, takes a safety snapshot, writes, and reads back what it wrote.
//
// The package holds no driver: it talks to Kubernetes, Heketi, Gluster, the
// copy engine and the BackupDisk through the small interfaces that it declares
// (ports.go). It parses no configuration and prints nothing.
//
// Any number of runs and restores, in this process, in others and on other hosts
// that share the BackupDisk, work beside each other. Each locks its volume and
// its claims in the catalogue, so that everything half-written there, and every
// mount and unpublished snapshot of ours of that volume, is of somebody who died
// and is removed first. What is locked already is refused and never waited for,
// but for the moments that prune and protect need.
package daemon
