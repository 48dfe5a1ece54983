package failover_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/glusterbackupd/glusterbackupd/gluster/failover"
)

var (
	errDown    = errors.New("no route")
	errDoubt   = errors.New("who are you")
	errRefused = errors.New("no such volume")
)

func judge(err error) failover.Verdict {
	switch {
	case errors.Is(err, errDown):
		return failover.Unreached
	case errors.Is(err, errDoubt):
		return failover.Distrusted
	}
	return failover.Answered
}

// hosts are what the hosts say at the moment, and who was asked.
type hosts struct {
	say   map[string]error
	asked []string
}

// do asks the set and returns who was asked, and the result.
func (h *hosts) do(t *testing.T, s *failover.Set, names []string) (string, error) {
	t.Helper()
	h.asked = nil
	err := s.Do(t.Context(), func(i int) error {
		h.asked = append(h.asked, names[i])
		// A host that is down takes its time; others answer at once.
		if errors.Is(h.say[names[i]], errDown) {
			time.Sleep(10 * time.Second)
			return errors.Join(errors.New(names[i]), errDown)
		}
		return h.say[names[i]]
	}, judge)
	return strings.Join(h.asked, " "), err
}

func newSet(t *testing.T, o *failover.Outages, names ...string) *failover.Set {
	t.Helper()
	s, err := failover.New(failover.Options{Names: names, Outages: o})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestOrder(t *testing.T) {
	names := []string{"a", "b", "c"}
	tests := map[string]struct {
		say   map[string]error
		asked string
		err   error
		host  string
	}{
		"all well":              {nil, "a", nil, "a"},
		"the first is down":     {map[string]error{"a": errDown}, "a b", nil, "b"},
		"two are down":          {map[string]error{"a": errDown, "b": errDown}, "a b c", nil, "c"},
		"all are down":          {map[string]error{"a": errDown, "b": errDown, "c": errDown}, "a b c", errDown, "a"},
		"an answer is final":    {map[string]error{"a": errDown, "b": errRefused}, "a b", errRefused, "b"},
		"doubt ends the search": {map[string]error{"a": errDown, "b": errDoubt}, "a b", errDoubt, "a"},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, h := newSet(t, nil, names...), &hosts{say: tt.say}
				asked, err := h.do(t, s, names)
				if asked != tt.asked || !errors.Is(err, tt.err) || s.Host() != tt.host {
					t.Errorf("asked %q, error %v, now %s; want %q, %v, %s", asked, err, s.Host(), tt.asked, tt.err, tt.host)
				}
				// What was passed over is named only when nobody answered.
				if named := err != nil && strings.Contains(err.Error(), "a\n"); named != (len(tt.say) > 1 && !errors.Is(tt.err, errRefused) && tt.err != nil) {
					t.Errorf("error %q", err)
				}
			})
		})
	}
}

// A dead host costs one time-out, whoever asks and however often.
func TestOneTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := &failover.Outages{}
		h := &hosts{say: map[string]error{"dead": errDown}}
		start := time.Now()
		for _, names := range [][]string{{"dead", "a"}, {"dead", "b"}, {"dead", "c"}} {
			s := newSet(t, shared, names...)
			for range 5 {
				if _, err := h.do(t, s, names); err != nil {
					t.Fatal(err)
				}
			}
		}
		if took := time.Since(start); took != 10*time.Second {
			t.Errorf("15 questions of 3 sets took %v, want one time-out of 10 s", took)
		}
	})
}

func TestMemoryEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared, names := &failover.Outages{Memory: time.Minute}, []string{"first", "other"}
		h := &hosts{say: map[string]error{"first": errDown}}
		ask := func(want string) {
			t.Helper()
			// A new set each time: it would prefer the first host.
			if asked, err := h.do(t, newSet(t, shared, names...), names); asked != want || err != nil {
				t.Errorf("asked %q, %v; want %q", asked, err, want)
			}
		}
		ask("first other")
		ask("other")
		time.Sleep(time.Minute + time.Second)
		ask("first other")
		ask("other")
		time.Sleep(time.Minute + time.Second)
		delete(h.say, "first")
		ask("first")
		ask("first")
	})
}

// While one caller finds out whether a host is back, the others do not wait.
func TestOneProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared, names := &failover.Outages{}, []string{"dead", "alive"}
		down := &hosts{say: map[string]error{"dead": errDown}}
		if _, err := down.do(t, newSet(t, shared, names...), names); err != nil {
			t.Fatal(err)
		}
		time.Sleep(failover.DefaultMemory + time.Second)
		asked := make(chan string, 5)
		for range 5 {
			go func() {
				h := &hosts{say: down.say}
				who, _ := h.do(t, newSet(t, shared, names...), names)
				asked <- who
			}()
		}
		var all []string
		for range 5 {
			all = append(all, <-asked)
		}
		slices.Sort(all)
		if want := []string{"alive", "alive", "alive", "alive", "dead alive"}; !slices.Equal(all, want) {
			t.Errorf("asked %q, want %q", all, want)
		}
	})
}

// What was down is asked again when nobody else is left.
func TestLastResort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		names := []string{"a", "b"}
		s, h := newSet(t, nil, names...), &hosts{say: map[string]error{"a": errDown}}
		if _, err := h.do(t, s, names); err != nil {
			t.Fatal(err)
		}
		h.say = map[string]error{"b": errDown}
		if asked, err := h.do(t, s, names); asked != "b a" || err != nil {
			t.Errorf("asked %q, %v; want b, then a", asked, err)
		}
	})
}

func TestNoHost(t *testing.T) {
	if _, err := failover.New(failover.Options{}); err == nil {
		t.Error("New took no host")
	}
}
