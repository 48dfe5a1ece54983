package manifest_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/glusterbackupd/glusterbackupd/manifest"
)

const testPiece = 4096

// piecesOf digests content the plain way.
func piecesOf(content []byte) manifest.Pieces {
	p := manifest.Pieces{Size: testPiece}
	for len(content) > 0 {
		n := min(testPiece, len(content))
		sum := sha256.Sum256(content[:n])
		p.SHA256 += string(sum[:])
		content = content[n:]
	}
	return p
}

// image has pieces of data and of zeros, and a short one at its end.
func image() []byte {
	return bytes.Join([][]byte{bytes.Repeat([]byte{1}, testPiece), make([]byte, 2*testPiece), bytes.Repeat([]byte{2}, testPiece), []byte("end")}, nil)
}

func TestPieces(t *testing.T) {
	p := piecesOf(image())
	if p.Count() != 5 || p.Of(1) != p.Of(2) || p.Of(0) == p.Of(3) || len(p.Digest()) != 64 {
		t.Errorf("%d pieces", p.Count())
	}
	h := manifest.NewPieceHasher(testPiece)
	for n := range 5 {
		piece := image()[n*testPiece : min((n+1)*testPiece, len(image()))]
		if sum := h.Sum(piece); string(sum[:]) != p.Of(n) {
			t.Errorf("piece %d", n)
		}
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
		"empty": {Size: testPiece},
		"image": {Size: testPiece, Known: func(n int) string {
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
	if got["empty"].Pieces != (manifest.Pieces{Size: testPiece}) || known != 1 {
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
	older := strings.Replace(unpack(t, file), `"version":2`, `"version":1`, 1)
	if _, err := read(pack(t, older)); !errors.Is(err, manifest.ErrDamaged) {
		t.Errorf("digests of pieces in version 1: %v", err)
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
	for _, p := range []manifest.Pieces{{}, larger} {
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
