package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
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
	Unknown  bool         `json:"useUnknown"`
	Needed   int64        `json:"poolBytesNeeded"`
	Room     int64        `json:"poolBytesRoom"`
	Executed bool         `json:"executed"`
}

// errDeclined says that the person at the terminal did not say yes.
var errDeclined = errors.New("declined; nothing was changed")

// confirm prints the plan and asks, unless --yes.
func (g *globals) confirm(ctx context.Context, f restoreFlags) daemon.Confirm {
	return func(p daemon.Plan) error {
		if f.dryRun {
			return nil
		}
		if g.beforeQuestion != nil {
			g.beforeQuestion()
		}
		printPlan(g.err, p)
		if f.yes {
			return nil
		}
		fmt.Fprint(g.err, "Type yes to restore: ")
		answer, err := g.readLine(ctx)
		if err != nil {
			return err
		}
		if strings.TrimSpace(answer) != "yes" {
			return errDeclined
		}
		return nil
	}
}

// readLine reads one line from the terminal, and stops waiting when ctx ends.
func (g *globals) readLine(ctx context.Context) (string, error) {
	answer := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(g.in).ReadString('\n') // No line is no yes.
		answer <- line
	}()
	select {
	case line := <-answer:
		return line, nil
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}

// shownChanges is how many changes of a plan are shown one by one.
const shownChanges = 20

func printPlan(w io.Writer, p daemon.Plan) {
	t := newTable(w, "RESTORE", p.Backup.Key.String()+" "+p.Backup.ID)
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
			t.row("changes", fmt.Sprintf("%d files written, %d entries deleted", p.Changed, p.Deleted))
		}
		t.row("thin pool", fmt.Sprintf("needs up to %s, room for %s", size(p.Needed), size(p.Room)))
		t.row("before", "a safety snapshot of "+p.Volume)
	}
	if p.Unwatched {
		t.row("in use", "unknown: without Kubernetes nobody can tell; make sure yourself that nothing writes to the volume")
	}
	_ = t.flush() // Only a message for the person at the terminal.
	for i, c := range p.Changes {
		if i == shownChanges {
			fmt.Fprintf(w, "  … and %d more\n", len(p.Changes)-i)
			break
		}
		fmt.Fprintln(w, "  "+c)
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
				p.Changed, p.Deleted, p.Changes, p.Safety, p.Unwatched, p.Needed, p.Room, executed,
			}, done.SafetySnapshot, done.Written, done.Compared, done.Took.Seconds(),
		})
	}
	if !executed {
		printPlan(g.out, p)
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
