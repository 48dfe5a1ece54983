package copier

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// ErrTree says that a Tree cannot be copied as it was asked for: a path that is
// not absolute, not a folder, or leads out of the source.
var ErrTree = errors.New("tree cannot be copied")

// Tree is one copy of a folder and everything below it.
type Tree struct {
	// Source is the absolute path of the folder whose content is copied; the
	// folder's own attributes go to Dest.
	Source string
	// Dest is the absolute path of an existing folder. A dry run also takes one
	// that does not exist yet.
	Dest string
	// Reference is the absolute path of an earlier copy on the file system of
	// Dest, or empty. What is unchanged there becomes a hard link into it.
	// It is never written to.
	Reference string
	// Path restricts the copy to this file or folder, relative to Source. Its
	// name is taken literally. Dest and the folders between get the attributes
	// of their counterparts in the source; what else they hold is left alone.
	Path string
	// Delete removes what Source does not have, below Path if that is set. It
	// happens after everything else has been copied, and not at all when the
	// source could not be read completely.
	Delete bool
	// Tidy removes from Dest the half files of an earlier copy that was killed. Nobody
	// else may be copying to Dest. rsync removes its own when the process that started
	// it dies, and leaves them after a power cut.
	Tidy bool
	// DryRun changes nothing and fills TreeResult.Changes.
	DryRun bool
	// Checksum compares content where size and time are equal. It reads both
	// sides completely. Needed where times cannot be trusted, as on a sharded
	// volume or when a damaged tree is put right.
	Checksum bool
	// Sync writes each file to stable storage before it counts as done, where the
	// engine can (rsync 3.2.4). A power cut before that can leave a file with the size
	// and time of its source and other content: a copy after one needs Checksum.
	// Whoever copies to a disk of its own does better to sync that once at the end.
	Sync bool
	// Fingerprints, when not empty, is the absolute path of a file to be made,
	// with what the engine saw of every entry of Source. ReferenceFingerprints is
	// such a file of the copy that made Reference: what it knows is unchanged
	// without being read. Both are only help: an engine may ignore them, a file
	// that is missing or damaged is not used, and Checksum wins over it.
	Fingerprints, ReferenceFingerprints string
	// Digests, when not empty, is the absolute path of a file that does not exist,
	// in a folder with room. It is made and loses its name at once, and holds
	// TreeResult.Digests. An engine may ignore it.
	Digests string
	// Frozen is the time whose state Source has; the zero value means now. Of
	// what changed shortly before it, nothing is said in Fingerprints: it may
	// have changed once more within the same tick of the clock.
	Frozen time.Time
	// Progress is called from one goroutine at a time while Copy runs, and must
	// return soon. It may be nil.
	Progress func(Progress)
}

// TreeResult counts what a copy did. In a dry run it is what would be done.
type TreeResult struct {
	// Entries is the number of entries of every type in the source.
	Entries int64
	// Files is the number of regular files among them, each name of a hard
	// link counted.
	Files int64
	// FilesTransferred is the number of regular files whose content was copied.
	FilesTransferred int64
	// Bytes is the size of all files in the source.
	Bytes int64
	// BytesTransferred is the number of bytes of content that were copied.
	BytesTransferred int64
	// Deleted is the number of entries removed from Dest.
	Deleted int64
	// Digests are those of the files that were copied, if Tree.Digests asked for
	// them and Copy succeeded. The caller closes them.
	Digests *Digests
	// Missed lists paths, at most MaxMissed, that ReferenceFingerprints call
	// unchanged and that Checksum found to be changed.
	Missed []string
	// Changes lists what a dry run would do, one line for an entry, at most
	// MaxChanges lines; bytes of names that cannot be printed are escaped.
	Changes []string
	// ChangesOmitted is the number of lines beyond MaxChanges.
	ChangesOmitted int64
}

// MaxChanges bounds TreeResult.Changes, MaxMissed bounds TreeResult.Missed.
const (
	MaxChanges = 1000
	MaxMissed  = 20
)

// checked returns t with clean paths, or an error that Is ErrTree or, for a
// Path that the source does not have, fs.ErrNotExist.
func (t Tree) checked() (Tree, error) {
	for _, p := range []*string{&t.Source, &t.Dest, &t.Reference} {
		if *p == "" && p == &t.Reference {
			continue
		}
		if !filepath.IsAbs(*p) || strings.ContainsRune(*p, 0) {
			return t, fmt.Errorf("%w: path %q is not absolute", ErrTree, *p)
		}
		*p = filepath.Clean(*p)
		if t.DryRun && p == &t.Dest {
			continue
		}
		if err := folder(*p); err != nil {
			return t, err
		}
	}
	if within(t.Dest, t.Source) || within(t.Source, t.Dest) {
		return t, fmt.Errorf("%w: %s and %s overlap", ErrTree, t.Source, t.Dest)
	}
	return t, t.checkPath()
}

// checkPath makes t.Path clean and walks it: no part of it may be a symlink,
// because what lies behind one is not in the tree.
func (t *Tree) checkPath() error {
	if t.Path == "" {
		return nil
	}
	if !filepath.IsLocal(t.Path) || strings.ContainsRune(t.Path, 0) {
		return fmt.Errorf("%w: %q is no path below the source", ErrTree, t.Path)
	}
	t.Path = filepath.Clean(t.Path)
	if t.Path == "." {
		t.Path = ""
		return nil
	}
	parts := strings.Split(t.Path, "/")
	for i := range parts {
		name := filepath.Join(t.Source, filepath.Join(parts[:i+1]...))
		fi, err := os.Lstat(name)
		if err != nil {
			return err
		}
		if i < len(parts)-1 && !fi.IsDir() {
			return fmt.Errorf("%w: %s is not a folder", ErrTree, name)
		}
	}
	return nil
}

func folder(path string) error {
	fi, err := os.Stat(path)
	if err != nil {
		return err
	}
	if !fi.IsDir() {
		return fmt.Errorf("%w: %s is not a folder", ErrTree, path)
	}
	return nil
}

// within reports whether the clean path p is dir or below it.
func within(p, dir string) bool {
	return p == dir || strings.HasPrefix(p, strings.TrimSuffix(dir, "/")+"/")
}
