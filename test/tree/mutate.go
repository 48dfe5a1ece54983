package tree

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// mutator changes one tree.
type mutator struct {
	dir     string
	source  *rand.ChaCha8
	rng     *rand.Rand
	count   int
	touched map[string]bool // Folders whose content changed.
}

// Mutate changes a fraction, between 0 and 1, of the files, symlinks and empty
// folders below dir, at least one when fraction is above 0: content with and
// without a change of size, mode and owner and xattrs, files added, deleted and
// renamed, and file, symlink and folder turned into each other. One folder with
// all its content gets another name. Times, also those of the folders, are set
// from the seed, so the same change of the same tree gives the same tree.
func Mutate(dir string, seed uint64, fraction float64) error {
	if !(fraction >= 0 && fraction <= 1) {
		return fmt.Errorf("fraction %v is not between 0 and 1", fraction)
	}
	if fraction == 0 {
		return nil
	}
	m := &mutator{dir: dir, source: newSource(seed, "mutate"), touched: map[string]bool{}}
	m.rng = rand.New(m.source)
	if err := m.renameFolder(); err != nil {
		return err
	}
	leaves, err := m.leaves()
	if err != nil {
		return err
	}
	m.rng.Shuffle(len(leaves), func(i, j int) { leaves[i], leaves[j] = leaves[j], leaves[i] })
	n := min(len(leaves), max(1, int(fraction*float64(len(leaves)))))
	for _, path := range leaves[:n] {
		if err := m.change(path); err != nil {
			return fmt.Errorf("change %q: %w", path, err)
		}
	}
	return m.stamp()
}

// leaves lists files, symlinks and empty folders in the order of their paths.
func (m *mutator) leaves() ([]string, error) {
	var leaves []string
	err := m.walk(func(path string, d fs.DirEntry) error {
		switch {
		case d.Type().IsRegular(), d.Type() == fs.ModeSymlink:
			leaves = append(leaves, path)
		case d.IsDir():
			entries, err := os.ReadDir(path)
			if err != nil {
				return err
			}
			if len(entries) == 0 {
				leaves = append(leaves, path)
			}
		}
		return nil
	})
	return leaves, err
}

// walk visits everything below dir but what Gluster itself keeps there.
func (m *mutator) walk(visit func(path string, d fs.DirEntry) error) error {
	return filepath.WalkDir(m.dir, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case path == m.dir:
			return nil
		case filepath.Dir(path) == m.dir && (d.Name() == ".trashcan" || d.Name() == ".glusterfs"):
			return fs.SkipDir
		}
		return visit(path, d)
	})
}

// renameFolder gives one folder, not one of the top ones, another name.
func (m *mutator) renameFolder() error {
	var folders []string
	err := m.walk(func(path string, d fs.DirEntry) error {
		if d.IsDir() && filepath.Dir(path) != m.dir && !strings.Contains(path, "/deep/") {
			folders = append(folders, path)
		}
		return nil
	})
	if err != nil || len(folders) == 0 {
		return err
	}
	return m.rename(folders[m.rng.IntN(len(folders))])
}

// change does something to one path that fits its type.
func (m *mutator) change(path string) error {
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	anything := []func(string) error{os.Remove, m.rename, m.toFile}
	switch {
	case info.IsDir():
		anything = append(anything, m.toSymlink)
	case info.Mode()&fs.ModeSymlink != 0:
		anything = append(anything, m.toFolder, m.toSymlink)
	default:
		// Files mostly change their content.
		anything = append(anything[:2], m.overwrite, m.overwrite, m.overwrite, m.lengthen, m.shorten,
			m.addBeside, m.properties, m.toSymlink, m.toFolder)
	}
	m.touched[filepath.Dir(path)] = true
	return anything[m.rng.IntN(len(anything))](path)
}

// fresh returns a name that the tree does not have yet.
func (m *mutator) fresh(path, kind string) string {
	for {
		m.count++
		name := filepath.Join(filepath.Dir(path), fmt.Sprintf("%s-%d", kind, m.count))
		if _, err := os.Lstat(name); errors.Is(err, fs.ErrNotExist) {
			return name
		}
	}
}

func (m *mutator) rename(path string) error {
	m.touched[filepath.Dir(path)] = true
	return os.Rename(path, m.fresh(path, "renamed"))
}

func (m *mutator) addBeside(path string) error { return m.add(m.fresh(path, "added")) }

func (m *mutator) add(path string) error {
	if err := writeRandom(path, m.rng.Int64N(20_000), m.source); err != nil {
		return err
	}
	return setTime(path, randomTime(m.rng))
}

func (m *mutator) toFile(path string) error {
	if err := os.Remove(path); err != nil {
		return err
	}
	return m.add(path)
}

func (m *mutator) toSymlink(path string) error {
	if err := os.Remove(path); err != nil {
		return err
	}
	if err := os.Symlink(fmt.Sprintf("../target-%d", m.rng.Uint32()), path); err != nil {
		return err
	}
	return setTime(path, randomTime(m.rng))
}

func (m *mutator) toFolder(path string) error {
	if err := os.Remove(path); err != nil {
		return err
	}
	if err := os.Mkdir(path, 0o755); err != nil {
		return err
	}
	m.touched[path] = true
	return m.add(filepath.Join(path, "inside"))
}

// overwrite changes up to 4 KiB in place and leaves the size alone.
func (m *mutator) overwrite(path string) error {
	return m.write(path, func(f *os.File, size int64) error {
		buf := make([]byte, min(size, 4096))
		_, _ = m.source.Read(buf)
		_, err := f.WriteAt(buf, m.rng.Int64N(size-int64(len(buf))+1))
		return err
	})
}

func (m *mutator) lengthen(path string) error {
	return m.write(path, func(f *os.File, size int64) error {
		_, err := f.WriteAt([]byte("more"), size)
		return err
	})
}

func (m *mutator) shorten(path string) error {
	return m.write(path, func(f *os.File, size int64) error { return f.Truncate(size / 2) })
}

func (m *mutator) write(path string, do func(f *os.File, size int64) error) error {
	f, err := os.OpenFile(path, os.O_RDWR|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if err := do(f, info.Size()); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return setTime(path, randomTime(m.rng))
}

// properties changes owner, mode and xattrs and leaves content and times alone.
func (m *mutator) properties(path string) error {
	if err := os.Lchown(path, m.rng.IntN(100_000), m.rng.IntN(100_000)); err != nil {
		return err
	}
	if err := unix.Chmod(path, m.rng.Uint32N(0o10000)); err != nil {
		return &fs.PathError{Op: "chmod", Path: path, Err: err}
	}
	return setXattr(path, "user.mutated", fmt.Append(nil, m.rng.Uint32()))
}

// stamp sets the times of the changed folders that are still there.
func (m *mutator) stamp() error {
	for _, path := range slices.Sorted(maps.Keys(m.touched)) {
		at := randomTime(m.rng)
		info, err := os.Lstat(path)
		if errors.Is(err, fs.ErrNotExist) || (err == nil && !info.IsDir()) {
			continue
		}
		if err != nil {
			return err
		}
		if err := setTime(path, at); err != nil {
			return err
		}
	}
	return nil
}
