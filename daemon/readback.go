package daemon

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/glusterbackupd/glusterbackupd/catalog"
	"github.com/glusterbackupd/glusterbackupd/manifest"
)

// maxDifferences bounds what a TreeError carries.
const maxDifferences = 10

// TreeError says that a restored tree is not what the backup's manifest says.
type TreeError struct {
	Dir string
	// Differences are the first ones; Total counts all.
	Differences []manifest.Difference
	Total       int
}

// Error names the folder and the first differences.
func (e *TreeError) Error() string {
	var list []string
	for _, d := range e.Differences {
		list = append(list, d.String())
	}
	return fmt.Sprintf("%s differs from the backup in %d properties: %s", e.Dir, e.Total, strings.Join(list, "; "))
}

// Remedy says what to do before anybody uses the claim.
func (e *TreeError) Remedy() string {
	return "somebody may have written to the claim meanwhile: make sure that nobody uses it, and run the restore again"
}

// errStop ends a scan whose reader has seen enough.
var errStop = errors.New("stop")

// compareTree reads dir back and compares it with the backup's manifest, below
// q.Path. It returns the number of
// entries that were read.
func (d *Daemon) compareTree(ctx context.Context, b catalog.Backup, dir string, q RestoreRequest) (int64, error) {
	scan := manifest.ScanOptions{Hash: true, Sub: q.Path, Progress: d.counted(PhaseReadBack, q.Key)}
	var read int64
	got := func(yield func(manifest.Entry, error) bool) {
		err := manifest.Scan(ctx, dir, scan, func(e manifest.Entry) error {
			read++
			if !yield(e, nil) {
				return errStop
			}
			return nil
		})
		if err != nil && !errors.Is(err, errStop) {
			yield(manifest.Entry{}, err)
		}
	}
	found := &TreeError{Dir: dir}
	err := manifest.Compare(b.Below(ctx, q.Path), got, manifest.CompareOptions{IgnoreExtra: !q.Delete},
		func(diff manifest.Difference) error {
			if found.Total++; len(found.Differences) < maxDifferences {
				found.Differences = append(found.Differences, diff)
			}
			return nil
		})
	if err == nil && found.Total > 0 {
		err = found
	}
	return read, err
}
