package copier

import "testing"

// TestPace runs the policy against sources of which the rate is known for each
// number of workers.
func TestPace(t *testing.T) {
	local := func(n int) float64 { return min(float64(n), 4) }
	tests := map[string]struct {
		rate          func(workers int) float64
		most          int
		least, atMost int // Where it has to be most of the time.
	}{
		"answers late":         {func(n int) float64 { return float64(n) }, 64, 64, 64},
		"late, then saturated": {func(n int) float64 { return min(float64(n), 20) }, 64, 16, 32},
		"local":                {local, 64, 4, 8},
		"gets in its own way":  {func(n int) float64 { return 100 / float64(n) }, 64, 4, 8},
		"nothing moves":        {func(int) float64 { return 0 }, 64, 4, 64},
		"few allowed":          {local, 2, 1, 2},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p := newPace(tt.most)
			n, inside := p.workers, 0
			const rounds = 1000
			for range rounds {
				n = p.next(tt.rate(n))
				if n < 1 || n > tt.most {
					t.Fatalf("%d workers, at most %d are allowed", n, tt.most)
				}
				if n >= tt.least && n <= tt.atMost {
					inside++
				}
			}
			if inside < rounds*9/10 {
				t.Errorf("%d of %d times between %d and %d workers, at the end %d", inside, rounds, tt.least, tt.atMost, n)
			}
		})
	}
}

// TestPaceFollowsAChange has a source that begins to answer late.
func TestPaceFollowsAChange(t *testing.T) {
	p := newPace(64)
	n := p.workers
	for range 200 {
		n = p.next(min(float64(n), 4))
	}
	if n > 8 {
		t.Fatalf("%d workers for a local source", n)
	}
	for range 500 {
		n = p.next(float64(n))
	}
	if n != 64 {
		t.Errorf("%d workers after the source became late, want 64", n)
	}
}

func TestTemporaryNamesFit(t *testing.T) {
	long := make([]byte, 255)
	for i := range long {
		long[i] = 'n'
	}
	for _, name := range []string{"a", string(long), "\xff\n"} {
		if got := temporary(name); len(got) > 255 || got == temporary(name) || !temporaryName.MatchString(got) {
			t.Errorf("temporary name %q of %d bytes", got, len(got))
		}
	}
}
