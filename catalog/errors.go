package catalog

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"

	"github.com/glusterbackupd/glusterbackupd/manifest"
)

// What callers branch on.
var (
	// ErrNotRepository says that the folder is not the expected BackupDisk:
	// most often the disk is not mounted.
	ErrNotRepository = errors.New("not a BackupDisk")
	// ErrFormat says that a newer version of glusterbackupd wrote the file.
	ErrFormat = errors.New("format is newer than this version reads")
	// ErrNotEmpty says that Init met a folder with foreign content.
	ErrNotEmpty = errors.New("folder is not empty")
	// ErrLocked says that somebody else holds a lock, see LockedError.
	ErrLocked = errors.New("locked")
	// ErrNotLocked says that the caller needs a lock and does not hold it.
	ErrNotLocked = errors.New("lock is not held")
	// ErrNoBackup says that no complete backup answers the question.
	ErrNoBackup = errors.New("no such backup")
	// ErrAmbiguous is the error for a name that stands for two images.
	ErrAmbiguous = errors.New("ambiguous name")
	// ErrDamaged says that a file on the BackupDisk is not what was written.
	ErrDamaged = errors.New("damaged")
	// ErrKey says that a text is not a valid NAMESPACE/CLAIM.
	ErrKey = errors.New("not a valid NAMESPACE/CLAIM")
	// ErrTime says that a text does not name a time of a backup.
	ErrTime = errors.New("not a time of a backup")
	// ErrForeign says that something on the BackupDisk was not made by
	// glusterbackupd: a symbolic link or file in place of a folder, or a path
	// outside the BackupDisk. It is left alone.
	ErrForeign = errors.New("not made by glusterbackupd")
	// ErrInUse says that a running backup needs the backup as its reference.
	ErrInUse = errors.New("backup is in use")
	// ErrProtected says that the backup may not be removed, see
	// [Repository.Protect].
	ErrProtected = errors.New("backup is protected")
	// ErrFinished says that a Staging was already published, aborted or failed.
	ErrFinished = errors.New("staging is finished")
)

// NotRepositoryError is the error for a folder that is not the expected
// BackupDisk. It matches ErrNotRepository.
type NotRepositoryError struct {
	Root   string // The folder that was asked for.
	Reason string // What was found there instead.
}

func (e *NotRepositoryError) Error() string {
	return fmt.Sprintf("%s: %v: %s", e.Root, ErrNotRepository, e.Reason)
}

// Is reports whether target is ErrNotRepository.
func (e *NotRepositoryError) Is(target error) bool { return target == ErrNotRepository }

// Remedy says what to do.
func (e *NotRepositoryError) Remedy() string {
	return fmt.Sprintf("mount the BackupDisk on %s, or correct path in [destination] of the configuration; "+
		"a new, empty disk is prepared once with `glusterbackupd init`", e.Root)
}

// FormatError is the error for a file of a newer format. It matches ErrFormat.
type FormatError struct {
	Path             string
	Found, Supported int
}

func (e *FormatError) Error() string {
	return fmt.Sprintf("%s: %v: it has format %d, this version reads up to %d", e.Path, ErrFormat, e.Found, e.Supported)
}

// Is reports whether target is ErrFormat.
func (e *FormatError) Is(target error) bool { return target == ErrFormat }

// Remedy says what to do.
func (e *FormatError) Remedy() string {
	return fmt.Sprintf("install a version of glusterbackupd that reads format %d; `glusterbackupd version` shows this one", e.Found)
}

// LockedError is the error for a lock that somebody else holds: another process,
// or another part of this one. It matches ErrLocked.
type LockedError struct {
	Root   string
	Scope  Scope  // What is locked; zero for the whole BackupDisk.
	Holder Holder // Zero when the holder did not leave a readable text.
}

func (e *LockedError) Error() string {
	if e.Holder == (Holder{}) {
		return fmt.Sprintf("%s: %s is %v by another process", e.Root, e.Scope, ErrLocked)
	}
	return fmt.Sprintf("%s: %s is %v by %s", e.Root, e.Scope, ErrLocked, e.Holder)
}

// Is reports whether target is ErrLocked.
func (e *LockedError) Is(target error) bool { return target == ErrLocked }

// Remedy says what to do.
func (e *LockedError) Remedy() string {
	if e.Holder == (Holder{}) {
		return "wait until the other process is finished"
	}
	return fmt.Sprintf("wait until it is finished, or end process %d on %s", e.Holder.PID, e.Holder.Host)
}

// NoBackupError is the error of a search without a result. It matches
// ErrNoBackup.
type NoBackupError struct {
	Key     Key      // The claim; empty when Image is set.
	Image   string   // The block image that was looked for.
	At      string   // What was asked for.
	Have    []string // IDs of all complete backups of the claim, oldest first.
	Damaged []string // IDs that answer the question but are damaged.
}

