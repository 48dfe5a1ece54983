package main

import (
	"cmp"
	"fmt"
	"os"
	"os/user"

	"github.com/spf13/cobra"

	"github.com/glusterbackupd/glusterbackupd/catalog"
)

func newProtectCommand(g *globals) *cobra.Command {
	return protectionCommand(g, &cobra.Command{
		Use:   "protect NAMESPACE/CLAIM --at BACKUP",
		Short: "Keep a backup whatever the retention says",
		Long: `Writes the file protected beside the backup's data. A protected backup is never
removed by prune, until unprotect.

` + exitCodeHelp,
		Example: "  glusterbackupd protect media/photos --at 20181202T000000Z",
	}, true)
}

func newUnprotectCommand(g *globals) *cobra.Command {
	return protectionCommand(g, &cobra.Command{
		Use:     "unprotect NAMESPACE/CLAIM --at BACKUP",
		Short:   "Leave a protected backup to the retention again",
		Long:    "Takes back what protect did. The next prune may remove the backup.\n\n" + exitCodeHelp,
		Example: "  glusterbackupd unprotect media/photos --at 20181202T000000Z",
	}, false)
}

func protectionCommand(g *globals, cmd *cobra.Command, on bool) *cobra.Command {
	var at string
	cmd.Args = args(cobra.ExactArgs(1))
	cmd.RunE = func(_ *cobra.Command, names []string) error {
		if at == "" {
			return usagef("say which backup with --at: latest, a date as 20181202, or a time as 20181202T000000Z")
		}
		return runProtection(g, names[0], at, on)
	}
	cmd.Flags().StringVar(&at, "at", "", "which backup: latest, a date as 20181202, or a time as 20181202T000000Z; required")
	return cmd
}

func runProtection(g *globals, name, at string, on bool) error {
	key, err := catalog.ParseKey(name)
	if err != nil {
		return err
	}
	c, err := g.parse()
	if err != nil {
		return err
	}
	r, err := catalog.Open(c.Destination.Path, catalog.Options{Logger: g.logger(c.Log)})
	if err != nil {
		return err
	}
	word, change := "protected", func(b catalog.Backup) error { return r.Protect(b, person()) }
	if !on {
		word, change = "unprotected", r.Unprotect
	}
	lock, err := r.Lock("protect or unprotect", catalog.ClaimScope(key))
	if err != nil {
		return err
	}
	defer lock.Release()
	b, err := r.Find(key, at)
	if err != nil {
		return err
	}
	if err := change(b); err != nil {
		return err
	}
	if g.json() {
		return printJSON(g.out, map[string]any{"claim": key.String(), "id": b.ID, "protected": on})
	}
	_, err = fmt.Fprintf(g.out, "%s backup %s of %s\n", word, b.ID, key)
	return err
}

// person names whoever runs the command, also through sudo. It is a hint for
// those who find a protected backup.
func person() string {
	name := os.Getenv("SUDO_USER")
	if u, err := user.Current(); err == nil {
		name = cmp.Or(name, u.Username)
	}
	host, _ := os.Hostname() // The name alone tells something too.
	return name + "@" + host
}
