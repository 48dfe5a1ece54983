// Package tracking tells which parts of an image cannot have changed since the
// last backup, so that they need not be read through Gluster again.
//
// An image on a sharded volume is one file for each 64 MB on the bricks. Its own
// size, times and allocated blocks say nothing about its content
// (docs/decisions/0007-never-trust-image-times.md), but every write into a shard
// moves the change time of that shard's file on each brick that takes it, and
// nobody can set a change time; only an unclean end of a brick's file system can
// lose one, so a brick must not have been started again. A State holds what the
// file systems of the bricks said of these files in a frozen snapshot; Compare
// decides from two states.
//
// Of a shard that has changed, a State may also hold which parts of it can have, as the
// thin pools below the bricks say.
//
// One state is enough for FindMissing: a shard that no brick has, or a part of one in
// which no brick has data, was never written, or given back, and reads as zeros.
//
// The package is the rule and the format. It asks no server and reads no image:
// package gluster reads the bricks, package daemon brings both together. A wrong
// "unchanged" would be a backup that lies, so whatever is odd is a Doubt, and the
// caller then reads everything.
package tracking
