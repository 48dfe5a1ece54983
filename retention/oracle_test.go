package retention_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/glusterbackupd/glusterbackupd/retention"
)

// oracle decides about one backup at a time by looking at all others. It
// compares two times instead of naming their periods.
type oracle struct {
	policy retention.Policy
	past   []retention.Item
	now    time.Time
}

func newer(a, b retention.Item) bool {
	return a.Time.After(b.Time) || a.Time.Equal(b.Time) && a.ID > b.ID
}

// midnight returns a date without zone, for counting days.
func midnight(t time.Time) time.Time {
	return time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, time.UTC)
}

func monday(t time.Time) time.Time {
	day := midnight(t)
	for day.Weekday() != time.Monday {
		day = day.Add(-24 * time.Hour)
	}
	return day
}

func (o oracle) together() map[int]func(a, b time.Time) bool {
	p := o.policy
	same := func(a, b time.Time) bool {
		_, one := a.Zone()
		_, two := b.Zone()
		return one == two
	}
	all := map[int]func(a, b time.Time) bool{}
	add := func(count, key int, f func(a, b time.Time) bool) {
		if count > 0 {
			all[key*1000+count] = f
		}
	}
	add(p.Hourly, 1, func(a, b time.Time) bool {
		return midnight(a).Equal(midnight(b)) && a.Hour() == b.Hour() && same(a, b)
	})
	add(p.Daily, 2, func(a, b time.Time) bool { return midnight(a).Equal(midnight(b)) })
	add(p.Weekly, 3, func(a, b time.Time) bool { return monday(a).Equal(monday(b)) })
	add(p.Monthly, 4, func(a, b time.Time) bool { return a.Year() == b.Year() && a.Month() == b.Month() })
	add(p.Yearly, 5, func(a, b time.Time) bool { return a.Year() == b.Year() })
	return all
}

// newest reports whether no other backup of the period of x is newer.
func (o oracle) newest(x retention.Item, together func(a, b time.Time) bool) bool {
	for _, y := range o.past {
		if newer(y, x) && together(y.Time.In(o.policy.Location), x.Time.In(o.policy.Location)) {
			return false
		}
	}
	return true
}

// ruled reports whether a rule or the protection keeps x.
func (o oracle) ruled(x retention.Item) bool {
	before := 0
	for _, y := range o.past {
		if newer(y, x) {
			before++
		}
	}
	if x.Protected || before < o.policy.Last {
		return true
	}
	for key, together := range o.together() {
		if !o.newest(x, together) {
			continue
		}
		before := 0
		for _, y := range o.past {
			if newer(y, x) && o.newest(y, together) {
				before++
			}
		}
		if before < key%1000 {
			return true
		}
	}
	return false
}

// keeps is the whole decision.
func (o oracle) keeps(x retention.Item) bool {
	if x.Time.After(o.now) || o.policy.Last == 0 && len(o.together()) == 0 || o.ruled(x) {
		return true
	}
	stay := 0
	for _, y := range o.past {
		if o.ruled(y) || newer(y, x) {
			stay++
		}
	}
	return stay < o.policy.Minimum
}

func kept(list []retention.Decision) map[string]bool {
	all := map[string]bool{}
	for _, d := range list {
		all[d.ID] = d.Keep
	}
	return all
}

// schedule returns backups at random times around a start, often close
// together, sometimes far apart.
func schedule(r *rand.Rand, start time.Time) []retention.Item {
	steps := []time.Duration{0, time.Second, 20 * time.Minute, time.Hour, 6 * time.Hour, 24 * time.Hour, 10 * 24 * time.Hour, 100 * 24 * time.Hour}
	steps = steps[:1+r.IntN(len(steps))]
	var list []retention.Item
	at := start
	for n := range r.IntN(40) {
		at = at.Add(time.Duration(r.Int64N(int64(steps[r.IntN(len(steps))]) + 1)))
		list = append(list, retention.Item{ID: fmt.Sprintf("%03d", r.IntN(1000)*1000+n), Time: at, Protected: r.IntN(10) == 0})
	}
	r.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	return list
}

func randomPolicy(r *rand.Rand, zone *time.Location) retention.Policy {
	n := func() int { return max(0, r.IntN(9)-3) }
	return retention.Policy{
		Last: n(), Hourly: n(), Daily: n(), Weekly: n(), Monthly: n(), Yearly: n(), Minimum: n(), Location: zone,
	}
}

