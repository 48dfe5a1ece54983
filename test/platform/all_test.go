//go:build platform && soak

package platform

import (
	"strings"
	"testing"
)

// TestBackupOfAllSkipsWhatHasNothingToLose backs up the whole lab, in which one
// claim is of another provisioner and one has no volume yet.
func TestBackupOfAllSkipsWhatHasNothingToLose(t *testing.T) {
	b := newBench(t)
	out := b.must("backup", "--all")
	for _, claim := range []string{"media/photos", "media/docs", "shop/uploads", "shop/legacy", "shop/db", "shop/queue"} {
		if !strings.Contains(out, claim) {
			t.Errorf("%s is not among the results", claim)
		}
	}
	if strings.Contains(out, "shop/nfs") || strings.Contains(out, "shop/pending") {
		t.Error("a claim without a Gluster volume is among the results")
	}
	queue := b.image("shop/queue")
	b.must("restore-block", queue.Name, "--dry-run")
}
