// Package systemd tells the service manager how the daemon is doing: ready,
// reloading, stopping, what it is at, and that it is alive. Beside the code
// lie the unit file, the sample configuration and what the packages are made
// of.
//
// It decides nothing: when a daemon is ready or alive is the caller's to know.
package systemd
