package schedule_test

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/glusterbackupd/glusterbackupd/schedule"
)

// moment is a time of the first days of December 2018, like "2 00:00"; "" is
// the zero time.
func moment(t testing.TB, text string) time.Time {
	t.Helper()
	if text == "" {
		return time.Time{}
	}
	at, err := time.Parse("2006-01 2 15:04", "2018-12 "+text)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

func TestDue(t *testing.T) {
	tests := map[string]struct {
		started, finished, handled, now string
		slot                            string // "" if it is not due.
	}{
		"no backup":                         {now: "2 00:00"},
		"at the slot":                       {started: "1 00:00", finished: "1 00:10", now: "2 00:00", slot: "2 00:00"},
		"before the slot":                   {started: "1 00:00", finished: "1 00:10", now: "1 23:59"},
		"late":                              {started: "1 00:00", finished: "1 00:10", now: "2 17:00", slot: "2 00:00"},
		"done":                              {started: "2 00:03", finished: "2 00:10", now: "2 17:00"},
		"began exactly at the slot":         {started: "2 00:00", finished: "2 00:10", now: "2 17:00"},
		"tried":                             {started: "1 00:00", finished: "1 00:10", handled: "2 00:00", now: "2 17:00"},
		"the slot before was tried":         {started: "1 00:00", finished: "1 00:10", handled: "2 00:00", now: "3 00:00", slot: "3 00:00"},
		"by hand before the slot":           {started: "1 22:00", finished: "1 22:30", now: "2 00:01", slot: "2 00:00"},
		"still copied at the slot":          {started: "1 23:30", finished: "2 00:30", now: "2 01:00"},
		"ended exactly at the slot":         {started: "1 23:30", finished: "2 00:00", now: "2 01:00"},
		"copied over a slot, the next one":  {started: "1 23:30", finished: "2 00:30", now: "3 00:00", slot: "3 00:00"},
		"copied for days":                   {started: "1 23:30", finished: "3 22:30", now: "3 23:00"},
		"five slots missed, one to do":      {started: "1 00:00", finished: "1 00:10", now: "6 09:00", slot: "6 00:00"},
		"and then it is done":               {started: "6 09:01", finished: "6 09:10", now: "6 10:00"},
		"no end is known":                   {started: "1 00:00", now: "2 00:00", slot: "2 00:00"},
		"ended before it began":             {started: "1 00:00", finished: "1 00:00", now: "2 00:00", slot: "2 00:00"},
		"clock of the other master is fast": {started: "2 00:30", finished: "2 00:31", now: "2 00:01"},
		"backup of the far future":          {started: "9 00:00", finished: "9 00:10", now: "2 00:01", slot: "2 00:00"},
		"and its slot is tried":             {started: "9 00:00", finished: "9 00:10", handled: "2 00:00", now: "2 00:01"},
		"tried with a clock far ahead":      {started: "1 00:00", finished: "1 00:10", handled: "9 00:00", now: "2 00:01", slot: "2 00:00"},
		"clock went back a little":          {started: "1 00:00", finished: "1 00:10", handled: "2 00:00", now: "1 23:59"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := parse(t, "0 0 * * *", time.UTC)
			last := schedule.Record{Started: moment(t, tt.started), Finished: moment(t, tt.finished)}
			slot, due := s.Due(last, moment(t, tt.handled), moment(t, tt.now))
			if want := moment(t, tt.slot); due != (tt.slot != "") || !slot.Equal(want) {
				t.Errorf("%v, %v; want %q", slot, due, tt.slot)
			}
		})
	}
}

