package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/glusterbackupd/glusterbackupd/catalog"
	"github.com/glusterbackupd/glusterbackupd/daemon"
	"github.com/glusterbackupd/glusterbackupd/schedule"
)

// TestStatusOutput pins the JSON, which is an interface.
func TestStatusOutput(t *testing.T) {
	cron, err := schedule.Parse("0 0 * * *", time.UTC)
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2018, 12, 2, 0, 0, 3, 0, time.UTC)
	st := daemon.Status{Claims: []daemon.ClaimStatus{
		{
			Candidate: daemon.Candidate{
				Key: catalog.Key{Namespace: "shop", Claim: "db"}, Coverage: daemon.Covered, Volume: "vol_a", Image: "blockvol_b",
				Schedule: cron, Faults: []string{"an annotation"},
			},
			Last:    daemon.Last{Record: schedule.Record{Started: at}, ID: "20181202T000003Z", Bytes: 1 << 30, Took: 90 * time.Second, Count: 3},
			Next:    at.AddDate(0, 0, 1).In(time.FixedZone("CET", 3600)),
			Overdue: true, Running: true, Attempts: 2, Err: remedied{fmt.Errorf("boom"), "do this"},
		},
		{Candidate: daemon.Candidate{Key: catalog.Key{Namespace: "shop", Claim: "nfs"}, Coverage: daemon.Foreign, Reason: "nfs"}},
	}}
	var got bytes.Buffer
	if err := printJSON(&got, statusOutputOf(st)); err != nil {
		t.Fatal(err)
	}
	const want = `{
  "daemon": false,
  "claims": [
    {
      "claim": "shop/db",
      "coverage": "covered",
      "volume": "vol_a",
      "image": "blockvol_b",
      "schedule": "0 0 * * *",
      "retention": "RETENTION",
      "lastSuccess": "2018-12-02T00:00:03Z",
      "backup": "20181202T000003Z",
      "bytes": 1073741824,
      "tookSeconds": 90,
      "backups": 3,
      "next": "2018-12-03T00:00:03Z",
      "overdue": true,
      "running": true,
      "failedAttempts": 2,
      "error": "boom",
      "remedy": "do this",
      "faults": [
        "an annotation"
      ]
    },
    {
      "claim": "shop/nfs",
      "coverage": "foreign",
      "reason": "nfs",
      "backups": 0,
      "overdue": false,
      "running": false
    }
  ]
}
`
	if got := strings.Replace(got.String(), st.Claims[0].Retention.String(), "RETENTION", 1); got != want {
		t.Errorf("%s", got)
	}
}

// statusSetup is setup with a daemon's address, and an initialised BackupDisk.
func statusSetup(t *testing.T, listen string) (file, disk string) {
	t.Helper()
	file, disk = setup(t)
	f, err := os.OpenFile(file, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := fmt.Fprintf(f, "[metrics]\nlisten = %q\n", listen); err != nil {
		t.Fatal(err)
	}
	if got := invoke(t, "init", "--config", file); got.code != 0 {
		t.Fatal(got.errout)
	}
	return file, disk
}

// TestStatusOverdue tells a claim whose last slots have no backup from one that
// has one, by the exit code too.
func TestStatusOverdue(t *testing.T) {
	for age, want := range map[time.Duration]exitCode{time.Minute: exitDone, 72 * time.Hour: exitOverdue} {
		t.Run(age.String(), func(t *testing.T) {
			file, disk := statusSetup(t, "")
			b := publish(t, disk, time.Now().Add(-age))
			got := invoke(t, "status", "--config", file)
			if got.code != int(want) {
				t.Errorf("exit code %d, want %d: %s", got.code, want, got.errout)
			}
			if !strings.Contains(got.out, "files/docs") || !strings.Contains(got.out, b.ID) ||
				strings.Contains(got.out, "OVERDUE") != (want == exitOverdue) {
				t.Errorf("%s", got.out)
			}
			if !strings.Contains(got.errout, "no daemon answers") {
				t.Errorf("nothing about the daemon: %q", got.errout)
			}
		})
	}
}

// TestStatusAsksTheDaemon takes from a daemon what only it knows, and nothing
// else.
func TestStatusAsksTheDaemon(t *testing.T) {
	next := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	live := statusOutput{Claims: []claimStatus{
		{Claim: "files/docs", Coverage: "excluded", Attempts: 3, Error: "boom", Remedy: "do this", Next: &next, Backups: 99},
		{Claim: "files/gone", Coverage: "covered"},
	}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/status" {
			http.NotFound(w, r)
			return
		}
		if err := json.NewEncoder(w).Encode(live); err != nil {
			t.Error(err)
		}
	}))
	defer server.Close()
	file, disk := statusSetup(t, server.Listener.Addr().String())
	publish(t, disk, time.Now())
	got := invoke(t, "status", "--config", file, "-o", "json")
	var out statusOutput
	if err := json.Unmarshal([]byte(got.out), &out); err != nil || got.code != 0 || !out.Daemon || len(out.Claims) != 1 {
		t.Fatalf("%d, %v: %s%s", got.code, err, got.out, got.errout)
	}
	c := out.Claims[0]
	if c.Attempts != 3 || c.Error != "boom" || c.Remedy != "do this" || !c.Next.Equal(next) || c.Coverage != "covered" || c.Backups != 1 {
		t.Errorf("claim %+v", c)
	}
}
