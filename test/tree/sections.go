package tree

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// oddNames are names that tools tend to trip over: in shells, in rsync's filter
// rules and wildcards, in option parsing, in line-based lists and in sorting.
func oddNames() []string {
	return []string{
		" leading space", "trailing space ", "with space", "tab\there", "new\nline", "\n",
		"carriage\rreturn", "invalid-\xff\xfe-utf8", "\xc3\x28", "overlong-\xc0\xaf", "bell\a\x01\x7f",
		"-rf", "--delete", "-", "...", ".hidden", "*", "?", "[a-z]", "[!a]", "**", "{a,b}", "~", "~root",
		"$HOME", "$(id)", "`id`", "a;b", "a&b", "a|b", "a>b", "'quote'", "\"double\"", "back\\slash", "\\n",
		"\\#012", "%41", "%", "%%", "#hash#", "a:b", "host::module", "+ *", "- *", ".rsync-filter",
		".name.Ab12Cd", "core", "CVS", "thumbs~", "Ünïcödé", "Unico\u0308de", "日本語", "\u202eright-to-left",
	}
}

// names makes a file and a folder with a file for each odd name, names of 255
// bytes, and names whose order differs from the order of whole paths.
func (b *builder) names(section string) error {
	long := []string{
		strings.Repeat("n", 255), strings.Repeat("\xfe", 255),
		strings.Repeat("é", 127) + "!", strings.Repeat("\n", 255),
	}
	for i, name := range append(oddNames(), long...) {
		parent, err := b.folder(section, fmt.Sprintf("%03d", i))
		if err != nil {
			return err
		}
		if _, err := b.file(parent, name, 10+b.rng.Int64N(90)); err != nil {
			return err
		}
		other, err := b.folder(section, name)
		if err != nil {
			return err
		}
		if _, err := b.file(other, name, 10+b.rng.Int64N(90)); err != nil {
			return err
		}
	}
	order, err := b.folder(section, "a")
	if err != nil {
		return err
	}
	if _, err := b.file(order, "b", 1); err != nil {
		return err
	}
	for _, name := range []string{"a b", "a!", "a-b", "a.b", "a0", "A", "a\x01"} {
		if _, err := b.file(section, name, 1); err != nil {
			return err
		}
	}
	return nil
}

// topNames makes files and folders with odd names directly in the root.
func (b *builder) topNames() error {
	for _, name := range []string{"-rf", "*", ".rsync-filter", "top\nname \xff"} {
		b.tops = append(b.tops, name)
		if _, err := b.file(b.dir, name, 20); err != nil {
			return err
		}
	}
	section, err := b.section("--exclude=*")
	if err != nil {
		return err
	}
	_, err = b.file(section, "kept", 20)
	return err
}

// deep makes one path of many folders and one of long names. Both stay below
// PATH_MAX with some 1000 bytes for the place where the tree is.
func (b *builder) deep(section string) error {
	many := strings.Repeat("d/", 100)
	long := strings.Repeat(strings.Repeat("L", 250)+"/", 11)
	for _, chain := range []string{many, long} {
		path := section
		for name := range strings.SplitSeq(strings.TrimSuffix(chain, "/"), "/") {
			next, err := b.folder(path, name)
			if err != nil {
				return err
			}
			path = next
		}
		if _, err := b.file(path, "bottom", 100); err != nil {
			return err
		}
	}
	return nil
}

// hardlinks makes inodes with several names, across folders: files, one of
// them big and one empty, a symlink and a FIFO.
func (b *builder) hardlinks(section string) error {
	var folders []string
	for _, name := range []string{"z", "a", "m", "m/n"} {
		path := filepath.Join(section, name)
		if err := os.Mkdir(path, 0o755); err != nil {
			return err
		}
		folders = append(folders, path)
	}
	for _, f := range []struct {
		name string
		size int64
	}{{"empty", 0}, {"file", 5000}, {"big", 300_000}} {
		if _, err := b.file(folders[0], f.name, f.size); err != nil {
			return err
		}
	}
	if err := os.Symlink("file", filepath.Join(folders[0], "symlink")); err != nil {
		return err
	}
	if err := unix.Mkfifo(filepath.Join(folders[0], "fifo"), 0o600); err != nil {
		return err
	}
	for _, name := range []string{"empty", "file", "big", "symlink", "fifo"} {
		for i, folder := range folders[1:] {
			if err := os.Link(filepath.Join(folders[0], name), filepath.Join(folder, fmt.Sprint(name, i))); err != nil {
				return err
			}
		}
	}
	return nil
}

