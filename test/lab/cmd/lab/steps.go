package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// steps prints what has been done and how long it took, and now and then what
// is still under way. Several goroutines may use it.
type steps struct {
	start time.Time

	mu      sync.Mutex
	running map[string]time.Time
}

func newSteps() *steps {
	s := &steps{start: time.Now(), running: map[string]time.Time{}}
	go func() {
		for range time.Tick(20 * time.Second) {
			s.still()
		}
	}()
	return s
}

// do runs one step.
func (s *steps) do(name string, f func() error) error {
	start := time.Now()
	s.mu.Lock()
	s.running[name] = start
	s.mu.Unlock()
	err := f()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.running, name)
	if err != nil {
		fmt.Printf("%-56s  FAILED\n", name)
		return fmt.Errorf("%s: %w", name, err)
	}
	fmt.Printf("%-56s %6.1fs\n", name, time.Since(start).Seconds())
	return nil
}

// still names the steps that take long.
func (s *steps) still() {
	s.mu.Lock()
	defer s.mu.Unlock()
	var names []string
	for _, name := range slices.Sorted(maps.Keys(s.running)) {
		if time.Since(s.running[name]) > 15*time.Second {
			names = append(names, name)
		}
	}
	if len(names) > 0 {
		fmt.Println("  ... at work on:", strings.Join(names, "; "))
	}
}

func (s *steps) total(what string) {
	fmt.Printf("%-56s %6.1fs\n", what, time.Since(s.start).Seconds())
}
