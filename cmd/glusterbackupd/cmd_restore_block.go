package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/glusterbackupd/glusterbackupd/blockstore"
	"github.com/glusterbackupd/glusterbackupd/daemon"
)

func newRestoreBlockCommand(g *globals) *cobra.Command {
	var f restoreFlags
	cmd := &cobra.Command{
		Use:   "restore-block blockvol_ID",
		Short: "Restore a gluster-block image in place",
		Long: `Finds the image by its journal on the blockhost volume, refuses while a pod or an
iSCSI session on any exporting host uses it, shows the plan and asks, takes a
safety snapshot, writes the image in place on the same inode with holes punched,
and reads it back. The image's claim may be gone from Kubernetes; Heketi must
still know the block volume.

` + exitCodeHelp,
		Example: "  glusterbackupd restore-block blockvol_894eff0265e1564eb4dc153a75e503ee --at 20181202\n" +
			"  glusterbackupd restore-block blockvol_894eff0265e1564eb4dc153a75e503ee --to /tmp/db.img",
		Args: args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, names []string) error {
			return runRestoreBlock(cmd.Context(), g, names[0], f)
		},
	}
	f.addFlags(cmd, "write the image to this new file instead")
	return cmd
}

func runRestoreBlock(ctx context.Context, g *globals, image string, f restoreFlags) error {
	if err := blockstore.ValidName(image); err != nil {
		return usagef("%v", err)
	}
	return withRestore(g, f, func(a *app) (daemon.Restored, error) {
		return a.daemon.RestoreBlock(ctx, daemon.BlockRequest{
			Image: image, At: f.at, To: f.to, DryRun: f.dryRun, Confirm: g.confirm(ctx, f),
		})
	})
}
