package gluster

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
)

// DataUnit is the grain of ImageData in bytes.
const DataUnit = 128 << 10

// BrickData says where the pieces of a file have data on one brick: from and to in
// bytes, multiples of DataUnit, in order. All else of a piece was never written there.
// Of pieces that it does not have nothing is known.
type BrickData map[int64][][2]int64

// plainTypes are the types of volumes of which a file has the same offsets on its
// bricks. Arbiters have no data, and count as replicas.
var plainTypes = []string{"Distribute", "Replicate", "Distributed-Replicate"}

// plainFile returns why the pieces of a file are not to be looked for on the bricks of v,
// or do not have its offsets there.
func (v Volume) plainFile(file, gfid string) error {
	if !relative(file) || !gfidForm.MatchString(gfid) {
		return fmt.Errorf("gfid %q: %w", gfid, ErrName)
	}
	if !slices.Contains(plainTypes, v.Type) {
		return fmt.Errorf("volume %s is of type %s", v.Name, v.Type)
	}
	return nil
}

// ImageData asks the file systems of the bricks of an active snapshot of v where the
// pieces of a file have data, in the order of the volume's bricks. Space that was only
// reserved (fallocate) has none. file and gfid are those of ImageFiles.
//
// Beside what ImageFiles needs it takes filefrag of e2fsprogs, and awk; on a brick
// without them, or whose file system does not tell, nothing is known, and of a piece
// nothing of which the answer is odd in any way or does not account for the blocks that
// stat has of it. A volume whose bricks have parts of everything is an error.
func (c *Client) ImageData(ctx context.Context, v Volume, snapshot, file, gfid string) ([]BrickData, error) {
	if err := v.plainFile(file, gfid); err != nil {
		return nil, fmt.Errorf("data of %q: %w", file, err)
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
		out, err := cmd.Run(ctx, c.hostCommand("sh", "-c", dataScript, "sh",
			bricks[i].Path, path.Dir(file), path.Base(file), gfid, dataProgram, strconv.Itoa(DataUnit))...)
		if err == nil {
			data[i], err = parseData(string(out), gfid)
		}
		return err
	})
	return data, err
}

// dataScript prints for each piece how many blocks of 512 bytes it has, and what
// dataProgram makes of its extents. With -e filefrag shows when it guesses.
const dataScript = `set -eu
extents() { LC_ALL=C awk -v piece="$1" -v unit="$3" "$2"; }
if command -v filefrag >/dev/null && command -v awk >/dev/null; then
	find "$1/$2" -maxdepth 1 -type f -name "$3" -printf 'stat 0 %b\n'
	find "$1/$2" -maxdepth 1 -type f -name "$3" -exec env LC_ALL=C filefrag -e -v -s -- {} + | extents 0 "$5" "$6"
	shards=$(find "$1" -maxdepth 1 -name .shard)
	if [ -n "$shards" ]; then
		find "$shards" -maxdepth 1 -type f -name "$4.*" -printf 'stat %f %b\n'
		find "$shards" -maxdepth 1 -type f -name "$4.*" -exec env LC_ALL=C filefrag -e -v -s -- {} + | extents '' "$5" "$6"
	fi
fi
echo end`

// dataProgram shortens what filefrag says of each file: a line with its name, size and
// block size, a headline, lines of its extents with number, first and last block, and a
// line at the end. It prints the piece's number, how many extents it has, with how many
// blocks of 512 bytes, and the units with data; with a unit of 0, before that and line by
// line the extents with data: from, to, and where on the device, in bytes. Of a file of
// which anything is not so, it does not print the piece, nor where an extent is anything
// but data or space that is reserved: "merged" is what filefrag guesses where the file
// system does not tell.
const dataProgram = `/^Filesystem type is: / || /^Filesystem cylinder groups / { next }
/^File size of / {
	good = match($0, / is [0-9]+ \([0-9]+ blocks? of [0-9]+ bytes\)$/) > 0
	name = substr($0, 1, RSTART - 1); rest = substr($0, RSTART)
	number = piece
	if (number == "") { number = name; sub(/^.*\./, "", number) }
	sub(/^.* of /, "", rest); block = rest + 0
	units = ""; last = -2; extents = headlines = after = sectors = 0
	if (unit == 0) print "new"
	next
}
/^ ext: / { if (++headlines > 1) good = 0; next }
/^ *[0-9]+: +[0-9]+\.\. *[0-9]+: / {
	unwritten = /unwritten/; flags = $0
	gsub(/unwritten|last|shared|eof/, "", flags)
	if (flags ~ /[a-z]/ || $1 + 0 != extents++) good = 0
	gsub(/[.:]+/, " ")
	if ($2 + 0 < after || $3 + 0 < $2 + 0) good = 0
	after = $3 + 1; sectors += (after - $2) * block / 512
	if (unwritten) next
	if (unit == 0) { printf "+ %.0f-%.0f-%.0f\n", $2 * block, after * block, $4 * block; next }
	from = int($2 * block / unit); to = int((after * block - 1) / unit)
	if (from <= last) from = last + 1
	if (to < from) next
	if (from == last + 1) { sub(/-[0-9]+$/, "-" to, units) } else { units = units " " from "-" to }
	last = to; next
}
/: [0-9]+ extents? found/ {
	if (good && (extents == 0) == /: 0 extents found/) printf "%s %d %.0f%s\n", number, extents, sectors, units
	good = 0; next
}
{ good = 0 }`

