package manifest_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/glusterbackupd/glusterbackupd/manifest"
)

const (
	testPiece = 4096
	testBlock = 1024
)

// piecesOf digests content the plain way.
func piecesOf(content []byte) manifest.Pieces {
	p := manifest.Pieces{Size: testPiece, Block: testBlock}
	for piece := range slices.Chunk(content, testPiece) {
		sum := sha256.Sum256(blocksOf(piece))
		p.SHA256 += string(sum[:])
	}
	return p
}

// blocksOf are the digests of the blocks of a piece.
func blocksOf(piece []byte) (digests []byte) {
	for block := range slices.Chunk(piece, testBlock) {
		sum := sha256.Sum256(block)
		if !slices.ContainsFunc(block, func(b byte) bool { return b != 0 }) {
			clear(sum[:])
		}
		digests = append(digests, sum[:]...)
	}
	return digests
}

// wholePieces are the digests before version 3.
func wholePieces(content []byte) manifest.Pieces {
	p := manifest.Pieces{Size: testPiece}
	for piece := range slices.Chunk(content, testPiece) {
		sum := sha256.Sum256(piece)
		p.SHA256 += string(sum[:])
	}
	return p
}

// image has pieces of data and of zeros, and a short one at its end.
func image() []byte {
	return bytes.Join([][]byte{
		bytes.Repeat([]byte{1}, testPiece), make([]byte, 2*testPiece), make([]byte, testBlock), bytes.Repeat([]byte{2}, testPiece-testBlock), []byte("end"),
	}, nil)
}

func TestPieces(t *testing.T) {
	p := piecesOf(image())
	if p.Count() != 5 || p.Of(1) != p.Of(2) || p.Of(0) == p.Of(3) || len(p.Digest()) != 64 {
		t.Errorf("%d pieces", p.Count())
	}
	for _, p := range []manifest.Pieces{p, wholePieces(image())} {
		h := manifest.NewPieceHasher(testPiece, p.Block)
		for n := range 5 {
			piece := image()[n*testPiece : min((n+1)*testPiece, len(image()))]
			if sum := h.Sum(piece); string(sum[:]) != p.Of(n) {
				t.Errorf("piece %d in blocks of %d", n, p.Block)
			}
			if zero := n == 1 || n == 2; h.IsZero(p.Of(n)) != zero || (h.Zeros(testPiece) == p.Of(n)) != zero {
				t.Errorf("piece %d in blocks of %d is zero: %v", n, p.Block, !zero)
			}
		}
		end := make([]byte, testBlock+7)
		if sum := h.Sum(end); string(sum[:]) != h.Zeros(len(end)) {
			t.Errorf("zeros at the end in blocks of %d", p.Block)
		}
	}
}

// TestScanKnownBlocks reads only those blocks that are not known.
func TestScanKnownBlocks(t *testing.T) {
	root := t.TempDir()
	content := image()
	want := piecesOf(content)
	known := func(n, block int) bool { return (n+block)%3 == 0 }
	for n := range want.Count() {
		for block := range 4 {
			if at := n*testPiece + block*testBlock; known(n, block) && at < len(content) {
				content[at]++ // It must not be looked at.
			}
		}
	}
	put(t, filepath.Join(root, "image"), string(content))
	o := manifest.ScanOptions{Hash: true, Pieces: map[string]manifest.PieceScan{
		"image": {Size: testPiece, Block: testBlock, KnownBlocks: func(n int, digests []byte, which []bool) {
			copy(digests, blocksOf(image()[n*testPiece:min((n+1)*testPiece, len(image()))]))
			for i := range which {
				which[i] = known(n, i)
			}
		}},
	}}
	if got := scan(t, root, o)[1].Pieces; got != want {
		t.Errorf("%d pieces, as expected: %v", got.Count(), got == want)
	}
	content[testBlock]++ // Of the first piece, not known.
	put(t, filepath.Join(root, "image"), string(content))
	got := scan(t, root, o)[1].Pieces
	if got.Of(0) == want.Of(0) || got.SHA256[sha256.Size:] != want.SHA256[sha256.Size:] {
		t.Error("a block that is not known was not looked at")
	}
}

