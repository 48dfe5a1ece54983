package catalog

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// Remove deletes a backup. It needs the lock. Only Key and ID of b count, and
// Dir when it is set: a folder other than that of Key and ID is an error that
// matches ErrForeign. A damaged backup can be removed too. ErrInUse means that
// a running backup has it as its reference, ErrProtected that Protect was
// called for it.
//
// The backup first gets a name that is never listed, and then is deleted. When
// the deletion ends early (the context, an error, death of the process), the
// backup is gone and Sweep removes the rest.
func (r *Repository) Remove(ctx context.Context, b Backup) error {
	if err := r.removeBackup(ctx, b); err != nil {
		return fmt.Errorf("remove backup %s of %s: %w", b.ID, b.Key, r.full(err))
	}
	return nil
}

func (r *Repository) removeBackup(ctx context.Context, b Backup) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	if _, err := parseID(b.ID); err != nil {
		return err
	}
	if err := b.Key.Validate(); err != nil {
		return err
	}
	if want := filepath.Join(r.root, b.Key.Namespace, b.Key.Claim, b.ID); b.Dir != "" && b.Dir != want {
		return fmt.Errorf("%s: %w: the backup's folder is %s", b.Dir, ErrForeign, want)
	}
	dir, err := r.enterLocked()
	if err != nil {
		return err
	}
	defer dir.Close()
	claim, err := openClaim(dir, b.Key)
	if errors.Is(err, fs.ErrNotExist) {
		return &NoBackupError{Key: b.Key, At: b.ID}
	}
	if err != nil {
		return err
	}
	defer claim.Close()
	trash, err := r.discard(claim, b)
	if err != nil {
		return err
	}
	defer r.forget(filepath.Join(b.Key.Namespace, b.Key.Claim, trash))
	if err := removeTree(ctx, claim, trash); err != nil {
		return err
	}
	if err := r.step("remove: deleted"); err != nil {
		return err
	}
	return r.tidy(b.Key)
}

// discard takes a backup out of sight: first the link latest goes to another
// one, so that it never points nowhere, then the folder is renamed.
func (r *Repository) discard(claim *os.Root, b Backup) (trash string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.busy(filepath.Join(b.Key.Namespace, b.Key.Claim, b.ID)) {
		return "", ErrInUse
	}
	list, _, err := r.surveyIn(claim, b.Key)
	if err != nil {
		return "", err
	}
	old, err := openDir(claim, b.ID) // Refuses a symbolic link.
	if errors.Is(err, fs.ErrNotExist) {
		return "", &NoBackupError{Key: b.Key, At: b.ID, Have: ids(list)}
	}
	if err != nil {
		return "", err
	}
	err = unprotected(old, b)
	_ = old.Close()
	if err != nil {
		return "", err
	}
	if err := r.setLatest(claim, newest(list, b.ID)); err != nil {
		return "", err
	}
	trash = trashPrefix + b.ID + "-" + random(4)
	if err := claim.Rename(b.ID, trash); err != nil {
		return "", err
	}
	if err := r.step("remove: renamed"); err != nil {
		return "", err
	}
	if err := syncDir(claim); err != nil {
		return "", err
	}
	if err := r.step("remove: rename synced"); err != nil {
		return "", err
	}
	r.doomed[filepath.Join(b.Key.Namespace, b.Key.Claim, trash)] = true
	return trash, nil
}

// forget ends what discard began; Sweep may have the rest.
func (r *Repository) forget(path string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.doomed, path)
}

// newest returns the ID of the newest backup other than the given one, or "".
func newest(list []Backup, except string) string {
	for i := len(list) - 1; i >= 0; i-- {
		if list[i].ID != except {
			return list[i].ID
		}
	}
	return ""
}

// setLatest makes the link latest point to id, or removes it when id is "".
// Whoever reads the link sees the old or the new target.
func (r *Repository) setLatest(claim *os.Root, id string) error {
	info, err := claim.Lstat(latestName)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if id == "" {
			return nil
		}
	case err != nil:
		return err
	case info.Mode()&fs.ModeSymlink == 0:
		return fmt.Errorf("%s: %w: not a symbolic link", filepath.Join(claim.Name(), latestName), ErrForeign)
	case id == "":
		if err := remove(claim, latestName); err != nil {
			return err
		}
		return syncDir(claim)
	default:
		if now, err := claim.Readlink(latestName); err != nil || now == id {
			return err
		}
	}
	return r.replaceLatest(claim, id)
}

