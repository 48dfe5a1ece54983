// Package tree fills a folder with everything that a file system can hold and
// changes a part of it again, so that tests can show that a backup and a
// restore lose nothing.
//
// What it makes depends on the seed and the options alone: two trees made with
// the same ones are equal in every property but access and change times (what is
// made directly in a setgid folder has that folder's group, though). The folder
// may be on a local file system or on a Gluster mount; the caller must be root.
// The package does not compare trees; package manifest does.
package tree

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// ErrNoACL says that the file system does not keep POSIX ACLs. A Gluster mount
// keeps them only with the mount option "acl".
var ErrNoACL = errors.New("no POSIX ACLs on this file system (a Gluster mount needs the option \"acl\")")

// Options say what Generate makes. The zero value is a small tree.
type Options struct {
	// Seed chooses contents, sizes, names and times.
	Seed uint64
	// Files is the number of small files; 0 means 200.
	Files int
	// BigFile is the size of the one big file in bytes; 0 means 4 MiB.
	BigFile int64
	// NoACL leaves out POSIX ACLs.
	NoACL bool
}

// builder makes one tree. Its methods fail on the first error.
type builder struct {
	Options
	dir    string
	source *rand.ChaCha8
	rng    *rand.Rand
	times  map[string]time.Time // Times that are not left to chance, by path.
	tops   []string             // What was made directly in dir.
}

// Generate fills the existing folder dir. What dir already holds stays, and it
// is an error when something of the same name is there. The times of dir itself
// are set, its mode and owner are not. An interrupted run leaves a part of the
// tree behind.
func Generate(dir string, o Options) error {
	if o.Files == 0 {
		o.Files = 200
	}
	if o.BigFile == 0 {
		o.BigFile = 4 << 20
	}
	b := &builder{Options: o, dir: dir, times: map[string]time.Time{}}
	b.source = newSource(o.Seed, "generate")
	b.rng = rand.New(b.source)
	steps := []struct {
		name string
		make func(section string) error
	}{
		{"acls", b.acls},
		{"big", b.big},
		{"deep", b.deep},
		{"devices", b.devices},
		{"empty", b.empty},
		{"hardlinks", b.hardlinks},
		{"modes", b.modes},
		{"names", b.names},
		{"owners", b.owners},
		{"small", b.small},
		{"sparse", b.sparse},
		{"symlinks", b.symlinks},
		{"times", b.pastAndFuture},
		{"xattrs", b.xattrs},
	}
	for _, s := range steps {
		if s.name == "acls" && o.NoACL {
			continue
		}
		section, err := b.section(s.name)
		if err != nil {
			return err
		}
		if err := s.make(section); err != nil {
			return fmt.Errorf("make %s: %w", s.name, err)
		}
	}
	if err := b.topNames(); err != nil {
		return err
	}
	return b.stamp()
}

// newSource returns the random source of one purpose of a seed.
func newSource(seed uint64, purpose string) *rand.ChaCha8 {
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], seed)
	copy(key[8:], purpose)
	return rand.NewChaCha8(key)
}

// section makes a folder directly in the tree's root.
func (b *builder) section(name string) (string, error) {
	b.tops = append(b.tops, name)
	return b.folder(b.dir, name)
}

// folder makes a folder of mode 0755.
func (b *builder) folder(parent, name string) (string, error) {
	path := filepath.Join(parent, name)
	if err := os.Mkdir(path, 0o755); err != nil {
		return "", err
	}
	return path, os.Chmod(path, 0o755)
}

// file makes a file of random content, mode 0644 whatever the umask is.
func (b *builder) file(parent, name string, size int64) (string, error) {
	path := filepath.Join(parent, name)
	return path, writeRandom(path, size, b.source)
}

// writeRandom makes a new file of size bytes from source.
func writeRandom(path string, size int64, source *rand.ChaCha8) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Chmod(0o644); err != nil {
		return err
	}
	buf := make([]byte, min(size, 1<<20))
	for size > 0 {
		piece := buf[:min(size, int64(len(buf)))]
		_, _ = source.Read(piece) // It never fails.
		if _, err := f.Write(piece); err != nil {
			return err
		}
		size -= int64(len(piece))
	}
	return f.Close()
}

// stamp sets the modification time of everything made, folders after what is
// in them and dir itself last.
func (b *builder) stamp() error {
	for _, top := range b.tops {
		if err := b.stampBelow(filepath.Join(b.dir, top)); err != nil {
			return err
		}
	}
	return setTime(b.dir, b.randomTime())
}

func (b *builder) stampBelow(path string) error {
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	if info.IsDir() {
		entries, err := os.ReadDir(path)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if err := b.stampBelow(filepath.Join(path, e.Name())); err != nil {
				return err
			}
		}
	}
	at, ok := b.times[path]
	if !ok {
		at = b.randomTime()
	}
	return setTime(path, at)
}

// randomTime is a moment with nanoseconds between 2001 and 2033.
func (b *builder) randomTime() time.Time { return randomTime(b.rng) }

func randomTime(rng *rand.Rand) time.Time {
	return time.Unix(1e9+rng.Int64N(1e9), rng.Int64N(1e9))
}

// setTime sets access and modification time of path, not of what it points to.
func setTime(path string, at time.Time) error {
	ts, err := unix.TimeToTimespec(at)
	if err != nil {
		return fmt.Errorf("time of %s: %w", path, err)
	}
	err = unix.UtimesNanoAt(unix.AT_FDCWD, path, []unix.Timespec{ts, ts}, unix.AT_SYMLINK_NOFOLLOW)
	if err != nil {
		return &fs.PathError{Op: "utimensat", Path: path, Err: err}
	}
	return nil
}
