package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/glusterbackupd/glusterbackupd/catalog"
	"github.com/glusterbackupd/glusterbackupd/daemon"
)

type backupOptions struct{ all bool }

func newBackupCommand(g *globals) *cobra.Command {
	var o backupOptions
	cmd := &cobra.Command{
		Use:   "backup [NAMESPACE/CLAIM …]",
		Short: "Back up claims now",
		Long: `Takes one snapshot of each Gluster volume that the claims stand on, copies the
claims from it to the BackupDisk, and prints one line per claim. Block claims on
one blockhost volume share a snapshot. Unchanged files of a claim are hard links
to the previous backup.

` + exitCodeHelp,
		Example: "  glusterbackupd backup shop/db media/photos\n  glusterbackupd backup --all",
		RunE: func(cmd *cobra.Command, names []string) error {
			if o.all == (len(names) > 0) {
				return usagef("name claims as NAMESPACE/CLAIM, or use --all")
			}
			return runBackup(cmd.Context(), g, names)
		},
	}
	cmd.Flags().BoolVar(&o.all, "all", false, "all claims on Gluster")
	return cmd
}

// runBackup backs up the named claims, or all when none is named.
func runBackup(ctx context.Context, g *globals, names []string) (err error) {
	p := newProgress(g.err)
	a, err := openApp(g, p.observe)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.close()) }()
	if err := a.own(ctx, "backup"); err != nil {
		return err
	}
	targets, failed, err := a.targets(ctx, names)
	if err != nil {
		return err
	}
	results := append(failed, a.daemon.Backup(ctx, targets)...)
	p.done()
	return g.printResults(results)
}

// targets resolves the named claims, or all when none is named. A named claim
// that cannot be used becomes a failed result when others can; alone it is an
// error.
func (a *app) targets(ctx context.Context, names []string) ([]daemon.Target, []daemon.Result, error) {
	if len(names) == 0 {
		targets, uncovered, err := a.resolver().Targets(ctx)
		var failed []daemon.Result
		for _, u := range uncovered {
			if !u.Foreign {
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
	for _, name := range names {
		key, err := catalog.ParseKey(name)
		if err != nil {
			return nil, nil, err
		}
		t, err := a.resolver().Target(ctx, key.Namespace, key.Claim)
		if err != nil && len(names) == 1 {
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

// printResults prints what became of each claim. The error is the only claim's
// own, or errPartly.
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
	switch {
	case len(failed) == 0:
		return nil
	case len(failed) == len(results) && len(failed) == 1:
		return failed[0]
	}
	for _, err := range failed {
		report(g.err, err)
	}
	if len(failed) == len(results) {
		return fmt.Errorf("all %d claims failed", len(failed))
	}
	return fmt.Errorf("%d of %d: %w", len(failed), len(results), errPartly)
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
		t.row(o.Claim, o.ID, fmt.Sprint(o.Files), size(o.Bytes), size(o.Transferred), took(r.Took), "done")
	}
	return t.flush()
}
