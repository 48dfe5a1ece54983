package config

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

const (
	day     = 24 * time.Hour
	week    = 7 * day
	longest = 36525 * day
)

// Duration is a time span of zero or more. In the file it is a string like
// "2d", "1w12h" or "90m": weeks (w) and days (d) of 24 hours come first, then
// what time.ParseDuration reads (h, m, s, ms).
type Duration time.Duration

var (
	durationForm = regexp.MustCompile(`^(?:([0-9]+)w)?(?:([0-9]+)d)?([0-9].*)?$`)
	errDuration  = errors.New(`want a duration like "30s", "4h" or "2d"`)
	errTooLong   = errors.New("want a duration of at most 100 years")
)

// UnmarshalText reads the form of the file.
func (d *Duration) UnmarshalText(text []byte) error {
	parts := durationForm.FindStringSubmatch(string(text))
	if len(text) == 0 || parts == nil {
		return errDuration
	}
	rest, err := time.ParseDuration(cmp.Or(parts[3], "0"))
	if err != nil {
		return errDuration
	}
	var sum time.Duration
	for _, part := range []time.Duration{multiple(parts[1], week), multiple(parts[2], day), rest} {
		if sum += min(part, longest+1); sum > longest {
			return errTooLong
		}
	}
	*d = Duration(sum)
	return nil
}

// multiple returns as many units as the digits say, none for no digits, and
// more than the longest duration for a number that is too big.
func multiple(digits string, unit time.Duration) time.Duration {
	if digits == "" {
		return 0
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n > int64(longest/unit) {
		return longest + 1
	}
	return time.Duration(n) * unit
}

// MarshalText returns the form of the file.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// String returns the shortest form that UnmarshalText reads as the same value,
// with days but without weeks: "2d", "1d12h", "90s" becomes "1m30s".
func (d Duration) String() string {
	days, rest := time.Duration(d)/day, time.Duration(d)%day
	var b strings.Builder
	if days > 0 {
		fmt.Fprintf(&b, "%dd", days)
	}
	if rest > 0 || days == 0 {
		text := rest.String()
		if short, ok := strings.CutSuffix(text, "m0s"); ok {
			text = short + "m"
		}
		if short, ok := strings.CutSuffix(text, "h0m"); ok {
			text = short + "h"
		}
		b.WriteString(text)
	}
	return b.String()
}
