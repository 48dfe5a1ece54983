package retention_test

import (
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/glusterbackupd/glusterbackupd/retention"
)

const day = 24 * time.Hour

func TestGrid(t *testing.T) {
	tests := map[string]struct {
		policy retention.Policy
		every  time.Duration
		want   time.Duration
	}{
		"nothing known":  {want: 2 * day},
		"last":           {policy: retention.Policy{Last: 9, Hourly: 9, Daily: 9}, want: 2 * day},
		"weekly":         {policy: retention.Policy{Daily: 9, Weekly: 1}, want: 8 * day},
		"monthly":        {policy: retention.Policy{Weekly: 1, Monthly: 6}, want: 32 * day},
		"yearly":         {policy: retention.Policy{Monthly: 6, Yearly: 1}, want: 367 * day},
		"every hour":     {every: time.Hour, want: 2*day + 2*time.Hour},
		"every week":     {policy: retention.Policy{Last: 5}, every: 7 * day, want: 16 * day},
		"both, rule":     {policy: retention.Policy{Monthly: 1}, every: 7 * day, want: 46 * day},
		"not a schedule": {every: -day, want: 2 * day},
	}
	for name, tt := range tests {
		if got := tt.policy.Grid(tt.every); got != tt.want {
			t.Errorf("%s: %v, want %v", name, got, tt.want)
		}
	}
}

func TestCheckJump(t *testing.T) {
	now := time.Date(2018, 12, 20, 12, 0, 0, 0, time.UTC)
	tests := map[string]struct {
		grid    time.Duration
		ages    []time.Duration // Of the backups, in any order.
		refused time.Duration   // The age of the one that the error names; 0 if there is none.
	}{
		"no backup":              {grid: 2 * day},
		"one":                    {grid: 2 * day, ages: []time.Duration{time.Hour}},
		"one, of this moment":    {grid: 2 * day, ages: []time.Duration{0}},
		"every night":            {grid: 2 * day, ages: []time.Duration{12 * time.Hour, 36 * time.Hour, 60 * time.Hour}},
		"jump before the newest": {grid: 2 * day, ages: []time.Duration{0, 400 * day, 401 * day}, refused: 400 * day},
		"nothing since the jump": {grid: 2 * day, ages: []time.Duration{400 * day, 401 * day}, refused: 400 * day},
		"two hours since":        {grid: 2 * day, ages: []time.Duration{0, 401 * day, 2 * time.Hour, 400 * day}, refused: 400 * day},
		"a day since":            {grid: 2 * day, ages: []time.Duration{0, 24 * time.Hour, 400 * day}},
		"a day of 23 hours":      {grid: 2 * day, ages: []time.Duration{0, 23*time.Hour - time.Minute, 400 * day}},
		"hourly, nearly a day":   {grid: 2 * day, ages: []time.Duration{time.Hour, 7 * time.Hour, 14 * time.Hour, 20 * time.Hour, 3 * day}, refused: 3 * day},
		"a day, then nothing":    {grid: 2 * day, ages: []time.Duration{3 * day, 4 * day, 5 * day}, refused: 3 * day},
		"exactly the grid":       {grid: 2 * day, ages: []time.Duration{0, 2 * day, 400 * day}},
		"beyond the grid":        {grid: 2 * day, ages: []time.Duration{0, 2*day + 1}, refused: 2*day + 1},
		"within a greater grid":  {grid: 8 * day, ages: []time.Duration{0, 7 * day, 14 * day}},
		"later than now":         {grid: 2 * day, ages: []time.Duration{-5 * day, time.Hour}},
		"later, and a jump":      {grid: 2 * day, ages: []time.Duration{-5 * day, 400 * day}, refused: 400 * day},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var list []retention.Item
			for _, age := range tt.ages {
				at := now.Add(-age)
				list = append(list, retention.Item{ID: at.Format("20060102T150405Z"), Time: at})
			}
			err := retention.CheckJump(list, tt.grid, now)
			if tt.refused == 0 {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			var jump *retention.JumpError
			if !errors.Is(err, retention.ErrJump) || !errors.As(err, &jump) {
				t.Fatalf("error %v", err)
			}
			if want := now.Add(-tt.refused); !jump.Older.Time.Equal(want) || !strings.Contains(err.Error(), jump.Older.ID) {
				t.Errorf("%v does not name the backup of %v", err, want)
			}
			if !strings.Contains(jump.Remedy(), "prune --trust-clock") {
				t.Errorf("remedy %q", jump.Remedy())
			}
		})
	}
	list := items(t, "2018-12-01T00:00:00Z", "2018-12-20T11:00:00Z")
	if err := retention.CheckJump(list, 2*day, now); err == nil || !strings.Contains(err.Error(), "nothing was backed up for 19 days after 20181201T000000Z") {
		t.Errorf("error %v", err)
	}
}

