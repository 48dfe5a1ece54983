package catalog

import (
	"context"
	"fmt"
	"hash/fnv"

	"github.com/glusterbackupd/glusterbackupd/manifest"
)

// Sample is one of several parts of the content of backups: some of the files, and
// some of the pieces of each image. What is in which part depends on names only, so
// that whoever reads one part a day has read everything after as many days as there
// are parts. The zero value is everything.
type Sample struct {
	// Part counts from 0.
	Part int
	// Parts is how many there are; 0 and 1 are everything.
	Parts int
}

// Validate says what is wrong with the sample.
func (s Sample) Validate() error {
	if s.Parts < 0 || s.Part < 0 || s.Part >= max(1, s.Parts) {
		return fmt.Errorf("part %d of %d does not exist", s.Part+1, s.Parts)
	}
	return nil
}

func (s Sample) limits() bool { return s.Parts > 1 }

// has reports whether the content of the file at path is in the sample.
func (s Sample) has(path string) bool {
	h := fnv.New64a()
	_, _ = h.Write([]byte(path))                       // It never fails.
	return h.Sum64()%uint64(s.Parts) == uint64(s.Part) //nolint:gosec // Neither is negative.
}

// others returns what a scan need not read of an image: the pieces that are not in
// the sample, which it takes as they should be.
func (s Sample) others(p manifest.Pieces) func(n int) string {
	if !s.limits() {
		return nil
	}
	return func(n int) string {
		if n%s.Parts == s.Part || n >= p.Count() {
			return ""
		}
		return p.Of(n)
	}
}

// Images returns the digests of the images that the backup holds piece by piece, by
// their path below the data.
func (b Backup) Images(ctx context.Context) (map[string]manifest.Pieces, error) {
	if b.Info.Block == nil {
		return nil, nil
	}
	images := map[string]manifest.Pieces{}
	for e, err := range b.Manifest(ctx) {
		if err != nil {
			return nil, err
		}
		if e.Pieces.Size > 0 {
			images[e.Path] = e.Pieces
		}
	}
	return images, nil
}
