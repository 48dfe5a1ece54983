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
