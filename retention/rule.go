package retention

import (
	"fmt"
	"time"
)

// rule keeps the newest backup of each of the newest periods.
type rule struct {
	name   string
	count  int                    // Of periods.
	period func(time.Time) string // Its name; different for any two periods.
}

// rules returns the rules about periods that keep something.
func (p Policy) rules() []rule {
	zone := p.Location
	if zone == nil {
		zone = time.UTC
	}
	layout := func(form string) func(time.Time) string {
		return func(t time.Time) string { return t.In(zone).Format(form) }
	}
	var set []rule
	for _, r := range []rule{
		{"hourly", p.Hourly, layout("2006-01-02 15:00-07:00")}, // The offset tells the repeated hour from the first one.
		{"daily", p.Daily, layout("2006-01-02")},
		{"weekly", p.Weekly, func(t time.Time) string { return isoWeek(t.In(zone)) }},
		{"monthly", p.Monthly, layout("2006-01")},
		{"yearly", p.Yearly, layout("2006")},
	} {
		if r.count > 0 {
			set = append(set, r)
		}
	}
	return set
}

func isoWeek(t time.Time) string {
	year, week := t.ISOWeek()
	return fmt.Sprintf("%04d-W%02d", year, week)
}

// judge goes through the backups, newest first. It remembers all periods that
// it met, not only the last one: where a clock is set back over midnight, a
// day can come twice.
func (r rule) judge(past []*verdict) {
	keeper := map[string]string{} // IDs by period.
	oldest := ""
	for _, v := range past {
		period := r.period(v.Time)
		id, taken := keeper[period]
		switch {
		case taken:
			v.object("%s %s keeps %s", r.name, period, id)
		case len(keeper) < r.count:
			keeper[period], oldest = v.ID, period
			v.keep(r.name + " " + period)
		default:
			v.object("%s %d reaches back to %s", r.name, r.count, oldest)
		}
	}
}