func (e *NoBackupError) Error() string {
	if len(e.Damaged) > 0 {
		return fmt.Sprintf("%s at %s: %v: damaged: %s", e.subject(), e.At, ErrNoBackup, strings.Join(e.Damaged, ", "))
	}
	return fmt.Sprintf("%s at %s: %v", e.subject(), e.At, ErrNoBackup)
}

func (e *NoBackupError) subject() string {
	if e.Image != "" {
		return "image " + e.Image
	}
	return "claim " + e.Key.String()
}

// Is reports whether target is ErrNoBackup, or ErrDamaged when what was asked
// for exists and is damaged.
func (e *NoBackupError) Is(target error) bool {
	return target == ErrNoBackup || target == ErrDamaged && len(e.Damaged) > 0
}

// Remedy names the dates of which a backup exists, the newest ten at most.
func (e *NoBackupError) Remedy() string {
	if len(e.Have) == 0 {
		return fmt.Sprintf("there is no backup of %s; `glusterbackupd list` shows what there is", e.subject())
	}
	const most = 10
	var dates []string
	for _, id := range slices.Backward(e.Have) {
		if date, _, _ := strings.Cut(id, "T"); !slices.Contains(dates, date) {
			dates = append(dates, date)
		}
	}
	more := ""
	if len(dates) > most {
		dates, more = dates[:most], fmt.Sprintf(" and %d earlier", len(dates)-most)
	}
	list := "glusterbackupd list"
	if e.Image == "" {
		list += " " + e.Key.String()
	}
	return fmt.Sprintf("give --at one of %s%s; `%s` shows the times", strings.Join(dates, ", "), more, list)
}

// DamageError is the error for a backup that is not what was published. It
// matches ErrDamaged.
type DamageError struct {
	Key         Key
	ID          string
	Differences []manifest.Difference // The first differences, at most 20.
	Total       int                   // How many differences there are.
	Err         error                 // The cause when it is not in the data: a damaged manifest or backup.json.
}

func (e *DamageError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "backup %s of %s: %v", e.ID, e.Key, ErrDamaged)
	if e.Err != nil {
		fmt.Fprintf(&b, ": %v", e.Err)
	}
	const most = 3
	for i, d := range e.Differences[:min(most, len(e.Differences))] {
		fmt.Fprintf(&b, "%s%q %s", [2]string{": ", ", "}[min(i, 1)], d.Path, d.Kind)
	}
	if rest := e.Total - most; rest > 0 {
		fmt.Fprintf(&b, " and %d more", rest)
	}
	return b.String()
}

// Is reports whether target is ErrDamaged.
func (e *DamageError) Is(target error) bool { return target == ErrDamaged }

// Unwrap returns the cause.
func (e *DamageError) Unwrap() error { return e.Err }

// Remedy says what to do.
func (e *DamageError) Remedy() string {
	return fmt.Sprintf("while the claim's own data is there: `glusterbackupd backup --full %s`, since other backups share what has not changed; to restore, verify another one first; and check the disk of the BackupDisk", e.Key)
}

// SpaceError is the error for a BackupDisk that is full or over quota. It
// wraps the error of the system (ENOSPC or EDQUOT).
type SpaceError struct {
	Root string
	Free int64 // Bytes free after the failure, -1 when unknown.
	Err  error
}

func (e *SpaceError) Error() string { return fmt.Sprintf("BackupDisk %s is full: %v", e.Root, e.Err) }

// Unwrap returns the error of the system.
func (e *SpaceError) Unwrap() error { return e.Err }

// Remedy says what to do.
func (e *SpaceError) Remedy() string {
	return fmt.Sprintf("free space on %s (`glusterbackupd prune`, or a shorter [retention]) or make it larger", e.Root)
}

// full turns an error that says "no space" into a *SpaceError, once.
func (r *Repository) full(err error) error {
	var known *SpaceError
	if errors.As(err, &known) || !noSpace(err) {
		return err
	}
	free := int64(-1)
	if s, e := statfs(r.root); e == nil {
		free = s.Free
	}
	return &SpaceError{Root: r.root, Free: free, Err: err}
}

// noSpace reports an error of a disk that is full or over quota.
func noSpace(err error) bool { return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) }

// remediedError adds a remedy to an error that has none of its own.
type remediedError struct {
	error
	remedy string
}

// Unwrap returns the error itself.
func (e *remediedError) Unwrap() error { return e.error }

// Remedy says what to do.
func (e *remediedError) Remedy() string { return e.remedy }
