package gluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// maxStacked bounds the mounts on top of each other that Unmount takes away.
const maxStacked = 8

// Unmount unmounts dir, a folder below Base as the mounts return it, and removes
// it. While it is busy it tries again for some seconds, then detaches it
// lazily; the same at once when ctx ends, so that no mount is left. A folder
// with nothing mounted is only removed; a missing one is a success. A foreign
// mount is left alone and yields ErrForeignMount.
func (m *Mounter) Unmount(ctx context.Context, dir string) error {
	base, err := filepath.EvalSymlinks(m.opts.Base)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("folder for mounts: %w", err)
	}
	name := filepath.Base(dir)
	if filepath.Join(base, name) != dir || !mountName.MatchString(name) {
		return fmt.Errorf("unmount: %w: %q is not a mount point of this program", ErrName, dir)
	}
	if err := m.unmount(ctx, dir); err != nil {
		return err
	}
	err = os.Remove(filepath.Join(m.opts.LogDir, name+".log"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("log of %s: %w", dir, err)
	}
	return nil
}

// unmount is Unmount for a dir that was checked; the log stays.
func (m *Mounter) unmount(ctx context.Context, dir string) error {
	for range maxStacked {
		top, err := topMount(dir)
		if err != nil {
			return err
		}
		if top == nil {
			return m.removeFolder(ctx, dir)
		}
		if top.FSType != fuseType {
			return fmt.Errorf("unmount %s: %w: %s (%s)", dir, ErrForeignMount, top.Source, top.FSType)
		}
		if err := m.unmountTop(ctx, dir); err != nil {
			return fmt.Errorf("unmount %s: %w", dir, err)
		}
	}
	return fmt.Errorf("unmount %s: more than %d mounts are on top of each other", dir, maxStacked)
}

// removeFolder removes a folder on which nothing is mounted any more. A service
// with a mount namespace of its own cannot remove one on which the machine has
// something mounted too: what a command left that was killed. The folder then
// stays, and the next command, which is in the machine's namespace, takes both.
func (m *Mounter) removeFolder(ctx context.Context, dir string) error {
	// Remove does not follow and takes no folder with anything in it.
	err := os.Remove(dir)
	switch {
	case errors.Is(err, unix.EBUSY) && ownNamespace():
		m.opts.Logger.WarnContext(ctx, "a command that was killed left a mount outside of this service, which cannot reach it; the next glusterbackupd backup by hand removes it, or umount",
			"dir", dir)
	case err != nil && !errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("mount point: %w", err)
	}
	return nil
}

// ownNamespace tells whether this process has another mount namespace than the
// machine.
func ownNamespace() bool {
	mine, err := os.Readlink("/proc/self/ns/mnt")
	machine, err2 := os.Readlink("/proc/1/ns/mnt")
	return err == nil && err2 == nil && mine != machine
}

// unmountTop takes the uppermost mount away.
func (m *Mounter) unmountTop(ctx context.Context, dir string) error {
	var err error
	for pause := 50 * time.Millisecond; pause < 4*time.Second && ctx.Err() == nil; pause *= 2 {
		err = m.umount2(ctx, dir, unix.UMOUNT_NOFOLLOW)
		if err == nil || errors.Is(err, unix.EINVAL) {
			return nil // EINVAL: it is no longer mounted.
		}
		if !errors.Is(err, unix.EBUSY) {
			break
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
	// The mount leaves the name space now, its client when the last user does.
	m.opts.Logger.WarnContext(ctx, "mount is detached lazily", "dir", dir, "reason", err)
	err = m.umount2(context.WithoutCancel(ctx), dir, unix.UMOUNT_NOFOLLOW|unix.MNT_DETACH)
	if errors.Is(err, unix.EINVAL) {
		return nil
	}
	return err
}

// umount2 is umount2(2) without command, so that the answer is a number. It may
// have to wait for writes to a dead server, hence the goroutine that nobody
// waits for when time is over.
func (m *Mounter) umount2(ctx context.Context, dir string, flags int) error {
	answer := make(chan error, 1)
	go func() { answer <- unix.Unmount(dir, flags) }()
	wait, cancel := context.WithTimeout(ctx, m.opts.StatTimeout)
	defer cancel()
	select {
	case err := <-answer:
		return err
	case <-wait.Done():
		return fmt.Errorf("%w: unmounting takes too long", ErrStale)
	}
}
