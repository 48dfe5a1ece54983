// Package catalog keeps backups on the BackupDisk: it stages, publishes, lists,
// finds, verifies and removes them, and guards the disk with a marker and
// locks. The format on the disk is described in docs/format.md, what happens
// when the process dies at any step in DESIGN.md beside this file.
//
// The package does not copy data: others fill [Staging.Data]. It does not
// decide which backups to remove (retention), it knows nothing of Gluster or
// Kubernetes, and it never changes anything inside a published backup.
//
// A [Repository] and everything that hangs on it may be used by several
// goroutines at once. No descriptor on the BackupDisk stays open between two
// calls, except the one of a held [Lock]: a disk without a lock can be
// unmounted at any time.
//
// Several processes, also on several hosts that share the disk, work beside each
// other, each on the claims that it has locked. A file system on which flock
// does not reach the other hosts is not fit for that.
package catalog
