// Command glusterbackupd backs up Gluster volumes and gluster-block images of
// OpenShift and Kubernetes claims, and restores them.
//
// This package holds flags, wiring and output only: one file per command. What
// a backup or a restore does is in package daemon.
package main

import (
	"context"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	_ "time/tzdata" // Schedules name IANA zones; the host may have no zone files.

	"github.com/glusterbackupd/glusterbackupd/copier"
)

// version is set by the linker.
var version = "development"

func main() { os.Exit(run()) }

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(max(copier.Threads, runtime.NumCPU()))
	}
	return execute(ctx, os.Args[1:], stdio{os.Stdin, os.Stdout, os.Stderr})
}
