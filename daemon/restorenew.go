package daemon

import (
	"context"
	"errors"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/glusterbackupd/glusterbackupd/blockstore"
	"github.com/glusterbackupd/glusterbackupd/catalog"
	"github.com/glusterbackupd/glusterbackupd/gluster"
	"github.com/glusterbackupd/glusterbackupd/heketi"
	"github.com/glusterbackupd/glusterbackupd/kube"
)

// Storage makes the volumes of new claims. *heketi.Client implements it.
type Storage interface {
	CreateVolume(ctx context.Context, s heketi.VolumeSpec) (heketi.Volume, error)
	DeleteVolume(ctx context.Context, id string) error
	CreateBlockVolume(ctx context.Context, s heketi.BlockVolumeSpec) (heketi.BlockVolume, heketi.Credentials, error)
	DeleteBlockVolume(ctx context.Context, id string) error
	Volume(ctx context.Context, id string) (heketi.Volume, error)
}

// ClaimBuilder makes the objects of new claims. *kube.Client implements it.
type ClaimBuilder interface {
	Vacant(ctx context.Context, namespace, name string) error
	StorageClass(ctx context.Context, name string) (kube.Class, error)
	Build(ctx context.Context, n kube.NewClaim) error
}

// NewRequest says which claim to make from a backup.
type NewRequest struct {
	// Key is the claim that was backed up, and At selects the backup as
	// catalog.Find does; empty means the latest.
	Key catalog.Key
	At  string
	// Into is the claim to be made; zero means Key.
	Into catalog.Key
	// Waiting is the UID of Into, which exists then and waits for a volume.
	Waiting string
	// Size in bytes is the least that the volume is to have; 0 means that of the
	// claim that was backed up. An image keeps its size.
	Size int64
	// Class is the StorageClass; empty means that of the claim that was backed up.
	Class string
	// DryRun ends after the plan.
	DryRun bool
	// Confirm is called with the plan before anything is made. An error ends the
	// restore. Optional.
	Confirm Confirm
}

// newClaim is a claim that is to be made.
type newClaim struct {
	key     catalog.Key
	waiting string
	backup  catalog.Backup
	saved   kube.SavedClaim
	class   kube.Class
	spec    volumeSpec
}

// RestoreNew makes a volume through Heketi, fills it from a backup, reads it back,
// and only then makes the claim that it belongs to: no pod can use the claim
// before its data is whole. After an error the volume is deleted again.
//
// If it dies, a volume is left that belongs to no claim, and perhaps a
// PersistentVolume that is reserved for the claim; running it again makes others.
func (d *Daemon) RestoreNew(ctx context.Context, q NewRequest) (done Restored, err error) {
	start := time.Now()
	defer func() { done.Took = time.Since(start) }()
	if d.o.Storage == nil || d.o.Claims == nil {
		return done, &NoBuilderError{}
	}
	c, err := d.planNew(ctx, q)
	if err != nil {
		return done, err
	}
	done.Plan = c.plan()
	if done.Plan.Files, done.Plan.Bytes, err = c.count(ctx); err != nil {
		return done, err
	}
	release, err := d.lockBackup(ctx, c.backup, q.DryRun)
	if err != nil {
		return done, err
	}
	defer func() { err = errors.Join(err, release()) }()
	if err := d.verify(ctx, c.backup, ""); err != nil {
		return done, err
	}
	if err := q.Confirm.ask(done.Plan); err != nil || q.DryRun {
		return done, err
	}
	ctx, cancel := d.bounded(ctx, "restore of claim "+c.key.String())
	defer cancel()
	err = d.makeClaim(ctx, c, &done) // Before done is read for the return.
	return done, err
}

