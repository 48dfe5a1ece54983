// Package standin is the lab's stand-in for gluster-block, which no
// distribution of the guest packages. It answers create, delete, list and
// info as gluster-block 0.5 does (--json), keeps the same files on the
// blockhost volume (journals in block-meta, images in block-store, both
// folders mode 000), and exports each image as a real LIO iSCSI target with
// generated ACLs.
//
// What differs from the real one: the backstore is LIO's fileio on a FUSE
// mount of the volume, where gluster-block has tcmu-runner with its own handle
// on the image through libgfapi. There is no daemon, one host only, and no
// resize, reload, replace or rollback.
package standin
