package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/glusterbackupd/glusterbackupd/daemon"
)

// errOverdue says that at least one claim has no backup of a slot that should
// have one by now.
var errOverdue = errors.New("claims are overdue")

func newStatusCommand(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Show for every claim the last and the next backup, and what is wrong",
		Long: `Lists every claim on Gluster: covered, excluded by whom, or not covered because
of what; its last success, age, size and duration, and its next run. Everything
but the errors of running attempts is read from the claims and the BackupDisk,
so that it works without the daemon; what the daemon knows beyond that is asked
of it at [metrics] listen. Claims that are overdue give exit code 12.

` + exitCodeHelp,
		Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return runStatus(cmd.Context(), g) },
	}
}

// claimStatus is one claim in JSON output, also at /status. Its fields are an
// interface.
type claimStatus struct {
	Claim       string     `json:"claim"`
	Coverage    string     `json:"coverage"`
	Reason      string     `json:"reason,omitempty"`
	Volume      string     `json:"volume,omitempty"`
	Image       string     `json:"image,omitempty"`
	Schedule    string     `json:"schedule,omitempty"`
	Retention   string     `json:"retention,omitempty"`
	Last        *time.Time `json:"lastSuccess,omitempty"`
	Backup      string     `json:"backup,omitempty"`
	Bytes       int64      `json:"bytes,omitempty"`
	TookSeconds float64    `json:"tookSeconds,omitempty"`
	Backups     int        `json:"backups"`
	Next        *time.Time `json:"next,omitempty"`
	Overdue     bool       `json:"overdue"`
	Running     bool       `json:"running"`
	Attempts    int        `json:"failedAttempts,omitempty"`
	Error       string     `json:"error,omitempty"`
	Remedy      string     `json:"remedy,omitempty"`
	Faults      []string   `json:"faults,omitempty"`
}

// statusOutput is the whole status.
type statusOutput struct {
	// Daemon says whether a daemon of this host was asked.
	Daemon bool          `json:"daemon"`
	Claims []claimStatus `json:"claims"`
}

func statusOutputOf(st daemon.Status) statusOutput {
	out := statusOutput{Claims: []claimStatus{}}
	for _, c := range st.Claims {
		o := claimStatus{
			Claim: c.Key.String(), Coverage: string(c.Coverage), Reason: c.Reason, Volume: c.Volume, Image: c.Image,
			Backup: c.Last.ID, Bytes: c.Last.Bytes, TookSeconds: c.Last.Took.Seconds(), Backups: c.Last.Count,
			Overdue: c.Overdue, Running: c.Running, Attempts: c.Attempts, Faults: c.Faults,
		}
		if c.Coverage == daemon.Covered {
			o.Schedule, o.Retention = c.Schedule.String(), c.Retention.String()
		}
		if c.Last.ID != "" {
			o.Last = &c.Last.Started
		}
		if !c.Next.IsZero() {
			next := c.Next.UTC()
			o.Next = &next
		}
		if c.Err != nil {
			o.Error, o.Remedy = c.Err.Error(), remedyOf(c.Err)
		}
		out.Claims = append(out.Claims, o)
	}
	return out
}

func runStatus(ctx context.Context, g *globals) (err error) {
	a, err := openApp(g, hooks{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.close()) }()
	settings, err := settingsOf(a.cfg)
	if err != nil {
		return err
	}
	st, err := daemon.StatusNow(ctx, a.currentInventory(), a.ledgerOf(a.cfg), settings)
	if err != nil {
		return err
	}
	out := statusOutputOf(st)
	a.askDaemon(ctx, &out)
	if err := g.printStatus(out); err != nil {
		return err
	}
	overdue := 0
	for _, c := range out.Claims {
		if c.Overdue {
			overdue++
		}
	}
	if overdue > 0 {
		return fmt.Errorf("%d of %d: %w", overdue, len(out.Claims), errOverdue)
	}
	return nil
}

// currentInventory asks Kubernetes once, without watching.
func (a *app) currentInventory() daemon.Inventory {
	if a.kube == nil {
		return daemon.FixedInventory(a.listed())
	}
	return daemon.NewClusterInventory(a.kube, a.newCluster())
}

// askTimeout bounds the question to the daemon of this host.
const askTimeout = 3 * time.Second

// askDaemon adds what only a running daemon knows. That none answers is no
// fault: it may run on another master.
func (a *app) askDaemon(ctx context.Context, out *statusOutput) {
	if a.cfg.Metrics.Listen == "" {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+a.cfg.Metrics.Listen+"/status", nil)
	if err != nil {
		return
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		a.log.DebugContext(ctx, "no daemon answers", "address", a.cfg.Metrics.Listen, "error", err)
		return
	}
	defer response.Body.Close()
	var live statusOutput
	if response.StatusCode != http.StatusOK || json.NewDecoder(response.Body).Decode(&live) != nil {
		return
	}
	out.Daemon = true
	known := map[string]claimStatus{}
	for _, c := range live.Claims {
		known[c.Claim] = c
	}
	for n := range out.Claims {
		c, l := &out.Claims[n], known[out.Claims[n].Claim]
		c.Running, c.Attempts, c.Error, c.Remedy = l.Running, l.Attempts, l.Error, l.Remedy
		if l.Next != nil {
			c.Next = l.Next
		}
	}
}

func (g *globals) printStatus(out statusOutput) error {
	if g.json() {
		return printJSON(g.out, out)
	}
	t := newTable(g.out, "CLAIM", "COVERAGE", "LAST SUCCESS", "AGE", "SIZE", "TOOK", "NEXT", "NOTE")
	for _, c := range out.Claims {
		last, age, bytes, duration, next := "-", "-", "-", "-", "-"
		if c.Last != nil {
			last, age = c.Backup, humanize.RelTime(*c.Last, time.Now(), "", "ahead")
			bytes, duration = size(c.Bytes), took(time.Duration(c.TookSeconds*float64(time.Second)))
		}
		if c.Next != nil {
			next = c.Next.Format("2006-01-02 15:04Z")
		}
		t.row(c.Claim, c.Coverage, last, age, bytes, duration, next, note(c))
	}
	if err := t.flush(); err != nil {
		return err
	}
	for _, c := range out.Claims {
		if c.Remedy != "" {
			fmt.Fprintf(g.err, "%s: remedy: %s\n", c.Claim, c.Remedy)
		}
	}
	if !out.Daemon {
		fmt.Fprintln(g.err, "no daemon answers on this host: what runs now is not shown")
	}
	return nil
}

// note is what is wrong with a claim, or what happens to it now.
func note(c claimStatus) string {
	text := c.Reason
	switch {
	case c.Error != "":
		text = c.Error
	case c.Running:
		text = "running"
	case len(c.Faults) > 0:
		text = c.Faults[0]
	}
	if c.Overdue {
		text = "OVERDUE " + text
	}
	return text
}
