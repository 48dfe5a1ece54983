//go:build platform && soak

package platform

import (
	"context"
	"strings"
	"testing"

	heketi "github.com/heketi/heketi/client/api/go-client"

	"github.com/glusterbackupd/glusterbackupd/test/lab"
)

// TestRestoreNewFiles makes a file claim again, under another name since the lab
// still needs the old one: Kubernetes has bound it, its volume is as its class
// says, and its files equal those of the backup in every property. With the same
// name it is refused.
func TestRestoreNewFiles(t *testing.T) {
	b := newBench(t)
	b.mayRestoreNew()
	r := b.backup("media/docs")
	before := scan(t, r.Backup.Path)
	b.refused(1, []string{"media/docs", "the claim exists", "kubectl"}, "restore", "media/docs", "--new", "--yes")
	b.refused(1, []string{"nowhere", "kubectl create namespace"}, "restore", "media/docs", "--new", "--as", "nowhere/docs", "--yes")
	b.refused(1, []string{"no-class", "StorageClass", "storageclasses.json"}, "restore", "media/docs", "--new", "--as", "media/again", "--storage-class", "no-class", "--yes")
	volumes := b.heketiVolumes()
	b.must("restore", "media/docs", "--new", "--as", "media/again", "--dry-run")
	if now := b.heketiVolumes(); now != volumes {
		t.Fatalf("--dry-run made a volume: %s, before %s", now, volumes)
	}
	t.Cleanup(func() { b.removeClaim("media", "again") })
	done := b.restore("restore", "media/docs", "--new", "--as", "media/again")
	if done.Compared == 0 {
		t.Errorf("restored %+v", done)
	}
	volume := b.kubectl("get", "pv", b.pvOf("media", "again"), "-o", "jsonpath={.spec.glusterfs.path}")
	dir, unmount := b.mount(volume)
	assertEqual(t, before, scan(t, dir))
	unmount()
	t.Logf("as a user sees it:\n%s", b.kubectl("-n", "media", "get", "pvc,endpoints,services"))
	again := b.backup("media/again") // It is a claim as any other.
	assertEqual(t, before, scan(t, again.Backup.Path))
}

// TestRestoreNewImage makes a block claim again: an initiator logs in to the new
// image with the new password, and finds a clean file system with the old files.
func TestRestoreNewImage(t *testing.T) {
	b := newBench(t)
	b.mayRestoreNew()
	old := b.image("shop/db")
	files := b.filesInImage(old)
	b.backup("shop/db")
	t.Cleanup(func() { b.removeClaim("shop", "db-again") })
	b.restore("restore", "shop/db", "--new", "--as", "shop/db-again")
	pv := b.pvOf("shop", "db-again")
	get := func(path string) string { return b.kubectl("get", "pv", pv, "-o", "jsonpath={"+path+"}") }
	img := &lab.Image{
		Name: get(".metadata.annotations.glusterBlockShare"), IQN: get(".spec.iscsi.iqn"), FSType: get(".spec.iscsi.fsType"),
		Size: old.Size, Auth: get(".spec.iscsi.chapAuthSession") == "true",
	}
	img.GBID = strings.TrimPrefix(img.IQN, "iqn.2016-12.org.gluster-block:")
	if img.GBID == old.GBID || !img.Auth {
		t.Fatalf("image %+v", img)
	}
	if got := b.filesInImage(img); got != files {
		t.Errorf("files in the new image:\n%swant:\n%s", got, files)
	}
	secret := b.kubectl("-n", "shop", "get", "secret", get(".spec.iscsi.secretRef.name"), "-o", `jsonpath={.data.node\.session\.auth\.username}`)
	if secret == "" {
		t.Error("the Secret names no user")
	}
}

// mayRestoreNew gives the account the rights that making claims needs, for the
// time of the test.
func (b *bench) mayRestoreNew() {
	b.Helper()
	b.kubectl("apply", "-f", restoreRights)
	b.Cleanup(func() { b.kubectl("delete", "--wait=false", "-f", restoreRights) })
}

// pvOf returns the PersistentVolume of a claim, which must be bound.
func (b *bench) pvOf(namespace, claim string) string {
	b.Helper()
	if phase := b.kubectl("-n", namespace, "get", "pvc", claim, "-o", "jsonpath={.status.phase}"); phase != "Bound" {
		b.Fatalf("claim %s/%s is %s", namespace, claim, phase)
	}
	return b.kubectl("-n", namespace, "get", "pvc", claim, "-o", "jsonpath={.spec.volumeName}")
}

func (b *bench) heketi() *heketi.Client {
	b.Helper()
	key, err := b.lab.HeketiKey()
	if err != nil {
		b.Fatal(err)
	}
	return heketi.NewClient(b.lab.HeketiURL, b.lab.HeketiUser, key)
}

func (b *bench) heketiVolumes() string {
	b.Helper()
	list, err := b.heketi().VolumeList()
	if err != nil {
		b.Fatal(err)
	}
	return strings.Join(list.Volumes, " ")
}

// removeClaim removes a claim that a test has made, with its volume: no
// provisioner does that here.
func (b *bench) removeClaim(namespace, claim string) {
	ctx := context.Background()
	run := func(args ...string) string {
		out, err := b.lab.Host(ctx, append([]string{"kubectl", "--kubeconfig", b.lab.Kubeconfig}, args...)...)
		if err != nil {
			b.Errorf("kubectl %s: %v", strings.Join(args, " "), err)
		}
		return strings.TrimSpace(string(out))
	}
	pv := run("-n", namespace, "get", "pvc", claim, "-o", "jsonpath={.spec.volumeName}")
	if pv == "" {
		return
	}
	get := func(path string) string { return run("get", "pv", pv, "-o", "jsonpath={"+path+"}") }
	file, block := get(`.metadata.annotations.gluster\.kubernetes\.io/heketi-volume-id`), get(`.metadata.annotations.gluster\.org/volume-id`)
	endpoints, secret := get(".spec.glusterfs.endpoints"), get(".spec.iscsi.secretRef.name")
	run("patch", "pv", pv, "-p", `{"spec":{"persistentVolumeReclaimPolicy":"Retain"}}`)
	// The controllers that let go of claims and volumes do not run in the lab.
	const free = `{"metadata":{"finalizers":null}}`
	run("-n", namespace, "delete", "pvc", claim, "--wait=false")
	run("-n", namespace, "patch", "pvc", claim, "-p", free)
	run("delete", "pv", pv, "--wait=false")
	run("patch", "pv", pv, "-p", free)
	switch {
	case file != "":
		run("-n", namespace, "delete", "service", endpoints, "--ignore-not-found")
		run("-n", namespace, "delete", "endpoints", endpoints, "--ignore-not-found")
		if err := b.heketi().VolumeDelete(file); err != nil {
			b.Errorf("volume %s: %v", file, err)
		}
	case block != "":
		run("-n", namespace, "delete", "secret", secret)
		if err := b.heketi().BlockVolumeDelete(block); err != nil {
			b.Errorf("block volume %s: %v", block, err)
		}
	}
}
