//go:build platform && soak

package platform

import (
	"os"
	"path/filepath"
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
	b.stateIsOfUse()
}

// stateIsOfUse builds Heketi's database again from the one that was saved, as
// docs/disaster-recovery.md does, and looks for passwords in it.
func (b *bench) stateIsOfUse() {
	b.Helper()
	dir := b.savedState()
	database := filepath.Join(b.TempDir(), "heketi.db")
	heketi := filepath.Join(filepath.Dir(b.lab.HeketiCLI), "heketi")
	host(b, heketi, "db", "import", "--jsonfile", filepath.Join(dir, "heketi.json"), "--dbfile", database)
	again := filepath.Join(b.TempDir(), "again.json")
	host(b, heketi, "db", "export", "--dbfile", database, "--jsonfile", again)
	text, err := os.ReadFile(again)
	if err != nil {
		b.Fatal(err)
	}
	for _, c := range []string{"shop/uploads", "shop/legacy"} {
		if !strings.Contains(string(text), b.volumeOf(c)) {
			b.Errorf("the database that was built again does not know the volume of %s", c)
		}
	}
	journal := b.script(`sed -n 's/^PASSWORD: //p' "$1"`, b.lab.GuestJournal(b.image("shop/db")))
	password := strings.TrimSpace(journal)
	saved := host(b, "cat", filepath.Join(dir, "heketi.json"), filepath.Join(dir, "volumes.xml"), filepath.Join(dir, "storageclasses.json"))
	if password == "" || strings.Contains(saved, password) {
		b.Error("no CHAP password is known, or the saved state has it")
	}
}
