package manifest

import (
	"bytes"
	"cmp"
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
	// Block is the size in bytes of the blocks that each have a digest: their SHA-256,
	// and 32 zero bytes for one of zeros. That of a piece is the SHA-256 of those of
	// its blocks. 0, before version 3, is none: then it is that of its content.
	Block int64
	// SHA256 has the digests of the pieces one after the other, 32 bytes each, as they
	// are.
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
	if p.Size != other.Size || p.Block != other.Block || p.Count() != other.Count() {
		return p.describe(), other.describe()
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

func (p Pieces) describe() string {
	return fmt.Sprintf("%d pieces of %d bytes in blocks of %d", p.Count(), p.Size, p.Block)
}

// fit says what is wrong with the pieces of a file of size bytes.
func (p Pieces) fit(size int64) error {
	if err := checkPieceSize(p.Size, p.Block); err != nil {
		return err
	}
	if len(p.SHA256)%sha256.Size != 0 || int64(p.Count()) != PieceCount(size, p.Size) {
		return fmt.Errorf("%d bytes of digests of pieces of %d bytes do not fit a file of %d", len(p.SHA256), p.Size, size)
	}
	return nil
}

func checkPieceSize(size, block int64) error {
	if size <= 0 || size > maxPiece || block < 0 || block > 0 && (size%block != 0 || size/block > mostBlocks) {
		return fmt.Errorf("pieces of %d bytes in blocks of %d", size, block)
	}
	return nil
}

// maxPiece is more than any piece that is written has: whoever reads a manifest has
// to hold one.
const maxPiece = 1 << 30

// mostBlocks is more than any piece has, for the same reason.
const mostBlocks = 1 << 16

// PieceCount returns how many pieces of piece bytes a file of size bytes has.
func PieceCount(size, piece int64) int64 { return (size + piece - 1) / piece }

// PieceHasher digests pieces, whole ones and the shorter one at the end of a file. It
// may be used by several goroutines.
type PieceHasher struct {
	size, block int64
	zeros       []byte // Of a block, or of a piece where there are no blocks.
	zero        string // The digest of a whole piece of zeros.
}

// NewPieceHasher returns one for pieces of size bytes in blocks of block bytes, which
// size is a multiple of, or none with 0.
func NewPieceHasher(size, block int64) *PieceHasher {
	h := &PieceHasher{size: size, block: block, zeros: make([]byte, cmp.Or(block, size))}
	if block > 0 {
		h.zero = h.Zeros(int(size))
	} else {
		sum := sha256.Sum256(h.zeros)
		h.zero = string(sum[:])
	}
	return h
}

// IsZero reports whether sum is the digest of a whole piece of zeros.
func (h *PieceHasher) IsZero(sum string) bool { return sum == h.zero }

// Zeros returns the digest of a piece of n zeros.
func (h *PieceHasher) Zeros(n int) string {
	if h.block > 0 {
		sum := sha256.Sum256(make([]byte, h.Blocks(n)*sha256.Size))
		return string(sum[:])
	}
	sum := h.Sum(h.zeros[:n])
	return string(sum[:])
}

// Blocks returns how many blocks a piece of n bytes has.
func (h *PieceHasher) Blocks(n int) int {
	if h.block == 0 {
		return 0
	}
	return int(PieceCount(int64(n), h.block))
}

// Sum returns the digest of a piece.
func (h *PieceHasher) Sum(piece []byte) [sha256.Size]byte {
	if h.block > 0 {
		digests := make([]byte, h.Blocks(len(piece))*sha256.Size)
		h.SumBlocks(piece, digests, nil)
		return sha256.Sum256(digests)
	}
	// That of a whole piece of zeros, of which images have many, it knows.
	if len(piece) == len(h.zeros) && bytes.Equal(piece, h.zeros) {
		return [sha256.Size]byte([]byte(h.zero))
	}
	return sha256.Sum256(piece)
}

// SumBlocks writes the digests of the blocks of a piece to digests, but for those that
// are known already; known may be nil. The SHA-256 of digests is that of the piece.
func (h *PieceHasher) SumBlocks(piece, digests []byte, known []bool) {
	for i := 0; len(piece) > 0; i++ {
		block := piece[:min(len(piece), int(h.block))]
		piece = piece[len(block):]
		if known != nil && known[i] {
			continue
		}
		digest := digests[i*sha256.Size : (i+1)*sha256.Size]
		if bytes.Equal(block, h.zeros[:len(block)]) {
			clear(digest)
			continue
		}
		sum := sha256.Sum256(block)
		copy(digest, sum[:])
	}
}
