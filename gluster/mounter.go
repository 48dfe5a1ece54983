package gluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Defaults of MounterOptions.
const (
	DefaultBase         = "/run/glusterbackupd/mnt"
	DefaultLogDir       = "/var/log/glusterbackupd"
	DefaultMountTimeout = 2 * time.Minute
	DefaultStatTimeout  = 20 * time.Second
)

// Errors of mounts that callers branch on.
var (
	// ErrForeignMount means that something that is not a Gluster mount of this
	// program's occupies a mount point, or files do.
	ErrForeignMount = errors.New("mount point is used by something else")
	// ErrMounted means that a mount of this program's, one that works, has the
	// name already.
	ErrMounted = errors.New("already mounted")
	// ErrMount means that mounting failed or led to something unexpected.
	ErrMount = errors.New("mount failed")
	// ErrStale means that a mount is there, but its client or server is gone or
	// does not answer.
	ErrStale = errors.New("stale mount")
)

// MounterOptions are the settings of a Mounter. Run is required.
type MounterOptions struct {
	// Base is the folder of all mount points; it belongs to this program alone.
	// Default "/run/glusterbackupd/mnt".
	Base string
	// LogDir is the folder of the Gluster clients' logs, one per mount; a log is
	// removed together with its mount and kept when mounting failed. Default
	// "/var/log/glusterbackupd".
	LogDir string
	// Run runs glusterfs(8) on this machine.
	Run Commander
	// SnapshotPath is what the servers serve a snapshot under, with a leading
	// slash; nil means glusterd's way.
	SnapshotPath func(snapshot, volume string) string
	// MountTimeout limits one mount, default 2 min.
	MountTimeout time.Duration
	// StatTimeout is how long a mount may take to answer before it counts as
	// stale, default 20 s.
	StatTimeout time.Duration
	// Logger receives a warning when a mount had to be detached lazily; nil
	// discards.
	Logger *slog.Logger
}

// Mounter mounts volumes and snapshots below one folder. It is safe for
// concurrent use with different names.
type Mounter struct {
	opts MounterOptions
}

// MountError is a mount that failed. It matches ErrMount, or ErrForeignMount,
// ErrMounted or ErrStale where that is the reason.
type MountError struct {
	Source string // "SERVER:/VOLUME", or "SERVER:" and a snapshot's path.
	Dir    string // The mount point.
	Log    string // The last warnings and errors of the client's log.
	Kind   error  // One of the sentinels.
	Err    error  // The cause, may be nil.
}

// Error names source and mount point, the cause and the client's last words.
func (e *MountError) Error() string {
	msg := fmt.Sprintf("mount %s on %s: %v", e.Source, e.Dir, e.Kind)
	if e.Err != nil {
		msg += ": " + e.Err.Error()
	}
	if e.Log != "" {
		msg += "; its log ends with: " + strings.ReplaceAll(e.Log, "\n", " | ")
	}
	return msg
}

// Unwrap returns the kind and the cause.
func (e *MountError) Unwrap() []error {
	if e.Err == nil {
		return []error{e.Kind}
	}
	return []error{e.Kind, e.Err}
}

// Remedy says what the admin can do.
func (e *MountError) Remedy() string {
	switch {
	case errors.Is(e.Kind, ErrForeignMount), errors.Is(e.Kind, ErrMounted):
		return fmt.Sprintf("find out what uses %s (\"findmnt %s\"), then unmount it", e.Dir, e.Dir)
	case errors.Is(e.Kind, ErrStale):
		return fmt.Sprintf("run \"umount -l %s\" and check the network to %s", e.Dir, e.Source)
	}
	return fmt.Sprintf("check that glusterfs-client is installed and that the Gluster ports (24007 and those of "+
		"\"gluster volume status\") of %s can be reached from here", e.Source)
}

