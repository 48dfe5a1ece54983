package gluster

import (
	"context"
	"fmt"
	"path"
	"strconv"
	"strings"
)

// DataUnit is the grain of ImageData in bytes.
const DataUnit = 128 << 10

// BrickData says where the pieces of a file have data on one brick: from and to in
// bytes, multiples of DataUnit, in order. All else of a piece was never written there.
// Of pieces that it does not have nothing is known.
type BrickData map[int64][][2]int64

// ImageData asks the file systems of the bricks of an active snapshot of v where the
// pieces of a file have data, in the order of the volume's bricks. Space that was only
// reserved (fallocate) has none. file and gfid are those of ImageFiles.
//
// Beside what ImageFiles needs it takes filefrag of e2fsprogs, and awk; on a brick
// without them, or whose file system does not tell, nothing is known. A disperse volume,
// whose bricks have parts of everything, is an error.
func (c *Client) ImageData(ctx context.Context, v Volume, snapshot, file, gfid string) ([]BrickData, error) {
	switch {
	case !relative(file) || !gfidForm.MatchString(gfid):
		return nil, fmt.Errorf("data of %q, gfid %q: %w", file, gfid, ErrName)
	case v.DisperseCount > 0:
		return nil, fmt.Errorf("data of %s: volume %s is dispersed", file, v.Name)
	}
	bricks, err := c.frozenBricks(ctx, v, snapshot)
	if err != nil {
		return nil, err
	}
	return c.dataOn(ctx, bricks, file, gfid)
}

func (c *Client) dataOn(ctx context.Context, bricks []Brick, file, gfid string) ([]BrickData, error) {
	data := make([]BrickData, len(bricks))
	err := c.eachBrick(ctx, bricks, func(ctx context.Context, i int, cmd Commander) error {
		out, err := cmd.Run(ctx, c.hostCommand("sh", "-c", dataScript, "sh", bricks[i].Path, path.Dir(file), path.Base(file), gfid, dataProgram)...)
		if err == nil {
			data[i], err = parseData(string(out))
		}
		return err
	})
	return data, err
}

// dataScript prints for each piece its number and the units with data.
const dataScript = `set -eu
if command -v filefrag >/dev/null && command -v awk >/dev/null; then
	find "$1/$2" -maxdepth 1 -type f -name "$3" -exec filefrag -v -s -- {} + | awk -v piece=0 "$5"
	shards=$(find "$1" -maxdepth 1 -name .shard)
	if [ -n "$shards" ]; then find "$shards" -maxdepth 1 -type f -name "$4.*" -exec filefrag -v -s -- {} + | awk -v piece= "$5"; fi
fi
echo end`

// dataProgram shortens what filefrag says: a line of each file's name, size and block
// size, lines of its extents with their first and last block, and one at the end. A file
// without that last line is left out.
const dataProgram = `/^File size of / {
	match($0, / is [0-9]+ \([0-9]+ blocks? of [0-9]+ bytes\)$/)
	name = substr($0, 1, RSTART - 1); rest = substr($0, RSTART)
	number = piece
	if (number == "") { number = name; sub(/^.*\./, "", number) }
	sub(/^.* of /, "", rest); block = rest + 0
	units = ""; last = -2; next
}
/^ *[0-9]+: +[0-9]+\.\. +[0-9]+:/ {
	if (/unwritten/) next
	gsub(/[.:]+/, " ")
	from = int($2 * block / 131072); to = int((($3 + 1) * block - 1) / 131072)
	if (from <= last) from = last + 1
	if (to < from) next
	if (from == last + 1) { sub(/-[0-9]+$/, "-" to, units) } else { units = units " " from "-" to }
	last = to; next
}
/: [0-9]+ extents? found/ { if (block > 0) print number units; block = 0 }`

// parseData reads what dataScript prints.
func parseData(out string) (BrickData, error) {
	data, ended := BrickData{}, false
	for line := range strings.Lines(out) {
		fields := strings.Fields(line)
		if ended = len(fields) == 1 && fields[0] == "end"; ended {
			continue
		}
		n, pieces, err := parsePiece(fields)
		if err != nil {
			return nil, fmt.Errorf("%w: %q", ErrAnswer, strings.TrimSpace(line))
		}
		if _, twice := data[n]; twice {
			return nil, fmt.Errorf("%w: piece %d twice", ErrAnswer, n)
		}
		data[n] = pieces
	}
	if !ended {
		return nil, fmt.Errorf("%w: it is cut off", ErrAnswer)
	}
	return data, nil
}

func parsePiece(fields []string) (n int64, ranges [][2]int64, err error) {
	if len(fields) == 0 {
		return 0, nil, ErrAnswer
	}
	if n, err = strconv.ParseInt(fields[0], 10, 64); err != nil || n < 0 {
		return 0, nil, ErrAnswer
	}
	end := int64(0)
	for _, field := range fields[1:] {
		first, last, _ := strings.Cut(field, "-")
		from, errFrom := strconv.ParseInt(first, 10, 32)
		to, errTo := strconv.ParseInt(last, 10, 32)
		if errFrom != nil || errTo != nil || from < end || to < from {
			return 0, nil, ErrAnswer
		}
		end = to + 1
		ranges = append(ranges, [2]int64{from * DataUnit, end * DataUnit})
	}
	return n, ranges, nil
}
