package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/glusterbackupd/glusterbackupd/kube"
)

// KubeLeases shares the work by Leases of Kubernetes. Where the API server has
// none (before 1.14) the locks of the BackupDisk alone keep two daemons apart.
type KubeLeases struct {
	// Leases is required.
	Leases *kube.Leases
	// Suffix tells this BackupDisk's runs from those of another one that backs
	// up the same volumes.
	Suffix string
	Logger *slog.Logger

	without sync.Once
}

// releaseLease bounds giving a lease back: what is not given back expires.
const releaseLease = 10 * time.Second

// Acquire implements Leases.
func (k *KubeLeases) Acquire(ctx context.Context, volume string) (context.Context, func(), error) {
	lease, err := k.Leases.Acquire(ctx, volume+k.Suffix)
	switch {
	case errors.Is(err, kube.ErrNoLeases):
		k.without.Do(func() {
			k.Logger.Warn("Kubernetes has no Leases: only the locks of the BackupDisk keep daemons on several masters apart", "error", err)
		})
		return ctx, func() {}, nil
	case errors.Is(err, kube.ErrLeaseHeld):
		return nil, nil, fmt.Errorf("volume %s: %w: %w", volume, ErrHeldElsewhere, err)
	case err != nil:
		return nil, nil, fmt.Errorf("volume %s: %w", volume, err)
	}
	return lease.Context(), func() {
		bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseLease)
		defer cancel()
		if err := lease.Release(bounded); err != nil {
			k.Logger.Warn("lease was not given back and will expire", "volume", volume, "error", err)
		}
	}, nil
}
