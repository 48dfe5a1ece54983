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
	"github.com/glusterbackupd/glusterbackupd/heketi"
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
  11   BackupDisk locked by another instance
  13   damage found in a backup
  130  interrupted`

// errPartly says that some claims of several failed; each was reported.
var errPartly = errors.New("some claims failed")

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
		errors.Is(err, blockstore.ErrName), errors.Is(err, catalog.ErrKey), errors.Is(err, catalog.ErrTime):
		return exitUsage
	case errors.Is(err, errPartly):
		return exitPartly
	case errors.Is(err, catalog.ErrDamaged):
		return exitDamage
	case errors.Is(err, catalog.ErrNotRepository):
		return exitNoDisk
	case errors.Is(err, catalog.ErrLocked):
		return exitLocked
	case noMatch(err):
		return exitNoMatch
	}
	return exitFailed
}

// noMatch says whether the error means that something named does not exist.
func noMatch(err error) bool {
	for _, target := range []error{
		catalog.ErrNoBackup, daemon.ErrUnknownClaim, kube.ErrNoClaim,
		heketi.ErrNotFound, blockstore.ErrNoImage,
	} {
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
// its remedy by a method Remedy.
func remedyOf(err error) string {
	var r interface{ Remedy() string }
	if errors.As(err, &r) {
		return r.Remedy()
	}
	return ""
}
