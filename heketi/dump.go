package heketi

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	api "github.com/heketi/heketi/client/api/go-client"
)

// maxDump bounds the memory that Heketi's database may take. One of 10,000
// volumes with three bricks each is about 30 MiB.
const maxDump = 1 << 30

// secretKeys are the fields of a dump whose text is blanked: CHAP passwords.
// Heketi's own keys are in its configuration and not in its database.
var secretKeys = map[string]bool{"password": true}

// Dump returns Heketi's database as "heketi-cli db dump" prints it, indented,
// and without the CHAP passwords of block volumes: the iSCSI targets and the
// Secrets of the claims have these. "heketi db import" takes it.
func (c *Client) Dump(ctx context.Context) ([]byte, error) {
	const op = "dump database"
	var text string
	err := c.callBounded(ctx, op, "", bounds{answer: maxDump}, func(a *api.Client) (err error) {
		text, err = a.DbDump()
		return err
	})
	if err != nil {
		return nil, err
	}
	// Numbers stay as they are written.
	d := json.NewDecoder(bytes.NewReader([]byte(text)))
	d.UseNumber()
	var database map[string]any
	if err := d.Decode(&database); err != nil {
		return nil, c.fail(op, "", ErrAnswer, fmt.Errorf("it is not JSON"))
	}
	if database["clusterentries"] == nil || database["volumeentries"] == nil {
		return nil, c.fail(op, "", ErrAnswer, fmt.Errorf("it has no clusters or no volumes"))
	}
	blank(database)
	out, err := json.MarshalIndent(database, "", "  ")
	if err != nil {
		return nil, c.fail(op, "", ErrAnswer, fmt.Errorf("it cannot be written again"))
	}
	return append(out, '\n'), nil
}

// blank empties every secret in what was JSON.
func blank(value any) {
	switch v := value.(type) {
	case map[string]any:
		for key, inner := range v {
			if _, text := inner.(string); text && secretKeys[key] {
				v[key] = ""
				continue
			}
			blank(inner)
		}
	case []any:
		for _, inner := range v {
			blank(inner)
		}
	}
}