// planNew finds the backup and says what is to be made of it.
func (d *Daemon) planNew(ctx context.Context, q NewRequest) (c newClaim, err error) {
	c = newClaim{key: q.Into, waiting: q.Waiting}
	if c.key == (catalog.Key{}) {
		c.key = q.Key
	}
	if c.backup, err = d.o.Catalog.Find(q.Key, q.At); err != nil {
		return c, err
	}
	if c.saved, err = savedClaim(c.backup); err != nil {
		return c, err
	}
	if q.Class == "" {
		q.Class = c.saved.Class()
	}
	if q.Class == "" {
		return c, &NoClassError{c.key}
	}
	if q.Waiting == "" {
		if err := d.o.Claims.Vacant(ctx, c.key.Namespace, c.key.Claim); err != nil {
			return c, err
		}
	}
	if c.class, err = d.o.Claims.StorageClass(ctx, q.Class); err != nil {
		return c, err
	}
	if q.Waiting != "" && c.class.Provisioner != kube.RestoreProvisioner {
		return c, &OtherProvisionerError{c.key, c.class}
	}
	if c.saved, err = c.saved.Grown(q.Size); err != nil {
		return c, fmt.Errorf("claim %s: %w", c.key, err)
	}
	c.spec, err = specOf(c.class, c.saved)
	return c, err
}

// savedClaim reads the claim's objects from the backup.
func savedClaim(b catalog.Backup) (kube.SavedClaim, error) {
	pvc, err := b.Object(kube.ClaimObject)
	if err != nil {
		return kube.SavedClaim{}, err
	}
	pv, err := b.Object(kube.VolumeObject)
	if err != nil {
		return kube.SavedClaim{}, err
	}
	s, err := kube.ParseSavedClaim(pvc, pv)
	if err == nil && s.Block() != (b.Info.Kind == catalog.KindBlock) {
		err = errors.New("its PersistentVolume is of the other kind")
	}
	if err != nil {
		return s, fmt.Errorf("backup %s of claim %s: %w", b.ID, b.Key, err)
	}
	return s, nil
}

func (c newClaim) plan() Plan {
	return Plan{
		Backup: c.backup,
		Target: fmt.Sprintf("new claim %s of %s in StorageClass %s", c.key, bytesText(c.saved.Size()), c.class.Name),
	}
}

func (c newClaim) count(ctx context.Context) (files, bytes int64, err error) {
	if c.backup.Info.Block != nil {
		return 1, c.backup.Info.Block.Size, nil
	}
	return count(ctx, c.backup, "")
}

// newVolume is a volume that was made for a claim.
type newVolume struct {
	target Target
	claim  kube.NewClaim
	remove func(ctx context.Context) error
}

// makeClaim makes the volume, fills it, and makes the claim.
func (d *Daemon) makeClaim(ctx context.Context, c newClaim, done *Restored) (err error) {
	d.phase(PhaseProvision, c.key, "")
	v, err := d.makeVolume(ctx, c)
	if err != nil {
		return fmt.Errorf("claim %s: %w", c.key, err)
	}
	defer func() {
		if err != nil && !errors.Is(err, kube.ErrHalfBuilt) {
			err = errors.Join(err, d.dropVolume(ctx, v))
		}
	}()
	done.Plan.Volume = v.target.Volume
	if err := d.fillVolume(ctx, c, v.target, done); err != nil {
		return err
	}
	d.phase(PhasePublish, c.key, v.target.Volume)
	return d.o.Claims.Build(ctx, v.claim)
}

// lockBackup keeps a backup from being removed, until the returned function is
// called. The new volume needs no lock: nobody else knows it.
func (d *Daemon) lockBackup(ctx context.Context, b catalog.Backup, planOnly bool) (release func() error, err error) {
	if planOnly {
		return func() error { return nil }, nil
	}
	lock, err := d.lockScopes(ctx, "restore", catalog.ClaimScope(b.Key))
	if err != nil {
		return nil, err
	}
	if _, err := d.o.Catalog.Find(b.Key, b.ID); err != nil {
		return nil, errors.Join(err, lock.Release()) // It was removed before it was locked.
	}
	return lock.Release, nil
}

// dropVolume deletes a volume that no claim was made for.
func (d *Daemon) dropVolume(ctx context.Context, v newVolume) error {
	d.phase(PhaseRelease, v.target.Key, v.target.Volume)
	if err := v.remove(context.WithoutCancel(ctx)); err != nil {
		return fmt.Errorf("volume %s (Heketi's id %s), which was made for it, belongs to no claim and was not deleted: %w",
			v.target.Volume, v.claim.HeketiID, err)
	}
	return nil
}

