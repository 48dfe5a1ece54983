package daemon

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/glusterbackupd/glusterbackupd/gluster"
	"github.com/glusterbackupd/glusterbackupd/heketi"
	"github.com/glusterbackupd/glusterbackupd/kube"
)

// firstBackoff is the wait before the first retry; it doubles up to maxBackoff.
const (
	firstBackoff = 2 * time.Second
	maxBackoff   = time.Minute
)

// temporary says whether the same call may succeed later without anybody doing
// something. The drivers know their own errors.
func temporary(err error) bool {
	return gluster.Temporary(err) || heketi.Temporary(err) || kube.Temporary(err)
}

// retry calls f until it succeeds, fails with an error that is not temporary,
// or has failed attempts+1 times. A cancelled ctx ends the waiting at once.
func retry(ctx context.Context, attempts int, f func() error) error {
	backoff := firstBackoff
	for n := 0; ; n++ {
		err := f()
		if err == nil || !temporary(err) {
			return err
		}
		if n == attempts {
			return fmt.Errorf("after %d attempts: %w", n+1, err)
		}
		select {
		case <-ctx.Done():
			return errors.Join(context.Cause(ctx), err)
		case <-time.After(backoff):
		}
		backoff = min(2*backoff, maxBackoff)
	}
}
