package provision

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"
	"strconv"

	"github.com/glusterbackupd/glusterbackupd/test/lab"
	"github.com/glusterbackupd/glusterbackupd/test/tree"
)

// fillClaim writes the generator's files into a file claim's volume, which is
// mounted on the host in the lab's network namespace.
func (p *provisioner) fillClaim(ctx context.Context, w wantedFile) error {
	c, ok := p.known(w.namespace, w.name)
	if !ok || c.Filled {
		return nil
	}
	dir, err := p.lab.MountVolume(ctx, c.Volume, "acl")
	if err != nil {
		return err
	}
	if err := errors.Join(generate(dir, w), p.lab.Unmount(context.WithoutCancel(ctx), dir)); err != nil {
		return err
	}
	return p.save(func(s *lab.State) {
		if known, ok := s.Claim(w.namespace, w.name); ok {
			known.Filled = true
		}
	})
}

// generate makes the tree of a claim. An older, half-made one is removed.
func generate(dir string, w wantedFile) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	return tree.Generate(dir, tree.Options{Seed: seedOf(w.namespace + "/" + w.name), Files: w.files, BigFile: w.bigFile})
}

// seedOf gives each claim its own data, the same in every lab.
func seedOf(claim string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(claim)) // Never fails.
	return h.Sum64()
}

// fillScript makes a file system on a block device and puts files into it,
// with their checksums in the file SUMS.
const fillScript = `
device="$1" type="$2" megabytes="$3"
case $type in
xfs) mkfs.xfs -q -f -K "$device" ;;
ext4) mkfs.ext4 -q -F -E nodiscard "$device" ;;
esac
dir=$(mktemp -d)
trap 'umount "$dir" 2>/dev/null || true; rmdir "$dir"' EXIT
mount "$device" "$dir"
mkdir "$dir/tables" "$dir/log"
head -c "$megabytes"M /dev/urandom >"$dir/tables/data"
for i in 1 2 3 4 5 6 7 8 9 10 11 12; do head -c $((i * 3001)) /dev/urandom >"$dir/log/segment $i"; done
ln "$dir/log/segment 1" "$dir/log/first"
ln -s tables/data "$dir/current"
(cd "$dir" && find tables log -type f -print0 | sort -z | xargs -0 sha256sum >SUMS)
umount "$dir"
`

// fillImage makes a file system with files in an image, through the guest's
// real iSCSI initiator.
func (p *provisioner) fillImage(ctx context.Context, w wantedImage) error {
	image, ok := p.knownImage(w)
	if !ok || image.Filled {
		return nil
	}
	device, err := p.lab.Login(ctx, &image)
	if err != nil {
		return err
	}
	_, err = p.lab.Script(ctx, fillScript, device, w.fsType, strconv.Itoa(w.megabytes))
	if err := errors.Join(err, p.lab.Logout(context.WithoutCancel(ctx), &image)); err != nil {
		return fmt.Errorf("fill %s: %w", image.Name, err)
	}
	return p.save(func(s *lab.State) {
		if known, ok := s.ClaimImage(w.namespace, w.claim); ok {
			known.Filled = true
		}
	})
}