// parseData reads what dataScript prints.
func parseData(out, gfid string) (BrickData, error) { return parsePieces(out, gfid, parseUnits) }

// parsePieces reads what dataProgram prints of pieces, between lines with their blocks
// and one at the end.
func parsePieces[T any](out, gfid string, parse func(fields []string) (T, error)) (map[int64]T, error) {
	p := pieces[T]{known: map[int64]T{}, blocks: map[int64]int64{}, parse: parse}
	ended := false
	for line := range strings.Lines(out) {
		fields := strings.Fields(line)
		var err error
		switch ended = len(fields) == 1 && fields[0] == "end"; {
		case ended:
		case len(fields) == 1 && fields[0] == "new":
			p.fields = nil
		case len(fields) == 2 && fields[0] == "+":
			p.fields = append(p.fields, fields[1])
		case len(fields) == 3 && fields[0] == "stat":
			err = p.addBlocks(fields[1:], gfid)
		default:
			err = p.add(fields)
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %q", err, strings.TrimSpace(line))
		}
	}
	if !ended {
		return nil, fmt.Errorf("%w: it is cut off", ErrAnswer)
	}
	return p.known, nil
}

// pieces collects what is known of the pieces of a file.
type pieces[T any] struct {
	known  map[int64]T
	blocks map[int64]int64 // Of 512 bytes, by stat.
	parse  func(fields []string) (T, error)
	fields []string // What was said of the next piece so far.
}

func (p pieces[T]) addBlocks(fields []string, gfid string) error {
	number, err := strconv.ParseInt(strings.TrimPrefix(fields[0], gfid+"."), 10, 64)
	if err != nil {
		return ErrAnswer
	}
	if p.blocks[number], err = strconv.ParseInt(fields[1], 10, 64); err != nil {
		return ErrAnswer
	}
	return nil
}

// add adds what is known of one piece, unless its extents do not account for its blocks.
func (p *pieces[T]) add(fields []string) error {
	if len(fields) < 3 {
		return ErrAnswer
	}
	var errs [3]error
	var number, extents, sectors int64
	number, errs[0] = strconv.ParseInt(fields[0], 10, 64)
	extents, errs[1] = strconv.ParseInt(fields[1], 10, 64)
	sectors, errs[2] = strconv.ParseInt(fields[2], 10, 64)
	if errs != [3]error{} || number < 0 || extents < 0 {
		return ErrAnswer
	}
	ranges, err := p.parse(append(p.fields, fields[3:]...))
	p.fields = nil
	if err != nil {
		return err
	}
	if _, twice := p.known[number]; twice {
		return ErrAnswer
	}
	if all, known := p.blocks[number]; known && all <= sectors+mapBlocks(extents) {
		p.known[number] = ranges
	}
	return nil
}

// mapBlocks is how many blocks of 512 bytes so many extents take at most to be listed by
// a file system, which counts them as the file's: XFS and ext4 put a few into the inode,
// and at least a hundred into each block of 4 KiB. One more may have attributes.
func mapBlocks(extents int64) int64 {
	if extents == 0 {
		return 0
	}
	return 8 * (2 + extents/100)
}

// parseUnits reads ranges of units, in order.
func parseUnits(fields []string) (ranges [][2]int64, err error) {
	end := int64(0)
	for _, field := range fields {
		first, last, _ := strings.Cut(field, "-")
		from, errFrom := strconv.ParseInt(first, 10, 32)
		to, errTo := strconv.ParseInt(last, 10, 32)
		if errFrom != nil || errTo != nil || from < end || to < from {
			return nil, ErrAnswer
		}
		end = to + 1
		ranges = append(ranges, [2]int64{from * DataUnit, end * DataUnit})
	}
	return ranges, nil
}
