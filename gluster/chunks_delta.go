package gluster

import (
	"cmp"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// ChunkDelta says where the device below one brick can differ between two snapshots:
// from and to in bytes, in order.
type ChunkDelta [][2]int64

// thinVolume is the thin volume that a brick of a snapshot is on.
type thinVolume struct {
	pool string // MAJOR:MINOR of the device-mapper's pool.
	id   string // The pool's number for the volume.
}

// ErrMetadataHeld says that somebody has the pool's metadata held for reading, so that
// nobody else can.
var ErrMetadataHeld = errors.New("the thin pool's metadata is held for reading")

// ChunkDeltas compares the thin volumes below the bricks of two active snapshots of v,
// of which old is the earlier one, with thin_delta of thin-provisioning-tools, in the
// order of the volume's bricks. Nothing of their content is read, only the pools'
// metadata, of which the pool holds a copy meanwhile (reserve_metadata_snap in the
// kernel's admin-guide/device-mapper/thin-provisioning): one comparison at a time on
// each pool.
//
// A brick that is not the whole of a thin volume, with XFS or ext4 on it, is an error.
func (c *Client) ChunkDeltas(ctx context.Context, v Volume, old, now string) ([]ChunkDelta, error) {
	before, after, err := c.frozenTwice(ctx, v, old, now)
	if err != nil {
		return nil, err
	}
	deltas := make([]ChunkDelta, len(after))
	err = c.eachBrick(ctx, after, func(ctx context.Context, i int, cmd Commander) (err error) {
		deltas[i], err = c.chunkDelta(ctx, cmd, before[i].Path, after[i].Path)
		return err
	})
	return deltas, err
}

// frozenTwice returns the bricks of two active snapshots of v, in the order of its own.
func (c *Client) frozenTwice(ctx context.Context, v Volume, old, now string) (before, after []Brick, err error) {
	if before, err = c.frozenBricks(ctx, v, old); err != nil {
		return nil, nil, err
	}
	after, err = c.frozenBricks(ctx, v, now)
	return before, after, err
}

// chunkDelta compares what is below two folders.
func (c *Client) chunkDelta(ctx context.Context, cmd Commander, old, now string) (ChunkDelta, error) {
	before, err := c.thinVolume(ctx, cmd, old)
	if err != nil {
		return nil, err
	}
	after, err := c.thinVolume(ctx, cmd, now)
	if err != nil {
		return nil, err
	}
	if before.pool != after.pool || before.id == after.id {
		return nil, fmt.Errorf("%s and %s are not on two thin volumes of one pool", old, now)
	}
	pool, err := c.thinPool(ctx, cmd, after.pool)
	if err != nil {
		return nil, err
	}
	if err := c.thinDeltaWorks(ctx, cmd); err != nil {
		return nil, err
	}
	out, err := cmd.Run(ctx, c.hostCommand("sh", "-c", deltaScript, "sh", pool.name, "/dev/mapper/"+pool.metadata, before.id, after.id, noteDir)...)
	if err != nil {
		return nil, fmt.Errorf("compare thin volumes %s and %s of pool %s: %w", before.id, after.id, pool.name, err)
	}
	if held, ok := strings.CutPrefix(string(out), "held "); ok {
		return nil, pool.heldError(held)
	}
	return parseDelta(out, before.id, after.id, pool.sectors)
}

// CheckChunks returns why ChunkDeltas cannot compare snapshots of v, as far as that can
// be told without one: nil when all its bricks are on thin volumes, their hosts have the
// programs, and nobody has a pool's metadata held.
func (c *Client) CheckChunks(ctx context.Context, v Volume) error {
	return c.eachBrick(ctx, v.Bricks, func(ctx context.Context, i int, cmd Commander) error {
		thin, err := c.thinVolume(ctx, cmd, v.Bricks[i].Path)
		if err != nil {
			return err
		}
		pool, err := c.thinPool(ctx, cmd, thin.pool)
		if err != nil {
			return err
		}
		if err := c.thinDeltaWorks(ctx, cmd); err != nil {
			return err
		}
		out, err := cmd.Run(ctx, c.hostCommand("sh", "-c", chunkToolsScript, "sh", pool.name, noteDir)...)
		if err != nil {
			return err
		}
		if root := strings.TrimSpace(string(out)); root != "-" {
			return pool.heldError(root)
		}
		return nil
	})
}

// chunkToolsScript looks for what the scripts of ChunkDeltas and ImageChanges run, and
// prints what is held, unless a comparison does that, or has left it to the next one.
const chunkToolsScript = `set -eu
for program in flock timeout grep filefrag awk xargs; do
	command -v "$program" >/dev/null || { echo "$program is missing" >&2; exit 1; }
done
root=$(dmsetup status "$1" | awk '{ print $7 }')
if [ -s "$2/$1" ] && [ "$root" = "$(cat "$2/$1")" ]; then root=-; fi
echo "$root"`

// thinPool is a pool as the device-mapper calls it.
type thinPool struct {
	name, metadata string // The names of its device and of that of its metadata.
	sectors        int64  // Of a chunk.
}

func (p thinPool) heldError(root string) error {
	return fmt.Errorf("pool %s: %w (block %s): when nobody does so there, free it with: dmsetup message %s 0 release_metadata_snap",
		p.name, ErrMetadataHeld, firstLine(root), p.name)
}

// thinPool finds the pool of that MAJOR:MINOR.
func (c *Client) thinPool(ctx context.Context, cmd Commander, device string) (p thinPool, err error) {
	table, err := c.deviceMapper(ctx, cmd, device, poolTable, "table")
	if err != nil {
		return p, err
	}
	if p.sectors, err = strconv.ParseInt(table[2], 10, 32); err != nil {
		return p, fmt.Errorf("pool %s: %w: chunks of %s", device, ErrAnswer, table[2])
	}
	if p.name, err = c.deviceName(ctx, cmd, device); err != nil {
		return p, err
	}
	p.metadata, err = c.deviceName(ctx, cmd, table[1])
	return p, err
}

// deviceName returns the name of the device of that MAJOR:MINOR in /dev/mapper.
func (c *Client) deviceName(ctx context.Context, cmd Commander, device string) (string, error) {
	name, err := c.deviceMapper(ctx, cmd, device, deviceForm, "info", "-c", "--noheadings", "-o", "name")
	if err != nil {
		return "", err
	}
	return name[1], nil
}

// What dmsetup says. Anything else, such as an encrypted device, a volume with an
// external origin, or one of several parts, is not what is asked for here.
var (
	deviceNumber = regexp.MustCompile(`^[0-9]+:[0-9]+$`)
	thinTable    = regexp.MustCompile(`^0 [0-9]+ thin ([0-9]+:[0-9]+) ([0-9]+)\s*$`)
	poolTable    = regexp.MustCompile(`^0 [0-9]+ thin-pool ([0-9]+:[0-9]+) [0-9]+:[0-9]+ ([0-9]+) [^\n]*\s*$`)
	deviceForm   = regexp.MustCompile(`^([A-Za-z0-9_.+][A-Za-z0-9_.+-]*)\s*$`)
)

// thinVolume finds the thin volume whose file system, all of it, holds a folder.
func (c *Client) thinVolume(ctx context.Context, cmd Commander, dir string) (thinVolume, error) {
	out, err := cmd.Run(ctx, c.hostCommand("findmnt", "-n", "-o", "MAJ:MIN,FSTYPE,OPTIONS", "--target", dir)...)
	if err != nil {
		return thinVolume{}, fmt.Errorf("device below %s: %w", dir, err)
	}
	fields := strings.Fields(string(out))
	if len(fields) != 3 || !deviceNumber.MatchString(fields[0]) {
		return thinVolume{}, fmt.Errorf("device below %s: %w %q", dir, ErrAnswer, firstLine(string(out)))
	}
	// With a realtime device, where a file's extents lie is not on this one.
	if kind := fields[1]; kind != "xfs" && kind != "ext4" || strings.Contains(","+fields[2], ",rtdev=") {
		return thinVolume{}, fmt.Errorf("below %s is a file system %s (%s): of such it is not known where it has its data", dir, kind, fields[2])
	}
	table, err := c.deviceMapper(ctx, cmd, fields[0], thinTable, "table")
	if err != nil {
		return thinVolume{}, fmt.Errorf("%s is on no thin volume: %w", dir, err)
	}
	return thinVolume{pool: table[1], id: table[2]}, nil
}

// deviceMapper asks dmsetup about one device and returns the parts of its answer.
func (c *Client) deviceMapper(ctx context.Context, cmd Commander, device string, want *regexp.Regexp, args ...string) ([]string, error) {
	major, minor, _ := strings.Cut(device, ":")
	out, err := cmd.Run(ctx, c.hostCommand(slices.Concat([]string{"dmsetup"}, args, []string{"-j", major, "-m", minor})...)...)
	if err != nil {
		return nil, fmt.Errorf("device %s: %w", device, err)
	}
	parts := want.FindStringSubmatch(string(out))
	if parts == nil {
		return nil, fmt.Errorf("device %s: %w to dmsetup %s: %q", device, ErrAnswer, args[0], firstLine(string(out)))
	}
	return parts, nil
}

// deltaScript compares two volumes of a pool while the pool holds a copy of its metadata.
// Which one that is stands in a file while it is held, so that after a kill the next one
// can free it; the file does not outlive the host's boot, and then a person has to. A
// signal that comes while the copy is made takes effect when that is noted; with
// --foreground it reaches thin_delta too. A copy that is no longer the noted one is not
// ours to let go, and what was read is worth nothing.
const deltaScript = `set -eu
pool=$1 note=$5/$1 stop=
held() {
	root=$(dmsetup status "$pool" | awk '{ print $7 }')
	case $root in
	-) ;;
	'' | *[!0-9]*) echo "pool $pool does not say what it holds: $root" >&2; exit 1 ;;
	esac
}
message() { (trap '' HUP INT TERM PIPE; exec dmsetup message "$pool" 0 "$1"); }
release() {
	trap '' HUP INT TERM PIPE
	trap - EXIT
	held
	if [ "$root" != "$(cat "$note")" ]; then
		: >"$note"
		echo "pool $pool holds $root, which is not what was compared" >&2
		exit 1
	fi
	message release_metadata_snap
	: >"$note"
	trap - HUP INT TERM PIPE
}
mkdir -p -m 700 "${note%/*}"
exec 9>>"$note"
flock -w 150 9
held
if [ "$root" != - ]; then
	if [ "$root" != "$(cat "$note")" ]; then echo "held $root"; exit; fi
	release
fi
: >"$note"
trap 'stop=1' HUP INT TERM PIPE
message reserve_metadata_snap
trap 'message release_metadata_snap' EXIT
held
echo "$root" >"$note"
trap release EXIT
trap 'exit 1' HUP INT TERM PIPE
[ -z "$stop" ]
timeout --foreground 120 thin_delta --metadata-snap --snap1 "$3" --snap2 "$4" "$2" 9>&- | grep -v '<same ' 9>&- || {
	echo 'thin_delta failed, or said nothing within 120 s' >&2
	exit 1
}
release`

// noteDir is where the notes are, for root only.
const noteDir = "/run/glusterbackupd/pools"

// thinDeltaWorks asks a host for the version of its thin_delta. Up to 0.6 it could lose
// the end of a range; from 1.0.0 to 1.0.5 it does not compare all of a range, or does not
// know its options (jthornber/thin-provisioning-tools, fixed in 0.7.0 and 1.0.6). 1.0.0
// calls itself 0.9.0, with its name before that, as 0.9.0 does not.
func (c *Client) thinDeltaWorks(ctx context.Context, cmd Commander) error {
	out, err := cmd.Run(ctx, c.hostCommand("thin_delta", "--version")...)
	if err != nil {
		return fmt.Errorf("thin_delta (thin-provisioning-tools): %w", err)
	}
	version := thinDeltaVersion.FindStringSubmatch(string(out))
	if version == nil {
		return fmt.Errorf("version of thin_delta: %w %q", ErrAnswer, firstLine(string(out)))
	}
	var n [3]int
	for i := range n {
		n[i], _ = strconv.Atoi(version[i+2]) // A few digits.
	}
	named, atLeast := version[1] != "", func(v ...int) bool { return slices.Compare(n[:], v) >= 0 }
	if !atLeast(1, 0, 6) && (named || !atLeast(0, 7, 0) || atLeast(1, 0, 0)) {
		return fmt.Errorf("%s misses changes: thin-provisioning-tools 0.7.0 to 0.9.0, or 1.0.6 and newer, are needed", firstLine(string(out)))
	}
	return nil
}

var thinDeltaVersion = regexp.MustCompile(`^(thin_delta )?([0-9]{1,5})\.([0-9]{1,5})\.([0-9]{1,5})[^\n]*\s*$`)

// parseDelta reads the XML of thin_delta, without what is the same. Chunks that are not
// named have the same block of the pool in both volumes, or none.
func parseDelta(out []byte, old, now string, sectors int64) (ChunkDelta, error) {
	var answer struct {
		XMLName xml.Name `xml:"superblock"`
		Sectors int64    `xml:"data_block_size,attr"`
		Diffs   []struct {
			Left   string `xml:"left,attr"`
			Right  string `xml:"right,attr"`
			Ranges []struct {
				XMLName xml.Name
				Begin   *int64 `xml:"begin,attr"`
				Length  *int64 `xml:"length,attr"`
			} `xml:",any"`
		} `xml:"diff"`
	}
	if err := xml.Unmarshal(out, &answer); err != nil {
		return nil, fmt.Errorf("thin_delta: %w: %w", ErrAnswer, err)
	}
	if len(answer.Diffs) != 1 || answer.Diffs[0].Left != old || answer.Diffs[0].Right != now || answer.Sectors != sectors || sectors <= 0 {
		return nil, fmt.Errorf("thin_delta: %w: not one difference of volumes %s and %s in chunks of %d sectors", ErrAnswer, old, now, sectors)
	}
	chunk, delta := sectors*512, ChunkDelta{}
	most := maxDevice / chunk
	for _, r := range answer.Diffs[0].Ranges {
		kind := r.XMLName.Local
		if kind != "different" && kind != "left_only" && kind != "right_only" ||
			r.Begin == nil || r.Length == nil || *r.Begin < 0 || *r.Begin > most || *r.Length <= 0 || *r.Length > most {
			return nil, fmt.Errorf("thin_delta: %w: range %+v", ErrAnswer, r)
		}
		delta = append(delta, [2]int64{*r.Begin * chunk, (*r.Begin + *r.Length) * chunk})
	}
	slices.SortFunc(delta, func(a, b [2]int64) int { return cmp.Compare(a[0], b[0]) })
	for i := range len(delta) - 1 {
		if delta[i][1] > delta[i+1][0] {
			return nil, fmt.Errorf("thin_delta: %w: chunks that are named twice", ErrAnswer)
		}
	}
	return delta, nil
}

// maxDevice is larger than any device in bytes, and what is computed with it fits.
const maxDevice = 1 << 60
