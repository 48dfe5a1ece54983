package daemon

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/glusterbackupd/glusterbackupd/catalog"
	"github.com/glusterbackupd/glusterbackupd/heketi"
	"github.com/glusterbackupd/glusterbackupd/kube"
)

// volumeSpec is what Heketi is asked for; which of the two counts depends on the
// claim.
type volumeSpec struct {
	file  heketi.VolumeSpec
	block heketi.BlockVolumeSpec
}

// specOf says which volume the class's own provisioner would have asked Heketi
// for, by the parameters of kubernetes.io/glusterfs (kubernetes/kubernetes
// pkg/volume/glusterfs/glusterfs.go) and gluster.org/glusterblock
// (kubernetes-retired/external-storage gluster/block). Where the claim as it was
// says more, such as its size, group and CHAP, the claim decides.
func specOf(class kube.Class, saved kube.SavedClaim) (s volumeSpec, err error) {
	parameters := map[string]string{}
	for key, value := range class.Parameters {
		parameters[strings.ToLower(key)] = value
	}
	wrong := func(key string) error {
		return fmt.Errorf("StorageClass %s: parameter %s: %q is not a number", class.Name, key, parameters[key])
	}
	if saved.Block() {
		s.block = heketi.BlockVolumeSpec{Size: saved.Size(), Auth: saved.CHAP(), Clusters: splitList(parameters["clusterids"])}
		if value := parameters["hacount"]; value != "" {
			if s.block.HA, err = strconv.Atoi(value); err != nil {
				return s, wrong("hacount")
			}
		}
		return s, nil
	}
	s.file = heketi.VolumeSpec{
		Size: saved.Size(), GID: saved.GID(), Type: parameters["volumetype"],
		Options: splitList(parameters["volumeoptions"]), Clusters: splitList(parameters["clusterid"]),
	}
	if value := parameters["snapfactor"]; value != "" {
		if s.file.SnapshotFactor, err = strconv.ParseFloat(value, 64); err != nil {
			return s, wrong("snapfactor")
		}
	}
	return s, nil
}

// splitList splits a list with commas; nil when there is nothing in it.
func splitList(s string) (list []string) {
	for item := range strings.SplitSeq(s, ",") {
		if item = strings.TrimSpace(item); item != "" {
			list = append(list, item)
		}
	}
	return list
}

// NoBuilderError says that claims cannot be made.
type NoBuilderError struct{}

// Error says what is missing.
func (*NoBuilderError) Error() string {
	return "a new claim needs Kubernetes and Heketi, and the configuration lacks one of them"
}

// Remedy says what can be done.
func (*NoBuilderError) Remedy() string {
	return "fill in [kubernetes] and [heketi], or restore to a folder or file with --to"
}

// NoClassError says that nobody knows how the volume of a claim is to be made.
type NoClassError struct{ Claim catalog.Key }

// Error names the claim.
func (e *NoClassError) Error() string {
	return fmt.Sprintf("claim %s had no StorageClass when it was backed up", e.Claim)
}

// Remedy says how to name one.
func (e *NoClassError) Remedy() string { return "name one with --storage-class" }

// OtherProvisionerError says that another provisioner would bind a claim before it
// is filled.
type OtherProvisionerError struct {
	Claim catalog.Key
	Class kube.Class
}

// Error names the claim, its class and the provisioner.
func (e *OtherProvisionerError) Error() string {
	return fmt.Sprintf("claim %s is of StorageClass %s, whose provisioner %s would bind it before it is filled", e.Claim, e.Class.Name, e.Class.Provisioner)
}

// Remedy says which class is needed.
func (e *OtherProvisionerError) Remedy() string {
	return "use a StorageClass whose provisioner is " + kube.RestoreProvisioner + "; the admin has a manifest for it"
}