func (r *Repository) replaceLatest(claim *os.Root, id string) error {
	temp := latestPrefix + random(4)
	if err := claim.Symlink(id, temp); err != nil {
		return err
	}
	if err := r.step("latest: made"); err != nil {
		return err
	}
	if err := claim.Rename(temp, latestName); err != nil {
		return errors.Join(err, remove(claim, temp))
	}
	if err := r.step("latest: renamed"); err != nil {
		return err
	}
	return syncDir(claim)
}

// tidy removes the folder of a claim, and of its namespace, when it is empty.
func (r *Repository) tidy(k Key) error {
	dir, err := r.enterLocked()
	if err != nil {
		return err
	}
	defer dir.Close()
	r.mu.Lock()
	defer r.mu.Unlock()
	namespace, err := openDir(dir, k.Namespace)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer namespace.Close()
	if gone, err := removeEmpty(namespace, k.Claim); !gone || err != nil {
		return err
	}
	_, err = removeEmpty(dir, k.Namespace)
	return err
}

// removeEmpty removes the folder name if nothing is in it.
func removeEmpty(parent *os.Root, name string) (gone bool, err error) {
	dir, err := openDir(parent, name)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	_ = dir.Close()
	err = remove(parent, name)
	if errors.Is(err, syscall.ENOTEMPTY) || errors.Is(err, syscall.EEXIST) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, syncDir(parent)
}

// Sweep removes what a process that died left behind: half-made backups, half
// deleted ones and temporary files, and mends the link latest. It needs the
// lock, and leaves alone what this Repository has under way, every name that
// glusterbackupd does not use, and symbolic links.
//
// It returns the paths, relative to the root, that it removed. It goes on
// after an error with one of them; the errors are joined.
func (r *Repository) Sweep(ctx context.Context) ([]string, error) {
	dir, err := r.enterLocked()
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
		names, err := r.sweepClaim(ctx, dir, k)
		removed, faults = append(removed, names...), append(faults, err)
		if len(names) > 0 {
			faults = append(faults, r.tidy(k))
		}
	}
	if err := errors.Join(faults...); err != nil {
		return removed, fmt.Errorf("sweep: %w", r.full(err))
	}
	return removed, nil
}

// sweepMeta removes temporary files of Init and Space.
func sweepMeta(dir *os.Root) (removed []string, err error) {
	meta, err := openDir(dir, metaDir)
	if err != nil {
		return nil, err
	}
	defer meta.Close()
	return sweepTemps(meta, metaDir)
}

// sweepClaim removes the leftovers in one claim's folder.
func (r *Repository) sweepClaim(ctx context.Context, dir *os.Root, k Key) (removed []string, err error) {
	claim, err := openClaim(dir, k)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer claim.Close()
	list, err := names(claim)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // Its last backup was removed just now.
	}
	if err != nil {
		return nil, err
	}
	var faults []error
	for _, name := range list {
		if isID(name) {
			temps, err := sweepBackup(claim, k, name)
			if !errors.Is(err, fs.ErrNotExist) { // Else it was removed just now.
				removed, faults = append(removed, temps...), append(faults, err)
			}
		}
		if !r.isLeftover(claim, k, name) {
			continue
		}
		if err := removeTree(ctx, claim, name); err != nil {
			faults = append(faults, err)
			continue
		}
		removed = append(removed, filepath.Join(k.Namespace, k.Claim, name))
	}
	if err := r.mendLatest(claim, k); !errors.Is(err, fs.ErrNotExist) { // Else the claim is gone, as above.
		faults = append(faults, err)
	}
	return removed, errors.Join(faults...)
}

// isLeftover reports whether name is of a process that died.
func (r *Repository) isLeftover(claim *os.Root, k Key, name string) bool {
	info, err := claim.Lstat(name)
	if err != nil {
		return false
	}
	if random, ok := strings.CutPrefix(name, latestPrefix); ok {
		return info.Mode()&fs.ModeSymlink != 0 && randomSuffix.MatchString(random)
	}
	id, ok := leftover(name)
	if !ok || !info.IsDir() {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if strings.HasPrefix(name, trashPrefix) {
		return !r.doomed[filepath.Join(k.Namespace, k.Claim, name)]
	}
	return r.active[filepath.Join(k.Namespace, k.Claim, id)] == nil
}

// mendLatest makes the link latest point to the newest complete backup. In a
// folder without backups only a link that can be ours is removed.
func (r *Repository) mendLatest(claim *os.Root, k Key) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	list, _, err := r.surveyIn(claim, k)
	if err != nil {
		return err
	}
	if len(list) == 0 {
		if target, err := claim.Readlink(latestName); err != nil || !isID(target) {
			return nil
		}
	}
	return r.setLatest(claim, newest(list, ""))
}
