package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/glusterbackupd/glusterbackupd/catalog"
	"github.com/glusterbackupd/glusterbackupd/heketi"
	"github.com/glusterbackupd/glusterbackupd/kube"
)

// Cluster resolves claims through Kubernetes and Heketi.
type Cluster struct {
	claims  claims
	volumes volumes
	hosts   []string
}

// NewCluster returns a Resolver on Kubernetes and Heketi. When hosts is not
// empty, those Gluster servers are used instead of the ones that Heketi names.
func NewCluster(k claims, h volumes, hosts []string) *Cluster {
	return &Cluster{claims: k, volumes: h, hosts: hosts}
}

// Targets lists all claims of the cluster. A claim that Kubernetes says is on
// Gluster but Heketi does not know is uncovered, not an error: the others can
// still be backed up.
func (c *Cluster) Targets(ctx context.Context) ([]Target, []Uncovered, error) {
	list, err := c.claims.Claims(ctx, "")
	if err != nil {
		return nil, nil, err
	}
	var targets []Target
	var uncovered []Uncovered
	for _, claim := range list {
		key := catalog.Key{Namespace: claim.Namespace, Claim: claim.Name}
		if reason, ours := covered(claim); !ours {
			uncovered = append(uncovered, Uncovered{
				Key: key, Reason: reason,
				Foreign: claim.Kind == kube.Foreign, Pending: claim.Kind == kube.Pending,
			})
			continue
		}
		t, err := c.resolve(ctx, claim)
		switch {
		case err == nil:
			targets = append(targets, t)
		case wholeServer(err):
			return nil, nil, err
		default:
			uncovered = append(uncovered, Uncovered{Key: key, Reason: err.Error()})
		}
	}
	return targets, uncovered, nil
}

// Target resolves one claim.
func (c *Cluster) Target(ctx context.Context, namespace, name string) (Target, error) {
	claim, err := c.claims.Claim(ctx, namespace, name)
	if err != nil {
		return Target{}, err
	}
	if reason, ours := covered(claim); !ours {
		return Target{}, &UncoveredError{Claim: namespace + "/" + name, Reason: reason}
	}
	return c.resolve(ctx, claim)
}

// Image finds the image by its name: in Kubernetes, so that its claim is known,
// else in Heketi alone.
func (c *Cluster) Image(ctx context.Context, name string) (Target, error) {
	list, err := c.claims.Claims(ctx, "")
	if err != nil {
		return Target{}, err
	}
	list = slices.DeleteFunc(list, func(claim kube.Claim) bool {
		return claim.Kind != kube.Block || claim.BlockName != name
	})
	switch len(list) {
	case 0:
	case 1:
		return c.resolve(ctx, list[0])
	default:
		return Target{}, &AmbiguousError{Image: name, Claims: list}
	}
	b, err := c.volumes.FindBlockVolume(ctx, name)
	if errors.Is(err, heketi.ErrNotFound) {
		return Target{}, &NoImageError{Name: name, Err: err}
	}
	if err != nil {
		return Target{}, err
	}
	return c.image(ctx, b)
}

// Users asks Kubernetes which pods use the claim. An image whose claim is gone
// has none.
func (c *Cluster) Users(ctx context.Context, t Target) ([]kube.Pod, error) {
	if t.Key == (catalog.Key{}) {
		return nil, nil
	}
	return c.claims.Users(ctx, t.Key.Namespace, t.Key.Claim)
}

func (c *Cluster) resolve(ctx context.Context, claim kube.Claim) (Target, error) {
	t, err := c.locate(ctx, claim)
	if err != nil {
		return t, fmt.Errorf("claim %s/%s: %w", claim.Namespace, claim.Name, err)
	}
	t.Key, t.Claim = catalog.Key{Namespace: claim.Namespace, Claim: claim.Name}, claim
	t.Objects, err = c.claims.Objects(ctx, claim)
	return t, err
}

// locate finds the claim's volume in Heketi. What Heketi says must agree with
// the PV: a wrong pair would back up, or restore into, somebody else's data.
func (c *Cluster) locate(ctx context.Context, claim kube.Claim) (Target, error) {
	if claim.Kind == kube.Block {
		b, err := c.volumes.BlockVolume(ctx, claim.HeketiID)
		if err != nil {
			return Target{}, err
		}
		if b.Name != claim.BlockName || b.GBID != claim.GBID {
			return Target{}, &DisagreeError{claim.PV, claim.BlockName + " " + claim.GBID, b.Name + " " + b.GBID}
		}
		return c.image(ctx, b)
	}
	v, err := c.volumes.Volume(ctx, claim.HeketiID)
	if err != nil {
		return Target{}, err
	}
	if v.Name != claim.VolumePath {
		return Target{}, &DisagreeError{claim.PV, claim.VolumePath, v.Name}
	}
	return Target{Volume: v.Name, Hosts: c.servers(v)}, nil
}

