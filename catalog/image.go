package catalog

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"io/fs"
	"os"
	"slices"

	"github.com/glusterbackupd/glusterbackupd/manifest"
)

// CopiedImage is a file that was copied piece by piece.
type CopiedImage struct {
	// Size is in bytes.
	Size int64
	// Pieces are its digests, as they were when it was copied.
	Pieces manifest.Pieces
	// Touched says of each block, or of each piece where Pieces have no blocks, whether
	// it was written. Others are taken as they are: holes of a new file, or what a clone
	// shares with the previous backup, which has the same digest there. What it leaves
	// out counts as written.
	Touched []bool
	// Blocks says that [Staging.Blocks] has the digests of the blocks. They are believed
	// where they make up the digest of a piece; without them all of a piece is read back
	// of which a block was written.
	Blocks bool
}

// openBlocks opens what [Staging.Blocks] has of the image; nil is nothing.
func (i CopiedImage) openBlocks(dir *os.Root) (*os.File, error) {
	if !i.Blocks {
		return nil, nil
	}
	f, err := openFile(dir, blocksName)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return f, err
}

// scan says how the image is read back, with what openBlocks opened.
func (i CopiedImage) scan(blocks *os.File) manifest.PieceScan {
	return manifest.PieceScan{
		Size: i.Pieces.Size, Block: i.Pieces.Block,
		Known: func(n int) string {
			touched := i.touched(n)
			if len(touched) == 0 || slices.Contains(touched, true) {
				return ""
			}
			return i.Pieces.Of(n)
		},
		KnownBlocks: func(n int, digests []byte, known []bool) {
			touched := i.touched(n)
			if blocks == nil || len(touched) != len(known) {
				return
			}
			if _, err := blocks.ReadAt(digests, int64(n)*i.blocksOfPiece()*sha256.Size); err != nil {
				return // All is read.
			}
			if sum := sha256.Sum256(digests); string(sum[:]) == i.Pieces.Of(n) {
				for b := range known {
					known[b] = !touched[b]
				}
			}
		},
	}
}

func (i CopiedImage) blocksOfPiece() int64 {
	return i.Pieces.Size / cmp.Or(i.Pieces.Block, i.Pieces.Size)
}

// touched returns what is said of the blocks of piece n: nothing where that is not all
// of them.
func (i CopiedImage) touched(n int) []bool {
	if n >= i.Pieces.Count() {
		return nil
	}
	per := int(i.blocksOfPiece())
	all := int(manifest.PieceCount(i.Size, cmp.Or(i.Pieces.Block, i.Pieces.Size)))
	first, end := n*per, min((n+1)*per, all)
	if end > len(i.Touched) || first >= end {
		return nil
	}
	return i.Touched[first:end]
}
