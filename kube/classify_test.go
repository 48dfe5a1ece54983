package kube

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	id      = "894eff0265e1564eb4dc153a75e503ee"
	otherID = "dfe9c3289d058ad0b1252c95b868c144"
	gbid    = "7d8d3ac7-13ba-4827-b0d4-23af0f23a1dd"
)

// boundClaim returns a claim shop/db that is bound to volume pv-1.
func boundClaim() *corev1.PersistentVolumeClaim {
	class := "gluster"
	return &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "db", UID: "u-1"},
		Spec:       corev1.PersistentVolumeClaimSpec{VolumeName: "pv-1", StorageClassName: &class},
		Status: corev1.PersistentVolumeClaimStatus{
			Phase:    corev1.ClaimBound,
			Capacity: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("2Gi")},
		},
	}
}

func volume(annotations map[string]string, source corev1.PersistentVolumeSource) *corev1.PersistentVolume {
	return &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: "pv-1", Annotations: annotations},
		Spec: corev1.PersistentVolumeSpec{
			PersistentVolumeSource: source,
			ClaimRef:               &corev1.ObjectReference{Namespace: "shop", Name: "db", UID: "u-1"},
		},
	}
}

func glusterfs(path string) corev1.PersistentVolumeSource {
	return corev1.PersistentVolumeSource{Glusterfs: &corev1.GlusterfsPersistentVolumeSource{EndpointsName: "e", Path: path}}
}

func iscsi(iqn string) corev1.PersistentVolumeSource {
	return corev1.PersistentVolumeSource{ISCSI: &corev1.ISCSIPersistentVolumeSource{IQN: iqn}}
}

func TestClassifyFile(t *testing.T) {
	tests := map[string]struct {
		path        string
		annotations map[string]string
		id, volume  string // Expected; volume "" is a foreign claim.
		reason      string
	}{
		"annotation":              {path: "vol_" + id, annotations: map[string]string{fileIDAnnotation: id}, id: id, volume: "vol_" + id},
		"old annotation":          {path: "vol_" + id, annotations: map[string]string{oldFileIDAnnotation: id}, id: id, volume: "vol_" + id},
		"no annotation":           {path: "vol_" + id, id: id, volume: "vol_" + id},
		"leading slash":           {path: "/vol_" + id, id: id, volume: "vol_" + id},
		"prefix and annotation":   {path: "prod_shop_db_x", annotations: map[string]string{fileIDAnnotation: id}, id: id, volume: "prod_shop_db_x"},
		"prefix, no annotation":   {path: "prod_shop_db_x", volume: "prod_shop_db_x"},
		"vol_ but no id":          {path: "vol_photos", volume: "vol_photos"},
		"unusable annotation":     {path: "vol_" + id, annotations: map[string]string{fileIDAnnotation: "../x"}, id: id, volume: "vol_" + id},
		"second annotation":       {path: "v", annotations: map[string]string{fileIDAnnotation: "", oldFileIDAnnotation: id}, id: id, volume: "v"},
		"annotation contradicts":  {path: "vol_" + id, annotations: map[string]string{fileIDAnnotation: otherID}, reason: "different Heketi volumes"},
		"snapshot":                {path: "/snaps/gb-1/vol_" + id, reason: "read-only snapshot"},
		"snapshot of glusterd2":   {path: "/snaps/gb-1", reason: "read-only snapshot"},
		"snapshot without slash":  {path: "snaps/gb-1/vol_" + id, reason: "read-only snapshot"},
		"folder":                  {path: "vol_" + id + "/data", reason: "folder of a Gluster volume"},
		"climbing":                {path: "../etc", reason: "folder"},
		"option":                  {path: "--help", reason: "not the name"},
		"control byte":            {path: "vol\n", reason: "not the name"},
		"empty":                   {path: "", reason: "not the name"},
		"only a slash":            {path: "/", reason: "not the name"},
		"two slashes":             {path: "//vol", reason: "folder"},
		"longer than Gluster has": {path: strings.Repeat("v", 255), reason: "not the name"},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			got := classify(boundClaim(), volume(tt.annotations, glusterfs(tt.path)))
			want := Claim{
				Namespace: "shop", Name: "db", UID: "u-1", Phase: "Bound", PV: "pv-1", StorageClass: "gluster", Size: 2 << 30,
				Kind: File, HeketiID: tt.id, VolumePath: tt.volume,
			}
			if tt.volume == "" {
				want.Kind, want.Reason = Foreign, got.Reason
			}
			check(t, got, want, tt.reason)
		})
	}
}

