package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
)

// needed maps a program that the lab runs on the host to its Debian package.
func needed() map[string]string {
	return map[string]string{
		"qemu-system-x86_64": "qemu-system-x86", "debootstrap": "debootstrap", "mount.glusterfs": "glusterfs-client",
		"etcd": "etcd-server", "kubectl": "kubernetes-client", "mkfs.xfs": "xfsprogs", "mkfs.ext4": "e2fsprogs",
		"mkfs.btrfs": "btrfs-progs", "rsync": "rsync", "ssh": "openssh-client", "ip": "iproute2",
		"setfacl": "acl", "getfattr": "attr", "nsenter": "util-linux", "losetup": "mount",
	}
}

// missingPackages lists the packages of the programs that find does not know.
func missingPackages(find func(string) (string, error)) []string {
	var missing []string
	for program, pkg := range needed() {
		if _, err := find(program); err != nil {
			missing = append(missing, pkg)
		}
	}
	slices.Sort(missing)
	return slices.Compact(missing)
}

// findProgram also looks where a user's PATH often does not.
func findProgram(name string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	for _, dir := range []string{"/usr/sbin/", "/sbin/"} {
		if _, err := os.Stat(dir + name); err == nil {
			return dir + name, nil
		}
	}
	return "", exec.ErrNotFound
}

// installPackages installs what is missing, through the machine's own apt
// configuration. kubectl is a convenience: its package may not exist.
func installPackages(ctx context.Context) error {
	missing := missingPackages(findProgram)
	if len(missing) == 0 {
		return nil
	}
	if err := apt(ctx, "update"); err != nil {
		return err
	}
	if i := slices.Index(missing, "kubernetes-client"); i >= 0 {
		_ = apt(ctx, "install", missing[i])
		missing = slices.Delete(missing, i, i+1)
	}
	if len(missing) == 0 {
		return nil
	}
	return apt(ctx, append([]string{"install"}, missing...)...)
}

func apt(ctx context.Context, args ...string) error {
	// A package must not start its daemon on the host.
	const prefix = "-qq -y --no-install-recommends -o Dpkg::Use-Pty=0 -o Dpkg::Lock::Timeout=120"
	cmd := exec.CommandContext(ctx, "apt-get", append(strings.Fields(prefix), args...)...)
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive", "RUNLEVEL=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("apt-get %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}
