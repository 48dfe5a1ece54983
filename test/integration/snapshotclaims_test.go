//go:build integration

package integration_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/glusterbackupd/glusterbackupd/kube"
)

// TestSnapshotClaims shows snapshots as claims on a real API server with its
// real volume binder, and then as an attacker tries to have another claim
// removed.
func TestSnapshotClaims(t *testing.T) {
	k := startKube(t)
	k.namespaces("shop")
	k.endpoints("shop", "glusterfs-dynamic-files")
	k.bound("shop", "files", map[string]string{"pv.beta.kubernetes.io/gid": "2001"}, glusterfsSource("glusterfs-dynamic-files", "vol_1"))
	c := kubeClient(t, k.api.Kubeconfig)
	s := must[*kube.SnapshotClaims](t)(c.SnapshotClaims("repository-1"))
	other := must[*kube.SnapshotClaims](t)(c.SnapshotClaims("repository-2"))
	v := kube.SnapshotClaim{
		Namespace: "shop", Name: "files-20181202-000000", Claim: "files", ClaimUID: "uid-1", PV: "pv-shop-files",
		Volume: "vol_1", Snapshot: "gb-vol_1-20181202T000000Z-0a1b2c3d",
	}
	for range 2 {
		if err := s.Show(t.Context(), v); err != nil {
			t.Fatal(err)
		}
	}
	k.waitPhase("shop", v.Name, corev1.ClaimBound)
	listed := must[[]kube.SnapshotClaim](t)(s.List(t.Context()))
	want := v
	want.PV, want.Complete = "", true
	if diff := cmp.Diff([]kube.SnapshotClaim{want}, listed); diff != "" {
		t.Errorf("list: %s", diff)
	}
	if foreign := must[[]kube.SnapshotClaim](t)(other.List(t.Context())); len(foreign) != 0 {
		t.Errorf("another repository lists %+v", foreign)
	}
	k.looksLikeASnapshot(v)

	claim := must[kube.Claim](t)(c.Claim(t.Context(), "shop", v.Name))
	if claim.Kind != kube.Foreign {
		t.Errorf("it would be backed up itself: %+v", claim)
	}
	k.pod("shop", "reader", v.Name, corev1.PodRunning)
	var used *kube.InUseError
	if err := s.Withdraw(t.Context(), v); !errors.As(err, &used) || len(used.Pods) != 1 || used.Pods[0] != "reader" {
		t.Errorf("withdrawn under a pod: %v", err)
	}
	if err := s.Users(t.Context(), v.Snapshot); !errors.Is(err, kube.ErrInUse) {
		t.Errorf("users: %v", err)
	}
	if err := s.Users(t.Context(), "gb-another"); err != nil {
		t.Errorf("users of another snapshot: %v", err)
	}
	now := int64(0)
	k.check(k.admin.CoreV1().Pods("shop").Delete(t.Context(), "reader", metav1.DeleteOptions{GracePeriodSeconds: &now}))
	for range 2 {
		if err := s.Withdraw(t.Context(), v); err != nil {
			t.Fatal(err)
		}
	}
	k.going(v.Name)

	// One that its tenant has deleted is made again, for the new claim alone.
	if err := s.Show(t.Context(), v); err != nil {
		t.Fatal(err)
	}
	k.waitPhase("shop", v.Name, corev1.ClaimBound)
	k.deleteClaim(v.Name)
	if again := must[[]kube.SnapshotClaim](t)(s.List(t.Context())); len(again) != 1 || again[0].Complete {
		t.Errorf("without its claim: %+v", again)
	}
	eventually(t, "the claim is bound again", func(ctx context.Context) error {
		if err := s.Show(ctx, v); err != nil {
			return err
		}
		_ = k.free(must[string](t)(k.volumeName(v.Name))) // A volume that is going waits for a controller which does not run here.
		pvc, err := k.admin.CoreV1().PersistentVolumeClaims("shop").Get(ctx, v.Name, metav1.GetOptions{})
		if err == nil && pvc.Status.Phase != corev1.ClaimBound {
			err = fmt.Errorf("phase %s", pvc.Status.Phase)
		}
		return err
	})
	if err := s.Withdraw(t.Context(), v); err != nil {
		t.Error(err)
	}

	// A tenant has a claim of the name that is wanted.
	v.Name = "mine"
	k.claim("shop", v.Name)
	if err := s.Show(t.Context(), v); !errors.Is(err, kube.ErrNameTaken) {
		t.Errorf("shown under a name that is taken: %v", err)
	}
	if err := s.Withdraw(t.Context(), v); err != nil {
		t.Error(err)
	}
	mine, err := k.admin.CoreV1().PersistentVolumeClaims("shop").Get(t.Context(), v.Name, metav1.GetOptions{})
	if err != nil || mine.DeletionTimestamp != nil {
		t.Errorf("the tenant's own claim was removed: %v", err)
	}
}

