package main

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"

	"golang.org/x/sync/errgroup"
)

const perFolder = 50

// fileName is the path of small file i.
func fileName(dir string, i int) string {
	return filepath.Join(dir, fmt.Sprintf("%03d", i/perFolder/100), fmt.Sprintf("%05d", i/perFolder), fmt.Sprintf("file-%07d", i))
}

// writeFile writes content of log-normal size from the seeds.
func writeFile(path string, median float64, i, version uint64) error {
	rng := rand.New(rand.NewPCG(i, version))
	size := int(min(math.Exp(math.Log(median)+1.3*rng.NormFloat64()), 1<<20))
	content := make([]byte, size)
	for at := range content {
		content[at] = byte(rng.Uint32())
	}
	return os.WriteFile(path, content, 0o644)
}

// The medians of the sizes of small files in bytes: those of most cases, and those of
// a tree of which only the number of files counts.
const (
	small = 4096
	tiny  = 100
)

// fill makes n small files.
func fill(ctx context.Context, dir string, n int, median float64) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(16)
	for first := 0; first < n && ctx.Err() == nil; first += perFolder {
		g.Go(func() error {
			if err := os.MkdirAll(filepath.Dir(fileName(dir, first)), 0o755); err != nil {
				return err
			}
			for i := first; i < min(first+perFolder, n); i++ {
				if err := writeFile(fileName(dir, i), median, uint64(i), 1); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return g.Wait()
}

// changeOnePercent writes every hundredth file anew.
func changeOnePercent(dir string, n int, version uint64) error {
	for i := 0; i < n; i += 100 {
		if err := writeFile(fileName(dir, i), small, uint64(i), version); err != nil {
			return err
		}
	}
	return nil
}

const block = 4096

// writeImage makes an image of which 3 of each 8 pieces of 16 MiB hold data.
func writeImage(path string, size int64) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	// Small, because what this process takes counts for those that it starts.
	rng, buf := rand.NewChaCha8([32]byte{1}), make([]byte, 256<<10)
	for off := int64(0); off < size; off += int64(len(buf)) {
		if off/(16<<20)%8 >= 3 {
			continue
		}
		_, _ = rng.Read(buf)
		if _, err := f.WriteAt(buf[:min(int64(len(buf)), size-off)], off); err != nil {
			return err
		}
	}
	if err := f.Truncate(size); err != nil {
		return err
	}
	return f.Close()
}

// changeBlocks overwrites n of the blocks of the size bytes at off, chosen at
// random, and returns where they are.
func changeBlocks(path string, off, size, n int64, seed uint64) (at []int64, err error) {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	rng := rand.New(rand.NewPCG(seed, 2))
	buf := make([]byte, block)
	for range n {
		for i := range buf {
			buf[i] = byte(rng.Uint32())
		}
		at = append(at, off+rng.Int64N(size/block)*block)
		if _, err := f.WriteAt(buf, at[len(at)-1]); err != nil {
			return nil, err
		}
	}
	return at, f.Close()
}
