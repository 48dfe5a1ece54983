package retention_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/glusterbackupd/glusterbackupd/retention"
)

// sameZone compares zones by their pointers.
var sameZone = cmp.Comparer(func(a, b *time.Location) bool { return a == b })

func TestParsePolicy(t *testing.T) {
	base := retention.Policy{Last: 9, Yearly: 9, Minimum: 2, Location: zone(t, "Europe/Amsterdam")}
	all := retention.Policy{Last: 3, Hourly: 24, Daily: 7, Weekly: 4, Monthly: 6, Yearly: 2, Minimum: 1}
	tests := map[string]struct {
		want    retention.Policy
		written string
	}{
		"last=3,hourly=24,daily=7,weekly=4,monthly=6,yearly=2,minimum=1": {all, "last=3,hourly=24,daily=7,weekly=4,monthly=6,yearly=2,minimum=1"},
		" minimum = 1 , yearly=2,monthly=6,weekly=4, daily=7,hourly=24\t,last=3 ": {
			all, "last=3,hourly=24,daily=7,weekly=4,monthly=6,yearly=2,minimum=1",
		},
		"daily=7":            {retention.Policy{Daily: 7, Minimum: 2}, "daily=7,minimum=2"},
		"daily=1,minimum=0":  {retention.Policy{Daily: 1}, "daily=1,minimum=0"},
		"last=100000":        {retention.Policy{Last: 100000, Minimum: 2}, "last=100000,minimum=2"},
		"last=0,weekly=1":    {retention.Policy{Weekly: 1, Minimum: 2}, "weekly=1,minimum=2"},
		"hourly=1,yearly=01": {retention.Policy{Hourly: 1, Yearly: 1, Minimum: 2}, "hourly=1,yearly=1,minimum=2"},
	}
	for text, tt := range tests {
		tt.want.Location = base.Location
		got, err := retention.ParsePolicy(text, base)
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		if diff := cmp.Diff(tt.want, got, sameZone); diff != "" {
			t.Errorf("%q: want -, got +:\n%s", text, diff)
		}
		if got.String() != tt.written {
			t.Errorf("%q is written %q", text, got)
		}
	}
}

func TestParsePolicyRefuses(t *testing.T) {
	for text, reason := range map[string]string{
		"":                              `want name=number, not ""`,
		"daily":                         `want name=number, not "daily"`,
		"daily=7,":                      `want name=number, not ""`,
		"daily=7 weekly=4":              `not "7 weekly=4"`,
		"dayly=7":                       `no rule "dayly"`,
		"Daily=7":                       `no rule "Daily"`,
		"daily=7,daily=8":               "daily is named twice",
		"daily=-1":                      `daily: want a number from 0 to 100000, not "-1"`,
		"daily=7d":                      `not "7d"`,
		"daily=":                        `not ""`,
		"daily=1.5":                     `not "1.5"`,
		"daily=100001":                  `not "100001"`,
		"daily=99999999999999999999":    `not "99999999999999999999"`,
		"daily=0":                       "no rule keeps a backup",
		"minimum=5":                     "no rule keeps a backup",
		strings.Repeat("daily=1,", 100): "longer than 512 bytes",
	} {
		_, err := retention.ParsePolicy(text, retention.Policy{Daily: 7, Minimum: 1})
		var wrong *retention.PolicyError
		if !errors.As(err, &wrong) || !strings.Contains(err.Error(), reason) || !strings.Contains(wrong.Remedy(), "daily=7") || len(err.Error()) > 200 {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func FuzzParsePolicy(f *testing.F) {
	for _, text := range []string{
		"last=3,hourly=24,daily=7,weekly=4,monthly=6,yearly=2,minimum=1", " daily = 7 ", "daily=0", "minimum=1", "last=+1", "=", ",", "daily=7,daily=7",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := retention.ParsePolicy(text, retention.Policy{Minimum: 1})
		if err != nil {
			return
		}
		again, err := retention.ParsePolicy(p.String(), retention.Policy{Minimum: 77})
		if err != nil || again != p {
			t.Fatalf("%q is %q, which is read as %q: %v", text, p, again, err)
		}
		plan := retention.Plan([]retention.Item{{ID: "a", Time: never}}, p, never)
		if len(plan) != 1 || !plan[0].Keep {
			t.Fatalf("%q does not keep the only backup", text)
		}
	})
}
