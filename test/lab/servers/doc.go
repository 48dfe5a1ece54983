// Package servers builds and starts the servers that the lab and the
// integration tests need beside Gluster: etcd, kube-apiserver,
// kube-controller-manager (volume binder only) and Heketi. Each one runs as a
// process of its own with its own folder and log file, on loopback or inside
// one network namespace, and is ready when its start function returns. It also
// builds glusterd2, which runs in the guest (package lab starts it), and for the
// tests that ask for it the snapshot-controller of CSI.
//
// The package does not make guests, volumes or claims (package lab does), and
// it keeps no record of what it started beyond the Process values it returns.
package servers
