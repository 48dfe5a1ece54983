package lab

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
)

// MountVolume mounts a Gluster volume read-write on the host, in a folder of
// its own below Dir, and returns that folder. Options are those of
// mount.glusterfs, for example "direct-io-mode=enable". A snapshot is mounted
// by the name "/snaps/SNAPSHOT/VOLUME".
func (l *Lab) MountVolume(ctx context.Context, volume string, options ...string) (dir string, err error) {
	if dir, err = os.MkdirTemp(Dir, "mnt-"); err != nil {
		return "", err
	}
	args := []string{"mount", "-t", "glusterfs", "-o", "log-level=WARNING,log-file=" + filepath.Join(Dir, "mounts.log")}
	for _, o := range options {
		args = append(args, "-o", o)
	}
	if _, err := l.Host(ctx, append(args, l.Address+":"+volume, dir)...); err != nil {
		_ = os.Remove(dir)
		return "", err
	}
	return dir, nil
}

// Unmount takes away a mount that MountVolume made, and its folder.
func (l *Lab) Unmount(ctx context.Context, dir string) error {
	if _, err := l.Host(ctx, "umount", dir); err != nil {
		return err
	}
	if err := os.Remove(dir); err != nil {
		return fmt.Errorf("folder of a mount: %w", err)
	}
	return nil
}
