package catalog_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/glusterbackupd/glusterbackupd/catalog"
	"github.com/glusterbackupd/glusterbackupd/manifest"
)

func TestPublish(t *testing.T) {
	r := newRepo(t)
	s, err := r.Begin(web, at(0).Add(999))
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := s.Previous(); ok || s.ID() != "20181202T030000Z" || s.Key() != web {
		t.Errorf("staging %s of %s has a previous: %v", s.ID(), s.Key(), ok)
	}
	if got := ids(t, r.Repository, web); got != nil {
		t.Errorf("an unfinished backup is listed: %q", got)
	}
	if err := stage(s, 0); err != nil {
		t.Fatal(err)
	}
	var seen int64
	made, err := s.Publish(t.Context(), info(), catalog.PublishOptions{Progress: func(n int64) { seen = n }})
	if err != nil {
		t.Fatal(err)
	}
	if seen == 0 || seen != made.Summary.Bytes {
		t.Errorf("progress ended at %d of %d bytes", seen, made.Summary.Bytes)
	}
	found, err := r.Find(web, "latest")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(made, found, cmp.AllowUnexported(catalog.Backup{}), cmp.Comparer(samePointer)); diff != "" {
		t.Errorf("published and found differ:\n%s", diff)
	}
	if diff := cmp.Diff(info(), found.Info); diff != "" {
		t.Errorf("info differs:\n%s", diff)
	}
	if !found.Time.Equal(at(0)) || found.DataDir() != filepath.Join(r.Root(), "shop/web/20181202T030000Z/data") {
		t.Errorf("time %s, data %s", found.Time, found.DataDir())
	}
	checkObjects(t, found)
	checkFinished(t, s)
}

func samePointer(a, b *catalog.Repository) bool { return a == b }

func checkObjects(t *testing.T, b catalog.Backup) {
	t.Helper()
	content, err := b.Object("pvc.json")
	if err != nil || string(content) != `{"kind":"PersistentVolumeClaim"}` {
		t.Errorf("object %q, %v", content, err)
	}
	if _, err := b.Object("../backup.json"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing object: %v", err)
	}
}

func checkFinished(t *testing.T, s *catalog.Staging) {
	t.Helper()
	if err := errors.Join(s.Abort(), s.Abort()); err != nil {
		t.Errorf("abort after publish: %v", err)
	}
	if _, err := s.Publish(t.Context(), info(), catalog.PublishOptions{}); !errors.Is(err, catalog.ErrFinished) {
		t.Errorf("second publish: %v", err)
	}
	if err := s.WriteObject("late.json", nil); !errors.Is(err, catalog.ErrFinished) {
		t.Errorf("object after publish: %v", err)
	}
}

func TestBeginExisting(t *testing.T) {
	r := newRepo(t)
	r.backup(web, 0)
	if _, err := r.Begin(web, at(0)); !errors.Is(err, fs.ErrExist) {
		t.Errorf("begin of a finished backup: %v", err)
	}
	s, err := r.Begin(web, at(1))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Begin(web, at(1)); !errors.Is(err, fs.ErrExist) {
		t.Errorf("begin of a running backup: %v", err)
	}
	if _, err := r.Begin(catalog.Key{Namespace: "a", Claim: "../b"}, at(1)); !errors.Is(err, catalog.ErrKey) {
		t.Errorf("begin of a bad key: %v", err)
	}
	if _, err := r.Begin(web, at(0).AddDate(10000, 0, 0)); !errors.Is(err, catalog.ErrTime) {
		t.Errorf("begin in the year 12018: %v", err)
	}
	if err := errors.Join(s.Abort(), s.Abort()); err != nil {
		t.Error(err)
	}
}

func TestWriteObjectNames(t *testing.T) {
	r := newRepo(t)
	s, err := r.Begin(web, at(0))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Abort(); err != nil {
			t.Error(err)
		}
	})
	for _, name := range []string{"", ".", "..", "a/b", "../x", ".hidden", "A", "a\n", strings.Repeat("a", 101)} {
		if err := s.WriteObject(name, nil); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("object %q: %v", name, err)
		}
	}
	if err := s.WriteObject("pv.json", []byte("1")); err != nil {
		t.Error(err)
	}
	if err := s.WriteObject("pv.json", []byte("2")); !errors.Is(err, fs.ErrExist) {
		t.Errorf("same object again: %v", err)
	}
}

