package main

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"

	"github.com/glusterbackupd/glusterbackupd/catalog"
	"github.com/glusterbackupd/glusterbackupd/daemon"
)

// quietInterval is the time between two progress lines where no terminal is.
const quietInterval = 30 * time.Second

// progress shows a daemon's events: as a bar on a terminal, else as one line
// per phase and half minute. It is safe for concurrent use.
type progress struct {
	w        io.Writer
	terminal bool

	mu   sync.Mutex
	last map[string]daemon.Phase
	said time.Time
	bar  *progressbar.ProgressBar
	on   string // what the bar shows
}

func newProgress(w io.Writer) *progress {
	return &progress{w: w, terminal: isTerminal(w), last: map[string]daemon.Phase{}, said: time.Now()}
}

// observe is the daemon's Observe.
func (p *progress) observe(e daemon.Event) {
	if e.Phase == daemon.PhaseEnd {
		return // The result is shown then.
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	name := e.Volume
	if e.Claim != (catalog.Key{}) {
		name = e.Claim.String()
	}
	if p.last[name] != e.Phase {
		p.last[name] = e.Phase
		p.clear()
		fmt.Fprintf(p.w, "%s: %s\n", name, e.Phase)
	}
	if e.Progress.Bytes == 0 && e.Progress.TotalBytes == 0 {
		return
	}
	if p.terminal {
		// One bar at a time: with runs in parallel the first one has it until
		// its phase ends.
		if label := name + " " + string(e.Phase); p.bar == nil || p.on == label {
			p.draw(label, e)
		}
		return
	}
	if time.Since(p.said) > quietInterval {
		p.said = time.Now()
		fmt.Fprintf(p.w, "%s: %s: %s\n", name, e.Phase, describe(e))
	}
}

func (p *progress) draw(name string, e daemon.Event) {
	if p.bar == nil {
		p.on = name
		total := e.Progress.TotalBytes
		if total == 0 {
			total = -1
		}
		p.bar = progressbar.NewOptions64(total,
			progressbar.OptionSetWriter(p.w), progressbar.OptionShowBytes(true), progressbar.OptionUseIECUnits(true),
			progressbar.OptionSetDescription(name), progressbar.OptionSetWidth(30), progressbar.OptionClearOnFinish(),
			progressbar.OptionThrottle(200*time.Millisecond), progressbar.OptionSetPredictTime(true))
	}
	if e.Progress.TotalBytes > 0 {
		p.bar.ChangeMax64(max(e.Progress.TotalBytes, e.Progress.Bytes))
	}
	_ = p.bar.Set64(e.Progress.Bytes) // A bar that cannot be drawn must not fail a backup.
}

// clear takes the bar off the screen.
func (p *progress) clear() {
	if p.bar != nil {
		_ = p.bar.Clear() // See draw.
		p.bar = nil
	}
}

// done removes the bar before results are printed.
func (p *progress) done() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
}

func describe(e daemon.Event) string {
	s := size(e.Progress.Bytes)
	if e.Progress.TotalBytes > 0 {
		s += " of " + size(e.Progress.TotalBytes)
	}
	if e.Progress.Rate > 0 {
		s += fmt.Sprintf(", %s/s", size(int64(e.Progress.Rate)))
	}
	if e.Progress.ETA > 0 {
		s += ", " + took(e.Progress.ETA) + " left"
	}
	return s
}
