package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/glusterbackupd/glusterbackupd/catalog"
	"github.com/glusterbackupd/glusterbackupd/daemon"
)

type restoreOptions struct {
	restoreFlags
	path   string
	delete bool
}

func (f *restoreFlags) addFlags(cmd *cobra.Command, to string) {
	flags := cmd.Flags()
	flags.StringVar(&f.at, "at", "latest", "which backup: latest, a date as 20181202, or a time as 20181202T000000Z")
	flags.StringVar(&f.to, "to", "", to)
	flags.BoolVar(&f.dryRun, "dry-run", false, "print the plan and touch nothing")
	flags.BoolVar(&f.yes, "yes", false, "do not ask")
}

func newRestoreCommand(g *globals) *cobra.Command {
	var o restoreOptions
	cmd := &cobra.Command{
		Use:   "restore NAMESPACE/CLAIM",
		Short: "Restore a claim, or a path of it",
		Long: `Verifies the backup, refuses while a pod uses the claim, shows the plan and asks,
takes a safety snapshot of the volume, copies the data back, and reads it back.
Files of the volume that are not in the backup stay, unless --delete.
A block claim is restored as restore-block does.

` + exitCodeHelp,
		Example: "  glusterbackupd restore media/photos --at 20181202 --path 2018/album\n  glusterbackupd restore media/photos --to /tmp/photos",
		Args:    args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, names []string) error {
			return runRestore(cmd.Context(), g, names[0], o)
		},
	}
	o.addFlags(cmd, "restore into this folder instead of the claim's volume")
	cmd.Flags().StringVar(&o.path, "path", "", "only this file or folder, relative to the claim's root")
	cmd.Flags().BoolVar(&o.delete, "delete", false, "remove files that are not in the backup")
	return cmd
}

func runRestore(ctx context.Context, g *globals, name string, o restoreOptions) error {
	key, err := catalog.ParseKey(name)
	if err != nil {
		return err
	}
	return withRestore(ctx, g, "restore", o.restoreFlags, func(a *app) (daemon.Restored, error) {
		done, err := a.daemon.Restore(ctx, daemon.RestoreRequest{
			Key: key, At: o.at, Path: o.path, To: o.to, Delete: o.delete,
			DryRun: o.dryRun, Confirm: g.confirm(o.restoreFlags),
		})
		var block *daemon.WrongKindError
		if errors.As(err, &block) && o.path == "" && !o.delete {
			return a.daemon.RestoreBlock(ctx, daemon.BlockRequest{
				Image: block.Image, At: o.at, DryRun: o.dryRun, Confirm: g.confirm(o.restoreFlags),
			})
		}
		return done, err
	})
}

// withRestore opens everything, takes the lock, runs the restore and prints
// what it did.
func withRestore(ctx context.Context, g *globals, command string, f restoreFlags, restore func(*app) (daemon.Restored, error)) (err error) {
	p := newProgress(g.err)
	a, err := openApp(g, p.observe)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.close()) }()
	if err := a.own(ctx, command); err != nil {
		return err
	}
	done, err := restore(a)
	p.done()
	if err != nil {
		return err
	}
	return g.printRestored(done, !f.dryRun)
}
