package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/glusterbackupd/glusterbackupd/blockstore"
	"github.com/glusterbackupd/glusterbackupd/daemon"
)

// exports has, for each host that may export images, the GBID of one of them.
type exports map[string]string

func (e exports) add(hosts []string, gbid string) {
	for _, h := range hosts {
		if e[h] == "" {
			e[h] = gbid
		}
	}
}

// images looks at what a blockhost volume holds, given the targets that stand on
// it, and notes which hosts export them. A volume of files is passed over.
func (c *checker) images(ctx context.Context, a *app, targets []daemon.Target, exported exports) {
	targets = slices.DeleteFunc(slices.Clone(targets), func(t daemon.Target) bool { return !t.Block() })
	if len(targets) == 0 {
		return
	}
	volume := targets[0].Volume
	check := "blockhost " + volume
	if err := a.daemon.CheckLocking(ctx, targets[0]); err != nil {
		c.add(check, "", err)
	}
	if err := a.daemon.CheckChunks(ctx, targets[0]); err != nil {
		c.warn(check, fmt.Sprintf("[copy] track_chunks spares nothing here: %v", err), remedyOf(err))
	}
	l, err := a.daemon.CheckImages(ctx, targets[0])
	if err != nil {
		c.add(check, "", fmt.Errorf("volume %s: %w", volume, err))
	}
	if err != nil && len(l.Images) == 0 {
		return
	}
	c.add(check, fmt.Sprintf("%d images, %d of them healthy", len(l.Images), l.Healthy()), nil)
	c.oddities(check, volume, l)
	for _, img := range l.Images {
		exported.add(img.Hosts, img.GBID)
	}
	for _, t := range targets {
		img, err := l.Match(t.Image, t.GBID)
		if err != nil {
			c.add("claim "+t.Key.String(), "", err)
			continue
		}
		exported.add(t.Exporters, img.GBID)
	}
}

// oddities warns of everything on the volume that is no healthy image. None of
// it is touched: only an admin can know whether it is still wanted.
func (c *checker) oddities(check, volume string, l blockstore.Listing) {
	for _, e := range l.Incomplete {
		c.warn(check, fmt.Sprintf("%s/%s: left by a gluster-block command that was killed or failed, or one runs: %v",
			blockstore.MetaDir, e.Name, &e), e.Remedy())
	}
	for _, o := range l.Orphans {
		c.warn(check, o.String(), o.Remedy(volume))
	}
	for _, p := range l.Problems {
		c.warn(check, fmt.Sprintf("%s: %v", p.Name, p.Err), remedyOf(p.Err))
	}
}

// sessions asks each exporting host for its sessions: a restore refuses when one
// cannot tell, and that should be known before the night when it is needed.
func (c *checker) sessions(ctx context.Context, a *app, exported exports) {
	for _, host := range slices.Sorted(maps.Keys(exported)) {
		err := a.daemon.CheckSessions(ctx, host, exported[host])
		if errors.Is(err, context.Canceled) {
			return
		}
		c.add("sessions on "+host, "configfs is readable: restore-block can see who is logged in", err)
	}
}
