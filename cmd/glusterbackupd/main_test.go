package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/glusterbackupd/glusterbackupd/blockstore"
	"github.com/glusterbackupd/glusterbackupd/catalog"
	"github.com/glusterbackupd/glusterbackupd/config"
	"github.com/glusterbackupd/glusterbackupd/daemon"
	"github.com/glusterbackupd/glusterbackupd/heketi"
	"github.com/glusterbackupd/glusterbackupd/kube"
	"github.com/glusterbackupd/glusterbackupd/runner"
)

// invocation is how one command line ended.
type invocation struct {
	code        int
	out, errout string
}

// invoke runs a command line in-process, without a terminal.
func invoke(t *testing.T, args ...string) invocation {
	t.Helper()
	var out, errout bytes.Buffer
	code := execute(t.Context(), args, stdio{strings.NewReader(""), &out, &errout})
	return invocation{code, out.String(), errout.String()}
}

// setup writes a configuration with one listed volume, and returns its path
// and that of the BackupDisk, which is not initialised.
func setup(t *testing.T) (file, disk string) {
	t.Helper()
	dir := t.TempDir()
	disk = filepath.Join(dir, "disk")
	if err := os.Mkdir(disk, 0o700); err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(dir, "config.toml")
	text := fmt.Sprintf(`
[destination]
path = %q
[gluster]
transport = "local"
hosts = ["localhost"]
mount_dir = %q
[gluster.local]
command = ["/nonexistent/gluster"]
[[volumes]]
claim = "files/docs"
volume = "docs"
`, disk, filepath.Join(dir, "mnt"))
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file, disk
}

// docs is the claim that the configuration lists.
var docs = catalog.Key{Namespace: "files", Claim: "docs"}

