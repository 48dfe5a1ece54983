package servers

import (
	"context"
	"errors"
	"os"
	"testing"
)

func TestParseStat(t *testing.T) {
	const tail = " 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20 21"
	tests := map[string]struct {
		line    string
		ticks   uint64
		running bool
	}{
		"running":             {"42 (etcd) S" + tail, 4711, true},
		"name with brackets":  {"42 (a) b (c)) R" + tail, 4711, true},
		"zombie":              {"42 (etcd) Z" + tail, 0, false},
		"cut off":             {"42 (etcd) S 1 2", 0, false},
		"nothing":             {"", 0, false},
		"start is no number":  {"42 (etcd) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 x 20", 0, false},
		"exactly enough text": {"42 (etcd) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 7", 7, true},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			ticks, running := parseStat([]byte(tt.line))
			if ticks != tt.ticks || running != tt.running {
				t.Errorf("parseStat(%q) = %d, %v; want %d, %v", tt.line, ticks, running, tt.ticks, tt.running)
			}
		})
	}
}

func TestStop(t *testing.T) {
	for desc, script := range map[string]string{"polite": "exec sleep 600", "ended already": "exit 0"} {
		t.Run(desc, func(t *testing.T) {
			p, err := Env{Dir: t.TempDir()}.Start("sleeper", "sh", "-c", script)
			if err != nil {
				t.Fatal(err)
			}
			if err := p.Stop(); err != nil || p.Alive() {
				t.Errorf("Stop() = %v, alive %v; want nil, false", err, p.Alive())
			}
		})
	}
}

func TestStopSparesAnotherProcess(t *testing.T) {
	p, err := Env{Dir: t.TempDir()}.Start("sleeper", "sleep", "600")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Stop(); err != nil {
			t.Error(err)
		}
	})
	stale := *p
	stale.Started++
	if err := stale.Stop(); err != nil || !p.Alive() {
		t.Errorf("stopping a stale record: %v, alive %v; want nil, true", err, p.Alive())
	}
}

func TestWaitSaysWhyItEnded(t *testing.T) {
	never := func(context.Context) error { return os.ErrNotExist }
	_, err := Env{Dir: t.TempDir()}.startAndWait(t.Context(), "broken", never, "sh", "-c", "echo no such option >&2; exit 1")
	if !errors.Is(err, ErrExited) {
		t.Errorf("error %v; want ErrExited", err)
	}
}
