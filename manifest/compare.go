package manifest

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"
)

// Kind is a kind of difference between two trees.
type Kind string

// All kinds of differences.
const (
	// DiffMissing is an entry that is wanted and was not got.
	DiffMissing Kind = "missing"
	// DiffExtra is an entry that was got and is not wanted.
	DiffExtra Kind = "extra"
	// DiffType is another type; nothing else of the entry is compared then.
	DiffType Kind = "type"
	// DiffMode is another permission bit, setuid, setgid or sticky bit.
	DiffMode Kind = "mode"
	// DiffOwner is another user or group.
	DiffOwner Kind = "owner"
	// DiffSize is another length of a file; its content is not compared then.
	DiffSize Kind = "size"
	// DiffMTime is another modification time.
	DiffMTime Kind = "mtime"
	// DiffTarget is another target of a symlink.
	DiffTarget Kind = "target"
	// DiffDevice is another device number.
	DiffDevice Kind = "device"
	// DiffHardlink is a name that belongs to another set of names of one inode.
	DiffHardlink Kind = "hardlink"
	// DiffXattrs are other extended attributes or POSIX ACLs.
	DiffXattrs Kind = "xattrs"
	// DiffContent are other bytes in a file of the same size.
	DiffContent Kind = "content"
)

// Difference is one thing that differs between two trees.
type Difference struct {
	// Path is the entry's path, raw bytes.
	Path string
	// Kind is what differs.
	Kind Kind
	// Want and Got describe both sides for a human reader; of a missing or extra
	// entry the one side tells the type and the other is empty.
	Want, Got string
}

// String is one line without control characters.
func (d Difference) String() string {
	switch d.Kind {
	case DiffMissing:
		return fmt.Sprintf("%q: missing %s", d.Path, d.Want)
	case DiffExtra:
		return fmt.Sprintf("%q: extra %s", d.Path, d.Got)
	default:
		return fmt.Sprintf("%q: %s: want %q, got %q", d.Path, d.Kind, d.Want, d.Got)
	}
}

// CompareOptions say what Compare passes over. The zero value passes over
// nothing.
type CompareOptions struct {
	// IgnoreExtra passes over entries that are not wanted, and over their being
	// hard links of wanted ones.
	IgnoreExtra bool
	// IgnoreFolderTimes passes over the modification times of folders.
	IgnoreFolderTimes bool
	// Sampled passes over the content of files that were got without a digest.
	Sampled bool
}

// ErrNoHash says that contents cannot be compared because a hash is missing.
var ErrNoHash = errors.New("no hash to compare")

// Compare merges two sequences in the order of PathLess and calls report with
// each difference, in that order; one entry may have several. It returns an
// error of report as it is, the first error of a sequence, or ErrOrder; without
// an error and without a report the trees are equal. It keeps in memory only
// the names that are missing or extra.
func Compare(want, got iter.Seq2[Entry, error], o CompareOptions, report func(Difference) error) error {
	w, g := newCursor(want, "wanted"), newCursor(got, "got")
	defer w.stop()
	defer g.stop()
	if err := errors.Join(w.advance(), g.advance()); err != nil {
		return err
	}
	for w.more || g.more {
		differences, err := step(w, g, o)
		if err != nil {
			return err
		}
		for _, d := range differences {
			if err := report(d); err != nil {
				return err
			}
		}
	}
	return nil
}

// step compares the next path of the two sequences and moves on.
func step(w, g *cursor, o CompareOptions) ([]Difference, error) {
	switch {
	case !g.more || w.more && PathLess(w.entry.Path, g.entry.Path):
		w.drop()
		d := Difference{w.entry.Path, DiffMissing, string(w.entry.Type), ""}
		return []Difference{d}, w.advance()
	case !w.more || PathLess(g.entry.Path, w.entry.Path):
		g.drop()
		d := Difference{g.entry.Path, DiffExtra, "", string(g.entry.Type)}
		err := g.advance()
		if o.IgnoreExtra {
			return nil, err
		}
		return []Difference{d}, err
	}
	w.entry.HardlinkOf, g.entry.HardlinkOf = w.links.of(&w.entry), g.links.of(&g.entry)
	differences, err := compareEntries(&w.entry, &g.entry, o)
	return differences, errors.Join(err, w.advance(), g.advance())
}

func compareEntries(w, g *Entry, o CompareOptions) ([]Difference, error) {
	var found []Difference
	differ := func(kind Kind, want, got string) {
		if want != got {
			found = append(found, Difference{w.Path, kind, want, got})
		}
	}
	differ(DiffType, string(w.Type), string(g.Type))
	if w.Type != g.Type {
		return found, nil
	}
	differ(DiffMode, fmt.Sprintf("%04o", w.Mode), fmt.Sprintf("%04o", g.Mode))
	differ(DiffOwner, fmt.Sprintf("%d:%d", w.UID, w.GID), fmt.Sprintf("%d:%d", g.UID, g.GID))
	if w.Type != Dir || !o.IgnoreFolderTimes {
		differ(DiffMTime, formatTime(w.MTime), formatTime(g.MTime))
	}
	differ(DiffTarget, w.Target, g.Target)
	differ(DiffDevice, fmt.Sprintf("%d:%d", w.Major, w.Minor), fmt.Sprintf("%d:%d", g.Major, g.Minor))
	differ(DiffHardlink, w.HardlinkOf, g.HardlinkOf)
	differ(describeXattrs(w.Xattrs, g.Xattrs))
	differ(DiffSize, fmt.Sprint(w.Size), fmt.Sprint(g.Size))
	if w.Type != File || w.Size != g.Size || o.Sampled && g.SHA256 == "" && g.Pieces == (Pieces{}) {
		return found, nil
	}
	if w.Pieces != (Pieces{}) && w.Pieces.Size == g.Pieces.Size && w.Pieces.Block == g.Pieces.Block {
		want, got := w.Pieces.Differ(g.Pieces)
		differ(DiffContent, want, got)
		return found, nil
	}
	if w.SHA256 == "" || g.SHA256 == "" {
		return found, fmt.Errorf("compare %q: %w", w.Path, ErrNoHash)
	}
	differ(DiffContent, w.SHA256, g.SHA256)
	return found, nil
}

// formatTime is exact for all times, also those whose year has five digits.
func formatTime(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

// describeXattrs names the attributes that differ, with a start of their values
// unless that is the same.
func describeXattrs(want, got map[string][]byte) (kind Kind, w, g string) {
	names := maps.Clone(want)
	if names == nil {
		names = map[string][]byte{}
	}
	maps.Copy(names, got)
	var ws, gs []string
	for _, name := range slices.Sorted(maps.Keys(names)) {
		a, inWant := want[name]
		b, inGot := got[name]
		if inWant == inGot && bytes.Equal(a, b) {
			continue
		}
		ws = append(ws, describeXattr(name, a, inWant))
		gs = append(gs, describeXattr(name, b, inGot))
	}
	w, g = strings.Join(ws, ", "), strings.Join(gs, ", ")
	if w == g && w != "" {
		g += " (different further on)"
	}
	return DiffXattrs, w, g
}

func describeXattr(name string, value []byte, present bool) string {
	const shown = 64
	switch {
	case !present:
		return Escape(name) + " absent"
	case len(value) > shown:
		return fmt.Sprintf("%s=%q… (%d bytes)", Escape(name), value[:shown], len(value))
	}
	return fmt.Sprintf("%s=%q", Escape(name), value)
}
