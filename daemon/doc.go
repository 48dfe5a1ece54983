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
// (ports.go). It parses no configuration, prints nothing, and never decides
// which process runs: one process at a time owns a BackupDisk, through the
// catalog's lock, which the caller takes before it calls Backup or a restore.
package daemon
