package metrics_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	dto "github.com/prometheus/client_model/go"
	"sigs.k8s.io/yaml"
)

const (
	folder = "../docs/monitoring"
	mark   = "<!-- What follows is made by go test ./metrics -update from the code in metrics/*.go. -->\n"
)

// update is the flag -update, as go test ./config has it.
var update = flag.Bool("update", false, "write the tables of docs/monitoring/README.md")

func read(t *testing.T, name string) []byte {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(folder, name))
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// families returns all metrics of ours that a handler serves, by name.
func families(t *testing.T) map[string]*dto.MetricFamily {
	t.Helper()
	list, err := gatherer(t, newMetrics(t, full)).Gather()
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]*dto.MetricFamily{}
	for _, f := range list {
		name := f.GetName()
		switch {
		case strings.HasPrefix(name, "glusterbackupd_"):
			found[name] = f
		case !regexp.MustCompile("^(go|process|promhttp)_").MatchString(name):
			t.Errorf("%s has neither our prefix nor a usual one", name)
		}
	}
	return found
}

// TestDocument wants the document to name every metric as the handler serves
// it, and no other.
func TestDocument(t *testing.T) {
	head, got, found := strings.Cut(string(read(t, "README.md")), mark)
	if !found {
		t.Fatal("README.md has lost the mark behind which its table stands")
	}
	want := table(families(t))
	if *update {
		if err := os.WriteFile(filepath.Join(folder, "README.md"), []byte(head+mark+want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("run go test ./metrics -update; code -, document +:\n%s", diff)
	}
}

func table(all map[string]*dto.MetricFamily) string {
	rows := make([]string, 0, len(all))
	for name, f := range all {
		var labels []string
		for _, l := range f.GetMetric()[0].GetLabel() {
			labels = append(labels, "`"+l.GetName()+"`")
		}
		slices.Sort(labels)
		rows = append(rows, fmt.Sprintf("| `%s` | %s | %s | %s | %s |\n",
			name, strings.ToLower(f.GetType().String()), strings.Join(labels, ", "), unit(name), f.GetHelp()))
	}
	slices.Sort(rows)
	return "\n| Name | Type | Labels | Unit | Meaning |\n|---|---|---|---|---|\n" + strings.Join(rows, "")
}

// unit is what a name says by its end.
func unit(name string) string {
	name = strings.TrimSuffix(name, "_total")
	for _, u := range []struct{ suffix, text string }{
		{"_timestamp_seconds", "seconds since 1970"},
		{"start_time_seconds", "seconds since 1970"},
		{"_seconds", "seconds"},
		{"_bytes", "bytes"},
		{"_ratio", "0 to 1"},
	} {
		if strings.HasSuffix(name, u.suffix) {
			return u.text
		}
	}
	return ""
}

type rule struct {
	Alert, Expr         string
	Labels, Annotations map[string]string
}

func alerts(t *testing.T) []rule {
	t.Helper()
	var file struct{ Groups []struct{ Rules []rule } }
	if err := yaml.Unmarshal(read(t, "alerts.yml"), &file); err != nil {
		t.Fatal(err)
	}
	var list []rule
	for _, g := range file.Groups {
		list = append(list, g.Rules...)
	}
	if len(list) == 0 {
		t.Fatal("alerts.yml has no alert")
	}
	return list
}

// used lists what is wrong with the metrics that an expression names.
func used(expr string, all map[string]*dto.MetricFamily) (unknown []string) {
	for _, name := range regexp.MustCompile(`glusterbackupd_\w+`).FindAllString(expr, -1) {
		base := name
		if _, ok := all[base]; !ok {
			base = regexp.MustCompile("_(bucket|sum|count)$").ReplaceAllString(name, "")
		}
		if f, ok := all[base]; !ok || base != name && f.GetType() != dto.MetricType_HISTOGRAM {
			unknown = append(unknown, name)
		}
	}
	return unknown
}

func TestAlerts(t *testing.T) {
	all := families(t)
	for _, r := range alerts(t) {
		t.Run(r.Alert, func(t *testing.T) {
			if unknown := used(r.Expr, all); len(unknown) > 0 {
				t.Errorf("metrics that do not exist: %q", unknown)
			}
			if !strings.Contains(r.Expr, "glusterbackupd") {
				t.Errorf("it asks nothing of ours: %s", r.Expr)
			}
			if severity := r.Labels["severity"]; severity != "warning" && severity != "critical" {
				t.Errorf("severity %q", severity)
			}
			if r.Annotations["summary"] == "" || len(r.Annotations["runbook"]) < 50 {
				t.Errorf("annotations %q; want a summary and what to do", r.Annotations)
			}
		})
	}
}

// TestAlertsAreTested wants alerts_test.yml, which promtool runs, to have for
// each alert a moment at which it fires and one at which it does not.
func TestAlertsAreTested(t *testing.T) {
	var file struct {
		Tests []struct {
			Cases []struct {
				Alert string            `json:"alertname"`
				Fires []json.RawMessage `json:"exp_alerts"`
			} `json:"alert_rule_test"`
		}
	}
	if err := yaml.Unmarshal(read(t, "alerts_test.yml"), &file); err != nil {
		t.Fatal(err)
	}
	cases := map[string]int{}
	for _, test := range file.Tests {
		for _, c := range test.Cases {
			cases[fmt.Sprint(c.Alert, len(c.Fires) > 0)]++
		}
	}
	for _, r := range alerts(t) {
		for _, fires := range []bool{true, false} {
			if cases[fmt.Sprint(r.Alert, fires)] == 0 {
				t.Errorf("no case in which %s fires: %v", r.Alert, fires)
			}
		}
	}
}

// TestDashboard wants every panel to ask for metrics that exist.
func TestDashboard(t *testing.T) {
	var file struct {
		Panels []struct {
			ID                 int
			Title, Description string
			Targets            []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(read(t, "dashboard.json"), &file); err != nil {
		t.Fatal(err)
	}
	if len(file.Panels) == 0 {
		t.Fatal("the dashboard is empty")
	}
	all, ids := families(t), map[int]bool{}
	for _, p := range file.Panels {
		if ids[p.ID] || p.Description == "" || len(p.Targets) == 0 {
			t.Errorf("panel %d %s: want an own id, a description and targets", p.ID, p.Title)
		}
		ids[p.ID] = true
		for _, target := range p.Targets {
			if unknown := used(target.Expr, all); len(unknown) > 0 || !strings.Contains(target.Expr, "glusterbackupd_") {
				t.Errorf("panel %s: %s: metrics that do not exist: %q", p.Title, target.Expr, unknown)
			}
		}
	}
}

// TestUsedNoticesUnknown shows that the tests above can fail.
func TestUsedNoticesUnknown(t *testing.T) {
	all := families(t)
	got := used(`rate(glusterbackupd_phase_duration_seconds_sum[5m]) > glusterbackupd_ready_count or glusterbackupd_gone`, all)
	if want := []string{"glusterbackupd_ready_count", "glusterbackupd_gone"}; !slices.Equal(got, want) {
		t.Errorf("unknown %q; want %q", got, want)
	}
}
