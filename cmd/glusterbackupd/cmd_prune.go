package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/glusterbackupd/glusterbackupd/catalog"
	"github.com/glusterbackupd/glusterbackupd/config"
	"github.com/glusterbackupd/glusterbackupd/retention"
)

func newPruneCommand(g *globals) *cobra.Command {
	var dryRun bool
	cmd := &cobra.Command{
		Use:   "prune [NAMESPACE/CLAIM …]",
		Short: "Remove the backups that the retention does not keep",
		Long: `Prints for each backup of the named claims, or of all, what [retention] keeps or
removes it for, and removes what no rule keeps. A protected backup stays, and so
does one that is damaged. Nothing at all is removed when the clock is behind a
backup. It needs nothing but the BackupDisk.

` + exitCodeHelp,
		Example: "  glusterbackupd prune --dry-run\n  glusterbackupd prune media/photos",
		RunE: func(cmd *cobra.Command, names []string) error {
			return runPrune(cmd.Context(), g, names, dryRun)
		},
	}
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "print the plan and remove nothing")
	return cmd
}

// What becomes of a backup. The words are part of the output's interface.
const (
	actionKeep    = "keep"
	actionRemove  = "remove" // Planned, and not done.
	actionRemoved = "removed"
	actionFailed  = "failed"
)

// pruneOutput is one backup in JSON output. Its fields are an interface.
type pruneOutput struct {
	Claim   string    `json:"claim"`
	ID      string    `json:"id"`
	Time    time.Time `json:"time"`
	Action  string    `json:"action"`
	Reasons []string  `json:"reasons"`
	Error   string    `json:"error,omitempty"`
	Remedy  string    `json:"remedy,omitempty"`
}

// claimPlan is what is to become of the backups of one claim.
type claimPlan struct {
	key     catalog.Key
	backups []catalog.Backup
	rows    []pruneOutput // One per backup.
	err     error
}

func runPrune(ctx context.Context, g *globals, names []string, dryRun bool) (err error) {
	c, err := g.parse()
	if err != nil {
		return err
	}
	log := g.logger(c.Log)
	r, err := catalog.Open(c.Destination.Path, catalog.Options{Logger: log})
	if err != nil {
		return err
	}
	if !dryRun {
		lock, err := r.Lock("prune")
		if err != nil {
			return err
		}
		defer lock.Release()
	}
	plans, err := planPrune(r, names, c)
	if err != nil {
		return err
	}
	if !dryRun {
		if _, err := r.SweepAll(ctx); err != nil {
			log.Warn("leftovers stay on the BackupDisk", "error", err)
		}
		for i := range plans {
			plans[i].remove(ctx, r)
		}
		if _, err := r.EmptyTrash(ctx, catalog.EmptyOptions{}); err != nil {
			log.Warn("leftovers stay on the BackupDisk", "error", err)
		}
	}
	return g.printPrune(plans)
}

// planPrune decides about all backups before any is removed. A claim that
// cannot be listed has its error in its plan; a wrong clock is everybody's.
func planPrune(r *catalog.Repository, names []string, c *config.Config) ([]claimPlan, error) {
	keys, err := keysOf(r, names)
	if err != nil {
		return nil, err
	}
	policy, err := policyOf(c)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	var plans []claimPlan
	for _, k := range keys {
		p := claimPlan{key: k}
		if p.backups, p.err = r.Backups(k); p.err == nil && len(p.backups) == 0 && len(names) > 0 {
			p.err = &catalog.NoBackupError{Key: k, At: "any time"}
		}
		items := itemsOf(p.backups)
		if err := retention.CheckClock(items, now); err != nil {
			return nil, fmt.Errorf("prune %s: %w", k, err)
		}
		for _, d := range retention.Plan(items, policy, now) {
			p.rows = append(p.rows, rowOf(k, d))
		}
		plans = append(plans, p)
	}
	return plans, nil
}

// keysOf returns the named claims, each once, or all when none is named.
func keysOf(r *catalog.Repository, names []string) ([]catalog.Key, error) {
	if len(names) == 0 {
		return r.Keys()
	}
	return parseKeys(names)
}

func policyOf(c *config.Config) (retention.Policy, error) {
	zone, err := time.LoadLocation(c.Backup.Timezone)
	if err != nil {
		return retention.Policy{}, fmt.Errorf("[backup] timezone: %w", err)
	}
	t := c.Retention
	return retention.Policy{
		Last: t.Last, Hourly: t.Hourly, Daily: t.Daily, Weekly: t.Weekly, Monthly: t.Monthly, Yearly: t.Yearly,
		Minimum: t.Minimum, Location: zone,
	}, nil
}

func itemsOf(backups []catalog.Backup) []retention.Item {
	var items []retention.Item
	for _, b := range backups {
		items = append(items, retention.Item{ID: b.ID, Time: b.Time, Protected: b.Protected})
	}
	return items
}

func rowOf(k catalog.Key, d retention.Decision) pruneOutput {
	action := actionRemove
	if d.Keep {
		action = actionKeep
	}
	return pruneOutput{Claim: k.String(), ID: d.ID, Time: d.Time, Action: action, Reasons: d.Reasons}
}

// remove carries out the plan of a claim. It goes on after an error with one
// backup, but not after an interruption.
func (p *claimPlan) remove(ctx context.Context, r *catalog.Repository) {
	byID := map[string]catalog.Backup{}
	for _, b := range p.backups {
		byID[b.ID] = b
	}
	for i := range p.rows {
		row := &p.rows[i]
		if row.Action != actionRemove {
			continue
		}
		if ctx.Err() != nil {
			p.err = errors.Join(p.err, context.Cause(ctx))
			return
		}
		if err := r.Remove(ctx, byID[row.ID]); err != nil {
			row.Action, row.Error, row.Remedy = actionFailed, err.Error(), remedyOf(err)
			p.err = errors.Join(p.err, err)
			continue
		}
		row.Action = actionRemoved
	}
}

// printPrune prints every decision. The error is as joined says.
func (g *globals) printPrune(plans []claimPlan) error {
	rows := []pruneOutput{}
	var faults []error
	for _, p := range plans {
		rows = append(rows, p.rows...)
		if p.err != nil {
			faults = append(faults, p.err)
		}
	}
	if err := g.printPruneRows(rows); err != nil {
		return err
	}
	return g.joined(faults, len(plans))
}

func (g *globals) printPruneRows(rows []pruneOutput) error {
	if g.json() {
		return printJSON(g.out, rows)
	}
	t := newTable(g.out, "CLAIM", "BACKUP", "ACTION", "REASON")
	for _, o := range rows {
		t.row(o.Claim, o.ID, o.Action, strings.Join(o.Reasons, ", "))
	}
	return t.flush()
}
