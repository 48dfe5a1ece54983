// Package provision fills a lab that runs: volumes and block images through
// Heketi, the objects that the in-tree glusterfs provisioner and the
// gluster-block provisioner would have made for them in Kubernetes, two
// volumes made by hand, and data in all of them.
//
// Every step looks for what exists, so that a second run is short and an
// interrupted one is continued. The package starts and ends no server.
package provision

import (
	"context"
	"fmt"
	"sync"

	heketi "github.com/heketi/heketi/client/api/go-client"
	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/kubernetes"

	"github.com/glusterbackupd/glusterbackupd/test/lab"
)

// provisioner works on one lab.
type provisioner struct {
	lab    *lab.Lab
	heketi *heketi.Client
	kube   kubernetes.Interface
	do     func(name string, f func() error) error

	mu sync.Mutex // Guards the lab's state.
}

// Run provisions the lab. Each step is run by do, which may show its name and
// measure it; do must call the function once and return its error. Several
// goroutines call do, because most steps wait for the guest.
func Run(ctx context.Context, l *lab.Lab, do func(name string, f func() error) error) error {
	p, err := connect(l)
	if err != nil {
		return err
	}
	p.do = do
	if err := do("heketi: cluster, node, device", p.topology); err != nil {
		return err
	}
	if !l.Provisioned {
		if err := do("heketi: leftovers of a killed run", func() error { return p.discard(ctx) }); err != nil {
			return err
		}
	}
	g, inner := errgroup.WithContext(ctx)
	g.Go(func() error { return do("volumes made by hand: r2, plain1", func() error { return p.byHand(inner) }) })
	g.Go(func() error { return p.claims(inner, g) })
	if err := g.Wait(); err != nil {
		return err
	}
	if err := do("claims are bound", func() error { return p.bound(ctx) }); err != nil {
		return err
	}
	return p.save(func(s *lab.State) { s.Provisioned = true })
}

// Topology makes Heketi's cluster with its node and device, and nothing else: what
// there is of storage before anybody asked for a volume.
func Topology(l *lab.Lab) error {
	p, err := connect(l)
	if err != nil {
		return err
	}
	return p.topology()
}

// claims makes one claim after the other, since Heketi and glusterd take their
// commands one at a time, and starts to fill each as soon as it is there.
func (p *provisioner) claims(ctx context.Context, g *errgroup.Group) error {
	if err := p.do("namespaces and storage classes", func() error { return p.classes(ctx) }); err != nil {
		return err
	}
	for _, w := range fileClaims() {
		title := w.namespace + "/" + w.name
		if err := p.do("file claim "+title, func() error { return p.fileClaim(ctx, w) }); err != nil {
			return err
		}
		g.Go(func() error { return p.do("files in "+title, func() error { return p.fillClaim(ctx, w) }) })
	}
	if err := p.do("blockhost volume", p.hosting); err != nil {
		return err
	}
	made := make(chan wantedImage, len(images()))
	defer close(made)
	g.Go(func() error { return p.fillImages(ctx, made) })
	for _, w := range images() {
		if err := p.do("block image "+w.title(), func() error { return p.blockImage(ctx, w) }); err != nil {
			return err
		}
		made <- w
	}
	return p.do("claims of others: shop/nfs, shop/pending", func() error { return p.otherClaims(ctx) })
}

// fillImages fills one image after the other: on emulated processors, two at
// once bring iSCSI into its time-outs.
func (p *provisioner) fillImages(ctx context.Context, made <-chan wantedImage) error {
	for w := range made {
		if err := p.do("file system in image "+w.title(), func() error { return p.fillImage(ctx, w) }); err != nil {
			return err
		}
	}
	return nil
}

// save changes the lab's state and writes it down.
func (p *provisioner) save(change func(*lab.State)) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(&p.lab.State)
	return p.lab.Save()
}

// known returns a copy of what the state says of a claim.
func (p *provisioner) known(namespace, name string) (lab.Claim, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c, ok := p.lab.Claim(namespace, name); ok {
		return *c, true
	}
	return lab.Claim{}, false
}

// knownImage returns a copy of what the state says of an image.
func (p *provisioner) knownImage(w wantedImage) (lab.Image, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if i, ok := p.lab.ClaimImage(w.namespace, w.claim); ok {
		return *i, true
	}
	return lab.Image{}, false
}

// wantedFile is a file claim that the lab has.
type wantedFile struct {
	namespace, name string
	sizeGB          int
	snapshotFactor  float32
	gid             int64
	old             bool // Its PV is from before provisioners wrote down Heketi's id.
	files           int  // Small files made by the generator.
	bigFile         int64
}

func fileClaims() []wantedFile {
	return []wantedFile{
		{namespace: "media", name: "photos", sizeGB: 2, snapshotFactor: 1.5, gid: 2000, files: 2000, bigFile: 300 << 20},
		{namespace: "media", name: "docs", sizeGB: 1, snapshotFactor: 1.5, gid: 2001, files: 150, bigFile: 4 << 20},
		{namespace: "shop", name: "uploads", sizeGB: 1, snapshotFactor: 1.5, gid: 2002, files: 150, bigFile: 4 << 20},
		{namespace: "shop", name: "legacy", sizeGB: 1, snapshotFactor: 1, gid: 2003, old: true, files: 50, bigFile: 1 << 20},
	}
}

// wantedImage is a block image that the lab has.
type wantedImage struct {
	namespace, claim string // "" for the image whose claim is gone.
	name             string // "" lets Heketi make a name.
	auth             bool
	fsType           string
	megabytes        int // Random data in its file system.
}

func (w wantedImage) title() string {
	if w.claim == "" {
		return "without a claim"
	}
	return w.namespace + "/" + w.claim
}

func images() []wantedImage {
	return []wantedImage{
		{namespace: "shop", claim: "db", auth: true, fsType: "xfs", megabytes: 96},
		// The provisioner's volumenameprefix makes such names.
		{namespace: "shop", claim: "queue", name: "ocs_shop_queue_6f6ad4b1", fsType: "ext4", megabytes: 24},
		{fsType: "xfs", megabytes: 16},
	}
}

// errUnexpected reports an answer that the lab cannot work with.
func errUnexpected(what string, got any) error {
	return fmt.Errorf("%s: unexpected answer %v", what, got)
}
