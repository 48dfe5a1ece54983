// Package schedule says when a claim is to be backed up. It is arithmetic on
// times: it starts nothing, waits for nothing, and reads no clock and no
// configuration.
//
// A schedule is a cron expression of five fields in a time zone. The moments
// that it names are its slots. On the two days a year on which clocks are
// changed a wall clock skips times and shows others twice. The rule is that of
// Vixie's cron:
//
//   - An expression whose hour field begins with "*" (or "?", which means the
//     same) follows the elapsed time: it has a slot at each instant at which
//     the clock shows a time that it names. "0 * * * *" goes on hour by hour,
//     also through the hour that is repeated, and names nothing in the hour
//     that is skipped. The same holds for "0 */6 * * *".
//   - All others follow the wall clock, and miss nothing and repeat nothing. A
//     slot in a skipped hour comes at the first instant after the gap; where
//     several slots fall there, they are one. A slot in a repeated hour comes
//     once, the first time. A zone that skips a whole day is no different.
//
// [Schedule.Due] and [Schedule.FirstDue] decide for one claim at one moment.
// [Cron] makes a timer of gocron fire at the slots; the timer only says that it
// is time to decide. It knows nothing of slots that passed while the process
// was down, the machine slept or the clock was set; Due does.
package schedule

import (
	"fmt"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
)

// horizon is how many years Next and Last look ahead and back. Of all
// expressions February 29 is the rarest: eight years pass around 2100.
const horizon = 10

// longest is how long an expression may be; it comes from an annotation, which
// anybody can write who may change a claim.
const longest = 512

// Schedule is a parsed expression. Schedules can be compared and can be keys of
// a map: they are equal if their expressions and their zones are, where a zone
// is the same only if it is the same pointer, so load each zone once. The zero
// value has no slots.
type Schedule struct {
	expression string
	zone       *time.Location
	elapsed    bool // The hour field begins with a star.
	fields     fields
}

// Parse reads an expression of five fields: minute, hour, day of month, month
// and day of week (0 to 6 or sun to sat). A list, a range, a step and "*" are
// understood; a zone in front is not, and neither is "@daily" and the like. If
// day of month and day of week are both restricted, one of them is enough. A
// nil zone is UTC. The error is an *ExpressionError.
func Parse(expression string, zone *time.Location) (Schedule, error) {
	fail := func(text, format string, a ...any) (Schedule, error) {
		return Schedule{}, &ExpressionError{Expression: text, Reason: fmt.Sprintf(format, a...)}
	}
	if len(expression) > longest {
		return fail(expression[:60]+"…", "longer than %d bytes", longest)
	}
	parts := strings.Fields(expression)
	expression = strings.Join(parts, " ")
	// The parser would take a zone, and panics on one that ends the text.
	if strings.Contains(expression, "=") {
		return fail(expression, "a zone does not belong here")
	}
	parsed, err := cron.NewParser(cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow).Parse(expression)
	if err != nil {
		return fail(expression, "%v", err)
	}
	spec, ok := parsed.(*cron.SpecSchedule)
	if !ok {
		return fail(expression, "not a list of fields")
	}
	if zone == nil {
		zone = time.UTC
	}
	s := Schedule{
		expression: expression, zone: zone, fields: fieldsOf(spec),
		elapsed: strings.HasPrefix(parts[1], "*") || strings.HasPrefix(parts[1], "?"),
	}
	// Within ten years every date that exists comes, February 29 included.
	if _, comes := s.fields.first(time.Unix(0, 0).UTC(), time.Unix(0, 0).UTC().AddDate(horizon, 0, 0)); !comes {
		return fail(expression, "it never comes")
	}
	return s, nil
}

// String returns the expression, with single spaces between its fields.
func (s Schedule) String() string { return s.expression }

// Zone returns the zone whose clock is meant. It is nil for the zero value.
func (s Schedule) Zone() *time.Location { return s.zone }

// Next returns the first slot after a time, in the zone of the schedule. It is
// the zero time only for the zero Schedule.
func (s Schedule) Next(after time.Time) time.Time {
	limit := after.AddDate(horizon, 0, 0)
	p := s.stretch(after)
	from := later(p.from, p.wall(after).Add(1))
	for {
		if w, ok := s.fields.first(from, earlier(p.to, p.wall(limit))); ok {
			return p.instant(w)
		}
		if !p.end.Before(limit) {
			return time.Time{}
		}
		p = s.stretch(p.end)
		from = p.from
	}
}

// Last returns the newest slot that is not after now, in the zone of the
// schedule. It is the zero time if the last ten years had none, which holds for
// the zero Schedule only.
func (s Schedule) Last(now time.Time) time.Time {
	limit := now.AddDate(-horizon, 0, 0)
	p := s.stretch(now)
	to := p.wall(now).Add(1)
	for {
		if w, ok := s.fields.last(later(p.from, p.wall(limit)), to); ok {
			return p.instant(w)
		}
		if p.start.IsZero() || !p.start.After(limit) {
			return time.Time{}
		}
		p = s.stretch(p.start.Add(-1))
		to = p.to
	}
}

// Interval returns the time between the newest slot that is not after now and
// the one that follows it: how old a backup may be before it is overdue.
func (s Schedule) Interval(now time.Time) time.Duration {
	return s.Next(now).Sub(s.Last(now))
}

// Rhythm returns the longer one of the last two times between slots, with the
// one that goes on. It is how far apart backups may lie when all goes well, also
// on the Monday of a schedule that rests at weekends.
func (s Schedule) Rhythm(now time.Time) time.Duration {
	last := s.Last(now)
	if last.IsZero() {
		return 0
	}
	return max(s.Interval(now), last.Sub(s.Last(last.Add(-1))))
}
