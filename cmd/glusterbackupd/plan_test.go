package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/glusterbackupd/glusterbackupd/daemon"
)

// TestPlanSaysWhenNobodyKnowsTheUse shows the plan of a restore into a volume,
// with Kubernetes and without.
func TestPlanSaysWhenNobodyKnowsTheUse(t *testing.T) {
	for unwatched, times := range map[bool]int{true: 1, false: 0} {
		p := daemon.Plan{Target: "claim files/docs", Volume: "docs", Safety: true, Unwatched: unwatched}
		var text, machine bytes.Buffer
		printPlan(&text, p)
		if got := strings.Count(text.String(), "without Kubernetes nobody can tell"); got != times {
			t.Errorf("unwatched %v: the plan says %q", unwatched, text.String())
		}
		g := &globals{stdio: stdio{out: &machine}, output: "json"}
		if err := g.printRestored(daemon.Restored{Plan: p}, false); err != nil {
			t.Fatal(err)
		}
		var o planOutput
		if err := json.Unmarshal(machine.Bytes(), &o); err != nil || o.Unknown != unwatched {
			t.Errorf("unwatched %v: %v, %s", unwatched, err, machine.String())
		}
	}
}

// TestListedVolumesAreUnwatched is why the plan above can say so.
func TestListedVolumesAreUnwatched(t *testing.T) {
	listed := []daemon.Target{{Volume: "docs"}}
	got, _, err := daemon.NewStatic(listed).Targets(t.Context())
	if err != nil || len(got) != 1 || !got[0].Unwatched || listed[0].Unwatched {
		t.Errorf("targets %+v of %+v, %v", got, listed, err)
	}
}
