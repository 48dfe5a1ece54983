package copier

import (
	"sync"
	"sync/atomic"
	"time"
)

// crew is a pool of goroutines of which a changing number works. Its queues are
// short: who finds them full does the work itself, so that memory is bounded
// and nobody waits for a place in a queue.
type crew struct {
	size           int
	files, folders chan *item
	work           func(*item)
	finished       chan struct{}

	mu    sync.Mutex
	more  *sync.Cond
	limit int
	most  atomic.Int32
}

const (
	queuedFiles   = 256
	queuedFolders = 64
	paceInterval  = 100 * time.Millisecond
)

func newCrew(size int, work func(*item)) *crew {
	c := &crew{
		size: size, work: work, finished: make(chan struct{}),
		files: make(chan *item, queuedFiles), folders: make(chan *item, queuedFolders),
	}
	c.more = sync.NewCond(&c.mu)
	return c
}

// submit hands it over, or does it at once.
func (c *crew) submit(it *item) {
	queue := c.files
	if isDir(&it.st) {
		queue = c.folders
	}
	select {
	case queue <- it:
	default:
		c.work(it)
	}
}

// finish ends the crew. The queues must be empty.
func (c *crew) finish() { close(c.finished) }

// wait returns when finish was called.
func (c *crew) wait() { <-c.finished }

// run works until wait returns, with a number of workers that follows how much
// is done, a count that grows.
func (c *crew) run(wait func(), done func() int64) {
	p := newPace(c.size)
	c.set(p.workers)
	var workers sync.WaitGroup
	for i := range c.size {
		workers.Go(func() { c.worker(i) })
	}
	workers.Go(func() { c.adapt(p, done) })
	wait()
	c.set(c.size) // Who waits for a turn shall see that it is over.
	workers.Wait()
}

func (c *crew) adapt(p *pace, done func() int64) {
	ticker := time.NewTicker(paceInterval)
	defer ticker.Stop()
	last, at := done(), time.Now()
	for {
		select {
		case <-c.finished:
			return
		case now := <-ticker.C:
			count := done()
			c.set(p.next(float64(count-last) / now.Sub(at).Seconds()))
			last, at = count, now
		}
	}
}

func (c *crew) set(limit int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case <-c.finished:
		limit = c.size
	default:
		c.most.Store(max(c.most.Load(), int32(limit))) //nolint:gosec // At most the crew's size.
	}
	c.limit = limit
	c.more.Broadcast()
}

// turn waits until worker i may work.
func (c *crew) turn(i int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i >= c.limit {
		c.more.Wait()
	}
}

func (c *crew) worker(i int) {
	for {
		c.turn(i)
		select { // Files first: they let folders end, and these hold descriptors.
		case it := <-c.files:
			c.work(it)
			continue
		default:
		}
		select {
		case it := <-c.files:
			c.work(it)
		case it := <-c.folders:
			c.work(it)
		case <-c.finished:
			return
		}
	}
}
