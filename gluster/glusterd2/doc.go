// Package glusterd2 asks a pool that is managed by glusterd2, over its REST
// interface: volumes, brick states and snapshots, with the types and errors of
// package gluster.
//
// Requests are made by glusterd2's own client, pkg/restclient. It knows neither
// contexts nor time-outs, drops the status of refusals and, as its constructor
// leaves it, changes http.DefaultTransport. So it is only ever given an
// http.Client of this package's, which carries the context, bounds the answer
// and notes the status; its constructor is not used.
//
// What glusterd2 does not serve yields gluster.ErrUnavailable: it tells the
// fill level of no thin pool, and runs no command. It has no limit on snapshots
// either. The package does not retry.
package glusterd2
