package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/glusterbackupd/glusterbackupd/blockstore"
	"github.com/glusterbackupd/glusterbackupd/gluster"
)

// PoolLevel is the fill level of one thin pool.
type PoolLevel = gluster.Pool

// CheckVolume makes the checks that a backup of the target would begin with,
// and returns the levels of its volume's thin pools. It changes nothing.
func (d *Daemon) CheckVolume(ctx context.Context, t Target) ([]PoolLevel, error) {
	g, err := d.o.Gluster(t.Hosts)
	if err != nil {
		return nil, err
	}
	_, pools, err := d.preflight(ctx, g, t.Volume)
	return pools, err
}

// CheckLocking returns an error when the options of the target's volume keep its
// images from being read and restored.
func (d *Daemon) CheckLocking(ctx context.Context, t Target) error {
	g, err := d.o.Gluster(t.Hosts)
	if err != nil {
		return err
	}
	v, err := g.Volume(ctx, t.Volume)
	if err != nil {
		return err
	}
	return blockstore.MandatoryLocking(v.Name, v.Options)
}

// CheckChunks returns why the thin pools below the target's volume cannot tell which of
// their chunks have changed. With TrackChunks off it asks nobody.
func (d *Daemon) CheckChunks(ctx context.Context, t Target) error {
	if !d.o.TrackChunks {
		return nil
	}
	g, err := d.o.Gluster(t.Hosts)
	if err != nil {
		return err
	}
	filer, ok := brickside[ChunkFiler](g)
	if !ok {
		return errors.New("this transport does not reach the bricks")
	}
	v, err := g.Volume(ctx, t.Volume)
	if err != nil {
		return err
	}
	return filer.CheckChunks(ctx, v)
}

// checkMount begins the name of a check's mount point; the number of its process
// and the volume follow. Checks take no lock and may run beside each other.
const checkMount = "check-%d"

// CheckImages lists what the target's blockhost volume holds, through a
// read-only mount that it gives back. The listing also counts when the error is
// one of giving back. If the process dies, TidyChecks removes the mount.
func (d *Daemon) CheckImages(ctx context.Context, t Target) (l blockstore.Listing, err error) {
	rel := &releases{log: d.log}
	defer func() { err = errors.Join(err, rel.run(ctx)) }()
	kind := fmt.Sprintf(checkMount, os.Getpid())
	dir, err := d.mountLive(ctx, t, kind, gluster.MountOptions{ReadOnly: true, DirectIO: true}, rel)
	if err != nil {
		return l, err
	}
	return blockstore.Open(dir).Images(ctx)
}

// CheckSessions asks an exporting host for the sessions of one image, as a
// restore of it would, and returns an error when the host cannot tell. Whether
// there are any is no error.
func (d *Daemon) CheckSessions(ctx context.Context, host, gbid string) error {
	_, err := blockstore.Sessions(ctx, host, d.o.Connect(host), gbid)
	return err
}

// TidyChecks removes the mounts of checks that died, and leaves those of checks
// that run alone. A process that merely has the number of one that died keeps
// its mount until a later call.
func TidyChecks(ctx context.Context, m Mounts) error {
	dirs, err := m.Leftovers()
	errs := []error{err}
	for _, dir := range dirs {
		var pid int
		if n, _ := fmt.Sscanf(filepath.Base(dir), checkMount+"-", &pid); n == 1 && runs(pid) {
			continue
		}
		errs = append(errs, m.Unmount(ctx, dir))
	}
	return errors.Join(errs...)
}

// runs says whether another process has the number.
func runs(pid int) bool {
	return pid > 0 && pid != os.Getpid() && !errors.Is(unix.Kill(pid, 0), unix.ESRCH)
}
