// Package gluster drives a Gluster pool through its command line: volumes,
// brick states, thin pools, snapshots; and it mounts and unmounts volumes and
// snapshots on this machine. Pools of glusterd2, which has no command line that
// could be run elsewhere, are driven by package glusterd2 in the same way; all
// ways pass the suite in package glustertest.
//
// Commands are run by a Commander, on one of the pool's hosts. Answers are read
// as XML (gluster/glusterfs cli/src/cli-xml-output.c) and judged by opRet,
// because with --xml the exit code is 0 even when the command failed. Anything
// unexpected is an error that matches ErrAnswer. Error numbers are those of
// gluster/glusterfs xlators/mgmt/glusterd/src/glusterd-errno.h.
//
// The package does not retry: Temporary tells which errors are worth it. It
// takes no decision about when a snapshot is made, how full a pool may be, or
// whose a snapshot is.
package gluster
