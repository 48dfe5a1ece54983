package catalog

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// verifiedName is the file that says when a backup was last verified.
const verifiedName = "verified"

// verification is the content of that file.
type verification struct {
	Format  int       `json:"format"`
	When    time.Time `json:"when"`
	Damaged bool      `json:"damaged,omitempty"`
}

// MarkVerified notes that the backup was read and found intact at that time. It
// needs the lock of the claim. Only Key and ID of b count. A mark that is lost,
// by a power cut or with the disk, means that the backup is verified again.
func (r *Repository) MarkVerified(b Backup, at time.Time) error {
	return r.markVerified(b, verification{Format: Format, When: at.UTC().Truncate(time.Second)})
}

// MarkDamaged notes that the backup was found damaged, so that the next one takes
// nothing from it that was not compared with the volume. Otherwise it is as
// MarkVerified.
func (r *Repository) MarkDamaged(b Backup, at time.Time) error {
	return r.markVerified(b, verification{Format: Format, When: at.UTC().Truncate(time.Second), Damaged: true})
}

func (r *Repository) markVerified(b Backup, v verification) error {
	text, err := encode(v)
	if err != nil {
		return err
	}
	err = r.withBackup(b, func(dir *os.Root) error { return r.put(dir, verifiedName, text, "mark verified") })
	if err != nil {
		return fmt.Errorf("note verification of backup %s of %s: %w", b.ID, b.Key, r.full(err))
	}
	return nil
}

// Verified returns when the backup was last found intact as MarkVerified noted it;
// the zero time if never, or if it was found damaged since, or if the mark cannot be
// read as one.
func (b Backup) Verified() (time.Time, error) {
	v, err := b.verification()
	if v.Damaged {
		v.When = time.Time{}
	}
	return v.When, err
}

// FoundDamaged reports whether MarkDamaged was the last to note anything.
func (b Backup) FoundDamaged() (bool, error) {
	v, err := b.verification()
	return v.Damaged, err
}

func (b Backup) verification() (verification, error) {
	text, err := os.ReadFile(filepath.Join(b.Dir, verifiedName))
	if errors.Is(err, fs.ErrNotExist) {
		return verification{}, nil
	}
	if err != nil {
		return verification{}, err
	}
	var v verification
	if err := json.Unmarshal(text, &v); err == nil && v.Format == Format {
		return v, nil
	}
	return verification{}, nil
}
