package catalog

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"slices"
)

// Scope names a part of the work that one process at a time may do: what a Lock
// covers. The zero Scope stands for the whole BackupDisk.
type Scope struct{ kind, name string }

const (
	claimKind  = "claim"
	volumeKind = "volume"
)

// ClaimScope is the folder of a claim. Begin, Publish, Abort, Trash, Remove,
// Protect, Unprotect and Sweep need it.
func ClaimScope(k Key) Scope { return Scope{claimKind, k.String()} }

// VolumeScope is a Gluster volume: our snapshots and mounts of it, and what is
// written to it. Nothing in this package needs it.
func VolumeScope(volume string) Scope { return Scope{volumeKind, volume} }

// String names the scope for people: "claim shop/db".
func (s Scope) String() string {
	if s == (Scope{}) {
		return "BackupDisk"
	}
	return s.kind + " " + s.name
}

// fileName is the name of the scope's lock file: of bounded length and safe
// characters, whatever the scope's name is made of.
func (s Scope) fileName() string {
	const digits = 32 // 128 bits: no two names ever share a file.
	sum := sha256.Sum256([]byte(s.name))
	return s.kind + "-" + hex.EncodeToString(sum[:])[:digits]
}

// inOrder returns the scopes in the order in which everybody takes them, each
// once.
func inOrder(scopes []Scope) ([]Scope, error) {
	list := slices.Clone(scopes)
	slices.SortFunc(list, func(a, b Scope) int { return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(a.name, b.name)) })
	list = slices.Compact(list)
	for _, s := range list {
		if s.kind == "" || s.name == "" {
			return nil, fmt.Errorf("scope without a name: %w", fs.ErrInvalid)
		}
	}
	return list, nil
}
