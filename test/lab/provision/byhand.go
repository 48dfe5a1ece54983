package provision

import (
	"context"

	"github.com/glusterbackupd/glusterbackupd/test/lab"
)

// Volumes that are made without Heketi, on the guest's second disk.
const (
	replicaVolume = "r2"
	plainVolume   = "plain1"
)

// byHandScript makes three bricks, two on thin logical volumes with a pool
// each and one on an ordinary logical volume, and the two volumes.
const byHandScript = `
address="$1" replica="$2" plain="$3" disk=/dev/vdc
g() { gluster --mode=script "$@" >/dev/null; }
vgs vg_hand >/dev/null 2>&1 || { pvcreate -qq -y "$disk"; vgcreate -qq vg_hand "$disk"; }
for b in a b; do
	lvs vg_hand/brick_$b >/dev/null 2>&1 ||
		lvcreate -qq -y -L 1200M --poolmetadatasize 8M -T vg_hand/tp_$b -V 1G -n brick_$b >/dev/null
done
lvs vg_hand/brick_plain >/dev/null 2>&1 || lvcreate -qq -y -W y -L 600M -n brick_plain vg_hand >/dev/null
for b in a b plain; do
	dev=/dev/vg_hand/brick_$b
	blkid "$dev" >/dev/null || mkfs.xfs -q -K -i size=512 "$dev"
	mkdir -p /bricks/$b
	mountpoint -q /bricks/$b || mount -o inode64,noatime,nouuid "$dev" /bricks/$b
	mkdir -p /bricks/$b/brick
done
exists() { gluster --mode=script volume info "$1" >/dev/null 2>&1; }
exists "$replica" || g volume create "$replica" replica 2 "$address:/bricks/a/brick" "$address:/bricks/b/brick" force
exists "$plain" || g volume create "$plain" "$address:/bricks/plain/brick" force
for v in "$replica" "$plain"; do
	gluster volume info "$v" | grep -q "^Status: Started" || g volume start "$v"
done
`

// byHand makes the volumes that Heketi knows nothing of.
func (p *provisioner) byHand(ctx context.Context) error {
	if p.lab.ReplicaVolume != "" {
		return nil
	}
	if _, err := p.lab.Script(ctx, byHandScript, p.lab.Address, replicaVolume, plainVolume); err != nil {
		return err
	}
	return p.save(func(s *lab.State) {
		s.ReplicaVolume, s.PlainVolume = replicaVolume, plainVolume
		s.ReplicaBricks = []string{"/bricks/a/brick", "/bricks/b/brick"}
	})
}