// symlinks makes symlinks of each kind, among them ones that point out of the
// tree and to themselves. XFS, which bricks have, allows 1023 bytes.
func (b *builder) symlinks(section string) error {
	if _, err := b.file(section, "file", 50); err != nil {
		return err
	}
	targets := map[string]string{
		"relative": "file", "absolute": "/etc/passwd", "dangling": "no/such/file", "self": "self",
		"folder": ".", "up": "../../../../../../..", "outside": "/", "long": strings.Repeat("x/", 500),
		"invalid-utf8": "\xff\xfe", "newline": "a\nb", "dash": "-rf", "trailing": "file/", "double": "a//b",
		"percent": "%41%", "link\xff": "file",
	}
	for _, name := range sortedKeys(targets) {
		path := filepath.Join(section, name)
		if err := os.Symlink(targets[name], path); err != nil {
			return err
		}
		if len(name)%2 == 0 {
			if err := os.Lchown(path, 70002, 70003); err != nil {
				return err
			}
		}
	}
	return nil
}

// devices makes what is neither file nor folder nor symlink. XFS has 18 bits
// for a minor number.
func (b *builder) devices(section string) error {
	nodes := []struct {
		name         string
		mode         uint32
		major, minor uint32
	}{
		{"fifo", unix.S_IFIFO | 0o640, 0, 0},
		{"socket", unix.S_IFSOCK | 0o755, 0, 0},
		{"null", unix.S_IFCHR | 0o666, 1, 3},
		{"char-large", unix.S_IFCHR | 0o600, 511, 70_000},
		{"block", unix.S_IFBLK | 0o660, 7, 200},
		{"block-large", unix.S_IFBLK | 0o600, 259, 250_000},
	}
	for _, n := range nodes {
		path := filepath.Join(section, n.name)
		if err := unix.Mknod(path, n.mode, int(unix.Mkdev(n.major, n.minor))); err != nil {
			return fmt.Errorf("mknod %s: %w", path, err)
		}
		if err := os.Chmod(path, os.FileMode(n.mode&0o777)); err != nil {
			return err
		}
	}
	return os.Chown(filepath.Join(section, "fifo"), 70_000, 70_001)
}

// sparse makes files with holes at the start, in the middle, at the end, and
// everywhere.
func (b *builder) sparse(section string) error {
	const size, piece = 8 << 20, 64 << 10
	data := map[string][]int64{
		"hole-start": {size - piece}, "hole-middle": {0, size - piece}, "hole-end": {0},
		"hole-only": {}, "many-holes": {1 << 20, 2<<20 + 100, 5 << 20}, "odd-size": {4095},
	}
	for _, name := range sortedKeys(data) {
		path := filepath.Join(section, name)
		f, err := os.Create(path)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := f.Truncate(size + int64(len(name))); err != nil {
			return err
		}
		for _, off := range data[name] {
			buf := make([]byte, piece)
			_, _ = b.source.Read(buf)
			if _, err := f.WriteAt(buf, off); err != nil {
				return err
			}
		}
		if err := f.Close(); err != nil {
			return err
		}
	}
	return nil
}

// empty makes empty files and folders.
func (b *builder) empty(section string) error {
	if _, err := b.file(section, "file", 0); err != nil {
		return err
	}
	_, err := b.folder(section, "folder")
	return err
}

// pastAndFuture makes files, folders and symlinks with times before 1970 and
// after 2038.
func (b *builder) pastAndFuture(section string) error {
	times := map[string]time.Time{
		"1931":        time.Date(1931, 7, 4, 1, 2, 3, 123_456_789, time.UTC),
		"before-1970": time.Unix(-1, 999_999_999),
		"epoch":       time.Unix(0, 0),
		"epoch-1ns":   time.Unix(0, 1),
		"2038-1":      time.Unix(math.MaxInt32, 999_999_999),
		"2038":        time.Unix(math.MaxInt32+1, 1),
		"2101":        time.Date(2101, 3, 1, 0, 0, 0, 987_654_321, time.UTC),
	}
	for _, name := range sortedKeys(times) {
		folder, err := b.folder(section, name)
		if err != nil {
			return err
		}
		file, err := b.file(folder, "file", 30)
		if err != nil {
			return err
		}
		link := filepath.Join(folder, "link")
		if err := os.Symlink("file", link); err != nil {
			return err
		}
		b.times[folder], b.times[file], b.times[link] = times[name], times[name], times[name]
	}
	return nil
}

// small makes the many small files, of log-normal sizes around 4 KiB.
func (b *builder) small(section string) error {
	const perFolder = 50
	var folder string
	for i := range b.Files {
		if i%perFolder == 0 {
			var err error
			if folder, err = b.folder(section, fmt.Sprintf("%04d", i/perFolder)); err != nil {
				return err
			}
		}
		size := int64(min(math.Exp(math.Log(4096)+1.5*b.rng.NormFloat64()), 1<<20))
		if _, err := b.file(folder, fmt.Sprintf("file-%06d-%x", i, b.rng.Uint32()), size); err != nil {
			return err
		}
	}
	return nil
}

// big makes the one big file.
func (b *builder) big(section string) error {
	_, err := b.file(section, "big", b.BigFile)
	return err
}
