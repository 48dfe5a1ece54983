// Package platform holds the end-to-end tests: the real binary on the lab's
// real Gluster, Heketi, Kubernetes API and iSCSI targets. They need root, the
// lab (make lab-up), and to be run inside its network namespace; make platform
// does all of it. Each test has a BackupDisk of its own, and ends with the
// check that nothing was left behind.
package platform
