package provision

import (
	"strconv"
	"strings"

	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/glusterbackupd/glusterbackupd/test/lab"
)

// Names of storage classes, and the provisioners behind them.
const (
	fileClass        = "glusterfs-storage"
	fileProvisioner  = "kubernetes.io/glusterfs"
	blockClass       = "glusterfs-storage-block"
	blockProvisioner = "gluster.org/glusterblock-glusterfs"
	nfsClass         = "nfs"
	iqnPrefix        = "iqn.2016-12.org.gluster-block:"
)

// gbidOf takes the id of a block image out of the name of its target.
func gbidOf(iqn string) (string, error) {
	gbid, ok := strings.CutPrefix(iqn, iqnPrefix)
	if !ok || gbid == "" {
		return "", errUnexpected("IQN of a block image", iqn)
	}
	return gbid, nil
}

// claimObject is a PVC as a tenant writes it.
func claimObject(namespace, name, class string, gigabytes int, mode core.PersistentVolumeAccessMode) *core.PersistentVolumeClaim {
	return &core.PersistentVolumeClaim{
		ObjectMeta: meta.ObjectMeta{Namespace: namespace, Name: name},
		Spec: core.PersistentVolumeClaimSpec{
			AccessModes: []core.PersistentVolumeAccessMode{mode}, StorageClassName: &class,
			Resources: core.VolumeResourceRequirements{Requests: core.ResourceList{core.ResourceStorage: gibibytes(gigabytes)}},
		},
	}
}

func gibibytes(n int) resource.Quantity {
	return *resource.NewQuantity(int64(n)<<30, resource.BinarySI)
}

// volumeObject is what the PVs of all provisioners have in common.
func volumeObject(claim *core.PersistentVolumeClaim, annotations map[string]string) *core.PersistentVolume {
	return &core.PersistentVolume{
		ObjectMeta: meta.ObjectMeta{Name: "pvc-" + string(claim.UID), Annotations: annotations},
		Spec: core.PersistentVolumeSpec{
			Capacity:    core.ResourceList{core.ResourceStorage: claim.Spec.Resources.Requests[core.ResourceStorage]},
			AccessModes: claim.Spec.AccessModes, PersistentVolumeReclaimPolicy: core.PersistentVolumeReclaimDelete,
			StorageClassName: *claim.Spec.StorageClassName,
			ClaimRef: &core.ObjectReference{
				Kind: "PersistentVolumeClaim", APIVersion: "v1",
				Namespace: claim.Namespace, Name: claim.Name, UID: claim.UID,
			},
		},
	}
}

// filePV is a PV of the in-tree provisioner (kubernetes
// pkg/volume/glusterfs/glusterfs.go before 1.26). An old one has neither the
// annotation with Heketi's id nor a namespace for its endpoints.
func filePV(w wantedFile, claim *core.PersistentVolumeClaim, c lab.Claim) *core.PersistentVolume {
	annotations := map[string]string{
		"pv.beta.kubernetes.io/gid": strconv.FormatInt(w.gid, 10), "kubernetes.io/createdby": "heketi-dynamic-provisioner",
		"gluster.org/type": "file", "Description": "Gluster-Internal: Dynamically provisioned PV",
		"pv.kubernetes.io/provisioned-by": fileProvisioner, "pv.kubernetes.io/bound-by-controller": "yes",
	}
	source := &core.GlusterfsPersistentVolumeSource{EndpointsName: endpointsName(w, claim), Path: c.Volume}
	if !w.old {
		annotations["gluster.kubernetes.io/heketi-volume-id"] = c.HeketiID
		source.EndpointsNamespace = &claim.Namespace
	}
	pv := volumeObject(claim, annotations)
	pv.Spec.Glusterfs = source
	return pv
}

func endpointsName(w wantedFile, claim *core.PersistentVolumeClaim) string {
	if w.old {
		return "glusterfs-dynamic-" + claim.Name
	}
	return "glusterfs-dynamic-" + string(claim.UID)
}

// endpointsObjects are the Endpoints and the Service beside a file claim.
// Endpoints are deprecated, but they are what the provisioner made.
//
//nolint:staticcheck // See above.
func endpointsObjects(w wantedFile, claim *core.PersistentVolumeClaim, address string) (*core.Endpoints, *core.Service) {
	m := meta.ObjectMeta{
		Namespace: claim.Namespace, Name: endpointsName(w, claim),
		Labels: map[string]string{"gluster.kubernetes.io/provisioned-for-pvc": claim.Name},
	}
	endpoints := &core.Endpoints{ObjectMeta: m, Subsets: []core.EndpointSubset{{
		Addresses: []core.EndpointAddress{{IP: address}},
		Ports:     []core.EndpointPort{{Port: 1, Protocol: core.ProtocolTCP}},
	}}}
	service := &core.Service{ObjectMeta: m, Spec: core.ServiceSpec{
		Ports: []core.ServicePort{{Port: 1, Protocol: core.ProtocolTCP}},
	}}
	return endpoints, service
}

// blockPV is a PV of the gluster-block provisioner (kubernetes-retired
// external-storage gluster/block/cmd/glusterblock-provisioner).
func blockPV(claim *core.PersistentVolumeClaim, image lab.Image, url, portal string) *core.PersistentVolume {
	annotations := map[string]string{
		"glusterBlkProvIdentity": blockProvisioner, "v5.0.0": "v5.0.0", "glusterBlockShare": image.Name,
		"kubernetes.io/createdby": "heketi", "gluster.org/type": "block", "gluster.org/volume-id": image.HeketiID,
		"Description": "Gluster-external: Dynamically provisioned PV",
		"Blockstring": "url:" + url + ",user:admin,secret:heketi-admin-secret,secretnamespace:default",
		"AccessKey":   "", "AccessKeyNs": "",
		"pv.kubernetes.io/provisioned-by": blockProvisioner,
	}
	source := &core.ISCSIPersistentVolumeSource{
		TargetPortal: portal, Portals: []string{}, IQN: image.IQN, Lun: 0, FSType: image.FSType, SessionCHAPAuth: image.Auth,
	}
	if image.Auth {
		annotations["AccessKey"], annotations["AccessKeyNs"] = secretName(image), claim.Namespace
		source.SecretRef = &core.SecretReference{Name: secretName(image), Namespace: claim.Namespace}
	}
	pv := volumeObject(claim, annotations)
	pv.Spec.ISCSI = source
	return pv
}

// secretName is where the provisioner keeps the CHAP password of an image.
func secretName(image lab.Image) string { return "glusterblk-" + image.GBID + "-secret" }

func secretObject(namespace string, image lab.Image, user, password string) *core.Secret {
	return &core.Secret{
		ObjectMeta: meta.ObjectMeta{Namespace: namespace, Name: secretName(image)}, Type: "kubernetes.io/iscsi-chap",
		StringData: map[string]string{"node.session.auth.username": user, "node.session.auth.password": password},
	}
}
