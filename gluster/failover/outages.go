package failover

import (
	"sync"
	"time"
)

// DefaultMemory is the default of Outages.Memory.
const DefaultMemory = time.Minute

// Outages remembers which hosts could not be reached lately. The zero value is
// usable. It is safe for concurrent use, and must not be copied.
type Outages struct {
	// Memory is how long a host counts as down after it could not be reached,
	// default 1 min.
	Memory time.Duration

	mu    sync.Mutex
	until map[string]time.Time // By host.
}

// down tells whether the host was not reached lately. When its time is over, one
// caller gets false and thereby finds out for all others.
func (o *Outages) down(host string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	until, ok := o.until[host]
	if !ok {
		return false
	}
	now := time.Now()
	if now.Before(until) {
		return true
	}
	o.until[host] = now.Add(o.memory())
	return false
}

// note records that the host could not be reached.
func (o *Outages) note(host string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.until == nil {
		o.until = make(map[string]time.Time)
	}
	o.until[host] = time.Now().Add(o.memory())
}

// forget records that the host answers.
func (o *Outages) forget(host string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.until, host)
}

func (o *Outages) memory() time.Duration {
	if o.Memory <= 0 {
		return DefaultMemory
	}
	return o.Memory
}
