package gluster

import (
	"errors"
	"fmt"
	"os/exec"
	"strings"

	"github.com/glusterbackupd/glusterbackupd/runner"
)

// Errors that callers branch on. All but ErrName and
// ErrAnswer always come as an *Error.
var (
	// ErrName means that a name or description has characters or a length that
	// Gluster or a command line does not take; nothing was run.
	ErrName = errors.New("invalid name")
	// ErrAnswer means that a command's output is not what it should be.
	ErrAnswer = errors.New("unexpected answer")
	// ErrTimeout means that glusterd did not answer within Options.Timeout, or
	// that the connection broke meanwhile: the command may still take effect.
	ErrTimeout = errors.New("request timed out")
	// ErrNoDaemon means that glusterd does not run on the host that was asked.
	ErrNoDaemon = errors.New("glusterd does not answer")
	// ErrBusy means that another transaction holds the lock.
	ErrBusy = errors.New("another transaction is in progress")
	// ErrBrickDown means that bricks needed for a snapshot are not running.
	ErrBrickDown = errors.New("brick is down")
	// ErrNodeDown means that nodes needed for a snapshot are not connected.
	ErrNodeDown = errors.New("node is down")
	// ErrSnapshotLimit means that the volume has as many snapshots as allowed.
	ErrSnapshotLimit = errors.New("snapshot limit is reached")
	// ErrNoVolume means that the volume does not exist.
	ErrNoVolume = errors.New("volume does not exist")
	// ErrNoSnapshot means that the snapshot does not exist.
	ErrNoSnapshot = errors.New("snapshot does not exist")
	// ErrRebalance means that a rebalance is running.
	ErrRebalance = errors.New("rebalance is running")
	// ErrVolumeRunning means that the volume would have to be stopped.
	ErrVolumeRunning = errors.New("volume is running")
	// ErrVolumeStopped means that the volume is not started.
	ErrVolumeStopped = errors.New("volume is stopped")
	// ErrSnapshotExists means that another snapshot has the name.
	ErrSnapshotExists = errors.New("snapshot exists")
	// ErrGeoRep means that a geo-replication session is running.
	ErrGeoRep = errors.New("geo-replication is running")
	// ErrNotThin means that a brick is not on a thinly provisioned LV of its own.
	ErrNotThin = errors.New("brick is not on a thin logical volume")
	// ErrPoolFull means that Gluster itself finds a thin pool too full for a
	// snapshot; glusterd does not look, glusterd2 does.
	ErrPoolFull = errors.New("thin pool is too full")
	// ErrUnsupported means that this Gluster or this kind of volume cannot do it.
	ErrUnsupported = errors.New("operation is not supported")
	// ErrUnavailable means that the transport cannot answer the question at all,
	// and never will; the message says what that disables.
	ErrUnavailable = errors.New("not available over this transport")
	// ErrCertificate means that a server's certificate was not signed by an
	// authority that is trusted, or is for another name; nothing was asked.
	ErrCertificate = errors.New("certificate is not trusted")
	// ErrFailed means that the command failed for a reason without a number.
	ErrFailed = errors.New("command failed")
)

// Error is a command that Gluster refused or that had no certain end. It matches
// its kind, one of the package's sentinels, in errors.Is.
type Error struct {
	Op       string // What was asked for, such as "snapshot create".
	Volume   string // The volume, if one was named.
	Snapshot string // The snapshot, if one was named.
	Host     string // The host that was asked.
	Errno    int    // Gluster's opErrno, 0 when there was none.
	Message  string // Gluster's own words.
	Kind     error  // One of the sentinels.
	Err      error  // The cause, may be nil.
}

// Error names the operation, its object, the host and the reason.
func (e *Error) Error() string {
	msg := fmt.Sprintf("%s%s on %s: %v", e.Op, e.object(), e.Host, e.Kind)
	if e.Message != "" {
		msg += ": " + e.Message
	}
	if e.Err != nil {
		msg += ": " + e.Err.Error()
	}
	return msg
}

func (e *Error) object() string {
	var s string
	if e.Snapshot != "" {
		s += " " + e.Snapshot
	}
	if e.Volume != "" {
		s += " of volume " + e.Volume
	}
	return s
}

// Unwrap returns the kind and the cause, if there is one.
func (e *Error) Unwrap() []error {
	if e.Err == nil {
		return []error{e.Kind}
	}
	return []error{e.Kind, e.Err}
}

// Temporary tells whether the same call may succeed later by itself.
func (e *Error) Temporary() bool { return Temporary(e.Kind) }

// Remedy says what the admin can do, or that the reason is in glusterd's log.
func (e *Error) Remedy() string {
	if e.Err != nil {
		var r interface{ Remedy() string }
		if errors.As(e.Err, &r) {
			return r.Remedy()
		}
	}
	vol := e.Volume
	if vol == "" {
		vol = "VOLUME"
	}
	switch {
	case errors.Is(e.Kind, ErrTimeout):
		return "check with \"gluster pool list\" that all nodes answer; raise gluster.timeout if they are only slow"
	case errors.Is(e.Kind, ErrNoDaemon):
		return fmt.Sprintf("run \"systemctl start glusterd\" on %s", e.Host)
	case errors.Is(e.Kind, ErrBusy):
		return fmt.Sprintf("try again later; if it lasts, run \"systemctl restart glusterd\" on the node that holds the lock (see glusterd.log on %s)", e.Host)
	case errors.Is(e.Kind, ErrBrickDown):
		return fmt.Sprintf("run \"gluster volume status %s\", then \"gluster volume start %s force\" to start the bricks that are offline", vol, vol)
	case errors.Is(e.Kind, ErrNodeDown):
		return "run \"gluster peer status\" and bring the disconnected nodes back"
	case errors.Is(e.Kind, ErrSnapshotLimit):
		return fmt.Sprintf("delete snapshots (\"gluster snapshot list %s\"), or raise the limit with \"gluster snapshot config %s snap-max-hard-limit N\"", vol, vol)
	}
	return e.finalRemedy(vol)
}

