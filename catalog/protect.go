package catalog

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// protectedName is the file that protects a backup from Remove, whatever is in
// it.
const protectedName = "protected"

// protection is the content of that file. It is for people; nothing reads it.
type protection struct {
	Format int       `json:"format"`
	By     string    `json:"by"`
	When   time.Time `json:"when"`
}

// Protect makes Remove refuse the backup until Unprotect. It needs the lock
// of the claim. Only Key and ID of b count. By tells people who did it; it must
// hold no secret. A backup that is protected already stays as it is, and that is
// no error. When Protect returns, the protection outlives a power cut.
func (r *Repository) Protect(b Backup, by string) error {
	err := r.withBackup(b, func(dir *os.Root) error { return r.protect(dir, by) })
	if err != nil {
		return fmt.Errorf("protect backup %s of %s: %w", b.ID, b.Key, r.full(err))
	}
	return nil
}

// Unprotect takes back what Protect did; a backup that is not protected stays
// as it is. It needs the lock of the claim. Only Key and ID of b count.
func (r *Repository) Unprotect(b Backup) error {
	err := r.withBackup(b, func(dir *os.Root) error {
		if err := remove(dir, protectedName); err != nil {
			return err
		}
		if err := r.step("unprotect: removed"); err != nil {
			return err
		}
		return r.synced(dir, "unprotect: synced")
	})
	if err != nil {
		return fmt.Errorf("unprotect backup %s of %s: %w", b.ID, b.Key, err)
	}
	return nil
}

// withBackup calls change with the folder of a backup, which nobody removes
// meanwhile.
func (r *Repository) withBackup(b Backup, change func(dir *os.Root) error) error {
	if _, err := parseID(b.ID); err != nil {
		return err
	}
	if err := b.Key.Validate(); err != nil {
		return err
	}
	root, err := r.enterLocked(b.Key)
	if err != nil {
		return err
	}
	defer root.Close()
	r.mu.Lock()
	defer r.mu.Unlock()
	claim, err := openClaim(root, b.Key)
	if errors.Is(err, fs.ErrNotExist) {
		return &NoBackupError{Key: b.Key, At: b.ID}
	}
	if err != nil {
		return err
	}
	defer claim.Close()
	dir, err := openDir(claim, b.ID)
	if errors.Is(err, fs.ErrNotExist) {
		return r.missing(claim, b)
	}
	if err != nil {
		return err
	}
	defer dir.Close()
	return change(dir)
}

// missing is the error for a backup that the claim does not have.
func (r *Repository) missing(claim *os.Root, b Backup) error {
	list, _, err := r.surveyIn(claim, b.Key)
	if err != nil {
		return err
	}
	return &NoBackupError{Key: b.Key, At: b.ID, Have: ids(list)}
}

func (r *Repository) protect(dir *os.Root, by string) error {
	// What a process that died did not sync is synced here too.
	if found, err := exists(dir, protectedName); err != nil || found {
		return errors.Join(err, r.synced(dir, "protect: synced"))
	}
	const most = 200
	text, err := encode(protection{Format, by[:min(len(by), most)], time.Now().UTC().Truncate(time.Second)})
	if err != nil {
		return err
	}
	return r.put(dir, protectedName, text, "protect")
}

// put writes a file into an open folder, in one step for whoever looks, and waits
// until it is on the disk. The steps are told by the operation's name.
func (r *Repository) put(dir *os.Root, name string, text []byte, operation string) error {
	temp := tempPrefix + random(4)
	if err := writeFile(dir, temp, text); err != nil {
		return errors.Join(err, remove(dir, temp))
	}
	if err := r.step(operation + ": written"); err != nil {
		return err
	}
	if err := dir.Rename(temp, name); err != nil {
		return errors.Join(err, remove(dir, temp))
	}
	if err := r.step(operation + ": renamed"); err != nil {
		return err
	}
	return r.synced(dir, operation+": synced")
}

// synced waits until the names in dir are on the disk.
func (r *Repository) synced(dir *os.Root, step string) error {
	if err := syncDir(dir); err != nil {
		return err
	}
	return r.step(step)
}

// unprotected returns an error that matches ErrProtected for the folder of a
// protected backup.
func unprotected(dir *os.Root, b Backup) error {
	found, err := exists(dir, protectedName)
	if err != nil || !found {
		return err
	}
	return &remediedError{ErrProtected, fmt.Sprintf("`glusterbackupd unprotect %s --at %s` allows it to be removed", b.Key, b.ID)}
}

// sweepTemps removes temporary files from an open folder. It returns their
// paths below parent.
func sweepTemps(dir *os.Root, parent string) (removed []string, err error) {
	list, err := names(dir)
	if err != nil {
		return nil, err
	}
	for _, name := range list {
		rest, temp := strings.CutPrefix(name, tempPrefix)
		if !temp || !randomSuffix.MatchString(rest) {
			continue
		}
		if info, err := dir.Lstat(name); err != nil || !info.Mode().IsRegular() {
			continue
		}
		if err := remove(dir, name); err != nil {
			return removed, err
		}
		removed = append(removed, filepath.Join(parent, name))
	}
	return removed, nil
}

// sweepBackup removes temporary files of Protect from the folder of a backup.
// What stands there instead of a folder is left alone.
func sweepBackup(claim *os.Root, k Key, id string) ([]string, error) {
	dir, err := openDir(claim, id)
	if errors.Is(err, ErrForeign) || errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	return sweepTemps(dir, filepath.Join(k.Namespace, k.Claim, id))
}
