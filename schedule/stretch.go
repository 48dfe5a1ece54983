package schedule

import "time"

// stretch is a time in which the offset of a zone stays the same. A wall time
// is what a clock on the wall shows, written as if the wall were in Greenwich:
// such times can be counted without gaps and repetitions.
type stretch struct {
	zone       *time.Location
	offset     time.Duration
	start, end time.Time // The end does not belong to it.
	// The wall times whose slots come in this stretch: from the first until
	// before the second.
	from, to time.Time
}

// stretch returns the one around t. When the schedule follows elapsed time, its
// wall times are those that the clock shows. Otherwise they begin where the
// stretch before ended: what the clock skipped belongs to it, and what the
// clock repeats does not.
func (s Schedule) stretch(t time.Time) stretch {
	zone := s.zone
	if zone == nil {
		zone = time.UTC
	}
	t = t.In(zone)
	p := stretch{zone: zone, offset: offsetAt(t)}
	p.start, p.end = t.ZoneBounds() // A start before all times is the zero time, as wanted.
	if p.end.IsZero() {
		p.end = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	p.from, p.to = p.wall(p.start), p.wall(p.end)
	if !s.elapsed {
		p.from = p.start.UTC().Add(offsetAt(p.start.In(zone).Add(-1)))
	}
	return p
}

func offsetAt(t time.Time) time.Duration {
	_, seconds := t.Zone()
	return time.Duration(seconds) * time.Second
}

// wall returns what the clock shows at t, or would show in this stretch.
func (p stretch) wall(t time.Time) time.Time { return t.Round(0).UTC().Add(p.offset) }

// instant returns when a slot with this wall time comes.
func (p stretch) instant(wall time.Time) time.Time {
	return later(wall.Add(-p.offset), p.start).In(p.zone)
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
