package gluster

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"path"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// ImageFiles are the files that one file of a volume consists of on the bricks of
// a snapshot.
type ImageFiles struct {
	// GFID is Gluster's id of the file, in lower case with hyphens.
	GFID string
	// ShardSize is the size in bytes of all pieces but the last one; 0 for a file
	// that is not sharded.
	ShardSize int64
	// Bricks are in the order of the volume's.
	Bricks []BrickFiles
}

// BrickFiles is what one brick has of it.
type BrickFiles struct {
	Brick Brick     // Of the volume, not of the snapshot.
	Asked time.Time // By the clock of this host, just before Clock.
	Clock time.Time // On the brick's host, when the brick was looked at.
	// Healing says that the brick's index names files that are to be healed.
	Healing bool
	// Files are by the number of the piece; 0 is the file of the file's own name.
	Files map[int64]BrickFile
}

// BrickFile is what stat says of one file on a brick. The times are in
// nanoseconds since 1970.
type BrickFile struct {
	Inode             uint64
	Size              int64
	Modified, Changed int64
}

// ImageFiles looks at the bricks of an active snapshot of v, over the brick hosts'
// own connections, with what every Gluster node has: sh, getfattr and find. file is
// the path of a file below the volume's root.
//
// Where the pieces are comes from Gluster's shard translator
// (gluster/glusterfs xlators/features/shard): piece n of a file is
// .shard/<gfid>.<n>, and the size of the pieces is an attribute of piece 0, which
// is the file itself.
func (c *Client) ImageFiles(ctx context.Context, v Volume, snapshot, file string) (ImageFiles, error) {
	if !relative(file) {
		return ImageFiles{}, fmt.Errorf("files behind %q: %w", file, ErrName)
	}
	bricks, err := c.frozenBricks(ctx, v, snapshot)
	if err != nil {
		return ImageFiles{}, err
	}
	return c.filesOn(ctx, v, bricks, file)
}

// frozenBricks returns the bricks of an active snapshot of v, in the order of its own.
func (c *Client) frozenBricks(ctx context.Context, v Volume, snapshot string) ([]Brick, error) {
	bricks, err := c.SnapshotStatus(ctx, snapshot)
	if err != nil {
		return nil, err
	}
	if err := sameBricks(v, bricks); err != nil {
		return nil, fmt.Errorf("snapshot %s: %w", snapshot, err)
	}
	frozen := make([]Brick, len(bricks))
	for i, b := range bricks {
		frozen[i] = Brick{Host: b.Host, Path: b.Path}
	}
	return frozen, nil
}

// filesOn looks at bricks with the content of those of v.
func (c *Client) filesOn(ctx context.Context, v Volume, bricks []Brick, file string) (ImageFiles, error) {
	ids := make([]fileID, len(bricks))
	err := c.eachBrick(ctx, bricks, func(ctx context.Context, i int, cmd Commander) (err error) {
		ids[i], err = c.fileID(ctx, cmd, path.Join(bricks[i].Path, file))
		return err
	})
	if err != nil {
		return ImageFiles{}, err
	}
	id, err := oneID(ids)
	if err != nil {
		return ImageFiles{}, fmt.Errorf("files behind %s in volume %s: %w", file, v.Name, err)
	}
	f := ImageFiles{GFID: id.gfid, ShardSize: id.shardSize, Bricks: make([]BrickFiles, len(bricks))}
	err = c.eachBrick(ctx, bricks, func(ctx context.Context, i int, cmd Commander) (err error) {
		f.Bricks[i], err = c.brickFiles(ctx, cmd, bricks[i].Path, file, id.gfid)
		f.Bricks[i].Brick = v.Bricks[i]
		return err
	})
	return f, err
}

// relative tells whether a path stays below the folder that it is joined to, and
// is not a pattern.
func relative(file string) bool {
	return file != "" && !strings.ContainsAny(file, "*?[\\") && file == path.Clean(file) && !path.IsAbs(file) && file != "." && file != ".." && !strings.HasPrefix(file, "../") && file[0] != '-'
}