func (e *Error) finalRemedy(vol string) string {
	switch {
	case errors.Is(e.Kind, ErrNoVolume):
		return "compare the name with the output of \"gluster volume list\""
	case errors.Is(e.Kind, ErrNoSnapshot):
		return "compare the name with the output of \"gluster snapshot list\""
	case errors.Is(e.Kind, ErrVolumeStopped):
		return fmt.Sprintf("run \"gluster volume start %s\"", vol)
	case errors.Is(e.Kind, ErrSnapshotExists):
		return fmt.Sprintf("delete the snapshot of that name if it is no longer needed (\"gluster snapshot delete %s\")", e.Snapshot)
	case errors.Is(e.Kind, ErrRebalance):
		return fmt.Sprintf("wait until \"gluster volume rebalance %s status\" says completed", vol)
	case errors.Is(e.Kind, ErrGeoRep):
		return "pause the geo-replication session while snapshots are taken"
	case errors.Is(e.Kind, ErrNotThin):
		return "move the brick to a thinly provisioned LV with a file system of its own; snapshots need that"
	case errors.Is(e.Kind, ErrUnsupported):
		return "check the Gluster version and the kind of volume"
	}
	if errors.Is(e.Kind, ErrUnavailable) {
		return "use another transport where this is needed; docs/transports.md compares them"
	}
	if notFound(e.Err) {
		return fmt.Sprintf("install glusterfs-server on %s, or set command in the section of the transport (gluster.ssh.command, for one) to what reaches gluster in its container", e.Host)
	}
	return fmt.Sprintf("look into /var/log/glusterfs/glusterd.log on %s", e.Host)
}

// notFound tells whether the gluster program itself is missing. Containers' own
// programs say so with 126 or 127, depending on their version.
func notFound(err error) bool {
	var exit *runner.ExitError
	return errors.Is(err, exec.ErrNotFound) || errors.As(err, &exit) &&
		(exit.Code == 127 || strings.Contains(exit.Stderr, "executable file not found"))
}

// NotInstalled tells whether err means that the gluster program is not where it
// was looked for: perhaps it runs in a container there.
func NotInstalled(err error) bool { return notFound(err) }

// Temporary tells whether the operation that returned err may succeed later
// without anybody's doing: a held lock, a time-out of Gluster's, an unreachable
// host. The end of the caller's own context is not temporary.
func Temporary(err error) bool {
	if distrusted(err) {
		return false
	}
	for _, kind := range []error{ErrBusy, ErrTimeout, ErrNoDaemon, runner.ErrUnreachable, runner.ErrConnectionLost} {
		if errors.Is(err, kind) {
			return true
		}
	}
	return false
}

// kindOf sorts a refusal by its number and, where that says too little, by its
// text.
func kindOf(errno int, message string) error {
	if kind := missing(errno, message); kind != nil {
		return kind
	}
	if kind := kindOfNumber(errno); kind != nil {
		return kind
	}
	return kindOfText(message)
}

// missing recognises what does not exist: a missing snapshot has the number of
// "exists" in some requests, and volume commands have no number for it at all.
func missing(errno int, message string) error {
	switch {
	case !strings.Contains(message, "does not exist"), errno > 30800 && errno != 30812:
		return nil
	case strings.HasPrefix(message, "Snapshot"), strings.Contains(message, ". Snapshot ("):
		return ErrNoSnapshot
	case strings.HasPrefix(message, "Volume"), strings.Contains(message, ". Volume ("):
		return ErrNoVolume
	}
	return nil
}

func kindOfNumber(errno int) error {
	switch errno {
	case 30801, 30813, 30816: // 30813: the volume is itself a snapshot. 30816: NFS-Ganesha.
		return ErrUnsupported
	case 30802:
		return ErrBusy
	case 30803:
		return ErrBrickDown
	case 30804:
		return ErrNodeDown
	case 30805:
		return ErrSnapshotLimit
	case 30806:
		return ErrNoVolume
	case 30807:
		return ErrNoSnapshot
	case 30808:
		return ErrRebalance
	case 30809:
		return ErrVolumeRunning
	case 30810:
		return ErrVolumeStopped
	case 30812:
		return ErrSnapshotExists
	case 30814:
		return ErrGeoRep
	case 30815:
		return ErrNotThin
	}
	return nil
}

// kindOfText is for answers without a telling number: those of the volume
// commands, and those of another node that were passed on, with "Pre Validation
// failed on g2." and the like before the reason.
func kindOfText(message string) error {
	phrases := []struct {
		text string
		kind error
	}{
		{"Another transaction", ErrBusy},
		{"Locking failed", ErrBusy},
		{"bricks are not running", ErrBrickDown},
		{"bricks may be down", ErrBrickDown},
		{"not in quorum", ErrNodeDown},
		{"quorum is not met", ErrBrickDown},
		{"effective maximum limit", ErrSnapshotLimit},
		{"thin provisioned LV", ErrNotThin},
		{"is not started", ErrVolumeStopped},
		{"not running for volume", ErrVolumeStopped},
		{"rebalance process is running", ErrRebalance},
		{"geo-replication session is running", ErrGeoRep},
		{"already exists", ErrSnapshotExists},
		{"snapshot functionality is disabled", ErrUnsupported}, // glusterd found no LVM, in a container for one.
	}
	for _, p := range phrases {
		if strings.Contains(message, p.text) {
			return p.kind
		}
	}
	return ErrFailed
}
