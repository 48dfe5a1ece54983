package daemon

import (
	"context"
	"fmt"
	"time"
)

// StateSource reads one file of what a lost cluster is built again from.
type StateSource struct {
	// File is its name on the BackupDisk.
	File string
	// Read returns the content, in which there must be no secret and nothing that
	// differs each time.
	Read func(ctx context.Context) ([]byte, error)
}

// stateTimeout bounds the reading of all sources.
const stateTimeout = 5 * time.Minute

// SaveClusterState keeps what the sources say on the BackupDisk, all or nothing:
// half a state would look like a change of the cluster. It writes nothing while
// nothing has changed.
func (d *Daemon) SaveClusterState(ctx context.Context, sources []StateSource) error {
	if len(sources) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, stateTimeout, fmt.Errorf("the state of the cluster was not read within %s", stateTimeout))
	defer cancel()
	files := map[string][]byte{}
	at := time.Now()
	for _, s := range sources {
		content, err := s.Read(ctx)
		if err != nil {
			return fmt.Errorf("state of the cluster: %s: %w", s.File, err)
		}
		files[s.File] = content
	}
	dir, fresh, err := d.o.Catalog.SaveCluster(at, files)
	if err == nil && fresh {
		d.log.Info("state of the cluster saved", "path", dir)
	}
	return err
}
