package schedule_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
	_ "time/tzdata" // The zones of the tests, also where the machine has none.

	"github.com/google/go-cmp/cmp"

	"github.com/glusterbackupd/glusterbackupd/schedule"
)

func zone(t testing.TB, name string) *time.Location {
	t.Helper()
	l, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func parse(t testing.TB, expression string, zone *time.Location) schedule.Schedule {
	t.Helper()
	s, err := schedule.Parse(expression, zone)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func at(t testing.TB, text string) time.Time {
	t.Helper()
	moment, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return moment
}

func TestParse(t *testing.T) {
	for _, text := range []string{
		"0 0 * * *", "*/15 2-4 1,15 jan-mar SUN", "0 0 29 2 *", "0 0 30 2 mon", "? ? ? ? ?", "5/20 1 * * *", "59 23 31 12 6",
	} {
		if s := parse(t, text, nil); s.String() != text || s.Zone() != time.UTC {
			t.Errorf("%q: %q in %v", text, s, s.Zone())
		}
	}
	if s := parse(t, "\t0  0 * *   * ", nil); s.String() != "0 0 * * *" {
		t.Errorf("%q", s)
	}
	for text, reason := range map[string]string{
		"":                              "empty",
		"   ":                           "empty",
		"0 0 * *":                       "5 fields",
		"0 0 0 * * *":                   "5 fields",
		"@daily":                        "descriptors",
		"TZ=UTC 0 0 * * *":              "zone",
		"CRON_TZ=":                      "zone",
		"60 0 * * *":                    "60",
		"0 24 * * *":                    "24",
		"0 0 0 * *":                     "0",
		"0 0 * 13 *":                    "13",
		"0 0 * * 7":                     "7",
		"0 0 * * mo":                    "mo",
		"*/0 0 * * *":                   "step",
		"5-1 0 * * *":                   "range",
		"x 0 * * *":                     "x",
		"0 0 30 2 *":                    "never",
		"0 0 31 4,6,9,11 *":             "never",
		", 0 * * *":                     "never",
		"0 , * * *":                     "never",
		strings.Repeat("0,", 300) + "0": "longer",
	} {
		_, err := schedule.Parse(text, time.UTC)
		var wrong *schedule.ExpressionError
		if !errors.As(err, &wrong) || !strings.Contains(wrong.Reason, reason) || !strings.Contains(wrong.Remedy(), `"0 0 * * *"`) {
			t.Errorf("%q: %v", text, err)
			continue
		}
		if shown := strings.Join(strings.Fields(text), " "); len(text) < 100 && wrong.Expression != shown || len(err.Error()) > 300 {
			t.Errorf("%q is not named: %v", text, err)
		}
	}
}

func TestScheduleIsComparable(t *testing.T) {
	amsterdam := zone(t, "Europe/Amsterdam")
	seen := map[schedule.Schedule]int{}
	seen[parse(t, "0 0 * * *", amsterdam)]++
	seen[parse(t, " 0 0 *  * *", amsterdam)]++
	seen[parse(t, "0 0 * * *", time.UTC)]++
	seen[parse(t, "1 0 * * *", amsterdam)]++
	if len(seen) != 3 || seen[parse(t, "0 0 * * *", amsterdam)] != 2 {
		t.Errorf("%v", seen)
	}
}

// TestClockChange shows the slots around each kind of change of a clock.
func TestClockChange(t *testing.T) {
	tests := map[string]struct {
		expression, zone, from string
		want                   []string // As many slots as there are, in local time.
	}{
		"skipped hour": {
			"30 2 * * *", "Europe/Amsterdam", "2018-03-24T12:00:00Z",
			[]string{"03-25 03:00+02:00", "03-26 02:30+02:00"},
		},
		"skipped hour, several slots": {
			"0,15,30,45 2,3 * * *", "Europe/Amsterdam", "2018-03-24T12:00:00Z",
			[]string{"03-25 03:00+02:00", "03-25 03:15+02:00", "03-25 03:30+02:00", "03-25 03:45+02:00", "03-26 02:00+02:00"},
		},
		"repeated hour": {
			"30 2 * * *", "Europe/Amsterdam", "2018-10-27T12:00:00Z",
			[]string{"10-28 02:30+02:00", "10-29 02:30+01:00"},
		},
		"end of the repeated hour": {
			"0 3 * * *", "Europe/Amsterdam", "2018-10-27T12:00:00Z",
			[]string{"10-28 03:00+01:00", "10-29 03:00+01:00"},
		},
		"every hour by the wall clock, forward": {
			"30 0-23 * * *", "America/New_York", "2018-03-11T06:00:00Z",
			[]string{"03-11 01:30-05:00", "03-11 03:00-04:00", "03-11 03:30-04:00"},
		},
		"every hour by the wall clock, back": {
			"30 0-23 * * *", "America/New_York", "2018-11-04T05:00:00Z",
			[]string{"11-04 01:30-04:00", "11-04 02:30-05:00"},
		},
		"every hour, forward": {
			"30 * * * *", "America/New_York", "2018-03-11T06:00:00Z",
			[]string{"03-11 01:30-05:00", "03-11 03:30-04:00"},
		},
		"every hour, back": {
			"30 * * * *", "America/New_York", "2018-11-04T05:00:00Z",
			[]string{"11-04 01:30-04:00", "11-04 01:30-05:00", "11-04 02:30-05:00"},
		},
		"every two hours, forward": {
			"0 */2 * * *", "America/New_York", "2018-03-11T04:00:00Z",
			[]string{"03-11 00:00-05:00", "03-11 04:00-04:00"},
		},
		"every two hours, back": {
			"0 ?/2 * * *", "Europe/Amsterdam", "2018-10-27T23:00:00Z",
			[]string{"10-28 02:00+02:00", "10-28 02:00+01:00", "10-28 04:00+01:00"},
		},
		"half an hour, forward": {
			"15 2 * * *", "Australia/Lord_Howe", "2018-10-06T00:00:00Z",
			[]string{"10-07 02:30+11:00", "10-08 02:15+11:00"},
		},
		"half an hour, back": {
			"45 1 * * *", "Australia/Lord_Howe", "2018-03-31T00:00:00Z",
			[]string{"04-01 01:45+11:00", "04-02 01:45+10:30"},
		},
		"half an hour, every hour, back": {
			"45 * * * *", "Australia/Lord_Howe", "2018-03-31T14:00:00Z",
			[]string{"04-01 01:45+11:00", "04-01 01:45+10:30", "04-01 02:45+10:30"},
		},
		"a day that never was": {
			"0 12 * * *", "Pacific/Apia", "2011-12-29T00:00:00Z",
			[]string{"12-29 12:00-10:00", "12-31 00:00+14:00", "12-31 12:00+14:00"},
		},
		"only on a day that never was": {
			"0 12 30 12 *", "Pacific/Apia", "2011-12-29T00:00:00Z",
			[]string{"12-31 00:00+14:00", "12-30 12:00+14:00"},
		},
		"only on a day that never was, every hour": {
			"0 * 30 12 *", "Pacific/Apia", "2011-12-29T00:00:00Z",
			[]string{"12-30 00:00+14:00"},
		},
		"midnight is skipped": {
			"0 0 * * *", "America/Sao_Paulo", "2018-11-03T12:00:00Z",
			[]string{"11-04 01:00-02:00", "11-05 00:00-02:00"},
		},
		"midnight comes twice": { // At 00:01 the clock went back to 23:01.
			"0 0 * * *", "America/St_Johns", "2010-11-06T12:00:00Z",
			[]string{"11-07 00:00-02:30", "11-08 00:00-03:30"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := parse(t, tt.expression, zone(t, tt.zone))
			var got []string
			slots := []time.Time{at(t, tt.from)}
			for range tt.want {
				next := s.Next(slots[len(slots)-1])
				slots, got = append(slots, next), append(got, next.Format("01-02 15:04-07:00"))
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("want -, got +:\n%s", diff)
			}
			var back []time.Time
			for now := slots[len(slots)-1]; len(back) < len(tt.want); now = now.Add(-1) {
				now = s.Last(now)
				back = append(back, now)
			}
			slices.Reverse(back)
			if diff := cmp.Diff(slots[1:], back); diff != "" {
				t.Errorf("forward -, back +:\n%s", diff)
			}
		})
	}
}

func TestInterval(t *testing.T) {
	amsterdam := zone(t, "Europe/Amsterdam")
	for _, tt := range []struct {
		expression, now string
		want            time.Duration
	}{
		{"0 0 * * *", "2018-12-02T12:00:00Z", 24 * time.Hour},
		{"0 0 * * *", "2018-10-28T12:00:00Z", 25 * time.Hour},
		{"0 0 * * *", "2018-03-25T12:00:00Z", 23 * time.Hour},
		{"0 0 * * *", "2018-10-27T22:00:00Z", 25 * time.Hour}, // At a slot.
		{"0 * * * *", "2018-10-28T00:30:00Z", time.Hour},
		{"30 1 * * 1-5", "2018-12-02T12:00:00Z", 72 * time.Hour},
		{"0 0 29 2 *", "2098-01-01T00:00:00Z", (8*365 + 1) * 24 * time.Hour},
	} {
		if got := parse(t, tt.expression, amsterdam).Interval(at(t, tt.now)); got != tt.want {
			t.Errorf("%s around %s: %v, want %v", tt.expression, tt.now, got, tt.want)
		}
	}
}

func TestRhythm(t *testing.T) {
	s := parse(t, "30 1 * * 1-5", time.UTC)
	for now, want := range map[string]time.Duration{
		"2018-12-03T12:00:00Z": 72 * time.Hour, // Monday
		"2018-12-04T12:00:00Z": 24 * time.Hour,
		"2018-12-07T12:00:00Z": 72 * time.Hour, // Friday
		"2018-12-09T12:00:00Z": 72 * time.Hour,
	} {
		if got := s.Rhythm(at(t, now)); got != want {
			t.Errorf("%s: %v, want %v", now, got, want)
		}
	}
}

func TestZeroScheduleHasNoSlots(t *testing.T) {
	var s schedule.Schedule
	now := at(t, "2018-12-02T00:00:00Z")
	if next, last := s.Next(now), s.Last(now); !next.IsZero() || !last.IsZero() || s.Interval(now) != 0 || s.Rhythm(now) != 0 || s.String() != "" || s.Zone() != nil {
		t.Errorf("next %v, last %v", next, last)
	}
	if last := s.Last(time.Time{}); !last.IsZero() {
		t.Errorf("before all times: %v", last)
	}
	if _, due := s.Due(schedule.Record{Started: now.AddDate(-1, 0, 0)}, time.Time{}, now); due {
		t.Error("a slot that does not exist is due")
	}
}

// TestSlotsHaveNoMonotonicClock compares by ==, which a reading of the
// monotonic clock would spoil.
func TestSlotsHaveNoMonotonicClock(t *testing.T) {
	s := parse(t, "* * * * *", time.UTC)
	now := time.Now()
	if next, last := s.Next(now), s.Last(now); next != next.Round(0) || last != last.Round(0) || next.Sub(last) != time.Minute {
		t.Errorf("%v, %v", last, next)
	}
}