func TestClassifyBlock(t *testing.T) {
	iqn := iqnPrefix + gbid
	tests := map[string]struct {
		iqn         string
		annotations map[string]string
		id, name    string
		reason      string // Not "" for a foreign claim.
	}{
		"both annotations":     {iqn: iqn, annotations: map[string]string{blockIDAnnotation: id, blockNameAnnotation: "blockvol_" + id}, id: id, name: "blockvol_" + id},
		"prefix":               {iqn: iqn, annotations: map[string]string{blockIDAnnotation: id, blockNameAnnotation: "prod_shop_db_x"}, id: id, name: "prod_shop_db_x"},
		"name only":            {iqn: iqn, annotations: map[string]string{blockNameAnnotation: "blockvol_" + id}, id: id, name: "blockvol_" + id},
		"prefix only":          {iqn: iqn, annotations: map[string]string{blockNameAnnotation: "prod_shop_db_x"}, name: "prod_shop_db_x"},
		"no annotation":        {iqn: iqn},
		"contradiction":        {iqn: iqn, annotations: map[string]string{blockIDAnnotation: otherID, blockNameAnnotation: "blockvol_" + id}, reason: "different block volumes"},
		"path as a name":       {iqn: iqn, annotations: map[string]string{blockNameAnnotation: "../" + id}, reason: "not the name"},
		"other target":         {iqn: "iqn.2001-04.com.example:storage", reason: "not one of gluster-block"},
		"path behind the name": {iqn: iqnPrefix + "../../etc", reason: "no valid gluster-block id"},
		"longer GBID":          {iqn: iqn + "0", reason: "no valid gluster-block id"},
		"GBID and newline":     {iqn: iqn + "\n", reason: "no valid gluster-block id"},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			got := classify(boundClaim(), volume(tt.annotations, iscsi(tt.iqn)))
			want := Claim{
				Namespace: "shop", Name: "db", UID: "u-1", Phase: "Bound", PV: "pv-1", StorageClass: "gluster", Size: 2 << 30,
				Kind: Block, HeketiID: tt.id, BlockName: tt.name, IQN: tt.iqn, GBID: gbid,
			}
			if tt.reason != "" {
				want.Kind, want.Reason, want.IQN, want.GBID = Foreign, got.Reason, "", ""
			}
			check(t, got, want, tt.reason)
		})
	}
}

