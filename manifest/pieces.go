package manifest

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
)

// Pieces are the digests of the pieces of a file. A large image has them in place
// of one digest of all of it: they can be made of several pieces at a time, and a
// piece that is known not to have changed need not be read for them. The zero
// value is of a file that has none.
type Pieces struct {
	// Size is that of each piece in bytes; the last one may be shorter.
	Size int64
	// SHA256 has the digests one after the other, 32 bytes each, as they are.
	SHA256 string
}

// Count returns the number of pieces.
func (p Pieces) Count() int { return len(p.SHA256) / sha256.Size }

// Of returns the digest of piece n, 32 bytes.
func (p Pieces) Of(n int) string { return p.SHA256[n*sha256.Size : (n+1)*sha256.Size] }

// Digest returns one digest for all of them, in hex: the SHA-256 of SHA256. It is
// not that of the content.
func (p Pieces) Digest() string {
	sum := sha256.Sum256([]byte(p.SHA256))
	return hex.EncodeToString(sum[:])
}

// Differ describes the first piece in which two files differ and counts the others,
// for a human reader; both are empty when the pieces are equal.
func (p Pieces) Differ(other Pieces) (mine, others string) {
	if p.Size != other.Size || p.Count() != other.Count() {
		return fmt.Sprintf("%d pieces of %d bytes", p.Count(), p.Size), fmt.Sprintf("%d pieces of %d bytes", other.Count(), other.Size)
	}
	first, count := 0, 0
	for n := range p.Count() {
		if p.Of(n) != other.Of(n) {
			if count++; count == 1 {
				first = n
			}
		}
	}
	if count == 0 {
		return "", ""
	}
	mine = fmt.Sprintf("%x at byte %d, first of %d pieces of %d bytes that differ", p.Of(first), int64(first)*p.Size, count, p.Size)
	return mine, fmt.Sprintf("%x", other.Of(first))
}

// fit says what is wrong with the pieces of a file of size bytes.
func (p Pieces) fit(size int64) error {
	if p.Size <= 0 || p.Size > maxPiece || len(p.SHA256)%sha256.Size != 0 || int64(p.Count()) != PieceCount(size, p.Size) {
		return fmt.Errorf("%d bytes of digests of pieces of %d bytes do not fit a file of %d", len(p.SHA256), p.Size, size)
	}
	return nil
}

// maxPiece is more than any piece that is written has: whoever reads a manifest has
// to hold one.
const maxPiece = 1 << 30

// PieceCount returns how many pieces of piece bytes a file of size bytes has.
func PieceCount(size, piece int64) int64 { return (size + piece - 1) / piece }

// PieceHasher digests pieces. It may be used by several goroutines.
type PieceHasher struct {
	zeros []byte
	zero  [sha256.Size]byte
}

// NewPieceHasher returns one for pieces of size bytes.
func NewPieceHasher(size int64) *PieceHasher {
	zeros := make([]byte, size)
	return &PieceHasher{zeros, sha256.Sum256(zeros)}
}

// IsZero reports whether sum is the digest of a whole piece of zeros.
func (h *PieceHasher) IsZero(sum string) bool { return sum == string(h.zero[:]) }

// Zeros returns the SHA-256 of a piece of n zeros, n at most the size of a piece.
func (h *PieceHasher) Zeros(n int) []byte {
	sum := h.Sum(h.zeros[:n])
	return sum[:]
}

// Sum returns the SHA-256 of a piece. That of a whole piece of zeros, of which
// images have many, it knows.
func (h *PieceHasher) Sum(piece []byte) [sha256.Size]byte {
	if len(piece) == len(h.zeros) && bytes.Equal(piece, h.zeros) {
		return h.zero
	}
	return sha256.Sum256(piece)
}
