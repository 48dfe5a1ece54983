package copier

import "time"

// Progress says how far a copy has come. A zero field is unknown.
type Progress struct {
	// Bytes of file or image content dealt with, and how many there will be.
	Bytes, TotalBytes int64
	// Files counts entries of every type that were dealt with; TotalFiles is
	// known once the engine has walked the whole source.
	Files, TotalFiles int64
	// Rate is in bytes a second.
	Rate float64
	// ETA is an estimate of the time that is left.
	ETA time.Duration
}

// rateWindow is the time over which a meter averages.
const rateWindow = 10 * time.Second

// meter turns a growing count of bytes into a rate and an ETA. It is not safe
// for concurrent use.
type meter struct {
	total   int64
	started time.Time
	marks   []mark
}

type mark struct {
	at    time.Time
	bytes int64
}

func newMeter(total int64) *meter {
	now := time.Now()
	return &meter{total: total, started: now, marks: []mark{{at: now}}}
}

// add returns the progress at bytes. The rate is that of the last window, so
// that it follows a change of speed.
func (m *meter) add(bytes int64) Progress {
	now := time.Now()
	for len(m.marks) > 1 && now.Sub(m.marks[0].at) > rateWindow {
		m.marks = m.marks[1:]
	}
	p := Progress{Bytes: bytes, TotalBytes: m.total}
	first := m.marks[0]
	if took := now.Sub(first.at).Seconds(); took > 0 {
		p.Rate = float64(bytes-first.bytes) / took
	}
	if p.Rate > 0 {
		p.ETA = time.Duration(float64(m.total-bytes) / p.Rate * float64(time.Second))
	}
	if now.Sub(m.marks[len(m.marks)-1].at) >= rateWindow/100 {
		m.marks = append(m.marks, mark{now, bytes})
	}
	return p
}
