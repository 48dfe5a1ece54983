package main

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/glusterbackupd/glusterbackupd/catalog"
	"github.com/glusterbackupd/glusterbackupd/config"
	"github.com/glusterbackupd/glusterbackupd/daemon"
	"github.com/glusterbackupd/glusterbackupd/kube"
)

// manager plays the service manager: it hears what the daemon says of itself.
type manager struct {
	*testing.T
	conn  net.PacketConn
	heard []string
}

func newManager(t *testing.T) *manager {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	conn, err := (&net.ListenConfig{}).ListenPacket(t.Context(), "unixgram", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	t.Setenv("NOTIFY_SOCKET", path)
	return &manager{T: t, conn: conn}
}

// await returns the next message that holds the text.
func (m *manager) await(text string) string {
	m.Helper()
	if err := m.conn.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		m.Fatal(err)
	}
	for buffer := make([]byte, 4096); ; {
		n, _, err := m.conn.ReadFrom(buffer)
		if err != nil {
			m.Fatalf("no %q: %v; heard %q", text, err, m.heard)
		}
		m.heard = append(m.heard, string(buffer[:n]))
		if strings.Contains(string(buffer[:n]), text) {
			return string(buffer[:n])
		}
	}
}

// TestRunReloads starts the daemon, reloads a faulty configuration, one that
// needs a restart and a good one, and stops it.
func TestRunReloads(t *testing.T) {
	m := newManager(t)
	file, _ := setup(t)
	if got := invoke(t, "init", "--config", file); got.code != 0 {
		t.Fatal(got.errout)
	}
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	write := func(more string) {
		text := more + "\n[backup]\nschedule = \"0 0 1 1 *\"\nfirst_backup = \"0s\"\n" + string(good)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	reload := func(more string) string {
		t.Helper()
		write(more)
		if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		m.await("RELOADING=1")
		said := len(m.heard)
		m.await("READY=1")
		status := ""
		for _, message := range m.heard[said:] {
			if strings.HasPrefix(message, "STATUS=") {
				status = message
			}
		}
		return status
	}
	write("[metrics]\nlisten = \"\"")
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan int)
	go func() {
		ended <- execute(ctx, []string{"run", "--config", file}, stdio{strings.NewReader(""), t.Output(), t.Output()})
	}()
	m.await("READY=1")
	m.await("STATUS=1 claims covered")

	const nothing = "[metrics]\nlisten = \"\"\n"
	if got := reload(nothing + "[limits]\npool_data = 900\n"); !strings.HasPrefix(got, "STATUS=bad configuration was not loaded") || !strings.Contains(got, "pool_data") || !strings.Contains(got, "1 claims covered") {
		t.Errorf("after a faulty file: %q", got)
	}
	if got := reload("[metrics]\nlisten = \"127.0.0.1:1\""); !strings.Contains(got, "after a restart only: [metrics]; 1 claims covered") {
		t.Errorf("after a file that needs a restart: %q", got)
	}
	if got := reload(nothing); !strings.HasPrefix(got, "STATUS=1 claims covered") {
		t.Errorf("after a good file: %q", got)
	}
	stop()
	m.await("STOPPING=1")
	if code := <-ended; code != 0 {
		t.Errorf("exit code %d", code)
	}
}

func TestNeedRestart(t *testing.T) {
	for want, change := range map[string]func(*config.Config){
		"":                    func(c *config.Config) { c.Backup.Retries, c.Limits.PoolData, c.Retention.Last = 9, 9, 9 },
		"[destination]":       func(c *config.Config) { c.Destination.Path = "/another" },
		"[kubernetes]":        func(c *config.Config) { c.Kubernetes = &config.Kubernetes{} },
		"[heketi]":            func(c *config.Config) { c.Heketi = &config.Heketi{URL: "http://another"} },
		"[gluster]":           func(c *config.Config) { c.Gluster.Hosts = []string{"another"} },
		"[copy]":              func(c *config.Config) { c.Copy.BandwidthLimit = 1 },
		"[[volumes]]":         func(c *config.Config) { c.Volumes = nil },
		"[metrics]":           func(c *config.Config) { c.Metrics.Listen = "another:1" },
		"[limits] pool_check": func(c *config.Config) { c.Limits.PoolCheck = 1 },
		"[log]":               func(c *config.Config) { c.Log.Level = "debug" },
	} {
		t.Run(want, func(t *testing.T) {
			file, _ := setup(t)
			g := &globals{config: file}
			old, err := g.load()
			if err != nil {
				t.Fatal(err)
			}
			now := *old
			change(&now)
			if got := strings.Join(needRestart(old, &now), ", "); got != want {
				t.Errorf("%q need a restart, want %q", got, want)
			}
		})
	}
}

func TestEventOf(t *testing.T) {
	boom := errors.New("boom")
	down := daemon.Candidate{Coverage: daemon.NotCovered, Reason: "brick is down", Faults: []string{"one", "two"}}
	tests := map[string]struct {
		notice  daemon.Notice
		reason  string
		kind    kube.EventType
		message string
	}{
		"made, which is no event":   {notice: daemon.Notice{Kind: daemon.NoticeDone}},
		"ready":                     {notice: daemon.Notice{Kind: daemon.NoticeReady}},
		"skipped":                   {notice: daemon.Notice{Kind: daemon.NoticeSkipped}},
		"gone":                      {notice: daemon.Notice{Kind: daemon.NoticeGone}},
		"made after a failure":      {daemon.Notice{Kind: daemon.NoticeRecovered, Result: daemon.Result{Backup: catalog.Backup{ID: "B"}}}, "BackupRecovered", kube.Normal, "backup B was made after a failure"},
		"failed":                    {daemon.Notice{Kind: daemon.NoticeFailed, Err: boom}, "BackupFailed", kube.Warning, "boom"},
		"tried again":               {notice: daemon.Notice{Kind: daemon.NoticeRetry, Err: boom}},
		"tried again, not covered":  {daemon.Notice{Kind: daemon.NoticeRetry, Err: daemon.ErrNotCovered}, "NotCovered", kube.Warning, "not covered because " + daemon.ErrNotCovered.Error()},
		"failed, not covered":       {daemon.Notice{Kind: daemon.NoticeFailed, Err: daemon.ErrNotCovered}, "NotCovered", kube.Warning, "not covered because " + daemon.ErrNotCovered.Error()},
		"covered":                   {notice: daemon.Notice{Kind: daemon.NoticeCoverage, Candidate: daemon.Candidate{Coverage: daemon.Covered}}},
		"pending":                   {notice: daemon.Notice{Kind: daemon.NoticeCoverage, Candidate: daemon.Candidate{Coverage: daemon.Pending}}},
		"excluded":                  {daemon.Notice{Kind: daemon.NoticeCoverage, Candidate: daemon.Candidate{Coverage: daemon.Excluded, Reason: "me"}}, "Excluded", kube.Normal, "not backed up: excluded by me"},
		"not covered":               {daemon.Notice{Kind: daemon.NoticeCoverage, Candidate: down}, "NotCovered", kube.Warning, "not covered because brick is down"},
		"annotation not understood": {daemon.Notice{Kind: daemon.NoticeAnnotation, Candidate: down}, "AnnotationInvalid", kube.Warning, "one; two"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			reason, kind, message := eventOf(tt.notice)
			if reason != tt.reason || kind != tt.kind || message != tt.message {
				t.Errorf("%q %q %q, want %q %q %q", reason, kind, message, tt.reason, tt.kind, tt.message)
			}
		})
	}
}
