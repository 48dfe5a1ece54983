package catalog

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Sweep takes away what a process that died left in the folders of these claims:
// a half-made backup becomes trash, which EmptyTrash deletes, temporary files
// go, and the link latest is mended. It needs the locks of the claims, and
// leaves alone what this Repository has under way, every name that
// glusterbackupd does not use, and symbolic links. It takes no time, however
// large a half-made backup is.
//
// It returns the paths, relative to the root, that it took away. It goes on
// after an error with one of them; the errors are joined.
func (r *Repository) Sweep(ctx context.Context, keys ...Key) (removed []string, err error) {
	var faults []error
	for _, k := range keys {
		if err := ctx.Err(); err != nil {
			faults = append(faults, context.Cause(ctx))
			break
		}
		paths, err := r.sweepLocked(k)
		removed, faults = append(removed, paths...), append(faults, err)
	}
	if err := errors.Join(faults...); err != nil {
		return removed, fmt.Errorf("sweep: %w", r.full(err))
	}
	return removed, nil
}

// SweepAll is Sweep for all claims, and for what belongs to no claim. It locks
// one claim after the other for the time that it needs for it, and leaves alone
// those that somebody works on.
func (r *Repository) SweepAll(ctx context.Context) ([]string, error) {
	dir, err := r.enter()
	if err != nil {
		return nil, fmt.Errorf("sweep: %w", err)
	}
	defer dir.Close()
	removed, err := sweepMeta(dir)
	faults := []error{err}
	keys, _, err := claims(dir)
	faults = append(faults, err)
	for _, k := range keys {
		if err := ctx.Err(); err != nil {
			faults = append(faults, context.Cause(ctx))
			break
		}
		paths, err := r.sweepFree(k)
		removed, faults = append(removed, paths...), append(faults, err)
	}
	if err := errors.Join(faults...); err != nil {
		return removed, fmt.Errorf("sweep: %w", r.full(err))
	}
	return removed, nil
}

// sweepFree sweeps a claim that nobody works on. Where this Repository has the
// whole BackupDisk, that is every claim.
func (r *Repository) sweepFree(k Key) (removed []string, err error) {
	if r.holder(Scope{}) != nil {
		return r.sweepLocked(k)
	}
	l, err := r.Lock("sweep", ClaimScope(k))
	if errors.Is(err, ErrLocked) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	removed, err = r.sweepLocked(k)
	return removed, errors.Join(err, l.Release())
}

func (r *Repository) sweepLocked(k Key) ([]string, error) {
	dir, err := r.enterLocked(k)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	removed, err := r.sweepClaim(dir, k)
	if len(removed) > 0 {
		err = errors.Join(err, r.tidy(k))
	}
	return removed, err
}

// sweepMeta removes temporary files of Init and Space. Those of an Init that
// runs are not met, because the BackupDisk has no marker yet, and Space does not
// mind.
func sweepMeta(dir *os.Root) (removed []string, err error) {
	meta, err := openDir(dir, metaDir)
	if err != nil {
		return nil, err
	}
	defer meta.Close()
	return sweepTemps(meta, metaDir)
}

// sweepClaim takes the leftovers in one claim's folder away.
func (r *Repository) sweepClaim(dir *os.Root, k Key) (removed []string, err error) {
	claim, err := openClaim(dir, k)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer claim.Close()
	list, err := names(claim)
	if err != nil {
		return nil, err
	}
	var faults []error
	for _, name := range list {
		if isID(name) {
			temps, err := sweepBackup(claim, k, name)
			removed, faults = append(removed, temps...), append(faults, err)
		}
		gone, err := r.sweepName(claim, k, name)
		if gone {
			removed = append(removed, filepath.Join(k.Namespace, k.Claim, name))
		}
		faults = append(faults, err)
	}
	return removed, errors.Join(append(faults, r.mendLatest(claim, k))...)
}

// sweepName takes one name away if it is of a process that died.
func (r *Repository) sweepName(claim *os.Root, k Key, name string) (gone bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	info, err := claim.Lstat(name)
	if err != nil {
		return false, nil // It is gone already.
	}
	if random, ok := strings.CutPrefix(name, latestPrefix); ok {
		if info.Mode()&fs.ModeSymlink == 0 || !randomSuffix.MatchString(random) {
			return false, nil
		}
		return true, remove(claim, name)
	}
	id, ok := partialOf(name)
	if !ok || !info.IsDir() || r.active[filepath.Join(k.Namespace, k.Claim, id)] != nil {
		return false, nil
	}
	// No sync: a power cut may bring the old name back, for the next sweep.
	if err := claim.Rename(name, trashName(id)); err != nil {
		return false, err
	}
	return true, r.step("sweep: renamed")
}

// mendLatest makes the link latest point to the newest complete backup. In a
// folder without backups only a link that can be ours is removed.
func (r *Repository) mendLatest(claim *os.Root, k Key) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	b, ok, err := r.newestIn(claim, k)
	if err != nil {
		return err
	}
	if !ok {
		if target, err := claim.Readlink(latestName); err != nil || !isID(target) {
			return nil
		}
	}
	return r.setLatest(claim, b.ID)
}
