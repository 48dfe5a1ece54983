package main

import (
	"bufio"
	"errors"
	"fmt"
	"strings"

	"github.com/glusterbackupd/glusterbackupd/daemon"
)

// restoreFlags are what both restore commands have in common.
type restoreFlags struct {
	at     string
	to     string
	dryRun bool
	yes    bool
}

// planOutput is a restore's plan in JSON output.
type planOutput struct {
	Backup   backupOutput `json:"backup"`
	Target   string       `json:"target"`
	Volume   string       `json:"volume,omitempty"`
	Path     string       `json:"path,omitempty"`
	Files    int64        `json:"files"`
	Bytes    int64        `json:"bytes"`
	Changed  int64        `json:"changed"`
	Deleted  int64        `json:"deleted"`
	Changes  []string     `json:"changes,omitempty"`
	Safety   bool         `json:"safetySnapshot"`
	Needed   int64        `json:"poolBytesNeeded"`
	Room     int64        `json:"poolBytesRoom"`
	Executed bool         `json:"executed"`
}

// errDeclined says that the person at the terminal did not say yes.
var errDeclined = errors.New("declined; nothing was changed")

// confirm prints the plan and asks. Without a terminal it refuses unless --yes.
func (g *globals) confirm(f restoreFlags) func(daemon.Plan) error {
	return func(p daemon.Plan) error {
		if f.dryRun {
			return nil
		}
		if !g.json() {
			printPlan(g, p)
		}
		if f.yes {
			return nil
		}
		if !g.interactive() {
			return usagef("a restore overwrites data: repeat with --yes to run it without a terminal, or with --dry-run to see the plan only")
		}
		fmt.Fprint(g.err, "Type yes to restore: ")
		answer, err := bufio.NewReader(g.in).ReadString('\n')
		if err != nil || strings.TrimSpace(answer) != "yes" {
			return errDeclined
		}
		return nil
	}
}

func printPlan(g *globals, p daemon.Plan) {
	t := newTable(g.err, "RESTORE", p.Backup.Key.String()+" "+p.Backup.ID)
	t.row("from", p.Backup.DataDir())
	t.row("to", p.Target)
	if p.Volume != "" {
		t.row("volume", p.Volume)
	}
	if p.Path != "" {
		t.row("path", p.Path)
	}
	t.row("backup holds", fmt.Sprintf("%d files, %s", p.Files, size(p.Bytes)))
	if p.Safety {
		if p.Backup.Info.Block == nil {
			t.row("changes", fmt.Sprintf("%d files written, %d deleted", p.Changed, p.Deleted))
		}
		t.row("thin pool", fmt.Sprintf("needs up to %s, room for %s", size(p.Needed), size(p.Room)))
		t.row("before", "a safety snapshot of "+p.Volume)
	}
	_ = t.flush() // Only a message for the person at the terminal.
	for _, c := range p.Changes {
		fmt.Fprintln(g.err, "  "+c)
	}
}

// printRestored prints what a restore did, or would do.
func (g *globals) printRestored(done daemon.Restored, executed bool) error {
	p := done.Plan
	if g.json() {
		return printJSON(g.out, struct {
			planOutput
			SafetySnapshot string  `json:"safetySnapshotName,omitempty"`
			Written        int64   `json:"bytesWritten"`
			Compared       int64   `json:"compared"`
			TookSeconds    float64 `json:"tookSeconds"`
		}{
			planOutput{
				outputOf(p.Backup), p.Target, p.Volume, p.Path, p.Files, p.Bytes,
				p.Changed, p.Deleted, p.Changes, p.Safety, p.Needed, p.Room, executed,
			}, done.SafetySnapshot, done.Written, done.Compared, done.Took.Seconds(),
		})
	}
	if !executed {
		printPlan(g, p)
		_, err := fmt.Fprintln(g.out, "dry run: nothing was changed")
		return err
	}
	_, err := fmt.Fprintf(g.out, "restored %s from %s to %s: %s written, read back equal, in %s\n",
		p.Backup.Key, p.Backup.ID, p.Target, size(done.Written), took(done.Took))
	if err == nil && done.SafetySnapshot != "" {
		_, err = fmt.Fprintf(g.out, "the state before is in snapshot %s until [retention] safety_snapshots is over\n", done.SafetySnapshot)
	}
	return err
}
