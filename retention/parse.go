package retention

import (
	"fmt"
	"strconv"
	"strings"
)

// The form of a policy as text is an interface: tenants write it into the
// annotation backup.gluster.org/retention of a claim.
const (
	longest = 512    // How long the text may be.
	most    = 100000 // The greatest number, as in the configuration.
)

// PolicyError is the error for a text that is no policy.
type PolicyError struct {
	Text   string
	Reason string
}

func (e *PolicyError) Error() string { return fmt.Sprintf("retention %q: %s", e.Text, e.Reason) }

// Remedy says what to do.
func (e *PolicyError) Remedy() string {
	return fmt.Sprintf("write rules with a number from 0 to %d each, at least one of them above 0, like "+
		`"last=3,hourly=24,daily=7,weekly=4,monthly=6,yearly=2,minimum=1"; a rule that is not named keeps nothing`, most)
}

// number is one number of a policy with its name.
type number struct {
	name string
	n    *int
}

// numbers returns those of p, in the order in which they are written.
func (p *Policy) numbers() []number {
	return []number{
		{"last", &p.Last},
		{"hourly", &p.Hourly},
		{"daily", &p.Daily},
		{"weekly", &p.Weekly},
		{"monthly", &p.Monthly},
		{"yearly", &p.Yearly},
		{"minimum", &p.Minimum},
	}
}

// ParsePolicy reads a policy like "last=3,daily=7,minimum=1". Spaces do not
// matter. A rule that is not named keeps nothing, whatever base says; only the
// minimum, if it is not named, and the zone are those of base. The error is a
// *PolicyError: a text that keeps nothing is one, because it can only be a
// mistake.
func ParsePolicy(text string, base Policy) (Policy, error) {
	fail := func(format string, a ...any) (Policy, error) {
		return Policy{}, &PolicyError{Text: text, Reason: fmt.Sprintf(format, a...)}
	}
	if len(text) > longest {
		text = text[:60] + "…"
		return fail("longer than %d bytes", longest)
	}
	p := Policy{Minimum: base.Minimum, Location: base.Location}
	known := map[string]*int{}
	for _, r := range p.numbers() {
		known[r.name] = r.n
	}
	named := map[string]bool{}
	for part := range strings.SplitSeq(text, ",") {
		name, value, both := strings.Cut(part, "=")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		n, isKnown := known[name]
		switch {
		case !both:
			return fail("want name=number, not %q", strings.TrimSpace(part))
		case !isKnown:
			return fail("there is no rule %q", name)
		case named[name]:
			return fail("%s is named twice", name)
		}
		named[name] = true
		count, err := strconv.Atoi(value)
		if err != nil || count < 0 || count > most {
			return fail("%s: want a number from 0 to %d, not %q", name, most, value)
		}
		*n = count
	}
	if !p.keepsAny() {
		return fail("no rule keeps a backup")
	}
	return p, nil
}

// keepsAny reports whether the policy has a rule at all.
func (p Policy) keepsAny() bool { return p.Last > 0 || len(p.rules()) > 0 }

// String returns the policy in the form that ParsePolicy reads, without its
// zone and without the rules that keep nothing.
func (p Policy) String() string {
	var parts []string
	for _, r := range p.numbers() {
		if *r.n > 0 || r.name == "minimum" {
			parts = append(parts, fmt.Sprintf("%s=%d", r.name, max(0, *r.n)))
		}
	}
	return strings.Join(parts, ",")
}
