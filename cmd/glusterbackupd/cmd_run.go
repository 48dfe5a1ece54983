package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/glusterbackupd/glusterbackupd/systemd"
)

func newRunCommand(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "run",
		Short: "Back up every claim on its schedule, until told to stop",
		Long: `Runs as a daemon, normally under systemd: finds the claims, backs each up on its
schedule, removes what the retention does not keep, watches the thin pools as
long as snapshots exist, and serves metrics. SIGHUP reads the configuration
again: schedules, limits, retention, [claims] and [notify] take effect at once,
everything else after a restart. SIGTERM stops it; what runs gives back its
mounts and snapshots first.

` + exitCodeHelp,
		Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return runDaemon(cmd.Context(), g) },
	}
}

func runDaemon(ctx context.Context, g *globals) (err error) {
	manager, err := systemd.FromEnvironment()
	if err != nil {
		return err
	}
	g.command = "run"
	// Unheard, it would end a process that still waits for Kubernetes.
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	s, err := newServer(ctx, g, manager)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	return s.run(ctx, hangup)
}
