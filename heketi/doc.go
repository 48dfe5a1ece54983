// Package heketi reads from a Heketi server what a backup or a restore needs
// to know: which Gluster volume an id stands for, on which hosts and bricks it
// lives, and which image of which block-hosting volume a block volume is.
//
// It is a thin adapter over Heketi's own Go client
// (heketi/heketi client/api/go-client) that adds contexts, time-outs, bounded
// answers, typed errors and validation of every name that comes back.
//
// It changes nothing on the server: it only sends GET requests. It does not
// retry; [Temporary] tells the caller whether trying again later makes sense.
// It follows no redirects. CHAP user names and passwords, which Heketi sends
// along with each block volume, are dropped here and appear in no value, error
// or log, and neither does the key.
package heketi
