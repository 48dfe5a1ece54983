// Package kube reads from a Kubernetes API which claims there are, what kind
// of Gluster volume is behind each one, and which pods use it. It knows the
// PersistentVolumes of the in-tree glusterfs provisioner, of gluster-block's
// provisioner and those that an admin made by hand.
//
// It changes nothing in the cluster, and it reads no Secrets: a volume's CHAP
// secret is only known by its name. It does not ask Heketi or Gluster whether
// what a PersistentVolume says is still true, it does not look inside
// workloads (only at pods), and it does not see pods that mount a Gluster
// volume without a claim. Beyond what client-go repeats at a busy server's
// request within the time-out, it does not retry; [Temporary] tells the caller
// whether trying again later makes sense.
package kube
