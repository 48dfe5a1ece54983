package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/glusterbackupd/glusterbackupd/catalog"
	"github.com/glusterbackupd/glusterbackupd/config"
	"github.com/glusterbackupd/glusterbackupd/retention"
	"github.com/glusterbackupd/glusterbackupd/schedule"
)

func newPruneCommand(g *globals) *cobra.Command {
	var opts pruneOptions
	cmd := &cobra.Command{
		Use:   "prune [NAMESPACE/CLAIM …]",
		Short: "Remove the backups that the retention does not keep",
		Long: `Prints for each backup of the named claims, or of all, what [retention] keeps or
removes it for, and removes what no rule keeps. A protected backup stays, and so
does one that is damaged. Nothing at all is removed when the clock is behind a
backup, and nothing of a claim whose newest backups follow a gap that may be a
jump of the clock. It needs nothing but the BackupDisk.

` + exitCodeHelp,
		Example: "  glusterbackupd prune --dry-run\n  glusterbackupd prune media/photos",
		RunE: func(cmd *cobra.Command, names []string) error {
			return runPrune(cmd.Context(), g, names, opts)
		},
	}
	cmd.Flags().BoolVar(&opts.dryRun, "dry-run", false, "print the plan and remove nothing")
	cmd.Flags().BoolVar(&opts.trustClock, "trust-clock", false, "remove also after a long time without backups: the clock did not jump")
	return cmd
}

type pruneOptions struct {
	dryRun     bool
	trustClock bool
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
	policy  retention.Policy
	grid    time.Duration // How far apart backups may lie; 0 does not ask.
	backups []catalog.Backup
	rows    []pruneOutput // One per backup.
	err     error
}

func runPrune(ctx context.Context, g *globals, names []string, opts pruneOptions) (err error) {
	c, err := g.parse()
	if err != nil {
		return err
	}
	log := g.logger(c.Log)
	r, err := catalog.Open(c.Destination.Path, catalog.Options{Logger: log})
	if err != nil {
		return err
	}
	plans, err := planPrune(r, names, c, opts.trustClock)
	if err != nil {
		return err
	}
	var left error
	if !opts.dryRun {
		left = carryOut(ctx, r, log, plans, len(names) == 0)
	}
	return errors.Join(g.printPrune(plans), left)
}

// carryOut removes what the plans say, claim by claim, and then deletes the
// content of all that was removed. All says that no claims were named: then what
// commands that died left goes too.
func carryOut(ctx context.Context, r *catalog.Repository, log *slog.Logger, plans []claimPlan, all bool) error {
	if all {
		if _, err := r.SweepAll(ctx); err != nil {
			log.WarnContext(ctx, "leftovers stay on the BackupDisk", "error", err)
		}
	}
	var trash catalog.EmptyOptions
	for i := range plans {
		plans[i].remove(ctx, r)
		if !all {
			trash.Keys = append(trash.Keys, plans[i].key)
		}
	}
	if _, err := r.EmptyTrash(ctx, trash); err != nil {
		return fmt.Errorf("content of removed backups stays until the next prune: %w", err)
	}
	return nil
}

// planPrune decides about all backups before any is removed. A claim that
// cannot be listed has its error in its plan, and so has one of which nothing is
// removed because the clock may have jumped; a clock that is behind is
// everybody's.
func planPrune(r *catalog.Repository, names []string, c *config.Config, trustClock bool) ([]claimPlan, error) {
	keys, err := keysOf(r, names)
	if err != nil {
		return nil, err
	}
	policy, err := policyOf(c)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	var grid time.Duration // 0 trusts the clock.
	if !trustClock {
		if grid, err = gridOf(c, policy, now); err != nil {
			return nil, err
		}
	}
	var plans []claimPlan
	for _, k := range keys {
		p := claimPlan{key: k, policy: policy, grid: grid}
		if err := p.decide(r, now); err != nil {
			return nil, err
		}
		if p.err == nil && len(p.backups) == 0 && len(names) > 0 {
			p.err = &catalog.NoBackupError{Key: k, At: "any time"}
		}
		plans = append(plans, p)
	}
	return plans, nil
}

// decide makes the plan of the claim. An error is one of the clock.
func (p *claimPlan) decide(r *catalog.Repository, now time.Time) error {
	p.rows = nil
	p.backups, p.err = r.Backups(p.key)
	items := itemsOf(p.backups)
	if err := retention.CheckClock(items, now); err != nil {
		return fmt.Errorf("prune %s: %w", p.key, err)
	}
	decisions := retention.Plan(items, p.policy, now)
	for _, d := range decisions {
		p.rows = append(p.rows, rowOf(p.key, d))
	}
	if p.grid == 0 || !retention.Removes(decisions) {
		return nil
	}
	if err := retention.CheckJump(items, p.grid, now); err != nil {
		p.err = errors.Join(p.err, fmt.Errorf("prune %s: %w", p.key, err))
		p.keepAll()
	}
	return nil
}

// gridOf returns how far apart backups may lie. The schedules that claims have
// of their own are not known here; the check errs on the side of keeping.
func gridOf(c *config.Config, policy retention.Policy, now time.Time) (time.Duration, error) {
	s, err := schedule.Parse(c.Backup.Schedule, policy.Location)
	if err != nil {
		return 0, fmt.Errorf("[backup] schedule: %w", err)
	}
	return policy.Grid(s.Rhythm(now)), nil
}

// keepAll turns a plan to remove into one that removes nothing, because the
// clock may be wrong.
func (p *claimPlan) keepAll() {
	for i := range p.rows {
		if row := &p.rows[i]; row.Action == actionRemove {
			row.Action, row.Reasons = actionKeep, append([]string{"the clock may have jumped"}, row.Reasons...)
		}
	}
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

// remove carries out the plan of a claim, with the claim's lock, by putting the
// backups into the trash. It goes on after an error with one backup, but not
// after an interruption.
func (p *claimPlan) remove(ctx context.Context, r *catalog.Repository) {
	if !slices.ContainsFunc(p.rows, func(o pruneOutput) bool { return o.Action == actionRemove }) {
		return
	}
	lock, err := r.Lock("prune", catalog.ClaimScope(p.key))
	if err != nil {
		p.err = errors.Join(p.err, err)
		return
	}
	defer func() { p.err = errors.Join(p.err, lock.Release()) }()
	// What was decided without the lock may have changed.
	if err := p.decide(r, time.Now()); err != nil {
		p.err = err
	}
	if p.err != nil {
		return
	}
	for i := range p.rows {
		if p.rows[i].Action != actionRemove {
			continue
		}
		if ctx.Err() != nil {
			p.err = errors.Join(p.err, context.Cause(ctx))
			return
		}
		if err := p.rows[i].remove(r, p.backups); err != nil {
			p.err = errors.Join(p.err, err)
		}
	}
}

// remove puts the backup of the row into the trash.
func (o *pruneOutput) remove(r *catalog.Repository, backups []catalog.Backup) error {
	i := slices.IndexFunc(backups, func(b catalog.Backup) bool { return b.ID == o.ID })
	if err := r.Trash(backups[i]); err != nil {
		o.Action, o.Error, o.Remedy = actionFailed, err.Error(), remedyOf(err)
		return err
	}
	o.Action = actionRemoved
	return nil
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
