package daemon

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/glusterbackupd/glusterbackupd/kube"
	"github.com/glusterbackupd/glusterbackupd/retention"
	"github.com/glusterbackupd/glusterbackupd/schedule"
)

// rules are those of a configuration that says nothing of claims.
func rules(t *testing.T) Rules {
	t.Helper()
	s, err := schedule.Parse("0 0 * * *", time.UTC)
	if err != nil {
		t.Fatal(err)
	}
	return Rules{Namespaces: []string{"*"}, Schedule: s, Retention: retention.Policy{Last: 3, Location: time.UTC}}
}

func TestJudge(t *testing.T) {
	file := kube.Claim{
		Namespace: "shop", Name: "uploads", UID: "1", Kind: kube.File, HeketiID: "id", VolumePath: "vol_a",
		StorageClass: "gluster", Labels: map[string]string{"tier": "gold"},
	}
	with := func(f func(*kube.Claim)) kube.Claim {
		c := file
		f(&c)
		return c
	}
	exclude := func(claim, namespace string) kube.Claim {
		return with(func(c *kube.Claim) {
			c.Annotations = map[string]string{kube.ExcludeAnnotation: claim}
			c.NamespaceAnnotations = map[string]string{kube.ExcludeAnnotation: namespace}
		})
	}
	tests := map[string]struct {
		claim  kube.Claim
		rules  func(*Rules)
		want   Coverage
		reason string // Part of it.
		fault  string // Part of the only one.
	}{
		"covered":                 {claim: file, want: Covered},
		"of another provisioner":  {claim: with(func(c *kube.Claim) { c.Kind, c.Reason = kube.Foreign, "nfs" }), want: Foreign, reason: "nfs"},
		"without a volume":        {claim: with(func(c *kube.Claim) { c.Kind, c.Reason = kube.Pending, "not bound" }), want: Pending, reason: "not bound"},
		"without a Heketi volume": {claim: with(func(c *kube.Claim) { c.HeketiID = "" }), want: NotCovered, reason: "does not say which Heketi volume"},
		"being deleted":           {claim: with(func(c *kube.Claim) { c.Deleting = true }), want: Deleting, reason: "being deleted"},
		"being deleted, excluded": {
			claim: with(func(c *kube.Claim) {
				c.Deleting = true
				c.Annotations = map[string]string{kube.ExcludeAnnotation: "true"}
			}), want: Deleting,
		},

		"excluded by its annotation":                   {claim: exclude("true", ""), want: Excluded, reason: kube.ExcludeAnnotation + " of the claim"},
		"excluded by its namespace":                    {claim: exclude("", "true"), want: Excluded, reason: kube.ExcludeAnnotation + " of the namespace"},
		"taken back by the claim":                      {claim: exclude("false", "true"), want: Covered},
		"excluded by the claim, not by its namespace":  {claim: exclude("true", "false"), want: Excluded, reason: "of the claim"},
		"an annotation that says nothing is no reason": {claim: exclude("perhaps", ""), want: Covered, fault: `want "true" or "false", not "perhaps"`},
		"nor does it take back the namespace's":        {claim: exclude("perhaps", "true"), want: Excluded, reason: "of the namespace", fault: "of the claim is not used"},

		"another namespace":       {claim: file, rules: func(r *Rules) { r.Namespaces = []string{"media", "sh?p2"} }, want: Excluded, reason: "namespaces, which does not name shop"},
		"a pattern of namespaces": {claim: file, rules: func(r *Rules) { r.Namespaces = []string{"sh*"} }, want: Covered},
		"a namespace left out":    {claim: file, rules: func(r *Rules) { r.ExcludeNamespaces = []string{"sh*"} }, want: Excluded, reason: "exclude_namespaces, which names shop"},
		"another class":           {claim: file, rules: func(r *Rules) { r.StorageClasses = []string{"block-*"} }, want: Excluded, reason: "storage_classes, which does not name gluster"},
		"its class":               {claim: file, rules: func(r *Rules) { r.StorageClasses = []string{"glus*"} }, want: Covered},
		"a class left out":        {claim: file, rules: func(r *Rules) { r.ExcludeStorageClasses = []string{"gluster"} }, want: Excluded, reason: "exclude_storage_classes, which names gluster"},
		"its labels":              {claim: file, rules: func(r *Rules) { r.Selector = "tier in (gold, silver)" }, want: Covered},
		"other labels":            {claim: file, rules: func(r *Rules) { r.Selector = "tier!=gold" }, want: Excluded, reason: "selector"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := rules(t)
			if tt.rules != nil {
				tt.rules(&r)
			}
			got := r.judge(tt.claim)
			if got.Coverage != tt.want || !strings.Contains(got.Reason, tt.reason) || (tt.want == Covered) != (got.Reason == "") {
				t.Errorf("%s, %q, want %s, %q", got.Coverage, got.Reason, tt.want, tt.reason)
			}
			if tt.fault == "" && len(got.Faults) > 0 || tt.fault != "" && (len(got.Faults) != 1 || !strings.Contains(got.Faults[0], tt.fault)) {
				t.Errorf("faults %q, want %q", got.Faults, tt.fault)
			}
			if got.Key.String() != "shop/uploads" || got.Volume != "vol_a" {
				t.Errorf("candidate %+v", got)
			}
		})
	}
}

// TestAnnotatedSchedule tells whose schedule and retention hold: the claim's,
// its namespace's, or the configuration's; one that is not understood does not.
func TestAnnotatedSchedule(t *testing.T) {
	const configured, ofNamespace, ofClaim = "0 0 * * *", "0 1 * * *", "0 2 * * *"
	for _, tt := range []struct {
		namespace, claim, want string
		faults                 int
	}{
		{"", "", configured, 0},
		{ofNamespace, "", ofNamespace, 0},
		{"", ofClaim, ofClaim, 0},
		{ofNamespace, ofClaim, ofClaim, 0},
		{ofNamespace, "daily", ofNamespace, 1},
		{"61 * * * *", ofClaim, ofClaim, 1},
		{"61 * * * *", "* * *", configured, 2},
	} {
		t.Run(fmt.Sprintf("%q %q", tt.namespace, tt.claim), func(t *testing.T) {
			got := rules(t).judge(kube.Claim{
				Namespace: "shop", Name: "uploads", Kind: kube.File, HeketiID: "id",
				NamespaceAnnotations: map[string]string{kube.ScheduleAnnotation: tt.namespace, kube.RetentionAnnotation: "last=5"},
				Annotations:          map[string]string{kube.ScheduleAnnotation: tt.claim},
			})
			if got.Schedule.String() != tt.want || len(got.Faults) != tt.faults || got.Coverage != Covered {
				t.Errorf("schedule %s, faults %q, want %s and %d", got.Schedule, got.Faults, tt.want, tt.faults)
			}
			if got.Retention.Last != 5 {
				t.Errorf("retention %s, want the namespace's", got.Retention)
			}
		})
	}
}
