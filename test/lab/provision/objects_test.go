package provision

import (
	"testing"

	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/glusterbackupd/glusterbackupd/test/lab"
)

func sampleClaim(class string) *core.PersistentVolumeClaim {
	c := claimObject("shop", "one", class, 1, core.ReadWriteMany)
	c.UID = types.UID("5e1f")
	return c
}

// TestFilePV wants the fields by which clients find Heketi's volume.
func TestFilePV(t *testing.T) {
	known := lab.Claim{Volume: "vol_4711", HeketiID: "4711"}
	for desc, old := range map[string]bool{"new": false, "old": true} {
		t.Run(desc, func(t *testing.T) {
			pv := filePV(wantedFile{gid: 2000, old: old}, sampleClaim(fileClass), known)
			id, annotated := pv.Annotations["gluster.kubernetes.io/heketi-volume-id"]
			if annotated == old || (annotated && id != "4711") {
				t.Errorf("annotation with Heketi's id: %q, %v", id, annotated)
			}
			source := pv.Spec.Glusterfs
			if source == nil || source.Path != "vol_4711" || source.ReadOnly || (source.EndpointsNamespace == nil) != old {
				t.Errorf("source %+v", source)
			}
			endpoints, service := endpointsObjects(wantedFile{old: old}, sampleClaim(fileClass), "192.168.77.10")
			if endpoints.Name != source.EndpointsName || service.Name != source.EndpointsName || endpoints.Namespace != "shop" {
				t.Errorf("endpoints %s/%s, service %s; want those of %s", endpoints.Namespace, endpoints.Name, service.Name, source.EndpointsName)
			}
			if ref := pv.Spec.ClaimRef; pv.Name != "pvc-5e1f" || ref.Name != "one" || ref.UID != "5e1f" {
				t.Errorf("PV %s of %+v", pv.Name, ref)
			}
		})
	}
}

func TestBlockPV(t *testing.T) {
	image := lab.Image{Name: "blockvol_4711", HeketiID: "4711", GBID: "aa-bb", IQN: iqnPrefix + "aa-bb", FSType: "xfs"}
	for desc, auth := range map[string]bool{"open": false, "chap": true} {
		t.Run(desc, func(t *testing.T) {
			image.Auth = auth
			pv := blockPV(sampleClaim(blockClass), image, "http://127.0.0.1:18080", "192.168.77.10")
			if pv.Annotations["glusterBlockShare"] != "blockvol_4711" || pv.Annotations["gluster.org/volume-id"] != "4711" {
				t.Errorf("annotations %v", pv.Annotations)
			}
			source := pv.Spec.ISCSI
			if source == nil || source.IQN != image.IQN || source.SessionCHAPAuth != auth || (source.SecretRef != nil) != auth {
				t.Fatalf("source %+v", source)
			}
			if auth && source.SecretRef.Name != secretObject("shop", image, "aa-bb", "secret").Name {
				t.Errorf("secret %s is not the one that is made", source.SecretRef.Name)
			}
		})
	}
}

func TestGBIDOf(t *testing.T) {
	if got, err := gbidOf("iqn.2016-12.org.gluster-block:aa-bb"); got != "aa-bb" || err != nil {
		t.Errorf("gbidOf = %q, %v; want aa-bb", got, err)
	}
	for _, iqn := range []string{"", "iqn.2016-12.org.gluster-block:", "iqn.1993-08.org.debian:aa-bb"} {
		if got, err := gbidOf(iqn); err == nil {
			t.Errorf("gbidOf(%q) = %q; want an error", iqn, got)
		}
	}
}