func (d *Daemon) makeVolume(ctx context.Context, c newClaim) (newVolume, error) {
	claim := kube.NewClaim{
		Namespace: c.key.Namespace, Name: c.key.Claim, WaitingUID: types.UID(c.waiting), Saved: c.saved, Class: c.class,
	}
	if c.saved.Block() {
		return d.makeBlockVolume(ctx, c, claim)
	}
	v, err := d.o.Storage.CreateVolume(ctx, c.spec.file)
	if err != nil {
		return newVolume{}, err
	}
	claim.HeketiID, claim.Volume, claim.Servers = v.ID, v.Name, v.Hosts
	return newVolume{
		target: Target{Key: c.key, Volume: v.Name, Hosts: d.servers(v.Hosts)}, claim: claim,
		remove: func(ctx context.Context) error { return d.o.Storage.DeleteVolume(ctx, v.ID) },
	}, nil
}

func (d *Daemon) makeBlockVolume(ctx context.Context, c newClaim, claim kube.NewClaim) (newVolume, error) {
	v, credentials, err := d.o.Storage.CreateBlockVolume(ctx, c.spec.block)
	if err != nil {
		return newVolume{}, err
	}
	claim.HeketiID, claim.Image = v.ID, kube.Image{Name: v.Name, IQN: v.IQN, Hosts: v.Hosts}
	if credentials.Given() {
		claim.Image.Credentials = credentials.Reveal
	}
	made := newVolume{
		target: Target{Key: c.key, Image: v.Name, GBID: v.GBID, Exporters: v.Hosts}, claim: claim,
		remove: func(ctx context.Context) error { return d.o.Storage.DeleteBlockVolume(ctx, v.ID) },
	}
	hosting, err := d.o.Storage.Volume(ctx, v.HostingVolume)
	if err != nil {
		return newVolume{}, errors.Join(err, d.dropVolume(ctx, made))
	}
	made.target.Volume, made.target.Hosts = hosting.Name, d.servers(hosting.Hosts)
	return made, nil
}

// servers returns the hosts to mount from: those of the configuration go first.
func (d *Daemon) servers(hosts []string) []string {
	if len(d.o.Hosts) > 0 {
		return d.o.Hosts
	}
	return hosts
}

// fillVolume copies the backup into a volume that nobody else knows, and reads it back.
func (d *Daemon) fillVolume(ctx context.Context, c newClaim, t Target, done *Restored) (err error) {
	rel := &releases{log: d.log}
	defer func() { err = errors.Join(err, rel.run(ctx)) }()
	if t.Block() {
		return d.fillNewImage(ctx, t, done, rel)
	}
	dir, err := d.mountLive(ctx, t, kindPlan, gluster.MountOptions{}, rel)
	if err != nil {
		return err
	}
	q := RestoreRequest{Key: c.key}
	if err := d.putBack(ctx, q, done, dir); err != nil {
		return err
	}
	view, err := d.mountLive(ctx, t, kindPlan, gluster.MountOptions{ReadOnly: true, DirectIO: true}, rel)
	if err != nil {
		return err
	}
	return d.readTree(ctx, q, done, view)
}

func (d *Daemon) fillNewImage(ctx context.Context, t Target, done *Restored, rel *releases) error {
	source, err := openBackup(done.Plan.Backup)
	if err != nil {
		return err
	}
	defer source.Close()
	dir, err := d.mountLive(ctx, t, kindPlan, gluster.MountOptions{DirectIO: true}, rel)
	if err != nil {
		return err
	}
	store := blockstore.Open(dir)
	image, err := findImage(store, t)
	if err != nil {
		return err
	}
	if image.Size != source.Size() {
		return &SizeError{t.Image, image.Size, done.Plan.Backup}
	}
	target, err := store.OpenImage(image, blockstore.ReadWrite)
	if err != nil {
		return err
	}
	defer target.Close()
	d.phase(PhaseCopy, t.Key, t.Volume)
	if err := d.writeImage(ctx, done, source, target, false); err != nil {
		return fmt.Errorf("image %s: %w", t.Image, err)
	}
	return d.readBackImage(ctx, t, image, kindPlan, source, done, rel)
}
