package provision

import (
	"context"
	"fmt"
	"maps"
	"time"

	core "k8s.io/api/core/v1"
	storage "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/glusterbackupd/glusterbackupd/test/lab"
)

// creator is the part of a client-go interface that makes objects.
type creator[T any] interface {
	Create(ctx context.Context, object T, o meta.CreateOptions) (T, error)
}

// ensure makes an object unless one of its name exists.
func ensure[T any](ctx context.Context, c creator[T], object T) error {
	_, err := c.Create(ctx, object, meta.CreateOptions{})
	if errors.IsAlreadyExists(err) {
		return nil
	}
	return err
}

// classes makes the namespaces and the storage classes.
func (p *provisioner) classes(ctx context.Context) error {
	for _, name := range []string{"media", "shop"} {
		if err := ensure(ctx, p.kube.CoreV1().Namespaces(), &core.Namespace{ObjectMeta: meta.ObjectMeta{Name: name}}); err != nil {
			return err
		}
	}
	rest := map[string]string{"resturl": p.lab.HeketiURL, "restuser": p.lab.HeketiUser}
	// One node has room for one copy.
	file, block := maps.Clone(rest), maps.Clone(rest)
	file["volumetype"], file["snapfactor"], block["hacount"] = "none", "1.5", "1"
	for _, class := range []*storage.StorageClass{
		{ObjectMeta: meta.ObjectMeta{Name: fileClass}, Provisioner: fileProvisioner, Parameters: file},
		{ObjectMeta: meta.ObjectMeta{Name: blockClass}, Provisioner: blockProvisioner, Parameters: block},
		{ObjectMeta: meta.ObjectMeta{Name: nfsClass}, Provisioner: "example.com/nfs"},
	} {
		if err := ensure(ctx, p.kube.StorageV1().StorageClasses(), class); err != nil {
			return err
		}
	}
	return nil
}

// claim makes a PVC, or returns the one that exists.
func (p *provisioner) claim(ctx context.Context, object *core.PersistentVolumeClaim) (*core.PersistentVolumeClaim, error) {
	claims := p.kube.CoreV1().PersistentVolumeClaims(object.Namespace)
	if err := ensure(ctx, claims, object); err != nil {
		return nil, err
	}
	return claims.Get(ctx, object.Name, meta.GetOptions{})
}

// fileClaim makes a file claim with its volume, Endpoints, Service and PV.
func (p *provisioner) fileClaim(ctx context.Context, w wantedFile) error {
	claim, err := p.claim(ctx, claimObject(w.namespace, w.name, fileClass, w.sizeGB, core.ReadWriteMany))
	if err != nil {
		return err
	}
	c, err := p.volume(w)
	if err != nil {
		return err
	}
	endpoints, service := endpointsObjects(w, claim, p.lab.Address)
	if err := ensure(ctx, p.kube.CoreV1().Services(w.namespace), service); err != nil {
		return err
	}
	if err := ensure(ctx, p.kube.CoreV1().Endpoints(w.namespace), endpoints); err != nil {
		return err
	}
	pv := filePV(w, claim, c)
	if err := ensure(ctx, p.kube.CoreV1().PersistentVolumes(), pv); err != nil {
		return err
	}
	return p.save(func(s *lab.State) {
		if known, ok := s.Claim(w.namespace, w.name); ok {
			known.PV = pv.Name
		}
	})
}

// blockImage makes a block image, and its claim with Secret and PV unless it
// is the one without a claim.
func (p *provisioner) blockImage(ctx context.Context, w wantedImage) error {
	image, err := p.image(w)
	if err != nil || w.claim == "" {
		return err
	}
	claim, err := p.claim(ctx, claimObject(w.namespace, w.claim, blockClass, 1, core.ReadWriteOnce))
	if err != nil {
		return err
	}
	if w.auth {
		info, err := p.heketi.BlockVolumeInfo(image.HeketiID)
		if err != nil {
			return err
		}
		secret := secretObject(w.namespace, image, info.BlockVolume.Username, info.BlockVolume.Password)
		if err := ensure(ctx, p.kube.CoreV1().Secrets(w.namespace), secret); err != nil {
			return err
		}
	}
	pv := blockPV(claim, image, p.lab.HeketiURL, p.lab.Address)
	if err := ensure(ctx, p.kube.CoreV1().PersistentVolumes(), pv); err != nil {
		return err
	}
	return p.record(lab.Claim{
		Namespace: w.namespace, Name: w.claim, Kind: lab.Block, PV: pv.Name,
		HeketiID: image.HeketiID, Volume: p.lab.HostingVolume, Annotated: true,
	})
}

// record adds a claim to the state unless it is there.
func (p *provisioner) record(c lab.Claim) error {
	if _, ok := p.known(c.Namespace, c.Name); ok {
		return nil
	}
	return p.save(func(s *lab.State) { s.Claims = append(s.Claims, c) })
}

// otherClaims makes a claim of another provisioner and one without a volume.
func (p *provisioner) otherClaims(ctx context.Context) error {
	nfs, err := p.claim(ctx, claimObject("shop", "nfs", nfsClass, 1, core.ReadWriteMany))
	if err != nil {
		return err
	}
	pv := volumeObject(nfs, map[string]string{"pv.kubernetes.io/provisioned-by": "example.com/nfs"})
	pv.Spec.NFS = &core.NFSVolumeSource{Server: "192.0.2.1", Path: "/exports/shop"}
	if err := ensure(ctx, p.kube.CoreV1().PersistentVolumes(), pv); err != nil {
		return err
	}
	if err := p.record(lab.Claim{Namespace: "shop", Name: "nfs", Kind: lab.Foreign, PV: pv.Name}); err != nil {
		return err
	}
	if _, err := p.claim(ctx, claimObject("shop", "pending", fileClass, 1, core.ReadWriteMany)); err != nil {
		return err
	}
	return p.record(lab.Claim{Namespace: "shop", Name: "pending", Kind: lab.Pending})
}

// bound waits until the binder has bound every claim that has a PV.
func (p *provisioner) bound(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for _, c := range p.lab.Claims {
		for c.PV != "" {
			claim, err := p.kube.CoreV1().PersistentVolumeClaims(c.Namespace).Get(ctx, c.Name, meta.GetOptions{})
			if err != nil {
				return fmt.Errorf("claim %s/%s is not bound: %w", c.Namespace, c.Name, err)
			}
			if claim.Status.Phase == core.ClaimBound {
				break
			}
			time.Sleep(200 * time.Millisecond)
		}
	}
	return nil
}
