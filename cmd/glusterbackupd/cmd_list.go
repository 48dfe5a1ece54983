package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/glusterbackupd/glusterbackupd/catalog"
)

func newListCommand(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "list [NAMESPACE/CLAIM]",
		Short: "List the backups on the BackupDisk, the snapshots they were made from, and which are protected",
		Args:  args(cobra.MaximumNArgs(1)),
		RunE:  func(_ *cobra.Command, names []string) error { return runList(g, names) },
	}
}

// runList needs nothing but the BackupDisk: it works when the cluster is lost.
func runList(g *globals, names []string) error {
	c, err := g.parse()
	if err != nil {
		return err
	}
	r, err := catalog.Open(c.Destination.Path, catalog.Options{})
	if err != nil {
		return err
	}
	keys, err := listKeys(r, names)
	if err != nil {
		return err
	}
	list := []backupOutput{}
	for _, k := range keys {
		backups, err := r.Backups(k)
		if err != nil {
			return err
		}
		for _, b := range backups {
			list = append(list, outputOf(b))
		}
	}
	if len(names) > 0 && len(list) == 0 {
		_, err := r.Find(keys[0], "")
		return err
	}
	if err := g.printBackups(list); err != nil {
		return err
	}
	return g.warnOfProblems(r)
}

// warnOfProblems names the damaged backups, which are not listed.
func (g *globals) warnOfProblems(r *catalog.Repository) error {
	problems, err := r.Problems()
	for _, p := range problems {
		fmt.Fprintf(g.err, "warning: not listed: %s: %v\n", p.Path, p.Err)
	}
	return err
}

func listKeys(r *catalog.Repository, names []string) ([]catalog.Key, error) {
	if len(names) == 0 {
		return r.Keys()
	}
	k, err := parseKey(names[0])
	return []catalog.Key{k}, err
}

func (g *globals) printBackups(list []backupOutput) error {
	if g.json() {
		return printJSON(g.out, list)
	}
	t := newTable(g.out, "CLAIM", "BACKUP", "KIND", "FILES", "SIZE", "FROM", "SNAPSHOT", "PROTECTED")
	for _, o := range list {
		protected := "no"
		if o.Protected {
			protected = "yes"
		}
		t.row(o.Claim, o.ID, o.Kind, fmt.Sprint(o.Files), size(o.Bytes), o.source(), o.Snapshot, protected)
	}
	return t.flush()
}