// image resolves a Heketi block volume.
func (c *Cluster) image(ctx context.Context, b heketi.BlockVolume) (Target, error) {
	v, err := c.volumes.Volume(ctx, b.HostingVolume)
	if err != nil {
		return Target{}, fmt.Errorf("hosting volume of %s: %w", b.Name, err)
	}
	return Target{
		Volume: v.Name, Hosts: c.servers(v),
		Image: b.Name, GBID: b.GBID, Exporters: b.Hosts,
	}, nil
}

func (c *Cluster) servers(v heketi.Volume) []string {
	if len(c.hosts) > 0 {
		return c.hosts
	}
	return v.Hosts
}

// covered says whether a claim is on Gluster and bound, else why not.
func covered(c kube.Claim) (reason string, ours bool) {
	ours = c.Kind == kube.File || c.Kind == kube.Block
	if ours && c.HeketiID == "" {
		return fmt.Sprintf("PV %s does not say which Heketi volume it is", c.PV), false
	}
	return c.Reason, ours
}

// wholeServer says whether an error would meet every other claim too, so that it
// is the server's and not the claim's.
func wholeServer(err error) bool {
	for _, target := range []error{
		heketi.ErrUnreachable, heketi.ErrUnauthorized, heketi.ErrThrottled,
		kube.ErrUnreachable, kube.ErrUnauthorized, kube.ErrForbidden,
		context.Canceled, context.DeadlineExceeded,
	} {
		if errors.Is(err, target) {
			return true
		}
	}
	return false
}

// NoImageError says that neither Kubernetes nor Heketi knows an image.
type NoImageError struct {
	Name string
	Err  error
}

// Error names the image.
func (e *NoImageError) Error() string { return fmt.Sprintf("image %s: %v", e.Name, e.Err) }

// Is makes the error one of ErrUnknownClaim.
func (e *NoImageError) Is(target error) bool { return target == ErrUnknownClaim }

// Unwrap returns Heketi's answer.
func (e *NoImageError) Unwrap() error { return e.Err }

// Remedy says how to see what there is, and how to get at the data all the same.
func (e *NoImageError) Remedy() string {
	return "glusterbackupd list shows the images that have backups; one that no longer exists is restored to a file with --to"
}

// AmbiguousError says that the images of several claims have one name: names
// are only unique on one hosting volume.
type AmbiguousError struct {
	Image  string
	Claims []kube.Claim
}

// Error names the claims.
func (e *AmbiguousError) Error() string {
	var claims []string
	for _, c := range e.Claims {
		claims = append(claims, c.Namespace+"/"+c.Name)
	}
	return fmt.Sprintf("image %s is the name of images of claims %s", e.Image, strings.Join(claims, " and "))
}

// Remedy says how to name one of them.
func (e *AmbiguousError) Remedy() string {
	return "use glusterbackupd restore NAMESPACE/CLAIM, which restores that claim's image"
}

// UncoveredError says why an existing claim cannot be backed up or restored.
type UncoveredError struct{ Claim, Reason string }

// Error names the claim and the reason.
func (e *UncoveredError) Error() string { return fmt.Sprintf("claim %s: %s", e.Claim, e.Reason) }

// Is makes the error one of ErrNotCovered.
func (e *UncoveredError) Is(target error) bool { return target == ErrNotCovered }

// Remedy says which claims can be used.
func (e *UncoveredError) Remedy() string {
	return "only bound claims on Gluster volumes or gluster-block images are backed up; glusterbackupd check lists all claims with reasons"
}

// DisagreeError says that Kubernetes and Heketi name different volumes for one
// claim.
type DisagreeError struct{ PV, Kubernetes, Heketi string }

// Error names the volume and both views.
func (e *DisagreeError) Error() string {
	return fmt.Sprintf("PV %s stands for %s, but Heketi knows it as %s", e.PV, e.Kubernetes, e.Heketi)
}

// Remedy says where to look.
func (e *DisagreeError) Remedy() string {
	return fmt.Sprintf("compare kubectl get pv %s -o yaml with heketi-cli volume info; nothing was touched", e.PV)
}
