package catalog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// clusterDir is the folder of the cluster's states, one folder below it for
// each; no claim has such a name.
const clusterDir = ".cluster"

const (
	// keptClusters is how many states of the cluster are kept.
	keptClusters = 100
	// clusterLimit bounds one file of a state that is read, in bytes.
	clusterLimit = 1 << 30
	// abandoned is the age of a half-written state that nobody writes any more.
	abandoned = time.Hour
)

// SaveCluster keeps small files that say how the cluster was, such as Heketi's
// database, as of the time at. It returns the folder that has them, and whether
// it is new: nothing is written while the newest state is the same. The oldest
// states beyond the newest 100 are removed.
//
// It needs no lock: a state appears whole or not at all, and two processes that
// save at once leave one or both of theirs. One that dies leaves a folder
// tmp-<random>, which a later call removes.
func (r *Repository) SaveCluster(at time.Time, files map[string][]byte) (dir string, fresh bool, err error) {
	dir, fresh, err = r.saveCluster(at, files)
	if err != nil {
		return "", false, fmt.Errorf("state of the cluster: %w", r.full(err))
	}
	return dir, fresh, nil
}

func (r *Repository) saveCluster(at time.Time, files map[string][]byte) (string, bool, error) {
	id, _, err := formatID(at)
	if err != nil {
		return "", false, err
	}
	for name := range files {
		if !objectName.MatchString(name) {
			return "", false, fmt.Errorf("file %q: %w", name, fs.ErrInvalid)
		}
	}
	root, err := r.enter()
	if err != nil {
		return "", false, err
	}
	defer root.Close()
	states, err := makeDir(root, clusterDir)
	if err != nil {
		return "", false, err
	}
	defer states.Close()
	ids, err := clusterIDs(states)
	if err != nil {
		return "", false, err
	}
	if len(ids) > 0 && sameCluster(states, ids[len(ids)-1], files) {
		return filepath.Join(states.Name(), ids[len(ids)-1]), false, nil
	}
	dir := filepath.Join(states.Name(), id)
	err = r.publishCluster(states, id, files)
	if errors.Is(err, fs.ErrExist) || errors.Is(err, syscall.ENOTEMPTY) {
		return dir, false, nil // Another process has saved it in this second.
	}
	if err != nil {
		return "", false, err
	}
	return dir, true, r.tidyClusters(states)
}

// clusterIDs returns the states that there are, the oldest first.
func clusterIDs(states *os.Root) ([]string, error) {
	list, err := names(states)
	if err != nil {
		return nil, err
	}
	list = slices.DeleteFunc(list, func(name string) bool { return !isID(name) })
	slices.Sort(list)
	return list, nil
}

// sameCluster says whether a state has these files and no others. One that
// cannot be read is another one.
func sameCluster(states *os.Root, id string, files map[string][]byte) bool {
	dir, err := openDir(states, id)
	if err != nil {
		return false
	}
	defer dir.Close()
	have, err := names(dir)
	if err != nil || len(have) != len(files) {
		return false
	}
	for name, content := range files {
		old, err := readFile(dir, name, clusterLimit)
		if err != nil || !bytes.Equal(old, content) {
			return false
		}
	}
	return true
}

// publishCluster writes a state beside the others and gives it its name when it
// is on the disk.
func (r *Repository) publishCluster(states *os.Root, id string, files map[string][]byte) error {
	temp := tempPrefix + random(4)
	err := r.writeCluster(states, temp, files)
	if err == nil {
		err = states.Rename(temp, id)
	}
	if err != nil {
		return errors.Join(err, removeTree(context.Background(), states, temp))
	}
	if err := r.step("cluster: renamed"); err != nil {
		return err
	}
	return syncDir(states)
}

func (r *Repository) writeCluster(states *os.Root, temp string, files map[string][]byte) error {
	if err := states.Mkdir(temp, 0o700); err != nil {
		return err
	}
	if err := r.step("cluster: folder made"); err != nil {
		return err
	}
	dir, err := openDir(states, temp)
	if err != nil {
		return err
	}
	defer dir.Close()
	for name, content := range files {
		if err := writeFile(dir, name, content); err != nil {
			return err
		}
		if err := r.step("cluster: file written"); err != nil {
			return err
		}
	}
	return syncDir(dir)
}

// tidyClusters removes the oldest states, each by a rename first so that none is
// ever half there under its name, and what died.
func (r *Repository) tidyClusters(states *os.Root) error {
	ids, err := clusterIDs(states)
	if err != nil {
		return err
	}
	for len(ids) > keptClusters {
		temp := tempPrefix + random(4)
		if err := states.Rename(ids[0], temp); err != nil {
			return err
		}
		if err := r.step("cluster: oldest renamed"); err != nil {
			return err
		}
		if err := removeTree(context.Background(), states, temp); err != nil {
			return err
		}
		ids = ids[1:]
	}
	return removeAbandoned(states)
}

func removeAbandoned(states *os.Root) error {
	list, err := names(states)
	if err != nil {
		return err
	}
	for _, name := range list {
		suffix, ok := strings.CutPrefix(name, tempPrefix)
		if !ok || !randomSuffix.MatchString(suffix) {
			continue
		}
		info, err := states.Lstat(name)
		if err == nil && time.Since(info.ModTime()) > abandoned {
			err = removeTree(context.Background(), states, name)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
