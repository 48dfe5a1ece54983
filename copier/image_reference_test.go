package copier_test

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/glusterbackupd/glusterbackupd/copier"
)

// tracked is a source of which only the changed parts may be read.
type tracked struct {
	*memory
	t         *testing.T
	unchanged func(off, n int64) bool
}

func (s tracked) ReadAt(p []byte, off int64) (int, error) {
	if s.unchanged(off, int64(len(p))) {
		s.t.Errorf("%d bytes at %d were read although they have not changed", len(p), off)
	}
	return s.memory.ReadAt(p, off)
}

// shards tells for each part of the given size whether it is the same in both.
func shards(old, now *memory, size int) func(off, n int64) bool {
	return func(off, n int64) bool {
		for i := int(off) / size; i*size < int(off+n); i++ {
			end := min((i+1)*size, len(now.data))
			if string(old.data[i*size:end]) != string(now.data[i*size:end]) {
				return false
			}
		}
		return true
	}
}

func digest(m *memory) string {
	sum := sha256.Sum256(m.data)
	return hex.EncodeToString(sum[:])
}

// TestCopyImageReference copies changing images with a reference, hundreds of
// times, into clones of it and into new files. What has not changed is not read
// from the source, and a reference that has rotted is noticed wherever that is.
func TestCopyImageReference(t *testing.T) {
	unread := int64(0)
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 2))
		size := 1 + r.IntN(80*block)
		old := &memory{data: make([]byte, size)}
		old.scribble(r, r.IntN(40))
		now := old.clone()
		now.scribble(r, r.IntN(4))
		reference := &copier.ImageReference{Image: old, SHA256: digest(old), Unchanged: shards(old, now, block*(1+r.IntN(20)))}
		clone := r.IntN(2) == 0
		target := &memory{data: make([]byte, size)}
		if clone {
			target = old.clone()
		}
		c := copier.ImageCopy{
			Source: tracked{now, t, reference.Unchanged}, Target: target, Compare: clone, Fresh: !clone, Reference: reference,
			PieceSize: block * (1 + r.IntN(12)), Workers: 1 + r.IntN(4),
		}
		res, err := copier.CopyImage(t.Context(), c)
		if err != nil || res.SHA256 != digest(now) || digest(target) != digest(now) {
			t.Fatalf("seed %d: %+v, %v", seed, res, err)
		}
		if clone && (res.Written+res.Punched != old.differing(now) || target.unneeded+target.unneededPunches != 0) {
			t.Fatalf("seed %d: wrote %d and punched %d for a change of %d", seed, res.Written, res.Punched, old.differing(now))
		}
		unread += res.Unread

		old.data[r.IntN(size)] ^= 1 << r.IntN(8)
		if _, err := copier.CopyImage(t.Context(), c); !errors.Is(err, copier.ErrReference) {
			t.Fatalf("seed %d: a rotted reference: %v", seed, err)
		}
		c.Reference, c.Compare, c.Fresh, c.Source = nil, true, false, now
		if _, err := copier.CopyImage(t.Context(), c); err != nil || digest(target) != digest(now) {
			t.Fatalf("seed %d: copied again: %v", seed, err)
		}
	}
	if unread == 0 {
		t.Error("everything was read")
	}
}

// TestCopyImageAudit has a reference vouch for what has changed: it is noticed, and
// the copy is right.
func TestCopyImageAudit(t *testing.T) {
	old := image(8 * block)
	now := old.clone()
	now.data[3*block] ^= 1
	target := old.clone()
	all := func(_, _ int64) bool { return true }
	res, err := copier.CopyImage(t.Context(), copier.ImageCopy{
		Source: now, Target: target, Compare: true, PieceSize: 2 * block,
		Reference: &copier.ImageReference{Image: old, SHA256: digest(old), Unchanged: all, Audit: true},
	})
	if err != nil || res.Missed != 2*block || res.Unread != 0 || res.SHA256 != digest(now) || digest(target) != digest(now) {
		t.Errorf("%+v, %v", res, err)
	}
}

func TestCopyImageReferenceRefuses(t *testing.T) {
	small, large := image(block), image(2*block)
	all := func(_, _ int64) bool { return true }
	for name, c := range map[string]copier.ImageCopy{
		"other size": {Source: small, Target: small, Reference: &copier.ImageReference{Image: large, Unchanged: all}},
		"unhashed":   {Source: small, Target: small, Unhashed: true, Reference: &copier.ImageReference{Image: small, Unchanged: all}},
	} {
		if _, err := copier.CopyImage(t.Context(), c); err == nil || errors.Is(err, copier.ErrReference) {
			t.Errorf("%s: error %v", name, err)
		}
	}
	if small.written+small.punch != 0 {
		t.Error("something was written")
	}
}