// looksLikeASnapshot says whether a kubelet and a pod find what they need.
func (k *cluster) looksLikeASnapshot(v kube.SnapshotClaim) {
	k.t.Helper()
	pvc, err := k.admin.CoreV1().PersistentVolumeClaims(v.Namespace).Get(k.t.Context(), v.Name, metav1.GetOptions{})
	k.check(err)
	pv, err := k.admin.CoreV1().PersistentVolumes().Get(k.t.Context(), pvc.Spec.VolumeName, metav1.GetOptions{})
	k.check(err)
	source := pv.Spec.Glusterfs
	if source == nil || source.Path != "/snaps/"+v.Snapshot+"/"+v.Volume || source.EndpointsName != "glusterfs-dynamic-files" || !source.ReadOnly {
		k.t.Errorf("volume %+v", source)
	}
	if pv.Annotations["pv.beta.kubernetes.io/gid"] != "2001" {
		k.t.Errorf("annotations %v", pv.Annotations)
	}
	if diff := cmp.Diff([]corev1.PersistentVolumeAccessMode{corev1.ReadOnlyMany}, pvc.Spec.AccessModes); diff != "" {
		k.t.Errorf("access modes: %s", diff)
	}
}

// going waits until claim and volume are gone, without the finalizers that a
// controller removes which does not run here.
func (k *cluster) going(claim string) {
	k.t.Helper()
	claims, volumes := k.admin.CoreV1().PersistentVolumeClaims("shop"), k.admin.CoreV1().PersistentVolumes()
	pvc, err := claims.Get(k.t.Context(), claim, metav1.GetOptions{})
	k.check(err)
	pv, err := volumes.Get(k.t.Context(), pvc.Spec.VolumeName, metav1.GetOptions{})
	k.check(err)
	if pvc.DeletionTimestamp == nil || pv.DeletionTimestamp == nil {
		k.t.Errorf("not deleted: claim %v, volume %v", pvc.DeletionTimestamp, pv.DeletionTimestamp)
	}
	free := []byte(`{"metadata":{"finalizers":null}}`)
	_, err = claims.Patch(k.t.Context(), claim, types.MergePatchType, free, metav1.PatchOptions{})
	k.check(err)
	_, err = volumes.Patch(k.t.Context(), pv.Name, types.MergePatchType, free, metav1.PatchOptions{})
	k.check(err)
}

// deleteClaim is what a tenant does; it is gone at once.
func (k *cluster) deleteClaim(name string) {
	k.t.Helper()
	claims := k.admin.CoreV1().PersistentVolumeClaims("shop")
	k.check(claims.Delete(k.t.Context(), name, metav1.DeleteOptions{}))
	_, err := claims.Patch(k.t.Context(), name, types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{})
	k.check(err)
}

func (k *cluster) volumeName(claim string) (string, error) {
	pvc, err := k.admin.CoreV1().PersistentVolumeClaims("shop").Get(k.t.Context(), claim, metav1.GetOptions{})
	if err != nil {
		return "", err
	}
	return pvc.Spec.VolumeName, nil
}

// free lets a volume go that is being deleted.
func (k *cluster) free(volume string) error {
	pv, err := k.admin.CoreV1().PersistentVolumes().Get(k.t.Context(), volume, metav1.GetOptions{})
	if err != nil || pv.DeletionTimestamp == nil {
		return err
	}
	_, err = k.admin.CoreV1().PersistentVolumes().Patch(k.t.Context(), volume, types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{})
	return err
}
