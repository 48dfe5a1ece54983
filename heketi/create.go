package heketi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	api "github.com/heketi/heketi/client/api/go-client"
	types "github.com/heketi/heketi/pkg/glusterfs/api"
)

// createTimeout bounds the making and deleting of volumes, which Heketi does
// beside its answers: on a busy pool it runs dozens of commands for one.
const createTimeout = 15 * time.Minute

// VolumeSpec says which volume to make.
type VolumeSpec struct {
	// Size in bytes, which is rounded up to whole GiB.
	Size int64
	// GID owns the volume's root; 0 leaves it to root.
	GID int64
	// Type is the durability as the StorageClass parameter volumetype has it:
	// "replicate:3", "disperse:4:2" or "none"; "" is the provisioner's default of
	// three replicas.
	Type string
	// SnapshotFactor is the thin pool's size relative to the volume's, at least 1.
	SnapshotFactor float64
	// Options are set on the Gluster volume, each as "KEY VALUE".
	Options []string
	// Clusters are the ids of Heketi's clusters that it may be made in; none means
	// any.
	Clusters []string
}

// BlockVolumeSpec says which block volume to make.
type BlockVolumeSpec struct {
	// Size in bytes, which is rounded up to whole GiB.
	Size int64
	// HA is the number of hosts that export it; 0 leaves it to Heketi.
	HA int
	// Auth asks for CHAP.
	Auth bool
	// Clusters is as in VolumeSpec.
	Clusters []string
}

// Credentials are those of CHAP. They are for the Secret of a claim and appear in
// nothing else; no formatting verb prints them.
type Credentials struct {
	reveal func() (user, password string)
}

// Given says whether there are any.
func (c Credentials) Given() bool { return c.reveal != nil }

// Reveal returns them; both are empty when there are none.
func (c Credentials) Reveal() (user, password string) {
	if c.reveal == nil {
		return "", ""
	}
	return c.reveal()
}

// Format implements [fmt.Formatter].
func (c Credentials) Format(f fmt.State, _ rune) { _, _ = fmt.Fprint(f, "hidden") }

// MarshalText implements [encoding.TextMarshaler].
func (c Credentials) MarshalText() ([]byte, error) { return []byte("hidden"), nil }

// LogValue implements [slog.LogValuer].
func (c Credentials) LogValue() slog.Value { return slog.StringValue("hidden") }

func gibibytes(bytes int64) int { return int((bytes + gib - 1) / gib) }

// CreateVolume makes a volume. After an error that is no answer of Heketi's it may
// still come to be: see heketi-cli volume list.
func (c *Client) CreateVolume(ctx context.Context, s VolumeSpec) (Volume, error) {
	const op = "create volume"
	durability, err := durabilityOf(s.Type)
	if err != nil {
		return Volume{}, c.fail(op, "", ErrName, err)
	}
	request := &types.VolumeCreateRequest{
		Size: gibibytes(s.Size), Gid: s.GID, Durability: durability, GlusterVolumeOptions: s.Options, Clusters: s.Clusters,
	}
	request.Snapshot.Enable, request.Snapshot.Factor = true, float32(max(s.SnapshotFactor, 1))
	var info *types.VolumeInfoResponse
	err = c.callBounded(ctx, op, "", bounds{time: createTimeout, follow: true}, func(a *api.Client) (err error) {
		info, err = a.VolumeCreate(request)
		return err
	})
	if err != nil {
		return Volume{}, unmade(err)
	}
	// It is read again, so that what is used was checked as any other volume.
	return c.Volume(ctx, info.Id)
}

// DeleteVolume deletes a volume and what is in it.
func (c *Client) DeleteVolume(ctx context.Context, id string) error {
	return c.callBounded(ctx, "delete volume", id, bounds{time: createTimeout, follow: true}, func(a *api.Client) error { return a.VolumeDelete(id) })
}

// CreateBlockVolume makes a block volume on a hosting volume that Heketi chooses.
// After an error that is no answer of Heketi's it may still come to be: see
// heketi-cli blockvolume list.
func (c *Client) CreateBlockVolume(ctx context.Context, s BlockVolumeSpec) (BlockVolume, Credentials, error) {
	const op = "create block volume"
	request := &types.BlockVolumeCreateRequest{Size: gibibytes(s.Size), Hacount: s.HA, Auth: s.Auth, Clusters: s.Clusters}
	var info *types.BlockVolumeInfoResponse
	err := c.callBounded(ctx, op, "", bounds{time: createTimeout, follow: true}, func(a *api.Client) (err error) {
		info, err = a.BlockVolumeCreate(request)
		return err
	})
	if err != nil {
		return BlockVolume{}, Credentials{}, unmade(err)
	}
	v, err := c.blockVolume(info.Id, info)
	if err != nil || !s.Auth {
		return v, Credentials{}, err
	}
	user, password := info.BlockVolume.Username, info.BlockVolume.Password
	return v, Credentials{reveal: func() (string, string) { return user, password }}, nil
}

// DeleteBlockVolume deletes a block volume and its image.
func (c *Client) DeleteBlockVolume(ctx context.Context, id string) error {
	return c.callBounded(ctx, "delete block volume", id, bounds{time: createTimeout, follow: true}, func(a *api.Client) error { return a.BlockVolumeDelete(id) })
}

// unmade says more about a volume that was not made.
func unmade(err error) error {
	e, ok := errors.AsType[*Error](err)
	if ok && (errors.Is(e.kind, ErrUnreachable) || e.kind == nil || errors.Is(e.kind, ErrAnswer) && e.Status < http.StatusBadRequest) {
		e.remedy = "Heketi may still be making it: compare heketi-cli volume list and heketi-cli blockvolume list with the claims, and delete what belongs to none."
	}
	return err
}

// durabilityOf reads the StorageClass parameter volumetype as
// kubernetes/kubernetes pkg/volume/glusterfs/glusterfs.go does.
func durabilityOf(volumeType string) (d types.VolumeDurabilityInfo, err error) {
	parts := strings.Split(volumeType, ":")
	number := func(n, otherwise int) int {
		if n >= len(parts) {
			return otherwise
		}
		v, e := strconv.Atoi(parts[n])
		if e != nil || v < 1 {
			err = errors.New("not a number above 0")
		}
		return v
	}
	const replicas, data, redundancy = 3, 4, 2 // The provisioner's defaults.
	most := 1
	switch parts[0] {
	case "":
		d.Type, d.Replicate.Replica = types.DurabilityReplicate, replicas
	case "none":
		d.Type = types.DurabilityDistributeOnly
	case "replicate":
		d.Type, most = types.DurabilityReplicate, 2
		d.Replicate.Replica = number(1, replicas)
	case "disperse":
		d.Type, most = types.DurabilityEC, 3
		d.Disperse.Data, d.Disperse.Redundancy = number(1, data), number(2, redundancy)
	default:
		err = errors.New("not replicate, disperse or none")
	}
	if err == nil && len(parts) > most {
		err = errors.New("too many parts")
	}
	if err != nil {
		return d, fmt.Errorf("volume type %.100q: %w", volumeType, err)
	}
	return d, nil
}
