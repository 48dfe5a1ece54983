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
	anew   bool
	class  string
	as     string
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

With --new it makes a claim that no longer exists: a volume or block volume through
Heketi, as the claim's StorageClass says, filled and read back before the claim and
its PersistentVolume are made. The namespace and the StorageClass must exist.

` + exitCodeHelp,
		Example: "  glusterbackupd restore media/photos --at 20181202 --path 2018/album\n  glusterbackupd restore media/photos --to /tmp/photos\n  glusterbackupd restore media/photos --new",
		Args:    args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, names []string) error {
			if cmd.Flags().Changed("path") && o.path == "" {
				return usagef("--path is empty: leave it out to restore the whole claim")
			}
			if o.anew && (o.path != "" || o.delete || o.to != "") {
				return usagef("--new makes the whole claim: it goes with --at, --as and --storage-class, not with --path, --delete or --to")
			}
			if !o.anew && (o.class != "" || o.as != "") {
				return usagef("--storage-class and --as go with --new")
			}
			return runRestore(cmd.Context(), g, names[0], o)
		},
	}
	o.addFlags(cmd, "restore into this new or empty folder instead of the claim's volume")
	cmd.Flags().StringVar(&o.path, "path", "", "only this file or folder, relative to the claim's root")
	cmd.Flags().BoolVar(&o.delete, "delete", false, "remove files that are not in the backup")
	cmd.Flags().BoolVar(&o.anew, "new", false, "make the claim again, with a new volume")
	cmd.Flags().StringVar(&o.as, "as", "", "with --new, NAMESPACE/CLAIM of the new claim, if it is to have another name")
	cmd.Flags().StringVar(&o.class, "storage-class", "", "with --new, the StorageClass instead of the one that the claim had")
	return cmd
}

func runRestore(ctx context.Context, g *globals, name string, o restoreOptions) error {
	key, err := parseKey(name)
	if err != nil {
		return err
	}
	var into catalog.Key // Zero: the same name.
	if o.as != "" {
		if into, err = parseKey(o.as); err != nil {
			return err
		}
	}
	confirm := g.confirm(ctx, o.restoreFlags)
	return withRestore(g, o.restoreFlags, func(a *app) (daemon.Restored, error) {
		if o.anew {
			return a.daemon.RestoreNew(ctx, daemon.NewRequest{
				Key: key, At: o.at, Into: into, Class: o.class, DryRun: o.dryRun, Confirm: confirm,
			})
		}
		done, err := a.daemon.Restore(ctx, daemon.RestoreRequest{
			Key: key, At: o.at, Path: o.path, To: o.to, Delete: o.delete, DryRun: o.dryRun, Confirm: confirm,
		})
		var block *daemon.WrongKindError
		if errors.As(err, &block) && o.path == "" && !o.delete {
			return a.daemon.RestoreBlock(ctx, daemon.BlockRequest{
				Image: block.Image, Key: key, At: o.at, DryRun: o.dryRun, Confirm: confirm,
			})
		}
		return done, err
	})
}

// withRestore opens what the restore needs, runs it and prints what it did. One
// to a folder or file needs the BackupDisk only.
func withRestore(g *globals, f restoreFlags, restore func(*app) (daemon.Restored, error)) (err error) {
	if !f.yes && !f.dryRun && !g.interactive() {
		return usagef("a restore overwrites data: repeat with --yes to run it without a terminal, or with --dry-run to see the plan only")
	}
	p := newProgress(g.err)
	open := openApp
	if f.to != "" {
		open = openLocal
	}
	a, err := open(g, hooks{observe: p.observe})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.close()) }()
	g.beforeQuestion = p.done
	done, err := restore(a)
	p.done()
	if err != nil && done.Compared == 0 {
		return err
	}
	return errors.Join(g.printRestored(done, !f.dryRun), err)
}
