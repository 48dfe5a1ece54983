package runner

import (
	"bytes"
	"sync"
)

// stderrTail is how much of standard error is kept.
const stderrTail = 4 << 10

// bounded collects up to limit bytes, then refuses everything and calls full
// once. It is written by one goroutine; its contents are read after that one
// has ended. The buffer is not embedded: its ReadFrom would pass the limit by.
type bounded struct {
	buf   bytes.Buffer
	limit int64
	full  func()
	once  sync.Once
}

// Write implements io.Writer.
func (b *bounded) Write(p []byte) (int, error) {
	if int64(b.buf.Len())+int64(len(p)) > b.limit {
		b.once.Do(b.full)
		return 0, ErrOutputTooLarge
	}
	return b.buf.Write(p)
}

// Bytes returns what was collected.
func (b *bounded) Bytes() []byte { return b.buf.Bytes() }

// tail keeps the last stderrTail bytes written to it.
type tail struct {
	kept []byte
}

// Write implements io.Writer and never fails.
func (t *tail) Write(p []byte) (int, error) {
	n := len(p)
	if len(p) > stderrTail {
		p = p[len(p)-stderrTail:]
	}
	t.kept = append(t.kept, p...)
	if over := len(t.kept) - stderrTail; over > 0 {
		t.kept = append(t.kept[:0], t.kept[over:]...)
	}
	return n, nil
}

// String returns what was kept, as valid UTF-8.
func (t *tail) String() string { return string(bytes.ToValidUTF8(t.kept, []byte("?"))) }
