package daemon

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/glusterbackupd/glusterbackupd/catalog"
	"github.com/glusterbackupd/glusterbackupd/kube"
)

// ErrUnknownClaim means that no claim, image or configured volume has the name.
var ErrUnknownClaim = errors.New("unknown claim")

// Target is one claim and where its data stands.
type Target struct {
	// Key is the claim's name, and the name under which its backups are kept.
	// It is empty for an image whose claim is gone.
	Key catalog.Key
	// Volume is the Gluster volume: the claim's own, or the hosting volume of
	// its image.
	Volume string
	// Hosts are the Gluster servers to mount from and to ask, in this order.
	Hosts []string
	// Image is the name of the claim's block image; empty for a file claim.
	Image string
	// GBID is the image's id as Kubernetes or Heketi knows it, or empty. The
	// journal decides; a GBID that contradicts it is an error.
	GBID string
	// Exporters are the hosts that Heketi lists as exporting the image.
	Exporters []string
	// Unwatched is true where nobody can say which pods use the claim.
	Unwatched bool
	// Claim is what Kubernetes says; its zero value without Kubernetes, and for
	// an image whose claim is gone.
	Claim kube.Claim
	// Objects are the claim's Kubernetes objects as served, by file name.
	Objects map[string][]byte
}

// Block says whether the target is a block image.
func (t Target) Block() bool { return t.Image != "" }

// String names the target for logs and errors.
func (t Target) String() string {
	switch {
	case t.Key == (catalog.Key{}):
		return "image " + t.Image
	case t.Block():
		return fmt.Sprintf("claim %s (image %s)", t.Key, t.Image)
	}
	return fmt.Sprintf("claim %s", t.Key)
}

// Uncovered is a claim that cannot be backed up, and why.
type Uncovered struct {
	Key    catalog.Key
	Reason string
	// Foreign is true for claims that are not on Gluster at all, and Pending for
	// those that have no volume yet. Neither has anything to lose; all others
	// need attention.
	Foreign, Pending bool
}

// run is the unit of work: all targets that share one volume and so one
// snapshot.
type run struct {
	volume  string
	hosts   []string
	targets []Target
}

// keys returns the claims of the run.
func (r run) keys() (list []catalog.Key) {
	for _, t := range r.targets {
		list = append(list, t.Key)
	}
	return list
}

// group makes one run of all targets on the same volume, in the order of the
// volumes' names, so that the same input gives the same plan.
func group(targets []Target) []run {
	var runs []run
	for _, t := range targets {
		i := slices.IndexFunc(runs, func(r run) bool { return r.volume == t.Volume })
		if i < 0 {
			runs = append(runs, run{volume: t.Volume, hosts: t.Hosts})
			i = len(runs) - 1
		}
		runs[i].targets = append(runs[i].targets, t)
	}
	slices.SortFunc(runs, func(a, b run) int { return strings.Compare(a.volume, b.volume) })
	return runs
}
