//go:build integration

package integration_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/glusterbackupd/glusterbackupd/kube"
)

const newImageID = "609f0559-43ad-44f4-9581-72a86ad9eb72"

// TestNewClaims makes claims again from what a backup keeps of them, on a real
// API server with its binder.
func TestNewClaims(t *testing.T) {
	k := startKube(t)
	k.namespaces("shop", "office", "many")
	k.makeClaims()
	k.class("gluster", map[string]string{"volumetype": "none", "restuserkey": "the-key"})
	c := kubeClient(t, k.api.Kubeconfig)
	testClasses(t, c)
	files, block := k.saved(c, "files"), k.saved(c, "block")
	if files.Block() || !block.Block() || files.Class() != "gluster" || files.Size() != 1<<30 {
		t.Errorf("parsed %v %v %q %d", files.Block(), block.Block(), files.Class(), files.Size())
	}
	class := must[kube.Class](t)(c.StorageClass(t.Context(), "gluster"))

	if err := c.Vacant(t.Context(), "shop", "files"); !errors.Is(err, kube.ErrClaimExists) || !strings.Contains(remedy(err), "--new") {
		t.Errorf("a claim that exists: %v, %s", err, remedy(err))
	}
	if err := c.Vacant(t.Context(), "nowhere", "files"); !errors.Is(err, kube.ErrNoNamespace) {
		t.Errorf("no namespace: %v", err)
	}
	if err := c.Vacant(t.Context(), "shop", "again"); err != nil {
		t.Errorf("vacant: %v", err)
	}
	n := kube.NewClaim{
		Namespace: "shop", Name: "again", Saved: files, Class: class,
		HeketiID: otherID, Volume: "vol_" + otherID, Servers: []string{"192.168.78.10"},
	}
	k.check(c.Build(t.Context(), n))
	again := must[kube.Claim](t)(c.Claim(t.Context(), "shop", "again"))
	if again.Kind != kube.File || again.HeketiID != otherID || again.Phase != "Bound" || again.StorageClass != "gluster" {
		t.Errorf("built %+v", again)
	}
	objects := must[map[string][]byte](t)(c.Objects(t.Context(), again))
	if objects[kube.EndpointsObject] == nil || objects[kube.ServiceObject] == nil {
		t.Errorf("no Endpoints or Service: %v", objects)
	}

	n = kube.NewClaim{Namespace: "shop", Name: "waiting", Saved: block, Class: class, HeketiID: otherID, Image: kube.Image{
		Name: "blockvol_" + otherID, IQN: "iqn.2016-12.org.gluster-block:" + newImageID, Hosts: []string{"192.168.78.10", "192.168.78.11"},
		Credentials: func() (string, string) { return newImageID, "the-password" },
	}}
	n.WaitingUID = k.claim("shop", "waiting").UID
	k.check(c.Build(t.Context(), n))
	waiting := must[kube.Claim](t)(c.Claim(t.Context(), "shop", "waiting"))
	if waiting.Kind != kube.Block || waiting.BlockName != "blockvol_"+otherID || waiting.GBID != newImageID {
		t.Errorf("built %+v", waiting)
	}
	secret := must[*corev1.Secret](t)(k.admin.CoreV1().Secrets("shop").Get(t.Context(), "glusterblk-"+newImageID+"-secret", metav1.GetOptions{}))
	if string(secret.Data["node.session.auth.password"]) != "the-password" || secret.Type != "kubernetes.io/iscsi-chap" {
		t.Errorf("secret of type %s has %d values", secret.Type, len(secret.Data))
	}
	k.refusedBuild(c, files, class)
}

// otherID is Heketi's id of a volume that no claim of makeClaims has.
const otherID = "0123456789abcdef0123456789abcdef"

// refusedBuild lets a quota refuse the claim: nothing is left of it.
func (k *cluster) refusedBuild(c *kube.Client, saved kube.SavedClaim, class kube.Class) {
	k.t.Helper()
	k.namespaces("full")
	quota := &corev1.ResourceQuota{ObjectMeta: meta("full", "none"), Spec: corev1.ResourceQuotaSpec{
		Hard: corev1.ResourceList{"count/persistentvolumeclaims": resource.MustParse("0")},
	}}
	quotas := k.admin.CoreV1().ResourceQuotas("full")
	quota = must[*corev1.ResourceQuota](k.t)(quotas.Create(k.t.Context(), quota, metav1.CreateOptions{}))
	quota.Status.Hard = quota.Spec.Hard // Its controller does not run here.
	quota.Status.Used = corev1.ResourceList{"count/persistentvolumeclaims": resource.MustParse("0")}
	must[*corev1.ResourceQuota](k.t)(quotas.UpdateStatus(k.t.Context(), quota, metav1.UpdateOptions{}))
	before := k.names()
	err := c.Build(k.t.Context(), kube.NewClaim{
		Namespace: "full", Name: "again", Saved: saved, Class: class, HeketiID: otherID, Volume: "vol_" + otherID, Servers: []string{"192.168.78.10"},
	})
	if err == nil || errors.Is(err, kube.ErrHalfBuilt) || !strings.Contains(err.Error(), "quota") {
		k.t.Errorf("a claim beyond the quota: %v", err)
	}
	eventually(k.t, "what was made for a refused claim is gone", func(context.Context) error {
		if after := k.names(); !slices.Equal(before, after) {
			return fmt.Errorf("%v, before %v", after, before)
		}
		return nil
	})
}

// names are those of everything that a claim can consist of and that is not on
// its way out: the controller that lets go of PersistentVolumes does not run here.
func (k *cluster) names() (list []string) {
	k.t.Helper()
	for _, path := range []string{"persistentvolumes", "endpoints", "services", "secrets", "persistentvolumeclaims"} {
		items, _ := k.raw("/api/v1/" + path)["items"].([]any)
		for _, item := range items {
			object, _ := item.(map[string]any)
			m, _ := object["metadata"].(map[string]any)
			if m["deletionTimestamp"] == nil {
				list = append(list, fmt.Sprint(path, "/", m["name"]))
			}
		}
	}
	slices.Sort(list)
	return list
}

func (k *cluster) class(name string, parameters map[string]string) {
	k.t.Helper()
	class := &storagev1.StorageClass{ObjectMeta: meta("", name), Provisioner: "kubernetes.io/glusterfs", Parameters: parameters}
	_, err := k.admin.StorageV1().StorageClasses().Create(k.t.Context(), class, metav1.CreateOptions{})
	k.check(err)
}

// saved is what a backup of the claim would keep of it.
func (k *cluster) saved(c *kube.Client, name string) kube.SavedClaim {
	k.t.Helper()
	claim := must[kube.Claim](k.t)(c.Claim(k.t.Context(), "shop", name))
	objects := must[map[string][]byte](k.t)(c.Objects(k.t.Context(), claim))
	return must[kube.SavedClaim](k.t)(kube.ParseSavedClaim(objects[kube.ClaimObject], objects[kube.VolumeObject]))
}

func testClasses(t *testing.T, c *kube.Client) {
	t.Helper()
	first := must[[]byte](t)(c.StorageClasses(t.Context()))
	second := must[[]byte](t)(c.StorageClasses(t.Context()))
	if !slices.Equal(first, second) || !strings.Contains(string(first), `"volumetype": "none"`) || strings.Contains(string(first), "the-key") {
		t.Errorf("classes: %s", first)
	}
	if _, err := c.StorageClass(t.Context(), "none"); !errors.Is(err, kube.ErrNoClass) {
		t.Errorf("no class: %v", err)
	}
}