func TestPublishInfo(t *testing.T) {
	r := newRepo(t)
	bad := map[string]catalog.Info{
		"no kind":       {Volume: "v"},
		"other kind":    {Kind: "tape"},
		"block without": {Kind: catalog.KindBlock},
		"file with":     {Kind: catalog.KindFile, Block: &catalog.BlockInfo{}},
	}
	for name, info := range bad {
		s, err := r.Begin(web, at(0))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Publish(t.Context(), info, catalog.PublishOptions{}); err == nil {
			t.Errorf("%s was published", name)
		}
		if err := s.Abort(); err != nil {
			t.Error(err)
		}
	}
	if len(tree(t, r.Root())) != 4 {
		t.Errorf("left: %q", tree(t, r.Root()))
	}
}

// TestHashReuse changes a byte of the previous backup behind the back of its
// times: a hard link to it takes its hash from there and is not read, so that
// the damage shows in both; a file of its own is read.
func TestHashReuse(t *testing.T) {
	r := newRepo(t)
	first := r.backup(web, 0)
	s, err := r.Begin(web, at(1))
	if err != nil {
		t.Fatal(err)
	}
	if err := stage(s, 1); err != nil {
		t.Fatal(err)
	}
	undo := flip(t, filepath.Join(first.DataDir(), "big"))
	second, err := s.Publish(t.Context(), info(), catalog.PublishOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if a, b := hashes(t, first), hashes(t, second); a["big"] != b["big"] || a["locked/same"] != b["big"] || b["file-1"] == "" {
		t.Errorf("hashes %v, then %v", a, b)
	}
	for _, b := range []catalog.Backup{first, second} {
		if err := b.Verify(t.Context(), catalog.VerifyOptions{}); !errors.Is(err, catalog.ErrDamaged) {
			t.Errorf("damage is not noticed: %v", err)
		}
	}
	undo()
}

// TestDamagedReference shows that a previous backup whose manifest is damaged
// is no source of hashes, and no obstacle either.
func TestDamagedReference(t *testing.T) {
	r := newRepo(t)
	first := r.backup(web, 0)
	undo := flip(t, filepath.Join(first.Dir, "manifest.zst"))
	second := r.backup(web, 1)
	if err := second.Verify(t.Context(), catalog.VerifyOptions{}); err != nil {
		t.Error(err)
	}
	undo()
	if a, b := hashes(t, first), hashes(t, second); a["big"] != b["big"] {
		t.Errorf("hashes %v, then %v", a, b)
	}
}

func hashes(t *testing.T, b catalog.Backup) map[string]string {
	t.Helper()
	all := map[string]string{}
	for e, err := range b.Manifest(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		all[e.Path] = e.SHA256
	}
	return all
}

// flip changes one byte in the middle of a file, keeps its times, and returns
// the way back.
func flip(t *testing.T, path string) (undo func()) {
	t.Helper()
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	change := func(content []byte) {
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		_, err = f.WriteAt(content, 0)
		if err := errors.Join(err, f.Close(), os.Chtimes(path, st.ModTime(), st.ModTime())); err != nil {
			t.Fatal(err)
		}
	}
	damaged := append([]byte(nil), content...)
	damaged[len(damaged)/2] ^= 4
	change(damaged)
	return func() { change(content) }
}

// TestImages publishes files that were copied piece by piece.
func TestImages(t *testing.T) {
	sum := sha256.Sum256([]byte("content 0"))
	right := manifest.Pieces{Size: 4096, SHA256: string(sum[:])}
	wrong := manifest.Pieces{Size: 4096, SHA256: strings.Repeat("0", 32)}
	many := manifest.Pieces{Size: 1, SHA256: strings.Repeat("0", 320)}
	blocks, digests := inBlocks("content 0", 8, 4)
	// The second block is another one.
	other, otherDigests := inBlocks("contEnt 0", 8, 4)
	second, first := []bool{false, true, false}, []bool{true, false, false}
	tests := map[string]struct {
		path  string
		image catalog.CopiedImage
		kind  manifest.Kind
		said  []byte // The digests of blocks.
	}{
		"right":               {path: "file-0", image: catalog.CopiedImage{Size: 9, Pieces: right, Touched: []bool{true}}},
		"wrong":               {path: "file-0", image: catalog.CopiedImage{Size: 9, Pieces: wrong, Touched: []bool{true}}, kind: manifest.DiffContent},
		"not written":         {path: "file-0", image: catalog.CopiedImage{Size: 9, Pieces: wrong, Touched: []bool{false}}},
		"not said":            {path: "file-0", image: catalog.CopiedImage{Size: 9, Pieces: wrong}, kind: manifest.DiffContent},
		"more pieces":         {path: "file-0", image: catalog.CopiedImage{Size: 9, Pieces: many, Touched: make([]bool, 10)}, kind: manifest.DiffContent},
		"shorter":             {path: "file-0", image: catalog.CopiedImage{Size: 10, Pieces: right, Touched: make([]bool, 1)}, kind: manifest.DiffSize},
		"missing":             {path: "none/at/all", image: catalog.CopiedImage{Size: 9, Pieces: right}, kind: manifest.DiffMissing},
		"no file":             {path: "absolute", image: catalog.CopiedImage{Pieces: right}, kind: manifest.DiffContent},
		"blocks":              {path: "file-0", said: digests, image: catalog.CopiedImage{Size: 9, Pieces: blocks, Touched: second, Blocks: true}},
		"other block":         {path: "file-0", said: otherDigests, image: catalog.CopiedImage{Size: 9, Pieces: other, Touched: second, Blocks: true}, kind: manifest.DiffContent},
		"other block, kept":   {path: "file-0", said: otherDigests, image: catalog.CopiedImage{Size: 9, Pieces: other, Touched: first, Blocks: true}},
		"digests of others":   {path: "file-0", said: otherDigests, image: catalog.CopiedImage{Size: 9, Pieces: blocks, Touched: first, Blocks: true}},
		"not to be used":      {path: "file-0", said: otherDigests, image: catalog.CopiedImage{Size: 9, Pieces: other, Touched: first}, kind: manifest.DiffContent},
		"digests are missing": {path: "file-0", image: catalog.CopiedImage{Size: 9, Pieces: other, Touched: first, Blocks: true}, kind: manifest.DiffContent},
		"digests are cut off": {path: "file-0", said: otherDigests[:40], image: catalog.CopiedImage{Size: 9, Pieces: other, Touched: first, Blocks: true}, kind: manifest.DiffContent},
		"touched is cut off":  {path: "file-0", said: otherDigests, image: catalog.CopiedImage{Size: 9, Pieces: other, Touched: first[:1], Blocks: true}, kind: manifest.DiffContent},
		"link file":           {path: "dangling/x", image: catalog.CopiedImage{Size: 9, Pieces: right}, kind: manifest.DiffMissing},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := newRepo(t)
			s, err := r.Begin(web, at(0))
			if err != nil {
				t.Fatal(err)
			}
			if err := stage(s, 0); err != nil {
				t.Fatal(err)
			}
			if tt.said != nil {
				write(t, filepath.Dir(s.Blocks()), map[string]string{filepath.Base(s.Blocks()): string(tt.said)})
			}
			b, err := s.Publish(t.Context(), blockInfo(), catalog.PublishOptions{Images: map[string]catalog.CopiedImage{tt.path: tt.image}})
			if tt.kind == "" {
				// What was not read back is found by Verify.
				if damaged := b.Verify(t.Context(), catalog.VerifyOptions{}); err != nil || errors.Is(damaged, catalog.ErrDamaged) != (tt.image.Pieces == wrong || tt.image.Pieces == other) {
					t.Errorf("published: %v; verified: %v", err, damaged)
				}
				if err := os.RemoveAll(b.Dir); err != nil {
					t.Fatal(err)
				}
				r.sweep()
				return
			}
			remedy(t, err, catalog.ErrDamaged)
			var damage *catalog.DamageError
			if !errors.As(err, &damage) || damage.Total != 1 || damage.Differences[0].Kind != tt.kind {
				t.Errorf("error %v", err)
			}
			if err := s.Abort(); err != nil {
				t.Error(err)
			}
			if got := ids(t, r.Repository, web); got != nil {
				t.Errorf("listed: %q", got)
			}
		})
	}
}

