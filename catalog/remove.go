package catalog

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// Trash takes a backup out of the catalogue at once and for good; its content
// stays on the disk until EmptyTrash. It needs the lock of the claim. Only Key
// and ID of b count, and Dir when it is set: a folder other than that of Key and
// ID is an error that matches ErrForeign. A damaged backup can be removed too.
// ErrInUse means that a running backup has it as its reference, ErrProtected
// that Protect was called for it.
//
// The link latest goes to another backup first; then the folder gets a name that
// is never listed. When Trash returns, that outlives a power cut.
func (r *Repository) Trash(b Backup) error {
	claim, _, err := r.trash(b)
	if err != nil {
		return fmt.Errorf("remove backup %s of %s: %w", b.ID, b.Key, r.full(err))
	}
	defer claim.Close()
	return nil
}

// Remove is Trash, and deletes the content too. When the deletion ends early
// (the context, an error, death of the process), the backup is gone and
// EmptyTrash removes the rest.
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
	claim, name, err := r.trash(b)
	if err != nil {
		return err
	}
	defer claim.Close()
	if err := removeTree(ctx, claim, name); err != nil {
		return err
	}
	if err := r.step("remove: deleted"); err != nil {
		return err
	}
	return r.tidy(b.Key)
}

// trash checks what it is to remove, and returns the open folder of the claim
// and the name that the backup has there now.
func (r *Repository) trash(b Backup) (claim *os.Root, name string, err error) {
	if _, err := parseID(b.ID); err != nil {
		return nil, "", err
	}
	if err := b.Key.Validate(); err != nil {
		return nil, "", err
	}
	if want := filepath.Join(r.root, b.Key.Namespace, b.Key.Claim, b.ID); b.Dir != "" && b.Dir != want {
		return nil, "", fmt.Errorf("%s: %w: the backup's folder is %s", b.Dir, ErrForeign, want)
	}
	dir, err := r.enterLocked(b.Key)
	if err != nil {
		return nil, "", err
	}
	defer dir.Close()
	claim, err = openClaim(dir, b.Key)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, "", &NoBackupError{Key: b.Key, At: b.ID}
	}
	if err != nil {
		return nil, "", err
	}
	if name, err = r.discard(claim, b); err != nil {
		_ = claim.Close()
		return nil, "", err
	}
	return claim, name, nil
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
	trash = trashName(b.ID)
	if err := claim.Rename(b.ID, trash); err != nil {
		return "", err
	}
	if err := r.step("trash: renamed"); err != nil {
		return "", err
	}
	return trash, r.synced(claim, "trash: synced")
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

// tidy removes the folder of a claim, and of its namespace, when it is empty. It
// needs the lock of the claim.
func (r *Repository) tidy(k Key) error {
	dir, err := r.enterLocked(k)
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
