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
	Format int       `json:"format"`
	When   time.Time `json:"when"`
}

// MarkVerified notes that the backup was read and found intact at that time. It
// needs the lock of the claim. Only Key and ID of b count. A mark that is lost,
// by a power cut or with the disk, means that the backup is verified again.
func (r *Repository) MarkVerified(b Backup, at time.Time) error {
	text, err := encode(verification{Format, at.UTC().Truncate(time.Second)})
	if err != nil {
		return err
	}
	err = r.withBackup(b, func(dir *os.Root) error { return r.put(dir, verifiedName, text, "mark verified") })
	if err != nil {
		return fmt.Errorf("mark backup %s of %s as verified: %w", b.ID, b.Key, r.full(err))
	}
	return nil
}

// Verified returns when the backup was last marked by MarkVerified; the zero time
// if never, or if the mark cannot be read as one.
func (b Backup) Verified() (time.Time, error) {
	text, err := os.ReadFile(filepath.Join(b.Dir, verifiedName))
	if errors.Is(err, fs.ErrNotExist) {
		return time.Time{}, nil
	}
	if err != nil {
		return time.Time{}, err
	}
	var v verification
	if err := json.Unmarshal(text, &v); err == nil && v.Format == Format {
		return v.When, nil
	}
	return time.Time{}, nil
}
