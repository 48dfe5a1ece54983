package gluster

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sync/errgroup"
)

// Pool is an LVM thin pool under one or more bricks of a volume.
type Pool struct {
	Host     string   // As the bricks name it.
	VG, Name string   // Volume group and pool LV.
	Size     int64    // Bytes.
	Data     float64  // How full its data is, in percent.
	Metadata float64  // How full its metadata is, in percent.
	Bricks   []string // Paths of the bricks on it.
	// Health is LVM's lv_health_status: empty when well, else such as
	// "out_of_data" or "metadata_read_only".
	Health string
}

// lv is a line of lvs; with --reportformat json LVM prints numbers as strings.
type lv struct {
	VG       string `json:"vg_name"`
	Name     string `json:"lv_name"`
	Pool     string `json:"pool_lv"`
	Size     string `json:"lv_size"`
	Data     string `json:"data_percent"`
	Metadata string `json:"metadata_percent"`
	Health   string `json:"lv_health_status"`
	Attr     string `json:"lv_attr"`
}

const lvColumns = "vg_name,lv_name,pool_lv,lv_size,data_percent,metadata_percent,lv_health_status,lv_attr"

// Pools returns the thin pools under the volume's bricks, in the order of the
// bricks. A brick that is on anything else yields ErrNotThin, with the brick in
// the message. All bricks' hosts are asked, at most four at a time.
func (c *Client) Pools(ctx context.Context, v Volume) ([]Pool, error) {
	var hosts []string
	bricks := make(map[string][]Brick)
	for _, b := range v.Bricks {
		if !slices.Contains(hosts, b.Host) {
			hosts = append(hosts, b.Host)
		}
		bricks[b.Host] = append(bricks[b.Host], b)
	}
	found := make([][]Pool, len(hosts))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(4)
	for i, host := range hosts {
		g.Go(func() error {
			var err error
			found[i], err = c.hostPools(ctx, v.Name, host, bricks[host])
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return slices.Concat(found...), nil
}

// hostPools returns the pools of one host.
func (c *Client) hostPools(ctx context.Context, volume, host string, bricks []Brick) ([]Pool, error) {
	cmd := c.opts.Connect(host)
	if cmd == nil {
		return nil, fmt.Errorf("thin pools of volume %s: no connection to brick host %s", volume, host)
	}
	groups := make(map[string][]lv) // The LVs of a volume group, asked once.
	var pools []Pool
	for _, b := range bricks {
		q := call{op: "thin pools", volume: volume}
		source, err := c.brickDevice(ctx, cmd, b)
		if err != nil {
			return nil, err
		}
		vg, name, ok := splitDevice(source)
		if !ok {
			return nil, q.notThin(b, fmt.Sprintf("it is on %q, no logical volume", source))
		}
		if _, ok := groups[vg]; !ok {
			if groups[vg], err = c.logicalVolumes(ctx, cmd, vg); err != nil {
				return nil, err
			}
		}
		brickLV, ok := find(groups[vg], name)
		if !ok || brickLV.Pool == "" || !strings.HasPrefix(brickLV.Attr, "V") {
			return nil, q.notThin(b, fmt.Sprintf("%s/%s is no thin volume", vg, name))
		}
		poolLV, ok := find(groups[vg], brickLV.Pool)
		if !ok {
			return nil, fmt.Errorf("lvs %s on %s: %w: pool %s is missing", vg, host, ErrAnswer, brickLV.Pool)
		}
		if pools, err = addPool(pools, host, poolLV, b); err != nil {
			return nil, fmt.Errorf("lvs %s on %s: %w", vg, host, err)
		}
	}
	return pools, nil
}

func (q call) notThin(b Brick, why string) error {
	e := q.error(b.Host, ErrNotThin, nil)
	e.Message = fmt.Sprintf("brick %s: %s", b, why)
	return e
}

// addPool adds the brick to its pool, and the pool when it is new.
func addPool(pools []Pool, host string, l lv, b Brick) ([]Pool, error) {
	for i := range pools {
		if pools[i].VG == l.VG && pools[i].Name == l.Name {
			pools[i].Bricks = append(pools[i].Bricks, b.Path)
			return pools, nil
		}
	}
	size, err := strconv.ParseInt(l.Size, 10, 64)
	if err != nil || size <= 0 {
		return nil, fmt.Errorf("%w: size %q of pool %s", ErrAnswer, l.Size, l.Name)
	}
	data, err := parsePercent(l.Data)
	if err != nil {
		return nil, fmt.Errorf("data of pool %s: %w", l.Name, err)
	}
	metadata, err := parsePercent(l.Metadata)
	if err != nil {
		return nil, fmt.Errorf("metadata of pool %s: %w", l.Name, err)
	}
	return append(pools, Pool{
		Host: host, VG: l.VG, Name: l.Name, Size: size, Data: data, Metadata: metadata,
		Bricks: []string{b.Path}, Health: l.Health,
	}), nil
}

func find(lvs []lv, name string) (lv, bool) {
	i := slices.IndexFunc(lvs, func(l lv) bool { return l.Name == name })
	if i < 0 {
		return lv{}, false
	}
	return lvs[i], true
}

// brickDevice returns the source of the mount that holds the brick.
func (c *Client) brickDevice(ctx context.Context, cmd Commander, b Brick) (string, error) {
	out, err := cmd.Run(ctx, c.hostCommand("findmnt", "-n", "-v", "-o", "SOURCE", "--target", b.Path)...)
	if err != nil {
		return "", fmt.Errorf("device of brick %s: %w", b, err)
	}
	source := strings.TrimSpace(string(out))
	if source == "" || strings.ContainsAny(source, "\n") {
		return "", fmt.Errorf("device of brick %s: %w %q", b, ErrAnswer, source)
	}
	return source, nil
}

func (c *Client) logicalVolumes(ctx context.Context, cmd Commander, vg string) ([]lv, error) {
	out, err := cmd.Run(ctx, c.hostCommand("lvs", "--reportformat", "json", "--units", "b", "--nosuffix", "-o", lvColumns, vg)...)
	if err != nil {
		return nil, fmt.Errorf("logical volumes of %s: %w", vg, err)
	}
	var report struct {
		Report []struct {
			LV []lv `json:"lv"`
		} `json:"report"`
	}
	if err := json.Unmarshal(out, &report); err != nil || len(report.Report) != 1 {
		return nil, fmt.Errorf("lvs %s on %s: %w: %q", vg, cmd.Name(), ErrAnswer, firstLine(string(out)))
	}
	return report.Report[0].LV, nil
}

// hostCommand puts args where gluster itself runs, in a container perhaps, and
// has numbers printed with a point.
func (c *Client) hostCommand(args ...string) []string {
	prefix := c.opts.Command[:len(c.opts.Command)-1]
	return slices.Concat(prefix, []string{"env", "LC_ALL=C"}, args)
}

// splitDevice returns volume group and LV of /dev/mapper/VG-LV, where hyphens
// inside the names are doubled, or of /dev/VG/LV.
func splitDevice(source string) (vg, name string, ok bool) {
	if dm, found := strings.CutPrefix(source, "/dev/mapper/"); found {
		dm = strings.ReplaceAll(dm, "--", "\x00")
		vg, name, ok = strings.Cut(dm, "-")
		vg, name = strings.ReplaceAll(vg, "\x00", "-"), strings.ReplaceAll(name, "\x00", "-")
	} else if path, found := strings.CutPrefix(source, "/dev/"); found {
		vg, name, ok = strings.Cut(path, "/")
	}
	return vg, name, ok && lvmName(vg) && lvmName(name)
}

// lvmName tells whether s is a name by lvm(8) that cannot be taken for an option
// or a path.
func lvmName(s string) bool {
	if s == "" || s[0] == '-' || s == "." || s == ".." {
		return false
	}
	return strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+_.-") == ""
}
