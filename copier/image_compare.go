package copier

import (
	"bytes"
	"context"
	"fmt"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
)

// CompareImages reads both images completely and returns the offset of the
// first byte that differs, or -1 when they are equal. Images of different size
// are an error that Is ErrImageSize. progress may be nil; it is called from one
// goroutine at a time.
func CompareImages(ctx context.Context, a, b ImageSource, progress func(Progress)) (int64, error) {
	if err := sameSize(a, b); err != nil {
		return 0, err
	}
	c := &comparison{a: a, b: b, size: a.Size()}
	c.first.Store(-1)
	if err := c.run(ctx, progress); err != nil {
		if ctx.Err() != nil {
			return 0, fmt.Errorf("image compare: %w", context.Cause(ctx))
		}
		return 0, err
	}
	return c.first.Load(), nil
}

type comparison struct {
	a, b  ImageSource
	size  int64
	first atomic.Int64
}

// run hands out pieces in order and stops after a difference: all pieces before
// it have been handed out by then, so the lowest offset found is the first one.
func (c *comparison) run(ctx context.Context, progress func(Progress)) error {
	g, ctx := errgroup.WithContext(ctx)
	offsets, done := make(chan int64), make(chan int64, defaultWorkers)
	g.Go(func() error {
		defer close(offsets)
		for off := int64(0); off < c.size && c.first.Load() < 0; off += defaultPieceSize {
			select {
			case offsets <- off:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	})
	for range defaultWorkers {
		g.Go(func() error { return c.work(ctx, offsets, done) })
	}
	result := make(chan error, 1)
	go func() {
		result <- g.Wait()
		close(done)
	}()
	m, compared := newMeter(c.size), int64(0)
	for n := range done {
		compared += n
		if progress != nil {
			progress(m.add(compared))
		}
	}
	return <-result
}

func (c *comparison) work(ctx context.Context, offsets <-chan int64, done chan<- int64) error {
	size := min(defaultPieceSize, c.size)
	one, two := make([]byte, size), make([]byte, size)
	for off := range offsets {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		n := min(defaultPieceSize, c.size-off)
		if err := readFull(c.a, "read first image", one[:n], off); err != nil {
			return err
		}
		if err := readFull(c.b, "read second image", two[:n], off); err != nil {
			return err
		}
		if !bytes.Equal(one[:n], two[:n]) {
			i := 0
			for one[i] == two[i] {
				i++
			}
			c.lower(off + int64(i))
		}
		done <- n
	}
	return nil
}

// lower makes off the first difference unless a lower one is known.
func (c *comparison) lower(off int64) {
	for {
		old := c.first.Load()
		if old >= 0 && old <= off || c.first.CompareAndSwap(old, off) {
			return
		}
	}
}