func TestClassifyOther(t *testing.T) {
	good := func() *corev1.PersistentVolume { return volume(nil, glusterfs("v")) }
	now := metav1.Now()
	tests := map[string]struct {
		claim  func(*corev1.PersistentVolumeClaim)
		volume func() *corev1.PersistentVolume
		kind   Kind
		reason string
	}{
		"CSI": {kind: Foreign, reason: "a volume of CSI driver ebs.csi.aws.com, made by ebs.csi.aws.com, not a Gluster volume", volume: func() *corev1.PersistentVolume {
			return volume(map[string]string{provisionedAnnotation: "ebs.csi.aws.com"},
				corev1.PersistentVolumeSource{CSI: &corev1.CSIPersistentVolumeSource{Driver: "ebs.csi.aws.com"}})
		}},
		"Flex": {kind: Foreign, reason: "a volume of Flex driver x/y, not", volume: func() *corev1.PersistentVolume {
			return volume(nil, corev1.PersistentVolumeSource{FlexVolume: &corev1.FlexPersistentVolumeSource{Driver: "x/y"}})
		}},
		"NFS": {kind: Foreign, reason: "a volume of type nfs, not", volume: func() *corev1.PersistentVolume {
			return volume(nil, corev1.PersistentVolumeSource{NFS: &corev1.NFSVolumeSource{Server: "s", Path: "/"}})
		}},
		"no source": {kind: Foreign, reason: "type unknown", volume: func() *corev1.PersistentVolume {
			return volume(nil, corev1.PersistentVolumeSource{})
		}},
		"pending":                 {kind: Pending, reason: "StorageClass gluster", claim: func(c *corev1.PersistentVolumeClaim) { c.Spec.VolumeName, c.Status.Phase = "", corev1.ClaimPending }},
		"pending without a class": {kind: Pending, reason: "waits for a PersistentVolume", claim: func(c *corev1.PersistentVolumeClaim) { c.Spec.VolumeName, c.Spec.StorageClassName = "", nil }},
		"pending on a volume":     {kind: Pending, reason: "waits for PersistentVolume pv-1", volume: func() *corev1.PersistentVolume { return nil }, claim: func(c *corev1.PersistentVolumeClaim) { c.Status.Phase = corev1.ClaimPending }},
		"lost":                    {kind: Lost, reason: "PersistentVolume pv-1 is gone", claim: func(c *corev1.PersistentVolumeClaim) { c.Status.Phase = corev1.ClaimLost }},
		"volume just deleted":     {kind: Lost, reason: "PersistentVolume pv-1 is gone", volume: func() *corev1.PersistentVolume { return nil }},
		"volume of another claim": {kind: Foreign, reason: "belongs to claim shop/other", volume: func() *corev1.PersistentVolume {
			v := good()
			v.Spec.ClaimRef.Name = "other"
			return v
		}},
		"volume of another namespace": {kind: Foreign, reason: "belongs to claim office/db", volume: func() *corev1.PersistentVolume {
			v := good()
			v.Spec.ClaimRef.Namespace = "office"
			return v
		}},
		"volume of an earlier claim": {kind: Foreign, reason: "earlier claim", volume: func() *corev1.PersistentVolume {
			v := good()
			v.Spec.ClaimRef.UID = "u-0"
			return v
		}},
		"volume without a claim": {kind: Foreign, reason: "no claimRef", volume: func() *corev1.PersistentVolume {
			v := good()
			v.Spec.ClaimRef = nil
			return v
		}},
		"deleting": {kind: File, claim: func(c *corev1.PersistentVolumeClaim) { c.DeletionTimestamp = &now }},
		"no UID known": {kind: File, volume: func() *corev1.PersistentVolume {
			v := good()
			v.Spec.ClaimRef.UID = ""
			return v
		}},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			claim, pv := boundClaim(), good()
			if tt.claim != nil {
				tt.claim(claim)
			}
			if tt.volume != nil {
				pv = tt.volume()
			}
			got := classify(claim, pv)
			if got.Kind != tt.kind || !strings.Contains(got.Reason, tt.reason) || (got.Reason == "") != (tt.kind == File) {
				t.Errorf("kind %q, reason %q; want %q, %q", got.Kind, got.Reason, tt.kind, tt.reason)
			}
			if tt.kind != File && got.HeketiID+got.VolumePath+got.IQN+got.GBID+got.BlockName != "" {
				t.Errorf("names of a volume in %+v", got)
			}
			if got.Deleting != (desc == "deleting") {
				t.Errorf("deleting %t", got.Deleting)
			}
		})
	}
}

func TestClassifyDetails(t *testing.T) {
	claim := boundClaim()
	claim.Spec.StorageClassName = nil
	claim.Annotations = map[string]string{betaClassAnnotation: "old-class"}
	claim.Status.Capacity = nil
	claim.Spec.Resources.Requests = corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("5Gi")}
	pv := volume(map[string]string{createdByAnnotation: "heketi-dynamic-provisioner", provisionedAnnotation: "kubernetes.io/glusterfs"}, glusterfs("v"))
	want := Claim{
		Namespace: "shop", Name: "db", UID: "u-1", Phase: "Bound", PV: "pv-1", StorageClass: "old-class", Size: 5 << 30,
		Kind: File, VolumePath: "v", CreatedBy: "heketi-dynamic-provisioner",
	}
	check(t, classify(claim, pv), want, "")
	delete(pv.Annotations, createdByAnnotation)
	want.CreatedBy = "kubernetes.io/glusterfs"
	check(t, classify(claim, pv), want, "")
}

func check(t *testing.T, got, want Claim, reason string) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("claim (-want +got):\n%s", diff)
	}
	if !strings.Contains(got.Reason, reason) || (got.Reason == "") != (reason == "") {
		t.Errorf("reason %q, want %q", got.Reason, reason)
	}
}
