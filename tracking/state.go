package tracking

import (
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/klauspost/compress/zstd"
)

// version of the format of a State; docs/format.md describes it.
const version = 2

// State is what the bricks of a frozen snapshot say of one image.
type State struct {
	Version int `json:"version"`
	// Repository is the id of the BackupDisk whose backup was made from the
	// snapshot.
	Repository string `json:"repository"`
	// SnapshotUUID and Taken are Gluster's id and time of the snapshot; the time
	// is in whole seconds, by the clock of a Gluster node.
	SnapshotUUID string    `json:"snapshotUUID"`
	Taken        time.Time `json:"taken"`
	// VolumeID is Gluster's id of the volume.
	VolumeID string `json:"volumeID"`
	// GFID is Gluster's id of the image's file, in lower case with hyphens.
	GFID string `json:"gfid"`
	// SHA256 is one digest of those of the image's pieces as it was backed up, in
	// hex: manifest.Pieces.Digest.
	SHA256 string `json:"sha256"`
	// Size is that of the image, ShardSize that of its pieces, in bytes.
	Size      int64 `json:"size"`
	ShardSize int64 `json:"shardSize"`
	// Bricks are in the order of the volume's.
	Bricks []Brick `json:"bricks"`
}

// Brick is what one brick says.
type Brick struct {
	// Name is HOST:PATH of the volume's brick, not of the snapshot's.
	Name string `json:"name"`
	// Life is another one whenever the file system of the volume's brick may have
	// been mounted anew: what was written shortly before an unclean end can be on
	// the disk without the change time that it had.
	Life string `json:"life"`
	// Asked and Clock are when the brick was asked, by the clocks of this host and
	// of the brick's.
	Asked time.Time `json:"asked"`
	Clock time.Time `json:"clock"`
	// Healing says that the brick's index names files that are to be healed.
	Healing bool `json:"healing"`
	// Shards are the files of the image that the brick has, by their number; the
	// image's own file is number 0.
	Shards map[int64]Shard `json:"shards"`
	// Data says of some of them where they have data: from and to in bytes, in units of
	// 128 KiB. It is of use for this backup only, and not kept.
	Data map[int64][][2]int64 `json:"-"`
	// Changed says of some of them where they can differ from what the old snapshot has of
	// them: from and to in bytes. It is of use for this backup only, and not kept.
	Changed map[int64][][2]int64 `json:"-"`
}

// Shard is one file on a brick. The times are in nanoseconds since 1970.
type Shard struct {
	Inode    uint64 `json:"inode"`
	Size     int64  `json:"size"`
	Modified int64  `json:"modified"`
	Changed  int64  `json:"changed"`
}

// maxState bounds what Read accepts: an image of 8 TiB on 12 bricks has less.
const maxState = 512 << 20

// Write writes s as one zstd frame of JSON.
func (s State) Write(w io.Writer) error {
	s.Version = version
	z, err := zstd.NewWriter(w)
	if err != nil {
		return err
	}
	if err := json.NewEncoder(z).Encode(s); err != nil {
		return fmt.Errorf("write the state of the shards: %w", err)
	}
	return z.Close()
}

// Read reads what Write wrote. The frame's checksum reveals damage; a State of
// another version is an error.
func Read(r io.Reader) (State, error) {
	z, err := zstd.NewReader(r, zstd.WithDecoderMaxMemory(maxState), zstd.WithDecoderConcurrency(1))
	if err != nil {
		return State{}, err
	}
	defer z.Close()
	var s State
	d := json.NewDecoder(io.LimitReader(z, maxState))
	d.DisallowUnknownFields()
	if err := d.Decode(&s); err != nil {
		return State{}, fmt.Errorf("state of the shards: %w", err)
	}
	// The checksum is compared at the frame's end.
	if _, err := d.Token(); err != io.EOF {
		return State{}, fmt.Errorf("state of the shards: unexpected data behind it: %w", err)
	}
	if s.Version != version {
		return State{}, fmt.Errorf("state of the shards: version %d, want %d", s.Version, version)
	}
	return s, nil
}
