package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/glusterbackupd/glusterbackupd/blockstore"
	"github.com/glusterbackupd/glusterbackupd/catalog"
	"github.com/glusterbackupd/glusterbackupd/config"
	"github.com/glusterbackupd/glusterbackupd/daemon"
	"github.com/glusterbackupd/glusterbackupd/kube"
)

// exitCode is what the process tells scripts and systemd.
type exitCode int

// The exit codes are an interface: they never change their meaning.
const (
	exitDone        exitCode = 0
	exitFailed      exitCode = 1
	exitUsage       exitCode = 2
	exitPartly      exitCode = 3
	exitNoMatch     exitCode = 4
	exitNoDisk      exitCode = 10
	exitLocked      exitCode = 11
	exitOverdue     exitCode = 12
	exitDamage      exitCode = 13
	exitInterrupted exitCode = 130
)

const exitCodeHelp = `Exit codes:
  0    done
  1    failed
  2    usage or configuration error
  3    partly failed
  4    nothing matched: no such claim, image or backup
  10   BackupDisk missing or not initialised
  11   claim, volume or BackupDisk locked by another process
  12   claims are overdue
  13   damage found in a backup
  130  interrupted`

// errPartly says that some claims of several failed; each was reported.
var errPartly = errors.New("some claims failed")

// allFailedError says that every claim failed; each was reported. The exit code
// is that of the causes.
type allFailedError struct{ causes []error }

func (e *allFailedError) Error() string   { return fmt.Sprintf("all %d claims failed", len(e.causes)) }
func (e *allFailedError) Unwrap() []error { return e.causes }

// joined is the error of a command in which some of several claims failed: it
// reports each fault, unless there was one claim only.
func (g *globals) joined(faults []error, claims int) error {
	switch {
	case len(faults) == 0:
		return nil
	case claims == 1:
		return faults[0]
	}
	for _, err := range faults {
		report(g.err, err)
	}
	if len(faults) == claims {
		return &allFailedError{faults}
	}
	return fmt.Errorf("%d of %d: %w", len(faults), claims, errPartly)
}

// codeOf maps an error to the exit code. It is the only place that does.
func codeOf(ctx context.Context, err error) exitCode {
	var usage *usageError
	var faults *config.Faults
	switch {
	case err == nil:
		return exitDone
	case ctx.Err() != nil:
		return exitInterrupted
	case errors.As(err, &usage), errors.As(err, &faults),
		errors.Is(err, blockstore.ErrName), errors.Is(err, catalog.ErrKey), errors.Is(err, catalog.ErrTime),
		errors.Is(err, daemon.ErrInvalid):
		return exitUsage
	case errors.Is(err, errPartly):
		return exitPartly
	case errors.Is(err, catalog.ErrDamaged):
		return exitDamage
	case errors.Is(err, catalog.ErrNotRepository):
		return exitNoDisk
	case errors.Is(err, catalog.ErrLocked):
		return exitLocked
	case errors.Is(err, errOverdue):
		return exitOverdue
	case noMatch(err):
		return exitNoMatch
	}
	return exitFailed
}

// noMatch says whether the error means that something named does not exist.
func noMatch(err error) bool {
	for _, target := range []error{catalog.ErrNoBackup, daemon.ErrUnknownClaim, kube.ErrNoClaim} {
		if errors.Is(err, target) {
			return true
		}
	}
	return false
}

// report prints the error, and below it the remedy if somebody on the way knew
// one.
func report(w io.Writer, err error) {
	message := strings.ReplaceAll(err.Error(), "\n", "\n       ")
	fmt.Fprintf(w, "error: %s\n", message)
	if hint := remedyOf(err); hint != "" {
		fmt.Fprintf(w, "remedy: %s\n", hint)
	}
}

// remedyOf returns what the admin can do about an error, or "". An error knows
// its remedy by a method Remedy; the outermost one that knows any speaks.
func remedyOf(err error) string {
	if r, ok := err.(interface{ Remedy() string }); ok && r.Remedy() != "" {
		return r.Remedy()
	}
	switch e := err.(type) { //nolint:errorlint // See above.
	case interface{ Unwrap() error }:
		return remedyOf(e.Unwrap())
	case interface{ Unwrap() []error }:
		for _, inner := range e.Unwrap() {
			if hint := remedyOf(inner); hint != "" {
				return hint
			}
		}
	}
	return ""
}
