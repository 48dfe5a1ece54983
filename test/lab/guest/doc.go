// Package guest makes and runs the lab's virtual machine: a Debian root image
// with Gluster, LVM, LIO and an iSCSI initiator, the network namespace that it
// shares with the lab's servers, and the seed disk that brings keys and
// programs into it. Snapshots of Gluster need device-mapper, which the host's
// kernel may lack; a guest always has it.
//
// The package knows nothing of volumes, Heketi or Kubernetes.
package guest
