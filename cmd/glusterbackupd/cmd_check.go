package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/glusterbackupd/glusterbackupd/catalog"
	"github.com/glusterbackupd/glusterbackupd/daemon"
	"github.com/glusterbackupd/glusterbackupd/gluster"
)

// errChecks says that at least one check failed; each was printed.
var errChecks = errors.New("some checks failed")

// finding is the result of one check. Status is ok, warn, or fail.
type finding struct {
	Check  string `json:"check"`
	Status string `json:"status"`
	Detail string `json:"detail"`
	Remedy string `json:"remedy,omitempty"`
}

func newCheckCommand(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "check",
		Short: "Test every connection and precondition, and say what is not covered",
		Long: `Tries everything that a backup needs without changing anything: the BackupDisk,
the local tools, Kubernetes, Heketi, Gluster, each volume's bricks, thin pools and
snapshot limits. Where Gluster cannot be reached, it looks which other transport
would. Lists every claim that is not covered, with the reason. Mounts
each blockhost volume read-only for a moment, counts its images, names what a
killed gluster-block command left there, and asks the hosts that export them
whether they can tell who is logged in, as restore-block will have to know.

` + exitCodeHelp,
		Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return runCheck(cmd.Context(), g) },
	}
}

func runCheck(ctx context.Context, g *globals) (err error) {
	a, err := openCheck(g)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.close()) }()
	var c checker
	if err := a.tidyChecks(ctx); err != nil {
		c.add("leftovers", "", err)
	}
	missing := c.disk(a.cfg.Destination.Path)
	c.tools()
	c.servers(ctx, a)
	c.volumes(ctx, a)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err := g.printFindings(c.list); err != nil {
		return err
	}
	switch {
	case missing != nil:
		// The worst of all: nothing can be backed up or restored.
		return fmt.Errorf("%w: %w", errChecks, missing)
	case c.failed:
		return errChecks
	}
	return nil
}

// checker collects findings.
type checker struct {
	list   []finding
	failed bool
}

// add records a check: ok with its detail, or failed with the error.
func (c *checker) add(check, detail string, err error) {
	if err == nil {
		c.list = append(c.list, finding{Check: check, Status: "ok", Detail: detail})
		return
	}
	c.failed = true
	c.list = append(c.list, finding{check, "fail", err.Error(), remedyOf(err)})
}

func (c *checker) warn(check, detail, remedy string) {
	c.list = append(c.list, finding{check, "warn", detail, remedy})
}

// disk checks the BackupDisk, and returns why it cannot be used at all.
func (c *checker) disk(path string) error {
	r, err := catalog.Open(path, catalog.Options{})
	if err != nil {
		c.add("BackupDisk", "", err)
		return err
	}
	space, err := r.Space()
	if err != nil {
		c.add("BackupDisk", "", err)
		return err
	}
	c.add("BackupDisk", fmt.Sprintf("%s: %s free of %s", r.Root(), size(space.Free), size(space.Total)), nil)
	if space.Reflink {
		c.add("reflinks", "a new version of an image costs only what changed", nil)
	} else {
		c.warn("reflinks", "the BackupDisk has none: each version of an image is a full sparse copy",
			"use XFS (mkfs.xfs -m reflink=1) or Btrfs for the BackupDisk")
	}
	problems, err := r.Problems()
	if err != nil {
		c.add("backups", "", err)
	}
	for _, p := range problems {
		c.add("backups", "", p)
	}
	return nil
}

// tools checks what this host must have. rsync, if it is the engine, was checked
// when that was built.
func (c *checker) tools() {
	path, err := gluster.Program()
	if err != nil {
		err = remedied{err, "install the glusterfs client (glusterfs-client or glusterfs-fuse) on this host"}
	}
	c.add("glusterfs", path, err)
	_, err = os.Stat("/dev/fuse")
	if err != nil {
		err = remedied{err, "load the fuse module: modprobe fuse"}
	}
	c.add("FUSE", "/dev/fuse", err)
}

// remedied adds a remedy to an error of the standard library.
type remedied struct {
	error
	remedy string
}

func (e remedied) Remedy() string { return e.remedy }
func (e remedied) Unwrap() error  { return e.error }

// servers checks Kubernetes and Heketi.
func (c *checker) servers(ctx context.Context, a *app) {
	if a.kube != nil {
		v, err := a.kube.Ping(ctx)
		c.add("Kubernetes", v, err)
	}
	if a.heketi != nil {
		c.add("Heketi", a.cfg.Heketi.URL, a.heketi.Ping(ctx))
	}
}

// volumes checks every claim's volume as a backup would.
func (c *checker) volumes(ctx context.Context, a *app) {
	targets, uncovered, err := a.resolver().Targets(ctx)
	if err != nil {
		c.add("claims", "", err)
		return
	}
	c.add("claims", fmt.Sprintf("%d covered", len(targets)), nil)
	c.gluster(ctx, a, targets)
	for _, u := range uncovered {
		if u.Foreign {
			c.add("claim "+u.Key.String(), "not on Gluster: "+u.Reason, nil)
			continue
		}
		c.warn("claim "+u.Key.String(), "not covered: "+u.Reason, "")
	}
	c.byVolume(ctx, a, targets)
}

// byVolume checks each volume once, and each host that exports images once.
func (c *checker) byVolume(ctx context.Context, a *app, targets []daemon.Target) {
	exported := exports{}
	for len(targets) > 0 && ctx.Err() == nil {
		volume := targets[0].Volume
		var here, rest []daemon.Target
		for _, t := range targets {
			if t.Volume == volume {
				here = append(here, t)
			} else {
				rest = append(rest, t)
			}
		}
		targets = rest
		pools, err := a.daemon.CheckVolume(ctx, here[0])
		c.add("volume "+volume, poolLevels(pools), err)
		// A volume that did not answer is not mounted: it would only say the
		// same once more, later.
		if err == nil || errors.Is(err, daemon.ErrNotCovered) {
			c.images(ctx, a, here, exported)
		}
	}
	c.sessions(ctx, a, exported)
}

func poolLevels(pools []daemon.PoolLevel) string {
	if len(pools) == 0 {
		return "bricks up"
	}
	var data, metadata float64
	for _, p := range pools {
		data, metadata = max(data, p.Data), max(metadata, p.Metadata)
	}
	return fmt.Sprintf("bricks up, fullest thin pool: data %.1f %%, metadata %.1f %%", data, metadata)
}

func (g *globals) printFindings(list []finding) error {
	if g.json() {
		return printJSON(g.out, list)
	}
	t := newTable(g.out, "CHECK", "STATUS", "DETAIL")
	for _, f := range list {
		t.row(f.Check, f.Status, f.Detail)
		if f.Remedy != "" {
			t.row("", "", "remedy: "+f.Remedy)
		}
	}
	return t.flush()
}
