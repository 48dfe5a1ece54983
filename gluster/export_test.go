package gluster

import "context"

// LiveFiles is ImageFiles for a volume instead of a snapshot, which nobody may be
// writing to.
func (c *Client) LiveFiles(ctx context.Context, v Volume, file string) (ImageFiles, error) {
	return c.filesOn(ctx, v, v.Bricks, file)
}
