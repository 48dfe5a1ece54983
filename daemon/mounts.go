package daemon

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/glusterbackupd/glusterbackupd/catalog"
)

// A mount's folder says whose it is, so that the leftover of a process that
// died is told from what another process of this host uses. One made under the
// lock of the volume is <kind>-<volume>: whoever gets the lock next knows that it
// is dead. One made for a plan, which needs no lock, names its process.
const (
	kindSnapshot = "snapshot"
	kindVolume   = "volume"
	kindView     = "view"
	kindPlan     = "plan"
)

// lockedKinds are the kinds of mounts that need the volume's lock.
var lockedKinds = []string{kindSnapshot, kindVolume, kindView}

// mountName is the folder name of a mount of the volume. The kind keeps two
// mounts of one volume apart.
func mountName(kind, volume string) (string, error) {
	if kind != kindPlan {
		return kind + "-" + volume, nil
	}
	pid := os.Getpid()
	start, err := startOf(pid)
	if err != nil {
		return "", err
	}
	const most = 150 // The volume is for people here, and a folder's name is bounded.
	return fmt.Sprintf("%s-%d-%s-%s-%s", kindPlan, pid, start, rand.Text()[:6], volume[:min(len(volume), most)]), nil
}

var planMount = regexp.MustCompile(`^plan-([0-9]+)-([0-9]+)-[A-Z2-7]{6}-`)

// deadPlan says whether name is that of a mount for a plan whose process is
// gone. Its number may have gone to another process since.
func deadPlan(name string) bool {
	m := planMount.FindStringSubmatch(name)
	if m == nil {
		return false
	}
	pid, err := strconv.Atoi(m[1])
	if err != nil {
		return false
	}
	start, err := startOf(pid)
	return errors.Is(err, fs.ErrNotExist) || err == nil && start != m[2]
}

// startOf returns when the process started, in ticks since the machine did, by
// field 22 of proc_pid_stat(5). A process that has ended and waits for its parent
// is none.
func startOf(pid int) (string, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", err
	}
	// The name in parentheses, field 2, may hold anything.
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	const state, start = 0, 19 // Fields 3 and 22, after the name.
	if len(fields) <= start {
		return "", fmt.Errorf("/proc/%d/stat: %q is not understood", pid, text)
	}
	if fields[state] == "Z" || fields[state] == "X" {
		return "", fmt.Errorf("process %d: %w", pid, fs.ErrNotExist)
	}
	return fields[start], nil
}

// volumeOf returns the volume whose lock a mount of that name needs.
func volumeOf(name string) (string, bool) {
	for _, kind := range lockedKinds {
		if volume, ok := strings.CutPrefix(name, kind+"-"); ok {
			return volume, true
		}
	}
	return "", false
}

// unmountLeftovers unmounts what processes that died left of the volume, whose
// lock the caller has, and what they left of plans.
func (d *Daemon) unmountLeftovers(ctx context.Context, volume string) error {
	dirs, err := d.o.Mounts.Leftovers()
	if err != nil {
		return err
	}
	var errs []error
	for _, dir := range dirs {
		name := filepath.Base(dir)
		if v, ok := volumeOf(name); ok && v == volume || deadPlan(name) {
			errs = append(errs, d.unmountLeftover(ctx, dir))
		}
	}
	return errors.Join(errs...)
}

func (d *Daemon) unmountLeftover(ctx context.Context, dir string) error {
	if err := d.o.Mounts.Unmount(ctx, dir); err != nil {
		return err
	}
	d.log.Info("leftover mount removed", "dir", dir)
	return nil
}

// unmountAllLeftovers is unmountLeftovers for every volume that nobody works on.
func (d *Daemon) unmountAllLeftovers(ctx context.Context) error {
	dirs, err := d.o.Mounts.Leftovers()
	if err != nil {
		return err
	}
	var volumes []string
	var errs []error
	for _, dir := range dirs {
		name := filepath.Base(dir)
		v, ok := volumeOf(name)
		switch {
		case ok && !slices.Contains(volumes, v):
			volumes = append(volumes, v)
		case deadPlan(name):
			errs = append(errs, d.unmountLeftover(ctx, dir))
		}
	}
	for _, v := range volumes {
		errs = append(errs, d.withVolume(v, func() error { return d.unmountLeftovers(ctx, v) }))
	}
	return errors.Join(errs...)
}

// withVolume calls work with the lock of the volume, or not at all when somebody
// has it.
func (d *Daemon) withVolume(volume string, work func() error) error {
	l, err := d.o.Catalog.Lock("tidy", catalog.VolumeScope(volume))
	if errors.Is(err, catalog.ErrLocked) {
		d.log.Debug("volume is left to who works on it", "volume", volume)
		return nil
	}
	if err != nil {
		return err
	}
	err = work()
	return errors.Join(err, l.Release())
}