// TestCopied compares what is read back with what a copy engine read.
func TestCopied(t *testing.T) {
	sum := sha256.Sum256([]byte("content 0"))
	right := hex.EncodeToString(sum[:])
	for name, damaged := range map[string]bool{"as copied": false, "other content": true} {
		t.Run(name, func(t *testing.T) {
			r := newRepo(t)
			s, err := r.Begin(web, at(0))
			if err != nil {
				t.Fatal(err)
			}
			if err := stage(s, 0); err != nil {
				t.Fatal(err)
			}
			asked := 0
			_, err = s.Publish(t.Context(), info(), catalog.PublishOptions{Copied: func(path, got string) (bool, bool) {
				asked++
				return path == "file-0", (got == right) != damaged
			}})
			var damage *catalog.DamageError
			switch {
			case asked < 2:
				t.Errorf("asked for %d files", asked)
			case !damaged && err != nil:
				t.Error(err)
			case damaged && (!errors.As(err, &damage) || damage.Total != 1 || damage.Differences[0].Path != "file-0"):
				t.Errorf("error %v", err)
			}
			if err := s.Abort(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestPublishCancelled(t *testing.T) {
	r := newRepo(t)
	s, err := r.Begin(web, at(0))
	if err != nil {
		t.Fatal(err)
	}
	if err := stage(s, 0); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	reason := errors.New("shutdown")
	cancel(reason)
	if _, err := s.Publish(ctx, info(), catalog.PublishOptions{}); !errors.Is(err, reason) {
		t.Errorf("publish: %v", err)
	}
	if err := s.Abort(); err != nil {
		t.Error(err)
	}
}

// TestParallel makes backups of several claims at once, as the daemon does,
// while others are removed and swept.
func TestParallel(t *testing.T) {
	r := newRepo(t)
	old := r.backup(web, 0)
	done := make(chan error)
	const claims = 3
	for n := range claims {
		go func() {
			_, err := makeBackup(r.Repository, catalog.Key{Namespace: "shop", Claim: fmt.Sprintf("c%d", n)}, 1)
			done <- err
		}()
	}
	go func() { done <- second(r.Sweep(t.Context())) }()
	go func() { done <- r.Remove(t.Context(), old) }()
	for range claims + 2 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if keys, err := r.Keys(); err != nil || len(keys) != claims {
		t.Errorf("keys %v, %v", keys, err)
	}
}

// TestReplacedPartial exchanges the folder of a running backup.
func TestReplacedPartial(t *testing.T) {
	r := newRepo(t)
	s, err := r.Begin(web, at(0))
	if err != nil {
		t.Fatal(err)
	}
	partial := filepath.Dir(s.Data())
	away := filepath.Join(tempDir(t), "away")
	if err := os.Rename(partial, away); err != nil {
		t.Fatal(err)
	}
	copyTree(t, away, partial)
	if _, err := s.Publish(t.Context(), info(), catalog.PublishOptions{}); !errors.Is(err, catalog.ErrNotRepository) {
		t.Errorf("publish: %v", err)
	}
	if err := s.Abort(); !errors.Is(err, catalog.ErrNotRepository) {
		t.Errorf("abort: %v", err)
	}
	r.sweep("shop/web/20181202T030000Z.partial")
}

// inBlocks digests content in pieces of blocks, and returns the digests of these, too.
func inBlocks(content string, piece, block int64) (p manifest.Pieces, blocks []byte) {
	p = manifest.Pieces{Size: piece, Block: block}
	h := manifest.NewPieceHasher(piece, block)
	for part := range slices.Chunk([]byte(content), int(piece)) {
		digests := make([]byte, h.Blocks(len(part))*sha256.Size)
		h.SumBlocks(part, digests, nil)
		sum := sha256.Sum256(digests)
		p.SHA256 += string(sum[:])
		blocks = append(blocks, digests...)
	}
	return p, blocks
}
