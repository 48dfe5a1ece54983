// Package blockstore reads and writes gluster-block's layout inside a mounted
// blockhost volume: the journal of each block volume in block-meta, and its
// image in block-store. It also answers two questions that must be asked
// before an image is written: is an initiator logged in, and does the volume
// enforce mandatory locks.
//
// The layout is that of gluster-block 0.2 to 0.5 (gluster/gluster-block
// utils/utils.h, rpc/glfs-operations.c, rpc/block_create.c):
//
//	block-meta/<name>     append-only journal, "KEY: value\n", the last value wins
//	block-meta/meta.lock  POSIX write lock around every gluster-block command
//	block-meta/prio.info  counters, kept in extended attributes
//	block-store/<gbid>    the image, exactly SIZE bytes
//
// Both folders have mode 000: the process needs CAP_DAC_READ_SEARCH to read
// and CAP_DAC_OVERRIDE to write. Images are enumerated from block-meta only:
// block-store also holds files that no journal names.
//
// The package does not mount, does not talk to gluster-block or tcmu-runner,
// does not copy or compare data, and never creates, renames or deletes an
// image: tcmu-runner keeps an image's inode open, so a replaced image would be
// served from the old inode. It does not prevent a login that comes after the
// sessions were read. A journal holds CHAP passwords, revoked ones too, in
// clear text: they reach the caller only through Store.JournalBytes.
package blockstore