// TestDueOverTheYear asks every ten minutes of a year whose clocks change, with
// a process that is down now and then, and expects one backup for each slot
// while it is up.
func TestDueOverTheYear(t *testing.T) {
	s := parse(t, "30 2 * * *", zone(t, "Europe/Amsterdam"))
	now := at(t, "2018-01-01T12:00:00Z")
	last := schedule.Record{Started: now, Finished: now}
	var handled time.Time
	served := map[time.Time]int{}
	down := map[time.Month]bool{time.May: true, time.July: true}
	for ; now.Year() == 2018; now = now.Add(10 * time.Minute) {
		if down[now.Month()] {
			handled = time.Time{} // What a process knows is gone with it.
			continue
		}
		if slot, due := s.Due(last, handled, now); due {
			served[slot]++
			handled, last = slot, schedule.Record{Started: now, Finished: now.Add(5 * time.Minute)}
		}
	}
	for slot, n := range served {
		if n != 1 || s.Last(slot) != slot {
			t.Errorf("%v was served %d times", slot, n)
		}
	}
	// All but the slots of 62 days, of whose ends two are caught up, and of New Year's Day.
	if want := 365 - 62 - 1 + 2; len(served) != want {
		t.Errorf("%d slots were served, want %d", len(served), want)
	}
}

func TestFirstDue(t *testing.T) {
	const name = "shop/uploads"
	offset := schedule.Offset(name, time.Hour)
	if offset < time.Minute || offset > 59*time.Minute {
		t.Fatalf("choose another name, its place is %v", offset)
	}
	seen := moment(t, "2 12:00")
	tests := map[string]struct {
		within    time.Duration
		handled   time.Time
		now, slot time.Time
	}{
		"just seen":                  {within: time.Hour, now: seen},
		"not yet":                    {within: time.Hour, now: seen.Add(offset - 1)},
		"now":                        {within: time.Hour, now: seen.Add(offset), slot: seen.Add(offset)},
		"later":                      {within: time.Hour, now: seen.Add(5 * time.Hour), slot: seen.Add(offset)},
		"tried":                      {within: time.Hour, handled: seen.Add(offset), now: seen.Add(5 * time.Hour)},
		"tried, next slot":           {within: time.Hour, handled: seen.Add(offset), now: moment(t, "3 00:00"), slot: moment(t, "3 00:00")},
		"tried with a clock ahead":   {within: time.Hour, handled: seen.AddDate(1, 0, 0), now: seen.Add(offset), slot: seen.Add(offset)},
		"waits":                      {now: moment(t, "2 23:59")},
		"waits until the slot":       {now: moment(t, "3 00:00"), slot: moment(t, "3 00:00")},
		"the slot is before a month": {within: 30 * 24 * time.Hour, now: moment(t, "3 00:00"), slot: moment(t, "3 00:00")},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			s := parse(t, "0 0 * * *", time.UTC)
			slot, due := s.FirstDue(schedule.First{Name: name, Seen: seen, Within: tt.within}, tt.handled, tt.now)
			if due == tt.slot.IsZero() || !slot.Equal(tt.slot) {
				t.Errorf("%v, %v; want %v", slot, due, tt.slot)
			}
		})
	}
}

func TestOffset(t *testing.T) {
	for _, spread := range []time.Duration{0, -1, math.MinInt64} {
		if got := schedule.Offset("vol", spread); got != 0 {
			t.Errorf("spread %v: %v", spread, got)
		}
	}
	for _, spread := range []time.Duration{1, 5 * time.Minute, math.MaxInt64} {
		if got := schedule.Offset("vol", spread); got < 0 || got >= spread || got != schedule.Offset("vol", spread) {
			t.Errorf("spread %v: %v", spread, got)
		}
	}
	// Names that differ in one digit, like those of volumes do. With 10,000
	// names 500 fall into each of 20 parts; a deviation of 100 is one of 4.6
	// standard deviations.
	const parts = 20
	var count [parts]int
	for n := range 10000 {
		count[schedule.Offset(fmt.Sprintf("vol_%d", n), parts*time.Second)/time.Second]++
	}
	for i, n := range count {
		if n < 400 || n > 600 {
			t.Errorf("part %d has %d of 10000", i, n)
		}
	}
	if a, b := schedule.Offset("vol_1", 10*time.Minute), schedule.Offset("vol_1", 20*time.Minute); b/2 != a && b/2 != a+1 {
		t.Errorf("the place moves with the spread: %v of 10m, %v of 20m", a, b)
	}
}