// TestAgainstOracle compares random plans with the oracle, and expects that
// the order of the input does not matter and that a second plan, of what
// stays, removes nothing.
func TestAgainstOracle(t *testing.T) {
	starts := []time.Time{
		time.Date(2018, 10, 27, 20, 0, 0, 0, time.UTC), time.Date(2018, 3, 24, 20, 0, 0, 0, time.UTC),
		time.Date(2018, 11, 3, 20, 0, 0, 0, time.UTC), time.Date(2018, 3, 10, 20, 0, 0, 0, time.UTC),
		time.Date(2020, 12, 30, 12, 0, 0, 0, time.UTC), time.Date(2018, 12, 30, 12, 0, 0, 0, time.UTC),
		time.Date(2010, 11, 7, 0, 0, 0, 0, time.UTC),
	}
	zones := []string{"UTC", "Europe/Amsterdam", "America/New_York", "America/St_Johns", "Australia/Lord_Howe", "Pacific/Apia"}
	removed := 0
	for seed := range uint64(1500) {
		r := rand.New(rand.NewPCG(seed, 1))
		list := schedule(r, starts[r.IntN(len(starts))])
		p := randomPolicy(r, zone(t, zones[r.IntN(len(zones))]))
		o := oracle{policy: p, now: never}
		if len(list) > 0 && r.IntN(5) == 0 {
			o.now = list[0].Time
		}
		for _, x := range list {
			if !x.Time.After(o.now) {
				o.past = append(o.past, x)
			}
		}
		want := map[string]bool{}
		for _, x := range list {
			want[x.ID] = o.keeps(x)
		}
		plan := retention.Plan(list, p, o.now)
		if diff := cmp.Diff(want, kept(plan)); diff != "" {
			t.Fatalf("seed %d, %+v, %v: oracle -, plan +:\n%s", seed, p, lines(plan), diff)
		}
		removed += checkPlan(t, r, list, plan, p, o.now)
	}
	if removed < 1000 {
		t.Errorf("only %d backups were removed: the schedules test nothing", removed)
	}
}

// checkPlan checks what holds for every plan, and counts what it removes.
func checkPlan(t *testing.T, r *rand.Rand, list []retention.Item, plan []retention.Decision, p retention.Policy, now time.Time) (removed int) {
	t.Helper()
	r.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	if diff := cmp.Diff(plan, retention.Plan(list, p, now)); diff != "" {
		t.Fatalf("the order of the input matters:\n%s", diff)
	}
	var stay []retention.Item
	for i, d := range plan {
		if len(d.Reasons) == 0 || i > 0 && newer(plan[i-1].Item, d.Item) {
			t.Fatalf("no reason, or out of order: %v", lines(plan))
		}
		if d.Keep {
			stay = append(stay, d.Item)
		}
	}
	if len(stay) < min(p.Minimum, len(plan)) {
		t.Fatalf("only %d stay, minimum %d", len(stay), p.Minimum)
	}
	for _, d := range retention.Plan(stay, p, now) {
		if !d.Keep {
			t.Fatalf("a second plan removes %s: %v", d.ID, d.Reasons)
		}
	}
	return len(plan) - len(stay)
}

// TestEveryNight prunes after each backup of three years, and expects what one
// plan of the whole history keeps: pruning often loses nothing.
func TestEveryNight(t *testing.T) {
	for _, name := range []string{"Europe/Amsterdam", "America/New_York"} {
		place := zone(t, name)
		p := retention.Policy{Last: 3, Hourly: 5, Daily: 7, Weekly: 4, Monthly: 6, Yearly: 2, Minimum: 1, Location: place}
		var history, stay []retention.Item
		for n := range 3 * 365 * 3 {
			at := time.Date(2018, 1, 1, 8*n, 30, 0, 0, place)
			x := retention.Item{ID: at.UTC().Format("20060102T150405Z"), Time: at}
			history, stay = append(history, x), append(stay, x)
			plan := retention.Plan(stay, p, at)
			stay = nil
			for _, d := range plan {
				if d.Keep {
					stay = append(stay, d.Item)
				}
			}
		}
		var want []retention.Item
		for _, d := range retention.Plan(history, p, never) {
			if d.Keep {
				want = append(want, d.Item)
			}
		}
		if diff := cmp.Diff(want, stay); diff != "" {
			t.Errorf("%s: at once -, every night +:\n%s", name, diff)
		}
		if len(want) < 15 || len(want) > 27 {
			t.Errorf("%s: %d stay", name, len(want))
		}
	}
}
