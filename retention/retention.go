// Package retention decides which backups of a claim stay and which go, and
// says why. It is arithmetic on times: it knows no BackupDisk, removes nothing,
// reads no clock and no configuration.
//
// Each rule of a policy keeps the newest backup of as many periods as it says.
// A period without a backup does not count, so that nothing is removed only
// because time passes or a clock jumps forward: a claim whose backups have
// stopped keeps what it has. Whether the clock can be right is asked apart, by
// [CheckClock] and [CheckJump], before anything is removed.
package retention

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// Item is a backup as far as the retention is concerned.
type Item struct {
	ID        string // Unique among the backups of a claim.
	Time      time.Time
	Protected bool // Never removed. It still counts as the backup of its periods.
}

// Policy says how many backups are kept. A number that is not positive is a
// rule that keeps nothing. A policy without any rule keeps everything, whatever
// Minimum says: it can only be a mistake.
type Policy struct {
	Last    int // The newest backups, whatever their age.
	Hourly  int // The newest backup of so many hours.
	Daily   int // The newest backup of so many days.
	Weekly  int // The newest backup of so many ISO weeks, which begin on Monday.
	Monthly int // The newest backup of so many months.
	Yearly  int // The newest backup of so many years.
	// Minimum is how many backups stay at least: where the rules and the
	// protection keep fewer, the newest of the others stay too.
	Minimum int
	// Location is the zone whose hours, days, weeks, months and years are
	// meant. Nil is UTC. The hour that a clock repeats in autumn is two hours.
	Location *time.Location
}

// Decision is what becomes of one backup.
type Decision struct {
	Item
	Keep bool
	// Reasons are short texts for people, at least one: all that keep the
	// backup, or else what each rule has against it.
	Reasons []string
}

// verdict is a decision that is not final.
type verdict struct {
	Decision
	against []string
}

func (v *verdict) keep(reason string) {
	v.Keep, v.Reasons = true, append(v.Reasons, reason)
}

func (v *verdict) object(format string, a ...any) {
	v.against = append(v.against, fmt.Sprintf(format, a...))
}

// Plan decides about all complete backups of one claim, given in any order, and
// returns the decisions from the oldest to the newest backup. Of backups of the
// same time the one with the greatest ID is the newest. A backup that is later
// than now is kept and takes nobody's place; see [CheckClock]. The input is not
// changed.
func Plan(backups []Item, p Policy, now time.Time) []Decision {
	all := sorted(backups)
	var past []*verdict // Newest first.
	for _, v := range slices.Backward(all) {
		if v.Time.After(now) {
			v.keep("later than now")
		} else {
			past = append(past, v)
		}
	}
	rules := p.rules()
	if len(rules) == 0 && p.Last <= 0 {
		for _, v := range all {
			v.keep("the policy has no rule")
		}
	}
	p.judgeLast(past)
	for _, r := range rules {
		r.judge(past)
	}
	for _, v := range all {
		if v.Protected {
			v.keep("protected")
		}
	}
	p.judgeMinimum(past)
	return decisions(all)
}

// sorted returns the backups, oldest first, without a decision.
func sorted(backups []Item) []*verdict {
	items := slices.Clone(backups)
	slices.SortStableFunc(items, func(a, b Item) int {
		return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.ID, b.ID))
	})
	var list []*verdict
	for _, item := range items {
		list = append(list, &verdict{Decision: Decision{Item: item}})
	}
	return list
}

func decisions(all []*verdict) []Decision {
	var list []Decision
	for _, v := range all {
		if !v.Keep {
			v.Reasons = v.against
		}
		list = append(list, v.Decision)
	}
	return list
}

// judgeLast applies the rule that looks at no period.
func (p Policy) judgeLast(past []*verdict) {
	for i, v := range past {
		switch {
		case p.Last <= 0:
		case i < p.Last:
			v.keep(fmt.Sprintf("last %d: %s", p.Last, ordinal(i+1)))
		default:
			v.object("not among the last %d", p.Last)
		}
	}
}

// judgeMinimum keeps the newest of those that nothing keeps until enough stay.
func (p Policy) judgeMinimum(past []*verdict) {
	kept := 0
	for _, v := range past {
		if v.Keep {
			kept++
		}
	}
	for _, v := range past {
		if kept >= p.Minimum {
			return
		}
		if !v.Keep {
			v.keep(fmt.Sprintf("minimum %d", p.Minimum))
			kept++
		}
	}
}

// ordinal returns 1st, 2nd, 3rd, 4th and so on.
func ordinal(n int) string {
	suffix := "th"
	if n%100 < 11 || n%100 > 13 {
		switch n % 10 {
		case 1:
			suffix = "st"
		case 2:
			suffix = "nd"
		case 3:
			suffix = "rd"
		}
	}
	return fmt.Sprint(n, suffix)
}
