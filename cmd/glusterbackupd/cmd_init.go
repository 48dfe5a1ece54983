package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/glusterbackupd/glusterbackupd/catalog"
)

func newInitCommand(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "init",
		Short: "Make the mounted BackupDisk a repository, once",
		Long: `Writes the marker .glusterbackup/repository.json to [destination] path. Every
other command refuses to work without it, so that an unmounted BackupDisk is an
error and never a full root file system. Mount the BackupDisk first.`,
		Args: args(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			c, err := g.load()
			if err != nil {
				return err
			}
			r, err := catalog.Init(c.Destination.Path, catalog.Options{})
			if err != nil {
				return err
			}
			if g.json() {
				return printJSON(g.out, map[string]string{"path": r.Root(), "id": r.ID()})
			}
			_, err = fmt.Fprintf(g.out, "initialised BackupDisk %s with id %s\n", r.Root(), r.ID())
			return err
		},
	}
}