// sameBricks tells whether the snapshot has the bricks of the volume, in its
// order, and all of them run.
func sameBricks(v Volume, bricks []SnapshotBrick) error {
	if len(bricks) != len(v.Bricks) {
		return fmt.Errorf("%w: %d bricks, volume %s has %d", ErrAnswer, len(bricks), v.Name, len(v.Bricks))
	}
	for i, b := range bricks {
		if b.Host != v.Bricks[i].Host {
			return fmt.Errorf("%w: brick %d is on %s, that of volume %s on %s", ErrAnswer, i, b.Host, v.Name, v.Bricks[i].Host)
		}
		if !b.Running {
			return fmt.Errorf("brick %s:%s does not run", b.Host, b.Path)
		}
	}
	return nil
}

// eachBrick calls do for each brick, for at most four at a time.
func (c *Client) eachBrick(ctx context.Context, bricks []Brick, do func(ctx context.Context, i int, cmd Commander) error) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(4)
	for i, b := range bricks {
		g.Go(func() error {
			cmd := c.opts.Connect(b.Host)
			if cmd == nil {
				return fmt.Errorf("files on brick %s: no connection to brick host %s", b, b.Host)
			}
			if err := do(ctx, i, cmd); err != nil {
				return fmt.Errorf("files on brick %s: %w", b, err)
			}
			return nil
		})
	}
	return g.Wait()
}

// fileID is how the bricks call a file. The zero value is that of a brick without
// it.
type fileID struct {
	gfid      string
	shardSize int64
}

// idScript prints the attributes of a file in hexadecimal digits, nothing
// without the file.
const idScript = `if [ -e "$1" ]; then exec getfattr --absolute-names -h -d -m '^trusted\.(gfid|glusterfs\.shard\.block-size)$' -e hex -- "$1"; fi`

func (c *Client) fileID(ctx context.Context, cmd Commander, file string) (fileID, error) {
	out, err := cmd.Run(ctx, c.hostCommand("sh", "-c", idScript, "sh", file)...)
	if err != nil {
		return fileID{}, err
	}
	var id fileID
	for line := range strings.Lines(string(out)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=0x")
		raw, err := hex.DecodeString(value)
		switch name {
		case "trusted.gfid":
			if err != nil || len(raw) != 16 {
				return id, fmt.Errorf("%w: gfid %q", ErrAnswer, value)
			}
			id.gfid = fmt.Sprintf("%x-%x-%x-%x-%x", raw[:4], raw[4:6], raw[6:8], raw[8:10], raw[10:])
		case "trusted.glusterfs.shard.block-size":
			id.shardSize, err = strconv.ParseInt(value, 16, 64)
			if err != nil || id.shardSize <= 0 {
				return id, fmt.Errorf("%w: shards of size %q", ErrAnswer, value)
			}
		}
	}
	if len(out) > 0 && id.gfid == "" {
		return id, fmt.Errorf("%w: no gfid in %q", ErrAnswer, firstLine(string(out)))
	}
	return id, nil
}

// errTwoFiles says that the bricks do not agree on what a name means.
var errTwoFiles = errors.New("the bricks have different files of this name")

// oneID is what all bricks that have the file say. A brick that only points to
// the file on another one has its gfid but no attributes of shards.
func oneID(ids []fileID) (fileID, error) {
	var one fileID
	for _, id := range ids {
		if id.gfid == "" {
			continue
		}
		if one.gfid == "" {
			one.gfid = id.gfid
		}
		if one.shardSize == 0 {
			one.shardSize = id.shardSize
		}
		if id.gfid != one.gfid || id.shardSize != 0 && id.shardSize != one.shardSize {
			return fileID{}, errTwoFiles
		}
	}
	if one.gfid == "" {
		return fileID{}, errors.New("no brick has it")
	}
	return one, nil
}

