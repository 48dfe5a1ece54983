package daemon

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/glusterbackupd/glusterbackupd/catalog"
	"github.com/glusterbackupd/glusterbackupd/kube"
)

// TenantBackups implements Restores.
func (d *Daemon) TenantBackups(c kube.Claim) ([]catalog.Backup, error) {
	backups, err := d.o.Catalog.Backups(catalog.Key{Namespace: c.Namespace, Claim: c.Name})
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(backups, func(b catalog.Backup) bool { return !tenantsOwn(c, b) }), nil
}

// TenantBackup implements Restores.
func (d *Daemon) TenantBackup(c kube.Claim, at string) (catalog.Backup, error) {
	key := catalog.Key{Namespace: c.Namespace, Claim: c.Name}
	b, err := d.o.Catalog.Find(key, at)
	if err == nil && tenantsOwn(c, b) {
		return b, nil
	}
	if err != nil && !errors.Is(err, catalog.ErrNoBackup) {
		return b, err
	}
	// The error of Find would name all there are.
	own, err := d.TenantBackups(c)
	if err != nil {
		return catalog.Backup{}, err
	}
	have := make([]string, 0, len(own))
	for _, b := range own {
		have = append(have, b.ID)
	}
	return catalog.Backup{}, &NoTenantBackupError{Claim: key, At: at, Have: have}
}

// NoTenantBackupError says that a tenant named no backup that is the tenant's. It
// matches catalog.ErrNoBackup.
type NoTenantBackupError struct {
	Claim catalog.Key
	At    string
	Have  []string // The tenant's own, the oldest first.
}

// Error names what was asked for.
func (e *NoTenantBackupError) Error() string {
	return fmt.Sprintf("claim %s has no backup %.100q", e.Claim, e.At)
}

// Is makes the error one of catalog.ErrNoBackup.
func (e *NoTenantBackupError) Is(target error) bool { return target == catalog.ErrNoBackup }

// Remedy names what there is.
func (e *NoTenantBackupError) Remedy() string {
	if len(e.Have) == 0 {
		return "it has none yet"
	}
	newest := slices.Clone(e.Have)
	slices.Reverse(newest)
	more := ""
	if len(newest) > listed {
		newest, more = newest[:listed], fmt.Sprintf(" and %d older", len(newest)-listed)
	}
	return `use "latest", a day like ` + newest[0][:8] + " or one of " + strings.Join(newest, ", ") + more
}

// LongWishError says that the value of the annotation is too long.
type LongWishError struct{ Length int }

// Error names the length.
func (e *LongWishError) Error() string {
	return fmt.Sprintf("the annotation has %d bytes, more than %d", e.Length, longestWish)
}

// Remedy says what can be done.
func (e *LongWishError) Remedy() string { return "name a folder above the path, or ask the admin" }

// ImagePathError says that a path was named in a block image.
type ImagePathError struct {
	Claim catalog.Key
	Path  string
}

// Error names the claim and the path.
func (e *ImagePathError) Error() string {
	return fmt.Sprintf("claim %s is a block image, in which there is no path %.200q for us", e.Claim, e.Path)
}

// Remedy says what can be done.
func (e *ImagePathError) Remedy() string {
	return "leave the path out to restore the whole image"
}
