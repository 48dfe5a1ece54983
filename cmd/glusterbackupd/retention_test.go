package main

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/glusterbackupd/glusterbackupd/catalog"
)

// december returns noon of a day in Amsterdam. The day is long ago, which is why
// prune has to be told to trust the clock.
func december(day int) time.Time { return time.Date(2018, 12, day, 11, 0, 0, 0, time.UTC) }

// withRetention is setup with an initialised BackupDisk, and with sections
// added to the configuration.
func withRetention(t *testing.T, sections string) (file, disk string) {
	t.Helper()
	file, disk = setup(t)
	text, err := os.ReadFile(file)
	if err == nil {
		err = os.WriteFile(file, append(text, sections...), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	if got := invoke(t, "--config", file, "init"); got.code != 0 {
		t.Fatalf("init: %+v", got)
	}
	return file, disk
}

const lastTwo = "[retention]\nlast = 2\ndaily = 0\nweekly = 0\nmonthly = 0\n"

// listed returns the IDs of the backups that list shows.
func listed(t *testing.T, file string) (ids []string) {
	t.Helper()
	got := invoke(t, "--config", file, "list", "-o", "json")
	var list []backupOutput
	if err := json.Unmarshal([]byte(got.out), &list); err != nil || got.code != 0 {
		t.Fatalf("list: %v, %+v", err, got)
	}
	for _, b := range list {
		ids = append(ids, b.ID)
	}
	return ids
}

func wantListed(t *testing.T, file string, want ...string) {
	t.Helper()
	if got := listed(t, file); !slices.Equal(got, want) {
		t.Errorf("listed are %q, want %q", got, want)
	}
}

// pruned runs prune and returns what it says, by ID.
func pruned(t *testing.T, args ...string) (map[string]string, invocation) {
	t.Helper()
	got := invoke(t, append(args, "-o", "json")...)
	var rows []pruneOutput
	if err := json.Unmarshal([]byte(got.out), &rows); err != nil {
		t.Fatalf("%v: %+v", err, got)
	}
	actions := map[string]string{}
	for _, o := range rows {
		actions[o.ID] = o.Action + ": " + strings.Join(o.Reasons, ", ")
	}
	return actions, got
}

func TestPrune(t *testing.T) {
	file, disk := withRetention(t, lastTwo)
	var ids []string
	for day := 1; day <= 4; day++ {
		ids = append(ids, publish(t, disk, december(day)).ID)
	}
	if got := invoke(t, "--config", file, "protect", "files/docs", "--at", "20181201"); got.code != 0 {
		t.Fatalf("protect: %+v", got)
	}
	if got := invoke(t, "--config", file, "list"); !strings.Contains(got.out, "PROTECTED") || strings.Count(got.out, "yes") != 1 {
		t.Errorf("list shows no or another protection: %+v", got)
	}
	var shown []backupOutput
	if got := invoke(t, "--config", file, "list", "-o", "json"); json.Unmarshal([]byte(got.out), &shown) != nil || !shown[0].Protected || shown[1].Protected {
		t.Errorf("list -o json: %+v", got)
	}
	want := []string{"keep: protected", "remove: not among the last 2", "keep: last 2: 2nd", "keep: last 2: 1st"}
	for _, dry := range [][]string{{"prune", "--trust-clock", "--dry-run"}, {"prune", "--trust-clock", "files/docs", "--dry-run"}} {
		plan, got := pruned(t, append([]string{"--config", file}, dry...)...)
		for i, id := range ids {
			if got.code != 0 || len(plan) != len(ids) || plan[id] != want[i] {
				t.Errorf("%v: %s is %q, want %q: %+v", dry, id, plan[id], want[i], got)
			}
		}
		wantListed(t, file, ids...)
	}
	done, got := pruned(t, "--config", file, "prune", "--trust-clock")
	if got.code != 0 || done[ids[1]] != "removed: not among the last 2" || done[ids[2]] != want[2] {
		t.Errorf("prune: %v, %+v", done, got)
	}
	wantListed(t, file, ids[0], ids[2], ids[3])
	if got := invoke(t, "--config", file, "unprotect", "files/docs", "--at", ids[0]); got.code != 0 || !strings.Contains(got.out, "unprotected") {
		t.Errorf("unprotect: %+v", got)
	}
	got = invoke(t, "--config", file, "prune", "--trust-clock")
	if line := strings.Join(strings.Fields(got.out), " "); got.code != 0 || !strings.Contains(line, "CLAIM BACKUP ACTION REASON files/docs "+ids[0]+" removed") {
		t.Errorf("prune: %+v", got)
	}
	wantListed(t, file, ids[2], ids[3])
}

// TestPruneInTheZone shows that the days are those of [backup] timezone.
func TestPruneInTheZone(t *testing.T) {
	for zone, want := range map[string]int{"UTC": 2, "Europe/Amsterdam": 1} {
		file, disk := withRetention(t, "[retention]\nlast = 0\nweekly = 0\nmonthly = 0\n[backup]\ntimezone = \""+zone+"\"\n")
		publish(t, disk, time.Date(2018, 12, 1, 23, 30, 0, 0, time.UTC))
		publish(t, disk, time.Date(2018, 12, 2, 22, 30, 0, 0, time.UTC))
		if got := invoke(t, "--config", file, "prune", "--trust-clock"); got.code != 0 || len(listed(t, file)) != want {
			t.Errorf("%s: %+v", zone, got)
		}
	}
}

func TestPruneRefusesWrongClock(t *testing.T) {
	file, disk := withRetention(t, lastTwo)
	for day := 1; day <= 3; day++ {
		publish(t, disk, december(day))
	}
	publish(t, disk, time.Now().Add(48*time.Hour))
	for _, args := range [][]string{{"prune"}, {"prune", "--dry-run"}, {"prune", "--trust-clock"}} {
		got := invoke(t, append([]string{"--config", file}, args...)...)
		if got.code != int(exitFailed) || !strings.Contains(got.errout, "clock") || !strings.Contains(got.errout, "remedy: ") {
			t.Errorf("%v: %+v", args, got)
		}
	}
	if got := listed(t, file); len(got) != 4 {
		t.Errorf("left are %q", got)
	}
}

// TestPruneRefusesJump prunes nothing when the newest backups follow a long gap,
// and everything once they span a day or the admin says that the clock is right.
func TestPruneRefusesJump(t *testing.T) {
	file, disk := withRetention(t, lastTwo)
	for day := 1; day <= 3; day++ {
		publish(t, disk, december(day))
	}
	now := time.Now()
	publish(t, disk, now.Add(-2*time.Hour))
	for _, args := range [][]string{{"prune"}, {"prune", "--dry-run"}} {
		plan, got := pruned(t, append([]string{"--config", file}, args...)...)
		if got.code != int(exitFailed) || !strings.Contains(got.errout, "may have jumped") || !strings.Contains(got.errout, "--trust-clock") {
			t.Errorf("%v: %+v", args, got)
		}
		if want := "keep: the clock may have jumped, not among the last 2"; plan["20181201T110000Z"] != want || len(listed(t, file)) != 4 {
			t.Errorf("%v: %v", args, plan)
		}
	}
	if got := invoke(t, "--config", file, "prune", "--trust-clock"); got.code != 0 || len(listed(t, file)) != 2 {
		t.Errorf("trusted: %+v", got)
	}
	publish(t, disk, now.Add(-26*time.Hour))
	publish(t, disk, now.Add(-time.Hour))
	if got := invoke(t, "--config", file, "prune"); got.code != 0 || len(listed(t, file)) != 2 {
		t.Errorf("after a day: %+v", got)
	}
}

// TestPruneGoesOn prunes a claim although another one has nothing to prune.
func TestPruneGoesOn(t *testing.T) {
	file, disk := withRetention(t, lastTwo)
	for day := 1; day <= 3; day++ {
		publish(t, disk, december(day))
	}
	got := invoke(t, "--config", file, "prune", "--trust-clock", "no/such", "files/docs")
	if got.code != int(exitPartly) || !strings.Contains(got.errout, "no/such") || len(listed(t, file)) != 2 {
		t.Errorf("one of two: %+v", got)
	}
	if got := invoke(t, "--config", file, "prune", "no/such"); got.code != int(exitNoMatch) {
		t.Errorf("the only one: %+v", got)
	}
}

// TestPruneLock needs the lock of a claim only to remove its backups, and goes on
// with those that nobody works on.
func TestPruneLock(t *testing.T) {
	file, disk := withRetention(t, lastTwo)
	for day := 1; day <= 3; day++ {
		publish(t, disk, december(day))
		publishOf(t, disk, catalog.Key{Namespace: "files", Claim: "more"}, december(day))
	}
	release := hold(t, disk, "restore", catalog.ClaimScope(docs))
	for _, tt := range []struct {
		code exitCode
		args []string
	}{
		{exitDone, []string{"prune", "--trust-clock", "--dry-run"}},
		{exitLocked, []string{"prune", "--trust-clock", "files/docs"}},
		{exitPartly, []string{"prune", "--trust-clock"}},
		{exitDone, []string{"verify"}},
		{exitLocked, []string{"protect", "files/docs", "--at", "latest"}},
		{exitLocked, []string{"unprotect", "files/docs", "--at", "latest"}},
		{exitDone, []string{"protect", "files/more", "--at", "latest"}},
	} {
		got := invoke(t, append([]string{"--config", file}, tt.args...)...)
		if got.code != int(tt.code) {
			t.Errorf("%v: %+v", tt.args, got)
		}
		refused := tt.code == exitLocked || tt.code == exitPartly
		if refused != strings.Contains(got.errout, `claim files/docs is locked by "restore", process `) {
			t.Errorf("%v: %s", tt.args, got.errout)
		}
	}
	if got := listed(t, file); len(got) != 3+2 {
		t.Errorf("listed are %q", got)
	}
	release()
	if got := invoke(t, "--config", file, "prune", "--trust-clock"); got.code != 0 || len(listed(t, file)) != 2+2 {
		t.Errorf("prune: %+v", got)
	}
}

// TestPruneEmptiesTheTrash goes on with what a prune that was ended left.
func TestPruneEmptiesTheTrash(t *testing.T) {
	file, disk := withRetention(t, lastTwo)
	b := publish(t, disk, december(1))
	trash := filepath.Join(filepath.Dir(b.Dir), ".trash-20181201T000000Z-0011aabb")
	if err := os.Mkdir(trash, 0o700); err != nil {
		t.Fatal(err)
	}
	if got := invoke(t, "--config", file, "prune", "--trust-clock"); got.code != 0 {
		t.Errorf("prune: %+v", got)
	}
	if _, err := os.Stat(trash); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("trash: %v", err)
	}
	wantListed(t, file, b.ID)
}

func TestProtectUsage(t *testing.T) {
	file, disk := withRetention(t, "")
	publish(t, disk, december(1))
	for code, args := range map[exitCode][]string{
		exitUsage: {"protect", "files/docs"}, exitNoMatch: {"unprotect", "files/docs", "--at", "2017"}, exitDone: {"protect", "files/docs", "--at", "2018"},
	} {
		if got := invoke(t, append([]string{"--config", file}, args...)...); got.code != int(code) {
			t.Errorf("%v: %+v", args, got)
		}
	}
}

// flip changes one byte of a file and leaves its times alone.
func flip(t *testing.T, path string) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	content[len(content)/2] ^= 1
	if err := errors.Join(os.WriteFile(path, content, 0o600), os.Chtimes(path, info.ModTime(), info.ModTime())); err != nil {
		t.Fatal(err)
	}
}

