// Package copier copies a tree or an image from one path to another: exact,
// cancellable, with progress in numbers.
//
// Trees are copied by an engine. Native copies many files at a time; Rsync runs
// rsync. Every engine has the method
//
//	Copy(ctx context.Context, t Tree) (TreeResult, error)
//
// and passes the conformance suite in package copiertest. Images are copied by
// CopyImage, piece by piece, onto holes, onto a clone of the previous image, or
// in place onto an image that is already there.
//
// The package does not mount, snapshot or choose what to copy, keeps no state
// between two calls but in files that its caller names, and does not make the
// destination durable except for images: whoever publishes a tree syncs it
// first. It writes no manifest. It hashes what passes through its hands,
// images and, if asked, files, so that whoever reads the copy back has something
// to compare with.
//
// # What counts as unchanged
//
// A tree copy with a reference takes a file as unchanged when type, size and
// modification time to the nanosecond are equal, unless Tree.Checksum is set;
// where the native engine has fingerprints of the reference's source, also
// inode, change time and link count must be equal, or else the content.
// That is right for files on volumes that are not sharded. It is wrong for
// images: on a sharded volume a write beyond the first shard moves neither size
// nor times. CopyImage therefore never looks at them, and reads everything but what
// somebody who knows better vouches for (ImageCopy.Zero, ImageReference).
package copier
