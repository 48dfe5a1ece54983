package guest

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

//go:embed image/finish.sh
var finishScript string

// Suite is the Debian release of the guest.
const Suite = "bookworm"

// rootSize is the size of the root file system; the file is sparse.
const rootSize = 6 << 30

// packages is what the guest has beyond Debian's minimal system. It is the
// full kernel, because the cloud kernel has no LIO target.
func packages() []string {
	return []string{
		"linux-image-amd64", "systemd-sysv", "udev", "kmod", "dbus", "netbase", "iproute2", "procps", "psmisc",
		"glusterfs-server", "glusterfs-client", "lvm2", "thin-provisioning-tools", "xfsprogs", "e2fsprogs", "attr",
		"openssh-server", "rsync", "open-iscsi",
	}
}

// Image is a root image that is ready to boot, with its kernel.
type Image struct{ Root, Kernel, Initrd string }

// recipeHash names an image after everything that it is made from.
func recipeHash(suite string, packages []string, script string) string {
	sum := sha256.Sum256([]byte(strings.Join(append([]string{suite, script}, packages...), "\x00")))
	return hex.EncodeToString(sum[:6])
}

// BuildImage returns the image of the present recipe from the folder cache,
// and makes it first when it is missing (minutes). An interrupted build leaves
// nothing that a later one takes for an image.
func BuildImage(ctx context.Context, cache string) (Image, error) {
	dir := filepath.Join(cache, "guest-"+recipeHash(Suite, packages(), finishScript))
	image := Image{filepath.Join(dir, "root.img"), filepath.Join(dir, "vmlinuz"), filepath.Join(dir, "initrd.img")}
	if _, err := os.Stat(dir); err == nil {
		return image, nil
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return Image{}, err
	}
	if err := prune(cache); err != nil {
		return Image{}, err
	}
	work, err := os.MkdirTemp(cache, "guest-build-")
	if err != nil {
		return Image{}, err
	}
	defer func() { _ = os.RemoveAll(work) }() // The next build prunes what stays.
	result := filepath.Join(work, "result")
	if err := makeImage(ctx, filepath.Join(work, "root"), result); err != nil {
		return Image{}, err
	}
	return image, os.Rename(result, dir)
}

// prune removes images of older recipes and what an interrupted build left. A
// guest that runs from an old image keeps it open.
func prune(cache string) error {
	old, err := filepath.Glob(filepath.Join(cache, "guest-*"))
	for _, dir := range old {
		err = errors.Join(err, os.RemoveAll(dir))
	}
	return err
}

func makeImage(ctx context.Context, root, result string) error {
	if err := os.MkdirAll(result, 0o755); err != nil {
		return err
	}
	for _, args := range [][]string{
		{"debootstrap", "--variant=minbase", "--include=" + strings.Join(packages(), ","), Suite, root},
		{"sh", "-c", finishScript, "finish.sh", root},
	} {
		if err := run(ctx, args...); err != nil {
			return err
		}
	}
	for name, pattern := range map[string]string{"vmlinuz": "vmlinuz-*", "initrd.img": "initrd.img-*"} {
		found, err := filepath.Glob(filepath.Join(root, "boot", pattern))
		if err != nil || len(found) != 1 {
			return fmt.Errorf("%s in the guest's /boot: found %q, want one", pattern, found)
		}
		if err := os.Rename(found[0], filepath.Join(result, name)); err != nil {
			return err
		}
	}
	return makeRoot(ctx, root, filepath.Join(result, "root.img"))
}

// makeRoot turns a folder into an ext4 image, without mounting anything.
func makeRoot(ctx context.Context, root, image string) error {
	if err := sparse(image, rootSize); err != nil {
		return err
	}
	return run(ctx, "mkfs.ext4", "-q", "-d", root, image)
}

// sparse makes a file that is one hole.
func sparse(name string, size int64) error {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(f.Truncate(size), f.Close())
}

// run executes a command and puts the end of its output into the error.
func run(ctx context.Context, args ...string) error {
	out, err := exec.CommandContext(ctx, args[0], args[1:]...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", args[0], err, strings.TrimSpace(string(out[max(0, len(out)-2048):])))
	}
	return nil
}
