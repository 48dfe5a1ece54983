package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/glusterbackupd/glusterbackupd/daemon"
)

// Files of the cluster's state on the BackupDisk; docs/format.md has them.
const (
	heketiState  = "heketi.json"
	classesState = "storageclasses.json"
	volumesState = "volumes%s.xml"
)

// stateSources returns what a lost cluster is built again from: Heketi's
// database, the StorageClasses, and the volumes of each Gluster pool. A pool is
// known by the hosts that its volumes are asked on.
func (a *app) stateSources(pools [][]string) (list []daemon.StateSource) {
	if a.heketi != nil {
		list = append(list, daemon.StateSource{File: heketiState, Read: a.heketi.Dump})
	}
	if a.kube != nil {
		list = append(list, daemon.StateSource{File: classesState, Read: a.kube.StorageClasses})
	}
	sets := make([][]string, len(pools))
	for n, hosts := range pools {
		sets[n] = slices.Sorted(slices.Values(hosts)) // Each volume names them in an order of its own.
	}
	slices.SortFunc(sets, slices.Compare)
	for n, hosts := range slices.CompactFunc(sets, slices.Equal) {
		client, err := a.gluster.client(hosts)
		volumes, ok := client.(interface {
			VolumesXML(ctx context.Context) ([]byte, error)
		})
		if err == nil && !ok {
			continue // glusterd2 has no such text.
		}
		number := ""
		if n > 0 {
			number = fmt.Sprint("-", n+1)
		}
		list = append(list, daemon.StateSource{File: fmt.Sprintf(volumesState, number), Read: func(ctx context.Context) ([]byte, error) {
			if err != nil {
				return nil, fmt.Errorf("hosts %s: %w", strings.Join(hosts, ", "), err)
			}
			return volumes.VolumesXML(ctx)
		}})
	}
	return list
}

// saveState keeps the state of the cluster. That it cannot be kept fails no
// backup.
func (a *app) saveState(ctx context.Context, d *daemon.Daemon, pools [][]string) {
	err := d.SaveClusterState(ctx, a.stateSources(pools))
	if err != nil && ctx.Err() == nil {
		a.log.Warn("state of the cluster was not saved", "error", err, "remedy", remedyOf(err))
	}
}

// keepState saves the state of the cluster when the claims are known, and whenever
// the runs of a slot have ended.
func (s *server) keepState(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.states:
		}
		var pools [][]string
		for _, c := range s.service.Status().Claims {
			if c.Coverage == daemon.Covered {
				pools = append(pools, c.Hosts)
			}
		}
		s.app.saveState(ctx, s.worker.Load(), pools)
	}
}

// wantState asks for the state of the cluster to be saved.
func (s *server) wantState() {
	select {
	case s.states <- struct{}{}:
	default: // It is asked for already.
	}
}
