// Package kube reads from a Kubernetes API which claims there are, what kind
// of Gluster volume is behind each one, and which pods use it. It knows the
// PersistentVolumes of the in-tree glusterfs provisioner, of gluster-block's
// provisioner and those that an admin made by hand. [Client] asks on demand;
// [Cache] keeps all claims in memory and tells when they change.
//
// It reads no Secrets: a volume's CHAP secret is only known by its name. What
// it writes is Leases ([Leases]), by which several daemons agree on who works,
// Events on claims ([Events]), annotations of its own prefix on claims
// ([Client.PatchClaimAnnotations]), and VolumeSnapshots with their contents
// ([Snapshots]), for which it can also have to take a finalizer of the
// snapshot-controller off a claim; nothing else in the cluster is changed.
//
// It does not ask Heketi or Gluster whether what a PersistentVolume says is
// still true, it does not look inside workloads (only at pods), it does not
// see pods that mount a Gluster volume without a claim, and it does not
// interpret the tenants' annotations. Beyond what client-go repeats at a busy
// server's request within the time-out, requests are not retried, except those
// that keep a Cache and a Lease alive; [Temporary] tells the caller whether
// trying again later makes sense.
package kube
