package schedule_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/robfig/cron/v3"

	"github.com/glusterbackupd/glusterbackupd/schedule"
)

const oracleYears = 2

// watch is a clock on a wall, looked at once a minute.
type watch struct {
	zone  *time.Location
	start time.Time
	wall  []int64 // What it shows, in minutes since 1970 as if in Greenwich.
}

func newWatch(zone *time.Location, year int) watch {
	w := watch{zone: zone, start: time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC)}
	for t := w.start; t.Year() < year+oracleYears; t = t.Add(time.Minute) {
		here := t.In(zone)
		shown := time.Date(here.Year(), here.Month(), here.Day(), here.Hour(), here.Minute(), 0, 0, time.UTC)
		w.wall = append(w.wall, shown.Unix()/60)
	}
	return w
}

// named tells for each minute from two days before the start whether the
// expression names it, for a clock that is never changed: there the parser's
// own arithmetic is right.
func (w watch) named(t *testing.T, expression string) []bool {
	t.Helper()
	spec, err := cron.NewParser(cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow).Parse(expression)
	if err != nil {
		t.Fatal(err)
	}
	all := make([]bool, len(w.wall)+4*24*60)
	first := w.start.AddDate(0, 0, -2)
	for at := first.Add(-1); ; {
		at = spec.Next(at)
		n := int(at.Sub(first) / time.Minute)
		if at.IsZero() || n >= len(all) {
			return all
		}
		all[n] = true
	}
}

// slots looks at the clock minute by minute. By elapsed time each minute that
// is named is a slot; by the wall clock each minute at which the clock gets
// further than ever before, and passes or reaches one that is named.
func (w watch) slots(t *testing.T, expression string) []time.Time {
	t.Helper()
	named, hour := w.named(t, expression), strings.Fields(expression)[1]
	elapsed := hour[0] == '*' || hour[0] == '?'
	var all []time.Time
	first := w.start.AddDate(0, 0, -2).Unix() / 60
	furthest := w.wall[0] - first - 1
	for i, shown := range w.wall {
		shown -= first
		slot := elapsed && named[shown]
		for minute := furthest + 1; !elapsed && minute <= shown; minute++ {
			slot = slot || named[minute]
		}
		furthest = max(furthest, shown)
		if slot {
			all = append(all, w.start.Add(time.Duration(i)*time.Minute).In(w.zone))
		}
	}
	return all
}

// randomExpression returns one that comes at least once a year.
func randomExpression(r *rand.Rand) string {
	field := func(low, high int) string {
		n := func() int { return low + r.IntN(high-low+1) }
		switch r.IntN(7) {
		case 0:
			return fmt.Sprint(n())
		case 1:
			return fmt.Sprintf("%d,%d,%d", n(), n(), n())
		case 2:
			a, b := n(), n()
			return fmt.Sprintf("%d-%d", min(a, b), max(a, b))
		case 3:
			return fmt.Sprintf("*/%d", 1+r.IntN(high))
		case 4:
			return fmt.Sprintf("%d/%d", n(), 1+r.IntN(high))
		default:
			return "*"
		}
	}
	minute := field(0, 59)
	if r.IntN(8) > 0 { // Most people want few backups an hour.
		minute = fmt.Sprint(r.IntN(60))
	}
	return strings.Join([]string{minute, field(0, 23), field(1, 28), field(1, 12), field(0, 6)}, " ")
}

// TestAgainstOracle compares two years of slots in zones whose clocks are
// changed in every way there is.
func TestAgainstOracle(t *testing.T) {
	expressions := []string{
		"0 0 * * *", "30 2 * * *", "30 1 * * *", "0 2 * * *", "0 3 * * *", "0 2,3 * * *", "59 1 * * *", "0 1-4 * * *",
		"*/10 1-3 * * *", "*/7 * * * *", "0 * * * *", "30 * * * *", "0 */6 * * *", "0 */2 * * *", "15 */24 * * *",
		"0 0-23 * * *", "45 0/1 * * *", "0 0 1 * *", "0 0 29 2 *", "30 1 * * 1-5", "0 12 30 12 *", "0 * 30 12 *",
		"0 0 13 * fri", "0 0 */2 * 1", "15 2 * * 0", "* 2 * * *", "0 ? * * *", "0 23 31 12 *", "* * * 12 *", "* 0-23 29-31 12 *",
	}
	places := map[string]int{
		"UTC": 2019, "Europe/Amsterdam": 2018, "America/New_York": 2018, "Australia/Lord_Howe": 2018, "Pacific/Apia": 2011,
		"America/St_Johns": 2010, "America/Sao_Paulo": 2017, "Africa/Casablanca": 2018, "Europe/Dublin": 2019, "Antarctica/Troll": 2018,
		"Pacific/Kwajalein": 1993, "Asia/Pyongyang": 2015,
	}
	for name, year := range places {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWatch(zone(t, name), year)
			r := rand.New(rand.NewPCG(uint64(year), uint64(len(name))))
			all := slices.Clone(expressions)
			for range 12 {
				all = append(all, randomExpression(r))
			}
			for _, expression := range all {
				s := parse(t, expression, w.zone)
				want := w.slots(t, expression)
				compareForward(t, s, w.start, want)
				compareAnywhere(t, r, s, w.start, want)
			}
		})
	}
}

// compareForward goes from slot to slot.
func compareForward(t *testing.T, s schedule.Schedule, start time.Time, want []time.Time) {
	t.Helper()
	now := start.Add(-1)
	for i, slot := range want {
		got := s.Next(now)
		if got != slot {
			t.Fatalf("%s: slot %d after %v is %v, want %v", s, i, now, got, slot)
		}
		if last := s.Last(got); last != got {
			t.Fatalf("%s: the last slot at %v is %v", s, got, last)
		}
		now = got
	}
	if next := s.Next(now); next.Before(start.AddDate(oracleYears, 0, 0)) {
		t.Fatalf("%s: after %v, the last one, comes %v", s, now, next)
	}
}

// compareAnywhere asks at random times and close to slots.
func compareAnywhere(t *testing.T, r *rand.Rand, s schedule.Schedule, start time.Time, want []time.Time) {
	t.Helper()
	if len(want) == 0 {
		return
	}
	for range 200 {
		now := start.Add(time.Duration(r.Int64N(int64(oracleYears * 365 * 24 * time.Hour))))
		if r.IntN(2) == 0 {
			now = want[r.IntN(len(want))].Add(time.Duration(r.IntN(3)-1) * time.Duration(1+r.IntN(2)*int(time.Hour)))
		}
		if now.Before(start) || now.After(want[len(want)-1]) {
			continue // The oracle does not know what is beyond.
		}
		i, exact := slices.BinarySearchFunc(want, now, time.Time.Compare)
		if exact {
			i++
		}
		if last := s.Last(now); i > 0 && last != want[i-1] || last.After(now) {
			t.Fatalf("%s: last slot at %v is %v", s, now, last)
		}
		if next := s.Next(now); i < len(want) && next != want[i] || !next.After(now) {
			t.Fatalf("%s: next slot at %v is %v", s, now, next)
		}
	}
}
