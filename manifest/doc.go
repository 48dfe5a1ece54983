// Package manifest describes a tree of files, entry by entry, and compares two
// such descriptions.
//
// Scan reads a tree, Writer and Reader keep its entries in a manifest file
// (JSON lines in zstd, FORMAT.md beside this file has the details), and Compare
// merges two sequences of entries and reports each difference. All of them work
// on streams in one total order, that of PathLess: a folder comes before what
// is in it, the names in a folder are sorted by bytes, and what is in a folder
// comes before the folder's next sibling.
//
// A manifest says everything that a restore must bring back: type, mode, owner,
// size, modification time, symlink target, device number, hard links, extended
// attributes with POSIX ACLs, and the SHA-256 of the content or of its pieces. It knows nothing
// of access and change times, inode flags, holes, or SELinux labels.
//
// The package does not copy, repair or restore anything, does not know where
// backups are kept, and does not authenticate a manifest: whoever keeps one
// also keeps the digest of its bytes (Summary.SHA256). It needs Linux with
// /proc mounted.
package manifest
