// Package lab is how test suites see the lab: the whole real stack on one
// machine, brought up by the command in cmd/lab. It reads the lab's state,
// runs commands in the guest and in the lab's network namespace, logs
// initiators in and out, makes BackupDisks, and writes a configuration of
// glusterbackupd that points at the lab.
//
// It does not bring the lab up or down, and it provisions nothing: cmd/lab
// and package provision do.
package lab