var (
	plainPath = regexp.MustCompile(`^/[A-Za-z0-9_./-]*[A-Za-z0-9_-]$`)
	mountName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}$`)
)

// NewMounter checks the options; it creates and mounts nothing.
func NewMounter(o MounterOptions) (*Mounter, error) {
	if o.Run == nil {
		return nil, errors.New("gluster: mounter without commander")
	}
	if o.Base == "" {
		o.Base = DefaultBase
	}
	if o.LogDir == "" {
		o.LogDir = DefaultLogDir
	}
	// An admin is told to type the mount points into a shell.
	for _, path := range []string{o.Base, o.LogDir} {
		if !plainPath.MatchString(path) || filepath.Clean(path) != path {
			return nil, fmt.Errorf("gluster: %q is no plain absolute path", path)
		}
	}
	if o.MountTimeout <= 0 {
		o.MountTimeout = DefaultMountTimeout
	}
	if o.StatTimeout <= 0 {
		o.StatTimeout = DefaultStatTimeout
	}
	if o.SnapshotPath == nil {
		o.SnapshotPath = SnapshotPath
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Mounter{opts: o}, nil
}

// SnapshotPath is what glusterd serves an active snapshot under. Without the
// leading slash it serves nothing (gluster/glusterfs
// xlators/mgmt/glusterd/src/glusterd-handshake.c).
func SnapshotPath(snapshot, volume string) string { return "/snaps/" + snapshot + "/" + volume }

// MountSnapshot mounts an active snapshot read-only below Base, in a folder of
// the given name, and returns the folder. The first of servers that answers
// serves the volume file; the bricks are then spoken to directly. The caller
// unmounts, also when the context ends meanwhile; after an error nothing is
// mounted. It is read-only whatever o says.
func (m *Mounter) MountSnapshot(ctx context.Context, servers []string, snapshot, volume, name string, o MountOptions) (string, error) {
	if err := errors.Join(ValidSnapshot(snapshot), ValidVolume(volume)); err != nil {
		return "", err
	}
	return m.mount(ctx, mountRequest{
		servers: servers, id: m.opts.SnapshotPath(snapshot, volume), name: name, readOnly: true, direct: o.DirectIO, options: m.frozen(ctx, o),
	})
}

// MountVolume mounts a live volume, as MountSnapshot does.
func (m *Mounter) MountVolume(ctx context.Context, servers []string, volume, name string, o MountOptions) (string, error) {
	if err := ValidVolume(volume); err != nil {
		return "", err
	}
	return m.mount(ctx, mountRequest{servers: servers, id: "/" + volume, name: name, readOnly: o.ReadOnly, direct: o.DirectIO})
}

func (m *Mounter) mount(ctx context.Context, r mountRequest) (string, error) {
	if err := r.check(); err != nil {
		return "", err
	}
	base, err := m.prepare()
	if err != nil {
		return "", err
	}
	dir, log := filepath.Join(base, r.name), filepath.Join(m.opts.LogDir, r.name+".log")
	if err := m.vacate(ctx, dir); err != nil {
		return "", &MountError{Source: r.source(), Dir: dir, Kind: kindOfMount(err), Err: err}
	}
	if err := os.Remove(log); err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("log of the last mount: %w", err)
	}
	run, cancel := context.WithTimeoutCause(ctx, m.opts.MountTimeout, errMountTimeout)
	defer cancel()
	r.servers = preferReachable(run, r.servers, dialGlusterd)
	_, runErr := m.opts.Run.Run(run, r.args(dir, log)...)
	// What glusterfs says counts for little: it may fail after it has mounted and
	// succeed without.
	if err = m.verify(run, dir, r); err == nil {
		return dir, nil
	}
	e := &MountError{Source: r.source(), Dir: dir, Kind: ErrMount, Err: err, Log: logTail(log)}
	if runErr != nil {
		e.Err = fmt.Errorf("%w (%w)", runErr, err)
	}
	if cleanErr := m.abort(ctx, dir); cleanErr != nil {
		e.Err = errors.Join(e.Err, cleanErr)
	}
	return "", e
}

var errMountTimeout = errors.New("the Gluster servers did not answer in time")

// kindOfMount sorts what vacate reports.
func kindOfMount(err error) error {
	for _, kind := range []error{ErrForeignMount, ErrMounted, ErrStale} {
		if errors.Is(err, kind) {
			return kind
		}
	}
	return ErrMount
}

// prepare makes both folders and returns Base without symbolic links, as it is
// in mountinfo.
func (m *Mounter) prepare() (string, error) {
	if err := errors.Join(os.MkdirAll(m.opts.Base, 0o700), os.MkdirAll(m.opts.LogDir, 0o750)); err != nil {
		return "", fmt.Errorf("folders for mounts: %w", err)
	}
	base, err := filepath.EvalSymlinks(m.opts.Base)
	if err != nil {
		return "", fmt.Errorf("folder for mounts: %w", err)
	}
	if !plainPath.MatchString(base) {
		return "", fmt.Errorf("folder for mounts: %q is no plain absolute path", base)
	}
	// Tenants' data becomes visible below; the umask and an older folder's mode
	// must not decide who sees it.
	if err := os.Chmod(base, 0o700); err != nil { //nolint:gosec // A folder needs its x bit.
		return "", fmt.Errorf("folder for mounts: %w", err)
	}
	return base, nil
}

// vacate makes dir an empty folder with nothing mounted on it, or says what
// stands in the way.
func (m *Mounter) vacate(ctx context.Context, dir string) error {
	top, err := topMount(dir)
	if err != nil {
		return err
	}
	if top != nil {
		if top.FSType != fuseType {
			return fmt.Errorf("%w: %s (%s)", ErrForeignMount, top.Source, top.FSType)
		}
		if err := m.probe(ctx, dir, m.opts.StatTimeout); !errors.Is(err, ErrStale) {
			return fmt.Errorf("%w: %s", ErrMounted, top.Source)
		}
		if err := m.Unmount(ctx, dir); err != nil {
			return err
		}
	}
	if err := os.Mkdir(dir, 0o700); err == nil || !errors.Is(err, os.ErrExist) {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err == nil && len(entries) > 0 {
		err = fmt.Errorf("%w: the folder holds %q", ErrForeignMount, entries[0].Name())
	}
	return err
}

// verify checks by mountinfo that the requested volume is mounted, read-only if
// so requested, and that it answers, which takes it until it has reached the bricks.
func (m *Mounter) verify(ctx context.Context, dir string, r mountRequest) error {
	top, err := topMount(dir)
	switch {
	case err != nil:
		return err
	case top == nil:
		return errors.New("nothing was mounted")
	case top.FSType != fuseType || top.Source != r.source():
		return fmt.Errorf("%s (%s) was mounted instead", top.Source, top.FSType)
	case r.readOnly && !slices.Contains(strings.Split(top.Options, ","), "ro"):
		return fmt.Errorf("it is not read-only: %s", top.Options)
	}
	return m.probe(ctx, dir, m.opts.MountTimeout)
}

// abort undoes a mount that failed, whatever is left of the context: the mount,
// a client that may still be trying, and the folder.
func (m *Mounter) abort(ctx context.Context, dir string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), m.opts.StatTimeout)
	defer cancel()
	endClients(dir)
	return m.unmount(ctx, dir)
}