func TestVerifyCommand(t *testing.T) {
	file, disk := withRetention(t, "")
	for args, code := range map[string]exitCode{
		"verify": exitDone, "verify files/docs": exitNoMatch, "verify --at latest": exitUsage, "verify --against-source": exitUsage, "verify files/docs --at noon": exitUsage,
	} {
		if got := invoke(t, append([]string{"--config", file}, strings.Fields(args)...)...); got.code != int(code) {
			t.Errorf("%s without backups: %+v", args, got)
		}
	}
	var made []catalog.Backup
	for day := 1; day <= 5; day++ {
		made = append(made, publish(t, disk, december(day)))
	}
	if got := invoke(t, "--config", file, "verify"); got.code != 0 || strings.Count(got.out, "intact") != 5 || !strings.Contains(got.errout, "verify "+made[4].ID) {
		t.Errorf("verify: %+v", got)
	}
	if got := invoke(t, "--config", file, "verify", "files/docs", "--at", "latest"); got.code != 0 || strings.Count(got.out, "files/docs") != 1 {
		t.Errorf("verify of the latest: %+v", got)
	}
	flip(t, filepath.Join(made[0].DataDir(), "letter"))
	flip(t, filepath.Join(made[2].DataDir(), "letter"))
	if err := os.Remove(filepath.Join(made[4].Dir, "backup.json")); err != nil {
		t.Fatal(err)
	}
	got := invoke(t, "--config", file, "verify")
	if got.code != int(exitDamage) || strings.Count(got.out, "intact") != 2 || strings.Count(got.out, resultDamaged) != 3 ||
		strings.Count(got.out, `"letter" content`) != 2 {
		t.Errorf("verify: %+v", got)
	}
	for _, part := range []string{made[0].ID, made[2].ID, made[4].ID, `"letter" content`, "backup.json", "remedy: ", "3 of 5 backups: damaged"} {
		if !strings.Contains(got.errout, part) {
			t.Errorf("verify does not say %q: %s", part, got.errout)
		}
	}
	for at, code := range map[string]exitCode{
		"20181202": exitDone, made[2].ID: exitDamage, made[4].ID: exitDamage, "2017": exitNoMatch,
	} {
		if got := invoke(t, "--config", file, "verify", "files/docs", "--at", at); got.code != int(code) {
			t.Errorf("verify --at %s: %+v", at, got)
		}
	}
	checkVerifyJSON(t, file, made)
}

func checkVerifyJSON(t *testing.T, file string, made []catalog.Backup) {
	t.Helper()
	got := invoke(t, "--config", file, "verify", "files/docs", "-o", "json")
	var rows []verifyOutput
	if err := json.Unmarshal([]byte(got.out), &rows); err != nil || len(rows) != 5 {
		t.Fatalf("%v: %+v", err, got)
	}
	for _, o := range rows {
		damaged := o.ID == made[0].ID || o.ID == made[2].ID
		if !damaged {
			continue
		}
		if o.Result != resultDamaged || o.Total != 1 || o.Differences[0].Path != "letter" || o.Error == "" {
			t.Errorf("row %+v", o)
		}
	}
}
