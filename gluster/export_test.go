package gluster

import "context"

// LiveFiles is ImageFiles for a volume instead of a snapshot, which nobody may be
// writing to.
func (c *Client) LiveFiles(ctx context.Context, v Volume, file string) (ImageFiles, error) {
	return c.filesOn(ctx, v, v.Bricks, file)
}

// LiveData is ImageData for such a volume.
func (c *Client) LiveData(ctx context.Context, v Volume, file, gfid string) ([]BrickData, error) {
	return c.dataOn(ctx, v.Bricks, file, gfid)
}

// What ImageData is made of.
var ParseData = parseData

// DataScript and DataProgram are what it runs.
const (
	DataScript  = dataScript
	DataProgram = dataProgram
)

// What ChunkDeltas and ImageChanges are made of.
var (
	ParseDelta    = parseDelta
	ParseChanges  = parseChanges
	ChangedRanges = changedRanges
)

// ChangesScript is what ImageChanges runs, DeltaScript what ChunkDeltas does.
const (
	ChangesScript = changesScript
	DeltaScript   = deltaScript
)

// Extent is a part of a file with data.
type Extent = extent

// NewExtent makes one, ExtentParts takes it apart.
func NewExtent(from, to, device int64) Extent { return extent{from, to, device} }

// ExtentParts returns from, to and device.
func ExtentParts(e Extent) (from, to, device int64) { return e.from, e.to, e.device }

// ChunkDeltaOf compares what is below two folders of a host.
func ChunkDeltaOf(ctx context.Context, cmd Commander, old, now string) (ChunkDelta, error) {
	c := &Client{opts: Options{Command: []string{"gluster"}}}
	return c.chunkDelta(ctx, cmd, old, now)
}
