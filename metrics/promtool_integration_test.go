//go:build integration

package metrics_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/glusterbackupd/glusterbackupd/metrics"
	"github.com/glusterbackupd/glusterbackupd/test/lab/promtool"
	"github.com/glusterbackupd/glusterbackupd/test/lab/servers"
)

const alertsFile = folder + "/alerts.yml"

// promtoolPath returns the path of promtool, which is fetched when it is
// missing.
func promtoolPath(t *testing.T) string {
	t.Helper()
	bin := os.Getenv("GLUSTERBACKUPD_LAB_BIN")
	if bin == "" {
		bin = filepath.Join(servers.CacheDir(), "bin")
	}
	path, err := promtool.Install(t.Context(), bin)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// run runs promtool and returns what it said.
func run(t *testing.T, stdin string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), promtoolPath(t), args...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func TestAlertRules(t *testing.T) {
	for _, args := range [][]string{
		{"check", "rules", "--lint=all", "--lint-fatal", alertsFile},
		{"test", "rules", folder + "/alerts_test.yml"},
	} {
		t.Run(args[0], func(t *testing.T) {
			if out, err := run(t, "", args...); err != nil {
				t.Errorf("promtool: %v\n%s", err, out)
			}
		})
	}
}

// TestAlertTestsFail changes a level, a state and a patience in the alerts, and
// wants their tests to notice all three.
func TestAlertTestsFail(t *testing.T) {
	dir, content := t.TempDir(), string(read(t, "alerts.yml"))
	noticedBy := map[string]string{}
	for _, change := range []struct{ from, to, alert string }{
		{"> 0.9", "> 0.96", "GlusterThinPoolFull"},
		{"covered|failing", "covered|failing|excluded", "GlusterBackupNever"},
		{"+ 3600", "- 36000", "GlusterBackupOverdue"},
	} {
		if !strings.Contains(content, change.from) {
			t.Fatalf("the alerts do not say %q any more", change.from)
		}
		content = strings.ReplaceAll(content, change.from, change.to)
		noticedBy[change.alert] = change.to
	}
	tests := filepath.Join(dir, "alerts_test.yml")
	for file, data := range map[string][]byte{
		filepath.Join(dir, "alerts.yml"): []byte(content),
		tests:                            read(t, "alerts_test.yml"),
	} {
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	out, err := run(t, "", "test", "rules", tests)
	if err == nil {
		t.Fatalf("promtool is content:\n%s", out)
	}
	for alert, change := range noticedBy {
		if !strings.Contains(out, "alertname: "+alert) {
			t.Errorf("nothing notices %q in %s:\n%s", change, alert, out)
		}
	}
}

// TestExposition lets Prometheus' own parser and linter read what a handler
// serves.
func TestExposition(t *testing.T) {
	_, body := get(t, newMetrics(t, full).Handler(metrics.HealthChecks{}), "/metrics")
	if out, err := run(t, body, "check", "metrics"); err != nil || out != "" {
		t.Errorf("promtool: %v\n%s", err, out)
	}
}
