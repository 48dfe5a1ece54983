package config

import (
	"net/url"
	"slices"
	"time"
)

// Kubernetes is the cluster whose claims are backed up. The section is optional:
// without it the volumes are listed under [[volumes]].
type Kubernetes struct {
	// Kubeconfig is the kubeconfig file, an absolute path. Empty means the
	// service account of the pod in which glusterbackupd runs.
	Kubeconfig string `toml:"kubeconfig" example:"/etc/origin/master/admin.kubeconfig"`
	// LeaseNamespace is the namespace in which the daemons of several masters
	// agree, by one Lease per volume, on who backs it up. It must exist.
	LeaseNamespace string `toml:"lease_namespace" example:"glusterfs"`
	// Lease is how long after the last sign of life of a daemon the others take
	// its volumes over, 15s or more. A run whose daemon cannot reach the API
	// server for that long is cancelled.
	Lease Duration `toml:"lease" example:"1m"`
	// Snapshots says as which objects the Gluster snapshots are shown to
	// tenants: "snapshot.storage.k8s.io/v1",
	// "volumesnapshot.external-storage.k8s.io/v1" (its predecessor), "none", or
	// "auto": the first of these that the API server has.
	Snapshots string `toml:"snapshots" example:"none"`
	// SnapshotClass is the VolumeSnapshotClass with which tenants ask for a
	// snapshot and a backup by a VolumeSnapshot of their own.
	SnapshotClass string `toml:"snapshot_class" example:"backup"`
	// SnapshotDeletion says what becomes of the Gluster snapshot when a tenant
	// deletes its VolumeSnapshot: "delete", or "keep" until [retention] snapshots
	// is over. The backup stays either way.
	SnapshotDeletion SnapshotDeletion `toml:"snapshot_deletion" example:"keep"`
	// SnapshotClaims says whether each kept snapshot of a claim with files is
	// also shown as a read-only claim in the same namespace, which pods can mount.
	// These claims count against the namespace's quota.
	SnapshotClaims bool `toml:"snapshot_claims" example:"true"`
}

// SnapshotDeletion is what the deletion of a VolumeSnapshot does.
type SnapshotDeletion string

const (
	// DeleteSnapshot deletes the Gluster snapshot too.
	DeleteSnapshot SnapshotDeletion = "delete"
	// KeepSnapshot only no longer shows it.
	KeepSnapshot SnapshotDeletion = "keep"
)

// The values of Snapshots.
const (
	SnapshotsAuto   = "auto"
	SnapshotsV1     = "snapshot.storage.k8s.io/v1"
	SnapshotsLegacy = "volumesnapshot.external-storage.k8s.io/v1"
	SnapshotsNone   = "none"
)

const shortestLease = 15 * time.Second

func (k *Kubernetes) setDefaults() {
	*k = Kubernetes{
		LeaseNamespace: "kube-system", Lease: Duration(2 * time.Minute),
		Snapshots: SnapshotsAuto, SnapshotClass: "glusterbackupd", SnapshotDeletion: DeleteSnapshot,
	}
}

func (k *Kubernetes) validate(r *report) {
	if k.Kubeconfig != "" {
		r.absolute("kubernetes.kubeconfig", k.Kubeconfig)
	}
	r.name("kubernetes.lease_namespace", k.LeaseNamespace, namespaceForm, `the name of a namespace like "kube-system"`)
	if k.Lease < Duration(shortestLease) {
		r.add("kubernetes.lease", "want %s or more, not %s", Duration(shortestLease), k.Lease)
	}
	if all := []string{SnapshotsAuto, SnapshotsV1, SnapshotsLegacy, SnapshotsNone}; !slices.Contains(all, k.Snapshots) {
		r.add("kubernetes.snapshots", "want one of %q, not %q", all, k.Snapshots)
	}
	r.name("kubernetes.snapshot_class", k.SnapshotClass, classForm, `the name of a VolumeSnapshotClass like "glusterbackupd"`)
	if k.SnapshotDeletion != DeleteSnapshot && k.SnapshotDeletion != KeepSnapshot {
		r.add("kubernetes.snapshot_deletion", `want "delete" or "keep", not %q`, k.SnapshotDeletion)
	}
}

// Heketi is the server that knows the Gluster volumes behind the claims. The
// section is required with [kubernetes], and optional without it.
type Heketi struct {
	// URL is the address of the server, http or https. Required.
	URL string `toml:"url" example:"https://heketi.example.com:8080"`
	// User is the Heketi user. Heketi tells only "admin" what is needed here.
	User string `toml:"user" example:"admin"`
	// KeyFile holds the key of the user, an absolute path. Other users of the
	// machine must not be able to read it. Required.
	KeyFile string `toml:"key_file" example:"/etc/glusterbackupd/heketi.key"`
	// CAFile holds the certificates, in PEM, that the server's certificate is
	// checked against, an absolute path. Empty means those of the system. It
	// needs an https URL.
	CAFile string `toml:"ca_file" example:"/etc/glusterbackupd/heketi-ca.pem"`
	// Timeout is how long to wait for one answer.
	Timeout Duration `toml:"timeout" example:"1m"`
}

func (h *Heketi) setDefaults() {
	*h = Heketi{User: "admin", Timeout: Duration(30 * time.Second)}
}

func (h *Heketi) validate(r *report) {
	h.validateURL(r)
	if h.User == "" {
		r.add("heketi.user", "must not be empty")
	}
	r.absolute("heketi.key_file", h.KeyFile)
	if h.CAFile != "" {
		r.absolute("heketi.ca_file", h.CAFile)
	}
	r.positive("heketi.timeout", h.Timeout)
}

// validateURL checks the address. Messages do not repeat it, since it may hold
// a password by mistake.
func (h *Heketi) validateURL(r *report) {
	if h.URL == "" {
		r.add("heketi.url", "required")
		return
	}
	u, err := url.Parse(h.URL)
	switch {
	case err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "":
		r.add("heketi.url", `want an address like "http://heketi.example.com:8080"`)
	case u.User != nil:
		r.add("heketi.url", "must not name a user or password: use user and key_file")
	case u.RawQuery != "" || u.Fragment != "":
		r.add("heketi.url", "must end with the path, without a query or fragment")
	case u.Scheme == "http" && h.CAFile != "":
		r.add("heketi.ca_file", "has no effect, because url is http")
	}
}
