//go:build platform

package platform

import (
	"encoding/json"
	"strings"
	"testing"
)

// finding is what check -o json prints of one check.
type finding struct{ Check, Status, Detail, Remedy string }

// check runs check, which must end with the code, and returns its findings.
func (b *bench) check(code int) []finding {
	b.Helper()
	o := b.run("check", "-o", "json")
	var list []finding
	if err := json.Unmarshal([]byte(o.stdout), &list); err != nil || o.code != code {
		b.Fatalf("check: exit code %d, want %d; %v", o.code, code, err)
	}
	return list
}

// found returns the first finding of a check that holds the text.
func found(list []finding, check, text string) finding {
	for _, f := range list {
		if f.Check == check && strings.Contains(f.Detail, text) {
			return f
		}
	}
	return finding{}
}

// TestCheckNamesLeftovers puts an orphan and the journals of a killed create and
// a killed delete on the blockhost volume. check names each with what helps,
// removes none, and leaves no mount.
func TestCheckNamesLeftovers(t *testing.T) {
	b := newBench(t)
	blockhost := "blockhost " + b.lab.HostingVolume
	const orphan = "3f0e8c1a-52ab-4dd0-9f83-6a7a2f6e9a10"
	b.script(`
cd "$1"
printf 'VOLUME: %s\nGBID: 11111111-2222-3333-4444-555555555555\nHA: 1\nENTRYCREATE: INPROGRESS\n' "$2" > block-meta/killedcreate
printf 'VOLUME: %s\nGBID: 11111111-2222-3333-4444-666666666666\nHA: 1\nENTRYCREATE: INPROGRESS\nSIZE: 4096\nENTRYCREATE: SUCCESS\n%s: CLEANUPINPROGRESS\n' "$2" "$3" > block-meta/killeddelete
truncate -s 4096 "block-store/$4"`, b.lab.GuestMount(), b.lab.HostingVolume, b.lab.Address, orphan)
	remove := func() {
		b.script(`cd "$1" && rm -f block-meta/killedcreate block-meta/killeddelete "block-store/$2"`, b.lab.GuestMount(), orphan)
	}
	defer remove()

	list := b.check(0)
	for detail, remedy := range map[string]string{
		"block-meta/killedcreate": "gluster-block delete " + b.lab.HostingVolume + "/killedcreate",
		"block-meta/killeddelete": "gluster-block delete " + b.lab.HostingVolume + "/killeddelete",
		orphan:                    "storage " + orphan,
	} {
		if f := found(list, blockhost, detail); f.Status != "warn" || !strings.Contains(f.Remedy, remedy) {
			t.Errorf("%s: finding %+v, want a warning with %q", detail, f, remedy)
		}
	}
	if f := found(list, blockhost, "3 images, 3 of them healthy"); f.Status != "ok" {
		t.Errorf("no count of the lab's images: %+v", list)
	}
	if f := found(list, "sessions on "+b.lab.Address, "configfs"); f.Status != "ok" {
		t.Errorf("the exporting host was not asked: %+v", list)
	}
	b.assertNoMounts()
	b.script(`cd "$1" && ls block-meta/killedcreate block-meta/killeddelete "block-store/$2"`, b.lab.GuestMount(), orphan)
}

// TestCheckGoesOnWithoutBackupDisk has a disk that is not mounted: the rest is
// checked all the same.
func TestCheckGoesOnWithoutBackupDisk(t *testing.T) {
	b := newBench(t)
	b.configure(replaced(b.disk, b.TempDir()))
	list := b.check(10)
	if f := found(list, "BackupDisk", ""); f.Status != "fail" || f.Remedy == "" {
		t.Errorf("BackupDisk: %+v", f)
	}
	if f := found(list, "blockhost "+b.lab.HostingVolume, "images"); f.Status != "ok" {
		t.Errorf("blockhost volume: %+v", list)
	}
}

// TestKilledCheckIsTidied kills a check while it has the blockhost volume
// mounted. The next command takes the mount away.
func TestKilledCheckIsTidied(t *testing.T) {
	b := newBench(t)
	cmd := b.command("check")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	b.await("look at the blockhost volume", func() bool { return len(b.mounts()) > 0 })
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // It was killed on purpose.
	if len(b.mounts()) == 0 {
		t.Fatal("the check had given its mount back already")
	}
	b.backup("media/docs")
	b.assertNoMounts()
}