// hold locks parts of the BackupDisk as another process does, until the returned
// function is called or the test ends.
func hold(t *testing.T, disk, command string, scopes ...catalog.Scope) (release func()) {
	t.Helper()
	r, err := catalog.Open(disk, catalog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	lock, err := r.Lock(command, scopes...)
	if err != nil {
		t.Fatal(err)
	}
	release = func() {
		if err := lock.Release(); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(release)
	return release
}

// publish puts a backup of docs with one file on the BackupDisk.
func publish(t *testing.T, disk string, at time.Time) catalog.Backup {
	t.Helper()
	return publishOf(t, disk, docs, at)
}

func publishOf(t *testing.T, disk string, k catalog.Key, at time.Time) catalog.Backup {
	t.Helper()
	r, err := catalog.Open(disk, catalog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	lock, err := r.Lock("test", catalog.ClaimScope(k))
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Release()
	s, err := r.Begin(k, at)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(s.Data(), "letter"), []byte("dear admin"), 0o600); err != nil {
		t.Fatal(err)
	}
	b, err := s.Publish(t.Context(), catalog.Info{Kind: catalog.KindFile, Volume: "docs"}, catalog.PublishOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestExitCodes(t *testing.T) {
	tests := map[string]struct {
		err  error
		want exitCode
	}{
		"done":          {nil, exitDone},
		"anything":      {errors.New("x"), exitFailed},
		"usage":         {usagef("x"), exitUsage},
		"config":        {&config.Faults{}, exitUsage},
		"image name":    {fmt.Errorf("x: %w", blockstore.ErrName), exitUsage},
		"claim name":    {fmt.Errorf("x: %w", catalog.ErrKey), exitUsage},
		"date":          {fmt.Errorf("x: %w", catalog.ErrTime), exitUsage},
		"partly":        {fmt.Errorf("1 of 2: %w", errPartly), exitPartly},
		"no backup":     {&catalog.NoBackupError{}, exitNoMatch},
		"no claim":      {fmt.Errorf("x: %w", kube.ErrNoClaim), exitNoMatch},
		"not listed":    {&daemon.UnknownError{}, exitNoMatch},
		"not in Heketi": {&daemon.NoImageError{Err: heketi.ErrNotFound}, exitNoMatch},
		"not mounted":   {&catalog.NotRepositoryError{}, exitNoDisk},
		"locked":        {&catalog.LockedError{}, exitLocked},
		"damaged":       {&catalog.DamageError{}, exitDamage},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := codeOf(t.Context(), tt.err); got != tt.want {
				t.Errorf("exit code %d, want %d", got, tt.want)
			}
		})
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if got := codeOf(over, errors.New("x")); got != exitInterrupted {
		t.Errorf("interrupted: exit code %d", got)
	}
}

func TestUsage(t *testing.T) {
	file, _ := setup(t)
	for _, args := range [][]string{
		{"backup"},
		{"backup", "--all", "files/docs"},
		{"backup", "no-slash"},
		{"restore"},
		{"restore", "a/b", "c/d"},
		{"restore-block"},
		{"list", "--no-such-flag"},
		{"list", "-o", "yaml"},
		{"config", "check", "x"},
	} {
		got := invoke(t, append([]string{"--config", file}, args...)...)
		if got.code != int(exitUsage) && args[0] != "backup" || got.code == 0 {
			t.Errorf("%v: exit code %d, %s", args, got.code, got.errout)
		}
		if !strings.HasPrefix(got.errout, "error: ") || got.out != "" {
			t.Errorf("%v prints %q and %q", args, got.out, got.errout)
		}
	}
}

func TestBackupDiskMustBeInitialised(t *testing.T) {
	file, disk := setup(t)
	for _, args := range [][]string{{"list"}, {"backup", "--all"}, {"restore", "files/docs", "--yes"}, {"check"}} {
		got := invoke(t, append([]string{"--config", file}, args...)...)
		if got.code != int(exitNoDisk) || !strings.Contains(got.errout, "remedy: ") {
			t.Errorf("%v: exit code %d, %s", args, got.code, got.errout)
		}
	}
	left, err := os.ReadDir(disk)
	if err != nil || len(left) > 0 {
		t.Errorf("something was written to a folder that is no BackupDisk: %v, %v", left, err)
	}
	if got := invoke(t, "--config", file, "init"); got.code != 0 {
		t.Fatalf("init: %+v", got)
	}
	if got := invoke(t, "--config", file, "init"); got.code == 0 {
		t.Error("a second init succeeds")
	}
}

// TestCheckGoesOnWithoutBackupDisk: a missing disk is one finding among the
// others, and decides the exit code.
func TestCheckGoesOnWithoutBackupDisk(t *testing.T) {
	file, _ := setup(t)
	got := invoke(t, "--config", file, "check", "-o", "json")
	var list []finding
	if err := json.Unmarshal([]byte(got.out), &list); err != nil || got.code != int(exitNoDisk) {
		t.Fatalf("check: %v, %+v", err, got)
	}
	status := map[string]finding{}
	for _, f := range list {
		status[f.Check] = f
	}
	if f := status["BackupDisk"]; f.Status != "fail" || f.Remedy == "" {
		t.Errorf("BackupDisk: %+v", f)
	}
	if f := status["claims"]; f.Status != "ok" || f.Detail != "1 covered" {
		t.Errorf("claims: %+v", f)
	}
	if _, asked := status["volume docs"]; !asked {
		t.Errorf("the volume was not asked: %+v", list)
	}
	invoke(t, "--config", file, "init")
	if got := invoke(t, "--config", file, "check"); got.code != int(exitFailed) {
		t.Errorf("with the BackupDisk, and without Gluster: %+v", got)
	}
}

// TestCheckNamesWhatIsOnABlockhostVolume is what is printed of each oddity.
func TestCheckNamesWhatIsOnABlockhostVolume(t *testing.T) {
	var c checker
	c.oddities("blockhost vol_a", "vol_a", blockstore.Listing{
		Incomplete: []blockstore.IncompleteError{{Name: "killed", Volume: "vol_a", State: blockstore.StateDeleting}},
		Orphans:    []blockstore.Orphan{{Path: "block-store/old.img", Size: 5, Links: 1}},
		Problems:   []blockstore.Problem{{Name: "torn", Err: &blockstore.JournalError{Name: "torn", Reason: "odd"}}},
	})
	wants := [][2]string{{"block-meta/killed", "gluster-block delete vol_a/killed"}, {"block-store/old.img", "vol_a"}, {"torn", "gluster-block info"}}
	if len(c.list) != len(wants) || c.failed {
		t.Fatalf("findings %+v", c.list)
	}
	for i, f := range c.list {
		if f.Check != "blockhost vol_a" || f.Status != "warn" || !strings.Contains(f.Detail, wants[i][0]) || !strings.Contains(f.Remedy, wants[i][1]) {
			t.Errorf("finding %+v, want %q and %q", f, wants[i][0], wants[i][1])
		}
	}
}

func TestListAndRestoreToFolder(t *testing.T) {
	file, disk := setup(t)
	invoke(t, "--config", file, "init")
	if got := invoke(t, "--config", file, "list", "files/docs"); got.code != int(exitNoMatch) {
		t.Errorf("list of a claim without backups: %+v", got)
	}
	first := publish(t, disk, time.Date(2018, 12, 2, 0, 0, 0, 0, time.UTC))
	publish(t, disk, time.Date(2018, 12, 3, 0, 0, 0, 0, time.UTC))

	got := invoke(t, "--config", file, "list", "-o", "json")
	var list []backupOutput
	if err := json.Unmarshal([]byte(got.out), &list); err != nil || len(list) != 2 || list[0].ID != first.ID || list[0].Files != 1 {
		t.Errorf("list: %v, %+v", err, got)
	}
	to := filepath.Join(t.TempDir(), "to")
	got = invoke(t, "--config", file, "restore", "files/docs", "--at", "20181202", "--to", to)
	if got.code != int(exitUsage) || !strings.Contains(got.errout, "--yes") {
		t.Errorf("a restore without terminal and --yes: %+v", got)
	}
	got = invoke(t, "--config", file, "restore", "files/docs", "--to", to, "--dry-run")
	if _, err := os.Stat(to); got.code != 0 || err == nil {
		t.Errorf("a dry run made the folder: %+v", got)
	}
	got = invoke(t, "--config", file, "restore", "files/docs", "--at", "20181202", "--to", to, "--yes")
	if got.code != 0 {
		t.Fatalf("restore: %+v", got)
	}
	if content, err := os.ReadFile(filepath.Join(to, "letter")); err != nil || string(content) != "dear admin" {
		t.Errorf("restored %q, %v", content, err)
	}
}

// TestLocked runs commands while another process works on the volume or the
// claim: they are refused, and told by whom. While it works on something else,
// they go on, here until they meet that there is no Gluster.
func TestLocked(t *testing.T) {
	other := catalog.ClaimScope(catalog.Key{Namespace: "files", Claim: "other"})
	tests := map[string]struct {
		held []catalog.Scope
		args []string
		code exitCode
	}{
		"backup of the volume":         {[]catalog.Scope{catalog.VolumeScope("docs")}, []string{"backup", "files/docs"}, exitLocked},
		"backup of the claim":          {[]catalog.Scope{catalog.ClaimScope(docs)}, []string{"backup", "--all"}, exitLocked},
		"backup of something else":     {[]catalog.Scope{catalog.VolumeScope("other"), other}, []string{"backup", "files/docs"}, exitFailed},
		"restore to the volume":        {[]catalog.Scope{catalog.VolumeScope("docs")}, []string{"restore", "files/docs", "--yes"}, exitLocked},
		"restore from the claim":       {[]catalog.Scope{catalog.ClaimScope(docs)}, []string{"restore", "files/docs", "--yes"}, exitLocked},
		"restore beside something":     {[]catalog.Scope{catalog.VolumeScope("other"), other}, []string{"restore", "files/docs", "--yes"}, exitFailed},
		"plan of a restore":            {[]catalog.Scope{catalog.VolumeScope("docs"), catalog.ClaimScope(docs)}, []string{"restore", "files/docs", "--dry-run"}, exitFailed},
		"restore to a folder":          {[]catalog.Scope{catalog.VolumeScope("docs"), catalog.ClaimScope(docs)}, []string{"restore", "files/docs", "--yes", "--to", t.TempDir()}, exitDone},
		"list":                         {nil, []string{"list"}, exitDone},
		"backup beside the whole disk": {nil, []string{"backup", "files/docs"}, exitLocked},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // Each waits some seconds for its lock.
			file, disk := setup(t)
			invoke(t, "--config", file, "init")
			publish(t, disk, time.Date(2018, 12, 2, 0, 0, 0, 0, time.UTC))
			hold(t, disk, "the other command", tt.held...)
			got := invoke(t, append([]string{"--config", file}, tt.args...)...)
			if got.code != int(tt.code) {
				t.Errorf("exit code %d, want %d: %s", got.code, tt.code, got.errout)
			}
			if (tt.code == exitLocked) != strings.Contains(got.errout, `locked by "the other command", process `) {
				t.Errorf("error %s", got.errout)
			}
		})
	}
}

func TestConfigCommands(t *testing.T) {
	file, _ := setup(t)
	if got := invoke(t, "--config", file, "config", "check"); got.code != 0 || !strings.Contains(got.out, "is valid") {
		t.Errorf("check: %+v", got)
	}
	shown := invoke(t, "--config", file, "config", "show")
	if shown.code != 0 || !strings.Contains(shown.out, `timeout = "4h"`) {
		t.Errorf("show lacks defaults: %+v", shown)
	}
	if err := os.WriteFile(file, []byte("[backup]\nparalel = 2\n"), 0o600); err != nil { //nolint:misspell // The fault is the misspelling.
		t.Fatal(err)
	}
	got := invoke(t, "--config", file, "config", "check")
	if got.code != int(exitUsage) || !strings.Contains(got.errout, "config.toml:2") {
		t.Errorf("a misspelt key: %+v", got)
	}
}

func TestVersionAndCompletion(t *testing.T) {
	if got := invoke(t, "version"); got.code != 0 || !strings.HasPrefix(got.out, "glusterbackupd ") {
		t.Errorf("version: %+v", got)
	}
	for _, shell := range []string{"bash", "zsh", "fish"} {
		if got := invoke(t, "completion", shell); got.code != 0 || !strings.Contains(got.out, "glusterbackupd") {
			t.Errorf("completion %s: exit code %d", shell, got.code)
		}
	}
}

func TestLocalTransportAsksNoOtherHost(t *testing.T) {
	g := config.Default().Gluster
	g.Transport = config.TransportLocal
	p, err := newPools(&config.Config{Gluster: g}, runner.NewLocal(runner.LocalOptions{}), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if !isThisHost("localhost") || isThisHost("192.0.2.1") {
		t.Errorf("localhost is this host: %v; 192.0.2.1: %v", isThisHost("localhost"), isThisHost("192.0.2.1"))
	}
	_, err = p.connect("192.0.2.1").Run(t.Context(), "true")
	if err == nil || !strings.Contains(err.Error(), "192.0.2.1") || remedyOf(err) == "" {
		t.Errorf("another host was asked on this one: %v", err)
	}
}

func TestRemedyIsTheOutermostOneThatKnows(t *testing.T) {
	inner := &catalog.LockedError{}
	tests := map[string]struct {
		err  error
		want string
	}{
		"wrapped":        {fmt.Errorf("x: %w", remedied{errors.New("y"), "do z"}), "do z"},
		"joined":         {errors.Join(errors.New("x"), remedied{errors.New("y"), "do z"}), "do z"},
		"empty, go on":   {remedied{fmt.Errorf("x: %w", inner), ""}, inner.Remedy()},
		"nobody knows":   {errors.New("x"), ""},
		"outermost wins": {remedied{inner, "do z"}, "do z"},
	}
	for name, tt := range tests {
		if got := remedyOf(tt.err); got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}
