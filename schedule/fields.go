package schedule

import (
	"time"

	"github.com/robfig/cron/v3"
)

// star is the bit by which the parser marks a field that restricts nothing.
const star = 1 << 63

// minutesOfDay counts the minutes that a wall clock without changes has.
const minutesOfDay = 24 * 60

// fields are the five fields, each a set of bits.
type fields struct {
	minute, hour, dom, month, dow uint64
}

func fieldsOf(spec *cron.SpecSchedule) fields {
	return fields{minute: spec.Minute, hour: spec.Hour, dom: spec.Dom, month: spec.Month, dow: spec.Dow}
}

func has[T ~int](set uint64, n T) bool { return set&(1<<n) != 0 }

func (f fields) onDay(day time.Time) bool {
	if !has(f.month, day.Month()) {
		return false
	}
	dom, dow := has(f.dom, day.Day()), has(f.dow, day.Weekday())
	if f.dom&star != 0 || f.dow&star != 0 {
		return dom && dow
	}
	return dom || dow
}

func (f fields) atMinute(n int) bool { return has(f.hour, n/60) && has(f.minute, n%60) }

// first returns the first wall time in [from, to) that the fields name.
func (f fields) first(from, to time.Time) (time.Time, bool) {
	day, n := split(from.Add(time.Minute - 1))
	for ; day.Before(to); day, n = day.AddDate(0, 0, 1), 0 {
		if !f.onDay(day) {
			continue
		}
		for ; n < minutesOfDay; n++ {
			if f.atMinute(n) {
				at := day.Add(time.Duration(n) * time.Minute)
				return at, at.Before(to)
			}
		}
	}
	return time.Time{}, false
}

// last returns the last wall time in [from, to) that the fields name.
func (f fields) last(from, to time.Time) (time.Time, bool) {
	day, n := split(to.Add(-1))
	first, _ := split(from)
	for ; !day.Before(first); day, n = day.AddDate(0, 0, -1), minutesOfDay-1 {
		if !f.onDay(day) {
			continue
		}
		for ; n >= 0; n-- {
			if f.atMinute(n) {
				at := day.Add(time.Duration(n) * time.Minute)
				return at, !at.Before(from)
			}
		}
	}
	return time.Time{}, false
}

// split returns the midnight of a wall time and the whole minutes since then.
func split(wall time.Time) (day time.Time, minutes int) {
	year, month, date := wall.Date()
	return time.Date(year, month, date, 0, 0, 0, 0, time.UTC), wall.Hour()*60 + wall.Minute()
}