// filesScript prints the clock, whether anything is to be healed, and the files:
// piece 0, the others, each with inode, size and times. What is there is found by
// reading the folders, so that one that cannot be read is an error.
const filesScript = `set -eu
if ! [ -d "$1/.glusterfs" ]; then echo "$1 is no brick" >&2; exit 1; fi
date '+clock %s.%N'
index="$1/.glusterfs/indices/xattrop"
if [ -d "$index" ]; then
	left=$(find "$index" -type f ! -name 'xattrop-*' -print -quit)
	if [ -n "$left" ]; then echo healing; fi
fi
find "$1/$2" -maxdepth 1 -type f -name "$3" -printf '0 %i %s %T@ %C@\n'
shards=$(find "$1" -maxdepth 1 -name .shard)
if [ -n "$shards" ]; then find "$shards" -maxdepth 1 -type f -name "$4.*" -printf '%f %i %s %T@ %C@\n'; fi
echo end`

func (c *Client) brickFiles(ctx context.Context, cmd Commander, brick, file, gfid string) (BrickFiles, error) {
	b := BrickFiles{Asked: time.Now().UTC(), Files: map[int64]BrickFile{}}
	out, err := cmd.Run(ctx, c.hostCommand("sh", "-c", filesScript, "sh", brick, path.Dir(file), path.Base(file), gfid)...)
	if err != nil {
		return BrickFiles{}, err
	}
	ended := false
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		switch {
		case len(fields) == 2 && fields[0] == "clock":
			nanoseconds, err := parseNanoseconds(fields[1])
			if err != nil {
				return b, err
			}
			b.Clock = time.Unix(0, nanoseconds).UTC()
		case len(fields) == 1 && fields[0] == "healing":
			b.Healing = true
		case len(fields) == 1 && fields[0] == "end":
			ended = true
		default:
			if err := b.add(fields, gfid); err != nil {
				return b, fmt.Errorf("%w: %q", err, strings.TrimSpace(line))
			}
		}
	}
	if !ended || b.Clock.IsZero() {
		return b, fmt.Errorf("%w: it is cut off", ErrAnswer)
	}
	return b, nil
}

// add adds the file of one line.
func (b *BrickFiles) add(fields []string, gfid string) error {
	if len(fields) != 5 {
		return ErrAnswer
	}
	number := strings.TrimPrefix(fields[0], gfid+".")
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n < 0 || (n == 0) != (fields[0] == "0") || strconv.FormatInt(n, 10) != number {
		return ErrAnswer
	}
	var f BrickFile
	var errs [4]error
	f.Inode, errs[0] = strconv.ParseUint(fields[1], 10, 64)
	f.Size, errs[1] = strconv.ParseInt(fields[2], 10, 64)
	f.Modified, errs[2] = parseNanoseconds(fields[3])
	f.Changed, errs[3] = parseNanoseconds(fields[4])
	if errors.Join(errs[:]...) != nil || f.Size < 0 {
		return ErrAnswer
	}
	if _, twice := b.Files[n]; twice {
		return ErrAnswer
	}
	b.Files[n] = f
	return nil
}

// parseNanoseconds parses seconds since 1970 with a fraction of nine or more
// digits, of which find prints ten.
func parseNanoseconds(s string) (int64, error) {
	whole, fraction, _ := strings.Cut(s, ".")
	if len(fraction) < 9 {
		return 0, fmt.Errorf("%w: time %q is not in nanoseconds", ErrAnswer, s)
	}
	seconds, err := strconv.ParseInt(whole, 10, 64)
	if err != nil || seconds < 0 || seconds > 1<<33 {
		return 0, fmt.Errorf("%w: time %q", ErrAnswer, s)
	}
	n, err := strconv.ParseUint(fraction[:9], 10, 32)
	if err != nil {
		return 0, fmt.Errorf("%w: time %q", ErrAnswer, s)
	}
	return seconds*1e9 + int64(n), nil
}
