package gluster

import (
	"context"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"

	"github.com/glusterbackupd/glusterbackupd/runner"
)

// MountOptions say how a volume or snapshot is mounted.
type MountOptions struct {
	// DirectIO makes reads and writes pass by this machine's page cache. Without
	// it a read of a live volume may return what was there before another client
	// wrote, and an image pushes out everything else that the cache has.
	DirectIO bool
	// ReadOnly refuses writes.
	ReadOnly bool
	// SingleCopy says that each file is on one brick and nowhere else, which lets a
	// snapshot be read faster.
	SingleCopy bool
}

// SingleCopy reports whether the volume has each file on one brick and nowhere else.
func (v Volume) SingleCopy() bool { return v.ReplicaCount == 1 && v.DisperseCount == 0 }

// unopenedSince is the first major version of the Gluster client of which none keeps
// something, until it ends, of each file that it reads without having opened it; 5.13,
// 6.9, 6.10, 7.5 and 7.6 do (gluster/glusterfs commits 4b269c4936, db95388706).
const unopenedSince = 8

// frozen returns the options for what never changes, which needs no second look,
// and those for reading it fast (docs/decisions/0020).
func (m *Mounter) frozen(ctx context.Context, o MountOptions) []string {
	options := []string{"--attribute-timeout=3600", "--entry-timeout=3600", "--negative-timeout=3600"}
	// Images are few and large. A client of replicas opens a file that it is to read
	// unopened on all of them, and complains of each in its log.
	if !o.DirectIO && o.SingleCopy && m.version(ctx) >= unopenedSince {
		// gluster/glusterfs xlators/performance/open-behind.
		options = append(options, "--xlator-option=*-open-behind.read-after-open=no", "--xlator-option=*-open-behind.use-anonymous-fd=yes")
	}
	return options
}

var versionLine = regexp.MustCompile(`^glusterfs ([0-9]+)\.`)

// version returns the major version of the client, or 0 when it does not say.
func (m *Mounter) version(ctx context.Context) int {
	out, err := m.opts.Run.Run(ctx, program(), "--version")
	if err != nil {
		return 0 // The mount itself will say why.
	}
	match := versionLine.FindSubmatch(out)
	if match == nil {
		return 0
	}
	major, err := strconv.Atoi(string(match[1]))
	if err != nil {
		return 0
	}
	return major
}

// Program returns the path of the Gluster client, or an error when there is none. Its
// folder is not in the PATH of cron.
func Program() (string, error) {
	path, err := exec.LookPath("glusterfs")
	if err != nil {
		if usual, usualErr := exec.LookPath("/usr/sbin/glusterfs"); usualErr == nil {
			return usual, nil
		}
	}
	return path, err
}

// program is what to run: without a client the error then names what is missing.
func program() string {
	if path, err := Program(); err == nil {
		return path
	}
	return "glusterfs"
}

type mountRequest struct {
	servers  []string
	id       string // What glusterd is asked for, with a leading slash.
	name     string // The folder's.
	readOnly bool
	direct   bool
	options  []string
}

func (r mountRequest) check() error {
	if len(r.servers) == 0 {
		return fmt.Errorf("mount %s: no server", r.id)
	}
	for _, s := range r.servers {
		if err := runner.ValidHost(s); err != nil {
			return fmt.Errorf("mount %s: %w", r.id, err)
		}
	}
	if !mountName.MatchString(r.name) {
		return fmt.Errorf("mount %s: folder: %w %q", r.id, ErrName, r.name)
	}
	return nil
}

func (r mountRequest) source() string { return r.servers[0] + ":" + r.id }

// args returns the command line of glusterfs(8), which goes into the background
// once it has mounted. mount.glusterfs would call it, but passes on only one
// option of a translator. Options that are no file system's business protect this
// machine from what tenants store: nothing on the mount is executed here, no
// setuid bit and no device node has an effect.
func (r mountRequest) args(dir, log string) []string {
	args := []string{
		program(), "--acl", "--use-readdirp=yes", "--fuse-mountopts=nodev,nosuid,noexec", "--log-level=WARNING", "--log-file=" + log,
	}
	if r.readOnly {
		args = append(args, "--read-only")
	}
	if r.direct {
		args = append(args, "--direct-io-mode=enable")
	}
	args = append(args, r.options...)
	for _, s := range r.servers {
		args = append(args, "--volfile-server="+s)
	}
	return append(args, "--volfile-id="+r.id, dir)
}