// TestScanPieces reads a file with holes piece by piece, some of them known.
func TestScanPieces(t *testing.T) {
	root := t.TempDir()
	put(t, filepath.Join(root, "image"), string(image()))
	put(t, filepath.Join(root, "empty"), "")
	if err := os.Link(filepath.Join(root, "image"), filepath.Join(root, "second")); err != nil {
		t.Fatal(err)
	}
	known := 0
	scanned := manifest.ScanOptions{Hash: true, Pieces: map[string]manifest.PieceScan{
		"empty": {Size: testPiece, Block: testBlock},
		"image": {Size: testPiece, Block: testBlock, Known: func(n int) string {
			if n != 3 {
				return ""
			}
			known++
			return strings.Repeat("k", sha256.Size)
		}},
	}}
	got := map[string]manifest.Entry{}
	for _, e := range scan(t, root, scanned) {
		got[e.Path] = e
	}
	want := piecesOf(image())
	want.SHA256 = want.SHA256[:3*sha256.Size] + strings.Repeat("k", sha256.Size) + want.SHA256[4*sha256.Size:]
	for _, name := range []string{"image", "second"} {
		if got[name].Pieces != want || got[name].SHA256 != "" {
			t.Errorf("%s: %+v", name, got[name])
		}
	}
	if got["empty"].Pieces != (manifest.Pieces{Size: testPiece, Block: testBlock}) || known != 1 {
		t.Errorf("empty: %+v, asked %d times", got["empty"], known)
	}
	// What was scanned outlives the manifest file.
	var entries []manifest.Entry
	for _, name := range []string{".", "empty", "image", "second"} {
		entries = append(entries, got[name])
	}
	file, _ := write(t, entries)
	back, err := read(file)
	if diff := cmp.Diff(entries, back); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
	for _, version := range []string{"1", "2"} {
		older := strings.Replace(unpack(t, file), `"version":3`, `"version":`+version, 1)
		if _, err := read(pack(t, older)); !errors.Is(err, manifest.ErrDamaged) {
			t.Errorf("digests of pieces in blocks in version %s: %v", version, err)
		}
	}
}

// TestScanPiecesUnreadable has the file be another one than it was.
func TestScanPiecesUnreadable(t *testing.T) {
	root := t.TempDir()
	put(t, filepath.Join(root, "image"), string(image()))
	o := manifest.ScanOptions{Hash: true, Pieces: map[string]manifest.PieceScan{"image": {Size: testPiece, Known: func(n int) string {
		if n == 0 { // Once its size is known.
			if err := os.Truncate(filepath.Join(root, "image"), testPiece+1); err != nil {
				t.Error(err)
			}
		}
		return ""
	}}}}
	err := manifest.Scan(t.Context(), root, o, func(manifest.Entry) error { return nil })
	if !errors.Is(err, manifest.ErrChanged) {
		t.Errorf("a file that was cut off: %v", err)
	}
}

func TestComparePieces(t *testing.T) {
	entry := func(p manifest.Pieces) []manifest.Entry {
		return []manifest.Entry{{Path: "image", Type: manifest.File, Size: int64(len(image())), Pieces: p}}
	}
	if d := compare(t, entry(piecesOf(image())), entry(piecesOf(image())), manifest.CompareOptions{}); len(d) != 0 {
		t.Errorf("equal pieces: %v", d)
	}
	other := image()
	other[testPiece+7], other[3*testPiece] = 1, 1
	d := compare(t, entry(piecesOf(image())), entry(piecesOf(other)), manifest.CompareOptions{})
	if len(d) != 1 || d[0].Kind != manifest.DiffContent || !strings.Contains(d[0].String(), "at byte 4096, first of 2 pieces") {
		t.Errorf("two pieces differ: %v", d)
	}
	larger := piecesOf(image())
	larger.Size *= 2
	for _, p := range []manifest.Pieces{{}, larger, wholePieces(image())} {
		err := manifest.Compare(sequence(entry(piecesOf(image()))), sequence(entry(p)), manifest.CompareOptions{}, func(manifest.Difference) error { return nil })
		if !errors.Is(err, manifest.ErrNoHash) {
			t.Errorf("pieces of another size: %v", err)
		}
	}
}

func TestWriterRefusesPieces(t *testing.T) {
	good := piecesOf(image())
	for name, e := range map[string]manifest.Entry{
		"too few":     {Type: manifest.File, Size: int64(len(image())) + testPiece, Pieces: good},
		"too many":    {Type: manifest.File, Size: 4 * testPiece, Pieces: good},
		"cut off":     {Type: manifest.File, Size: int64(len(image())), Pieces: manifest.Pieces{Size: testPiece, SHA256: good.SHA256[1:]}},
		"blocks":      {Type: manifest.File, Size: int64(len(image())), Pieces: manifest.Pieces{Size: testPiece, Block: testBlock + 1, SHA256: good.SHA256}},
		"no size":     {Type: manifest.File, Size: int64(len(image())), Pieces: manifest.Pieces{SHA256: good.SHA256}},
		"of a folder": {Type: manifest.Dir, Pieces: manifest.Pieces{Size: testPiece}},
		"and a sum":   {Type: manifest.File, Size: int64(len(image())), Pieces: good, SHA256: sum},
	} {
		w, err := manifest.NewWriter(io.Discard)
		if err != nil {
			t.Fatal(err)
		}
		e.Path = "."
		if err := w.Write(e); err == nil {
			t.Errorf("%s: written", name)
		}
	}
}

func TestInodesAreAddedOnce(t *testing.T) {
	var s manifest.Inodes
	const inodes = 200_000
	wrong := 0
	for ino := range uint64(inodes) {
		if !s.Add(ino<<20 + 7) {
			wrong++
		}
	}
	if wrong > 2 {
		t.Errorf("%d of %d new inodes were taken for old ones", wrong, inodes)
	}
	for ino := range uint64(inodes) {
		if s.Add(ino<<20 + 7) {
			t.Fatalf("inode %d was added twice", ino<<20+7)
		}
	}
}
