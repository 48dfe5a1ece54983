package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/glusterbackupd/glusterbackupd/catalog"
	"github.com/glusterbackupd/glusterbackupd/daemon"
)

type backupOptions struct{ all, full bool }

func newBackupCommand(g *globals) *cobra.Command {
	var o backupOptions
	cmd := &cobra.Command{
		Use:   "backup [NAMESPACE/CLAIM …]",
		Short: "Back up claims now",
		Long: `Takes one snapshot of each Gluster volume that the claims stand on, copies the
claims from it to the BackupDisk, and prints one line per claim. Block claims on
one blockhost volume share a snapshot. Unchanged files of a claim are hard links
to the previous backup, and what has not changed of an image is shared with it.

With --full it reads everything and compares it with the previous backup, instead of
taking for unchanged what inode, size, times or the bricks say. Do that when verify
found damage: the new backup then shares nothing damaged.

` + exitCodeHelp,
		Example: "  glusterbackupd backup shop/db media/photos\n  glusterbackupd backup --all\n  glusterbackupd backup --full shop/db",
		RunE: func(cmd *cobra.Command, names []string) error {
			if o.all == (len(names) > 0) {
				return usagef("name claims as NAMESPACE/CLAIM, or use --all")
			}
			keys, err := parseKeys(names)
			if err != nil {
				return err
			}
			return runBackup(cmd.Context(), g, keys, o.full)
		},
	}
	cmd.Flags().BoolVar(&o.all, "all", false, "all claims on Gluster")
	cmd.Flags().BoolVar(&o.full, "full", false, "read and compare everything")
	return cmd
}

// parseKey reads the name of a claim from the command line.
func parseKey(name string) (catalog.Key, error) {
	key, err := catalog.ParseKey(name)
	if err != nil {
		return key, usagef("%v", err)
	}
	return key, nil
}

// parseKeys reads names of claims; one that is named twice counts once.
func parseKeys(names []string) ([]catalog.Key, error) {
	var keys []catalog.Key
	for _, name := range names {
		key, err := parseKey(name)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(keys, key) {
			keys = append(keys, key)
		}
	}
	return keys, nil
}

// runBackup backs up the named claims, or all when none is named.
func runBackup(ctx context.Context, g *globals, keys []catalog.Key, full bool) (err error) {
	p := newProgress(g.err)
	a, err := openApp(g, hooks{observe: p.observe, full: full})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.close()) }()
	if err := a.tidyChecks(ctx); err != nil {
		a.log.WarnContext(ctx, "mounts of a check that died could not be removed", "error", err)
	}
	targets, failed, err := a.targets(ctx, keys)
	if err != nil {
		return err
	}
	if len(keys) == 0 {
		a.tidyForgotten(ctx, targets)
	}
	results := append(failed, a.daemon.Backup(ctx, targets)...)
	p.done()
	a.emptyTrash(ctx, targets)
	if len(keys) == 0 {
		a.saveState(ctx, a.daemon, hostsOf(targets))
	}
	return g.printResults(results)
}

// hostsOf returns the hosts that the volumes of targets are asked on.
func hostsOf(targets []daemon.Target) (pools [][]string) {
	for _, t := range targets {
		pools = append(pools, t.Hosts)
	}
	return pools
}

// tidyForgotten tidies what no run of these targets does: what is left of claims
// and volumes that are gone. That something stays stops nothing.
func (a *app) tidyForgotten(ctx context.Context, targets []daemon.Target) {
	if err := a.daemon.Tidy(ctx); err != nil {
		a.log.WarnContext(ctx, "leftovers of a command that died could not be removed", "error", err)
	}
	if err := a.daemon.ExpireForgotten(ctx, targets); err != nil {
		a.log.WarnContext(ctx, "snapshots of volumes without a claim could not be deleted", "error", err)
	}
}

// emptyTrash deletes what runs that died left of these claims. What prune or the
// daemon put there is deleted too.
func (a *app) emptyTrash(ctx context.Context, targets []daemon.Target) {
	var o catalog.EmptyOptions
	for _, t := range targets {
		o.Keys = append(o.Keys, t.Key)
	}
	if len(o.Keys) == 0 || ctx.Err() != nil {
		return // No key would mean all claims.
	}
	if _, err := a.catalog.EmptyTrash(ctx, o); err != nil {
		a.log.WarnContext(ctx, "trash stays on the BackupDisk", "error", err)
	}
}

// targets resolves the named claims, or all when none is named. A named claim
// that cannot be used becomes a failed result when others can; alone it is an
// error.
func (a *app) targets(ctx context.Context, keys []catalog.Key) ([]daemon.Target, []daemon.Result, error) {
	if len(keys) == 0 {
		targets, uncovered, err := a.resolver().Targets(ctx)
		var failed []daemon.Result
		for _, u := range uncovered {
			if !u.Foreign && !u.Pending {
				failed = append(failed, daemon.Result{
					Target: daemon.Target{Key: u.Key},
					Err:    &daemon.UncoveredError{Claim: u.Key.String(), Reason: u.Reason},
				})
			}
		}
		return targets, failed, err
	}
	var targets []daemon.Target
	var failed []daemon.Result
	for _, key := range keys {
		t, err := a.resolver().Target(ctx, key.Namespace, key.Claim)
		if err != nil && len(keys) == 1 {
			return nil, nil, err
		}
		if err != nil {
			failed = append(failed, daemon.Result{Target: daemon.Target{Key: key}, Err: err})
			continue
		}
		targets = append(targets, t)
	}
	return targets, failed, nil
}

// resultOutput is the result of one claim in JSON output.
type resultOutput struct {
	Claim  string        `json:"claim"`
	Backup *backupOutput `json:"backup,omitempty"`
	Error  string        `json:"error,omitempty"`
	Remedy string        `json:"remedy,omitempty"`
}

// printResults prints what became of each claim. The error is as joined says.
func (g *globals) printResults(results []daemon.Result) error {
	if err := g.printResultList(results); err != nil {
		return err
	}
	var failed []error
	for _, r := range results {
		if r.Err != nil {
			failed = append(failed, r.Err)
		}
	}
	return g.joined(failed, len(results))
}

// verdict is the last column for a claim that has a backup.
func verdict(r daemon.Result) string {
	if r.Err != nil {
		return "done, but not tidy"
	}
	return "done"
}

func (g *globals) printResultList(results []daemon.Result) error {
	if g.json() {
		list := []resultOutput{}
		for _, r := range results {
			o := resultOutput{Claim: r.Target.Key.String()}
			if r.Backup.ID != "" {
				b := outputOf(r.Backup)
				o.Backup = &b
			}
			if r.Err != nil {
				o.Error, o.Remedy = r.Err.Error(), remedyOf(r.Err)
			}
			list = append(list, o)
		}
		return printJSON(g.out, list)
	}
	t := newTable(g.out, "CLAIM", "BACKUP", "FILES", "SIZE", "TRANSFERRED", "TOOK", "RESULT")
	for _, r := range results {
		if r.Backup.ID == "" {
			t.row(r.Target.Key.String(), "-", "-", "-", "-", "-", "failed")
			continue
		}
		o := outputOf(r.Backup)
		t.row(o.Claim, o.ID, fmt.Sprint(o.Files), size(o.Bytes), size(o.Transferred), took(r.Took), verdict(r))
	}
	return t.flush()
}
