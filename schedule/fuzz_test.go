package schedule_test

import (
	"testing"
	"time"

	"github.com/glusterbackupd/glusterbackupd/schedule"
)

// FuzzParse feeds any text, and checks what holds for every schedule at any
// time.
func FuzzParse(f *testing.F) {
	for i, text := range []string{
		"0 0 * * *", "30 2 * * *", "*/15 * * * *", "0 0 29 2 *", "0 12 30 12 *", "* * * * *", "5,10 ? 1-7/2 jan,MAR sun", "0 0 30 2 *", "TZ=", ",,,, 0 * * *",
	} {
		f.Add(text, uint8(i), int64(1540688400+i))
	}
	zones := []*time.Location{
		time.UTC, zone(f, "Europe/Amsterdam"), zone(f, "America/New_York"), zone(f, "Australia/Lord_Howe"), zone(f, "Pacific/Apia"), zone(f, "America/St_Johns"),
	}
	f.Fuzz(func(t *testing.T, text string, place uint8, seconds int64) {
		s, err := schedule.Parse(text, zones[int(place)%len(zones)])
		if err != nil {
			return
		}
		if again, err := schedule.Parse(s.String(), s.Zone()); err != nil || again != s {
			t.Fatalf("%q is read as %q, which is not read again: %v", text, s, err)
		}
		const until = 4102444800 // 2100
		now := time.Unix((seconds%until+until)%until, 0)
		last, next := s.Last(now), s.Next(now)
		if last.IsZero() || last.After(now) || !next.After(now) {
			t.Fatalf("%q at %v: last %v, next %v", s, now, last, next)
		}
		if got := s.Last(next); got != next {
			t.Fatalf("%q: at %v the last slot is %v", s, next, got)
		}
		if got := s.Next(last); got != next {
			t.Fatalf("%q: after %v comes %v, not %v", s, last, got, next)
		}
		if got := s.Last(next.Add(-1)); got != last {
			t.Fatalf("%q: before %v came %v, not %v", s, next, got, last)
		}
	})
}
