package daemon

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/glusterbackupd/glusterbackupd/catalog"
	"github.com/glusterbackupd/glusterbackupd/copier"
	"github.com/glusterbackupd/glusterbackupd/kube"
)

// InUseError says that a restore was refused because somebody uses the claim.
type InUseError struct {
	Target Target
	Pods   []kube.Pod
}

// Error names the claim and the pods.
func (e *InUseError) Error() string {
	var pods []string
	for _, p := range e.Pods {
		pods = append(pods, fmt.Sprintf("%s/%s (%s)", p.Namespace, p.Name, p.Phase))
	}
	return fmt.Sprintf("%s is in use by pod %s", e.Target, strings.Join(pods, ", "))
}

// Remedy says how to end the use.
func (e *InUseError) Remedy() string {
	return "scale the workload to 0 and wait until its pods are gone, or restore to a folder with --to; nothing was changed"
}

// WrongKindError says that a block claim needs the other command.
type WrongKindError struct {
	Key   catalog.Key
	Image string
}

// Error names the claim and its image.
func (e *WrongKindError) Error() string {
	return fmt.Sprintf("claim %s is a block image (%s)", e.Key, e.Image)
}

// Remedy names the command.
func (e *WrongKindError) Remedy() string {
	return fmt.Sprintf("glusterbackupd restore-block %s", e.Image)
}

// NoPathError says that the backup does not hold the path.
type NoPathError struct {
	Backup catalog.Backup
	Path   string
}

// Error names the backup and the path.
func (e *NoPathError) Error() string {
	return fmt.Sprintf("claim %s: backup %s holds no %q", e.Backup.Key, e.Backup.ID, e.Path)
}

// Is makes the error one of catalog.ErrNoBackup: nothing matched.
func (e *NoPathError) Is(target error) bool { return target == catalog.ErrNoBackup }

// Remedy says where to look.
func (e *NoPathError) Remedy() string {
	return "the path is relative to the claim's root; look for it in " + e.Backup.DataDir()
}

// ObstructedError says that the volume holds something that cannot be replaced
// without deleting what is in it.
type ObstructedError struct{ Err error }

// Error is the copy engine's, which names the path.
func (e *ObstructedError) Error() string { return e.Err.Error() }

// Unwrap returns the copy engine's error.
func (e *ObstructedError) Unwrap() error { return e.Err }

// Remedy says how to get past it.
func (e *ObstructedError) Remedy() string {
	return "a folder that is not empty stands where the backup has something else: move it away, or repeat with --delete, which removes it; the safety snapshot keeps it. Nothing was changed"
}

// obstructed tells a partial copy in which something stood in the way, which
// --delete would remove, from all other errors.
func obstructed(err error, deletes bool) error {
	var partial *copier.RsyncError
	rsync := errors.As(err, &partial) && strings.Contains(partial.Stderr, "could not make way")
	if !deletes && (rsync || errors.Is(err, copier.ErrInTheWay)) {
		return &ObstructedError{err}
	}
	return err
}

// PathError says that a path leads out of the claim.
type PathError struct{ Path string }

// Error names the path.
func (e *PathError) Error() string { return fmt.Sprintf("path %q is not inside the claim", e.Path) }

// Is makes the error one of ErrInvalid.
func (e *PathError) Is(target error) bool { return target == ErrInvalid }

// Remedy says what a path is.
func (e *PathError) Remedy() string {
	return "give a path relative to the claim's root, without ..; leave --path out for the whole claim"
}

// FolderError says that a folder cannot be restored into.
type FolderError struct{ Dir, Reason string }

// Error names the folder and the reason.
func (e *FolderError) Error() string { return fmt.Sprintf("folder %s %s", e.Dir, e.Reason) }

// Remedy says what to do instead.
func (e *FolderError) Remedy() string {
	return "name a new or empty folder outside of the BackupDisk; nothing was written"
}

// BrokenOffError says that a restore failed after it had begun to write.
type BrokenOffError struct {
	Err error
	// Snapshot holds the state before.
	Snapshot string
}

// Error is the cause, and where the state before is.
func (e *BrokenOffError) Error() string {
	return fmt.Sprintf("%v; the restore broke off after it had begun to write, the state before is in snapshot %s", e.Err, e.Snapshot)
}

// Unwrap returns the cause.
func (e *BrokenOffError) Unwrap() error { return e.Err }

// Remedy says how to get to a whole state.
func (e *BrokenOffError) Remedy() string {
	return fmt.Sprintf("let nobody use the claim; remove the cause and run the same restore again, or take the old state from snapshot %s (gluster snapshot activate, then mount /snaps/%s/VOLUME)", e.Snapshot, e.Snapshot)
}

// refuseInUse returns an *InUseError while pods use the target.
func (d *Daemon) refuseInUse(ctx context.Context, t Target) error {
	pods, err := d.o.Resolver.Users(ctx, t)
	if err != nil {
		return err
	}
	if len(pods) > 0 {
		return &InUseError{t, pods}
	}
	return nil
}
