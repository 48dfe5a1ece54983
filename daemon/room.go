package daemon

import (
	"fmt"

	"github.com/dustin/go-humanize"

	"github.com/glusterbackupd/glusterbackupd/gluster"
)

// NoRoomError says that a restore could fill a thin pool, which would shut the
// live brick down.
type NoRoomError struct {
	Volume       string
	Pool         gluster.Pool
	Needed, Room int64
}

// Error names the pool and both sizes.
func (e *NoRoomError) Error() string {
	return fmt.Sprintf("volume %s: the restore may need %s in thin pool %s/%s on %s, which has room for %s below its limit",
		e.Volume, bytesText(e.Needed), e.Pool.VG, e.Pool.Name, e.Pool.Host, bytesText(e.Room))
}

func bytesText(n int64) string { return humanize.IBytes(uint64(max(n, 0))) }

// Remedy says how to make room.
func (e *NoRoomError) Remedy() string {
	return fmt.Sprintf("delete old snapshots of %s, extend the pool (lvextend %s/%s on %s), or restore with --to; nothing was changed",
		e.Volume, e.Pool.VG, e.Pool.Name, e.Pool.Host)
}

// room says whether the volume's thin pools can take that many bytes: needed is
// what one pool gets, least the room of the fullest one. With the safety
// snapshot in place every block that is written needs new pool space, whether
// or not it was allocated before. Of images, bytes counts whole chunks of the
// pool; files are written in one piece, and their rounding up is what the space
// above the limit is for. A sharded volume spreads them evenly over its distribute
// subvolumes; elsewhere one large file may lie on one brick.
func room(v gluster.Volume, pools []gluster.Pool, bytes int64, l Limits) (needed, least int64, err error) {
	needed, least = bytes, -1
	if sharded(v) {
		needed /= int64(subvolumes(v))
	}
	for _, pool := range pools {
		free := int64((l.PoolData - pool.Data) / 100 * float64(pool.Size))
		if least < 0 || free < least {
			least = free
		}
		if free < needed {
			return needed, free, &NoRoomError{v.Name, pool, needed, free}
		}
	}
	return needed, least, nil
}