// TestUsualSchedulesAreNoJump prunes after every backup of a year, of
// schedules and policies of every kind, and expects that the clock is never
// doubted.
func TestUsualSchedulesAreNoJump(t *testing.T) {
	policies := []string{"last=1", "last=5", "daily=7", "weekly=4", "monthly=6", "yearly=2", "last=3,daily=7,weekly=4,monthly=6", "hourly=3,yearly=1"}
	for _, every := range []time.Duration{time.Hour * 6, day, 7 * day, 30 * day} {
		for _, text := range policies {
			p, err := retention.ParsePolicy(text, retention.Policy{Minimum: 1})
			if err != nil {
				t.Fatal(err)
			}
			r := rand.New(rand.NewPCG(uint64(every), 1))
			var stay []retention.Item
			start := time.Date(2018, 1, 1, 0, 0, 0, 0, time.UTC)
			for at := start; at.Year() < 2019; at = at.Add(every) {
				if r.IntN(20) == 0 && at != start && len(stay) > 0 && at.Sub(stay[len(stay)-1].Time) < every+day {
					continue // One run fails, never two.
				}
				late := at.Add(time.Duration(r.Int64N(int64(3 * time.Hour))))
				stay = append(stay, retention.Item{ID: late.Format("20060102T150405Z"), Time: late})
				if err := retention.CheckJump(stay, p.Grid(every), late); err != nil {
					t.Fatalf("%s every %v at %v: %v", text, every, late, err)
				}
				stay = slices.DeleteFunc(stay, func(x retention.Item) bool {
					return !kept(retention.Plan(stay, p, late))[x.ID]
				})
			}
		}
	}
}

func TestPlanDeleted(t *testing.T) {
	backups := []string{"2018-12-02T00:00:00Z", "2018-12-01T00:00:00Z!", "2018-12-03T00:00:00Z"}
	const until = "the claim is deleted, its backups are kept until 2019-01-02T00:00:00Z"
	const gone = "the claim is deleted, its backups were kept until 2019-01-02T00:00:00Z"
	tests := map[string]struct {
		keep time.Duration
		now  string
		want []string
	}{
		"not yet": {30 * day, "2019-01-02T00:00:00Z", []string{
			"+ 20181201T000000Z protected; " + until, "+ 20181202T000000Z " + until, "+ 20181203T000000Z " + until,
		}},
		"gone": {30 * day, "2019-01-02T00:00:01Z", []string{
			"+ 20181201T000000Z protected", "- 20181202T000000Z " + gone, "- 20181203T000000Z " + gone,
		}},
		"for good": {0, "2100-01-01T00:00:00Z", []string{
			"+ 20181201T000000Z protected; the claim is deleted, its backups are kept for good",
			"+ 20181202T000000Z the claim is deleted, its backups are kept for good",
			"+ 20181203T000000Z the claim is deleted, its backups are kept for good",
		}},
		"clock is behind": {time.Second, "2018-12-02T12:00:00Z", []string{
			"+ 20181201T000000Z protected; the claim is deleted, but 20181203T000000Z is later than now",
			"+ 20181202T000000Z the claim is deleted, but 20181203T000000Z is later than now",
			"+ 20181203T000000Z the claim is deleted, but 20181203T000000Z is later than now",
		}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			now, err := time.Parse(time.RFC3339, tt.now)
			if err != nil {
				t.Fatal(err)
			}
			list := items(t, backups...)
			plan := retention.PlanDeleted(list, tt.keep, now)
			if diff := cmp.Diff(tt.want, lines(plan)); diff != "" {
				t.Errorf("want -, got +:\n%s", diff)
			}
			if got, want := retention.Removes(plan), name == "gone"; got != want {
				t.Errorf("removes: %v", got)
			}
			if diff := cmp.Diff(items(t, backups...), list); diff != "" {
				t.Errorf("the input was changed:\n%s", diff)
			}
		})
	}
	if plan := retention.PlanDeleted(nil, day, never); len(plan) != 0 || retention.Removes(plan) {
		t.Errorf("without backups: %v", plan)
	}
}
