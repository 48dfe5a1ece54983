package gluster

import (
	"context"
	"fmt"
	"math"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

// BrickChanges says where the pieces of a file can differ on one brick between two
// snapshots: from and to in bytes, in order. Of pieces that it does not have nothing is
// known.
type BrickChanges map[int64][][2]int64

// ChangesRequest is what ImageChanges needs.
type ChangesRequest struct {
	// Old and Now are active snapshots of the volume, Deltas what ChunkDeltas says of them.
	Old, Now string
	Deltas   []ChunkDelta
	// File and GFID are those of ImageFiles, which says the same of both snapshots.
	File, GFID string
	// Since is the change time, by the clocks of the bricks' hosts, up to which pieces are
	// not asked for.
	Since time.Time
}

// ImageChanges asks the file systems of the bricks of two snapshots of v where they have
// the pieces of a file on their devices, in the order of the volume's bricks. What lies
// at the same place in both, in chunks of the thin volume that are the same, is the same
// data; so is what neither has written.
//
// It takes what ImageData takes, and xargs. A volume whose bricks have parts of
// everything is an error.
func (c *Client) ImageChanges(ctx context.Context, v Volume, r ChangesRequest) ([]BrickChanges, error) {
	if err := v.plainFile(r.File, r.GFID); err != nil {
		return nil, fmt.Errorf("changes of %q: %w", r.File, err)
	}
	before, after, err := c.frozenTwice(ctx, v, r.Old, r.Now)
	if err != nil {
		return nil, err
	}
	if len(r.Deltas) != len(after) {
		return nil, fmt.Errorf("changes of %s: what has changed of %d devices, not %d", r.File, len(r.Deltas), len(after))
	}
	changes := make([]BrickChanges, len(after))
	err = c.eachBrick(ctx, after, func(ctx context.Context, i int, cmd Commander) error {
		since := strconv.FormatInt(r.Since.Unix()-1, 10) // Whole seconds, rather too early.
		out, err := cmd.Run(ctx, c.hostCommand("sh", "-c", changesScript, "sh",
			before[i].Path, after[i].Path, path.Dir(r.File), path.Base(r.File), r.GFID, since, dataProgram)...)
		if err == nil {
			changes[i], err = parseChanges(string(out), r.GFID, r.Deltas[i])
		}
		return err
	})
	return changes, err
}

// changesScript prints what dataScript does, with extents instead of units, of those
// pieces that were changed after a time: as they are on the old brick, then on the new
// one. A piece without a line of its blocks is not known.
const changesScript = `set -eu
old=$1 now=$2 dir=$3 name=$4 gfid=$5 since=$6 program=$7
changed() { find "$now/$1" -maxdepth 1 -type f -name "$2" -newerct "@$since" -printf '%f\0'; }
of() {
	if ! [ -d "$1/$2" ]; then return 0; fi
	cd "$1/$2"
	changed "$2" "$3" | xargs -0 -r stat -c "stat ${4:-%n} %b" -- || true
	changed "$2" "$3" | xargs -0 -r env LC_ALL=C filefrag -e -v -s -- | awk -v piece="$4" -v unit=0 "$program"
}
for brick in "$old" "$now"; do
	of "$brick" "$dir" "$name" 0
	of "$brick" .shard "$gfid.*" ''
	echo end
done`

// parseChanges reads what changesScript prints.
func parseChanges(out, gfid string, delta ChunkDelta) (BrickChanges, error) {
	first, second, found := strings.Cut(out, "end\n")
	if !found {
		return nil, fmt.Errorf("%w: it is cut off", ErrAnswer)
	}
	old, err := parsePieces(first+"end\n", gfid, parseExtents)
	if err != nil {
		return nil, err
	}
	now, err := parsePieces(second, gfid, parseExtents)
	if err != nil {
		return nil, err
	}
	changes := BrickChanges{}
	for n, extents := range now {
		if before, known := old[n]; known {
			changes[n] = changedRanges(before, extents, delta)
		}
	}
	return changes, nil
}

// extent is a part of a file with data, from from up to to, that begins at device on the
// device; all in bytes.
type extent struct{ from, to, device int64 }

// parseExtents reads the extents of a file, in order.
func parseExtents(fields []string) ([]extent, error) {
	extents, end := make([]extent, 0, len(fields)), int64(0)
	for _, field := range fields {
		var n [3]int64
		parts := strings.Split(field, "-")
		if len(parts) != len(n) {
			return nil, ErrAnswer
		}
		for i, part := range parts {
			var err error
			if n[i], err = strconv.ParseInt(part, 10, 64); err != nil || n[i] >= maxDevice {
				return nil, ErrAnswer
			}
		}
		e := extent{n[0], n[1], n[2]}
		if e.from < end || e.to <= e.from {
			return nil, ErrAnswer
		}
		end = e.to
		extents = append(extents, e)
	}
	return extents, nil
}

// changedRanges returns where two files can differ whose file systems are on two devices
// that differ by delta.
func changedRanges(old, now []extent, delta ChunkDelta) [][2]int64 {
	changed := [][2]int64{}
	for off := int64(0); ; {
		var was, is, oldUntil, nowUntil int64
		old, was, oldUntil = place(old, off)
		now, is, nowUntil = place(now, off)
		until := min(oldUntil, nowUntil)
		switch {
		case until == math.MaxInt64:
			return changed
		case was != is:
			changed = append(changed, [2]int64{off, until})
		case is >= 0:
			for _, d := range within(delta, is, is+until-off) {
				changed = append(changed, [2]int64{off + d[0] - is, off + d[1] - is})
			}
		}
		off = until
	}
}

// place returns where on the device the byte at off is, -1 for nowhere, and up to where
// in the file that goes on. What lies before off is cut away.
func place(extents []extent, off int64) (rest []extent, device, until int64) {
	for len(extents) > 0 && extents[0].to <= off {
		extents = extents[1:]
	}
	switch {
	case len(extents) == 0:
		return nil, -1, math.MaxInt64
	case off < extents[0].from:
		return extents, -1, extents[0].from
	}
	return extents, extents[0].device + off - extents[0].from, extents[0].to
}

// within returns the parts of delta between from and to.
func within(delta ChunkDelta, from, to int64) (parts ChunkDelta) {
	i, _ := slices.BinarySearchFunc(delta, from, func(d [2]int64, at int64) int {
		if d[1] <= at {
			return -1
		}
		return 1
	})
	for ; i < len(delta) && delta[i][0] < to; i++ {
		parts = append(parts, [2]int64{max(delta[i][0], from), min(delta[i][1], to)})
	}
	return parts
}
