package catalog_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/glusterbackupd/glusterbackupd/catalog"
	"github.com/glusterbackupd/glusterbackupd/manifest"
)

// TestSampleOfFiles damages one file after the other: exactly one part of the
// samples finds it, and other damage is found by all.
func TestSampleOfFiles(t *testing.T) {
	const parts = 7
	r := newRepo(t)
	s, err := r.Begin(web, at(0))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for n := range 40 {
		files[fmt.Sprintf("dir-%d/file-%d", n%3, n)] = fmt.Sprint("content ", n)
	}
	write(t, s.Data(), files)
	if err := os.Link(filepath.Join(s.Data(), "dir-0/file-0"), filepath.Join(s.Data(), "dir-2/second")); err != nil {
		t.Fatal(err)
	}
	b, err := s.Publish(t.Context(), info(), catalog.PublishOptions{})
	if err != nil {
		t.Fatal(err)
	}
	read := int64(0)
	for name := range files {
		undo := flip(t, filepath.Join(b.DataDir(), name))
		if found := finders(t, b, parts, &read); len(found) != 1 {
			t.Errorf("damage of %s is found by the parts %v", name, found)
		}
		undo()
	}
	if whole := b.Summary.Bytes * int64(len(files)); read > whole {
		t.Errorf("the parts read %d bytes, all of it is %d", read, whole)
	}
	if err := os.Chmod(filepath.Join(b.DataDir(), "dir-1/file-1"), 0o640); err != nil {
		t.Fatal(err)
	}
	if found := finders(t, b, parts, &read); len(found) != parts {
		t.Errorf("another mode is found by the parts %v", found)
	}
	if err := os.Chmod(filepath.Join(b.DataDir(), "dir-1/file-1"), 0o600); err != nil {
		t.Fatal(err)
	}
}

// finders returns the parts that find the backup damaged, and adds what they read.
func finders(t *testing.T, b catalog.Backup, parts int, read *int64) (found []int) {
	t.Helper()
	for part := range parts {
		last := int64(0)
		err := b.Verify(t.Context(), catalog.VerifyOptions{
			Sample: catalog.Sample{Part: part, Parts: parts}, Progress: func(n int64) { last = n },
		})
		*read += last
		if errors.Is(err, catalog.ErrDamaged) {
			found = append(found, part)
		} else if err != nil {
			t.Fatal(err)
		}
	}
	return found
}

// TestSampleOfImages does the same with the pieces of an image.
func TestSampleOfImages(t *testing.T) {
	const piece, parts = 4096, 3
	r := newRepo(t)
	s, err := r.Begin(db, at(0))
	if err != nil {
		t.Fatal(err)
	}
	block := blockInfo().Block
	image := filepath.Join("block-store", block.GBID)
	content := bytes.Repeat([]byte("image"), 8*piece/5)
	write(t, s.Data(), map[string]string{"block-meta/" + block.Name: "VOLUME: vol_2\n", image: string(content)})
	copied := catalog.CopiedImage{Size: int64(len(content)), Pieces: manifest.Pieces{Size: piece}}
	for off := 0; off < len(content); off += piece {
		sum := sha256.Sum256(content[off:min(off+piece, len(content))])
		copied.Pieces.SHA256 += string(sum[:])
	}
	b, err := s.Publish(t.Context(), blockInfo(), catalog.PublishOptions{Images: map[string]catalog.CopiedImage{image: copied}})
	if err != nil {
		t.Fatal(err)
	}
	images, err := b.Images(t.Context())
	if err != nil || len(images) != 1 || images[image] != copied.Pieces {
		t.Errorf("images %v, %v", images, err)
	}
	if err := b.Verify(t.Context(), catalog.VerifyOptions{}); err != nil {
		t.Error(err)
	}
	read := int64(0)
	undo := flip(t, filepath.Join(b.DataDir(), image))
	defer undo()
	if found := finders(t, b, parts, &read); len(found) != 1 || read > int64(len(content))*3/2 {
		t.Errorf("damage of one piece is found by the parts %v, which read %d bytes", found, read)
	}
}

func TestSampleValidate(t *testing.T) {
	for s, good := range map[catalog.Sample]bool{
		{}: true, {Part: 0, Parts: 1}: true, {Part: 6, Parts: 7}: true,
		{Part: 1}: false, {Part: 7, Parts: 7}: false, {Part: -1, Parts: 7}: false, {Parts: -1}: false,
	} {
		if err := s.Validate(); (err == nil) != good {
			t.Errorf("%+v: %v", s, err)
		}
	}
}
