package catalog

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Problem is something that stands where a backup should, but is none that
// could be used. It is an error.
type Problem struct {
	Key  Key
	ID   string // Empty when the problem is not with one backup.
	Path string // Relative to the root.
	Err  error  // Matches ErrDamaged, ErrFormat, ErrForeign or an error of the system.
}

// Error names the path and what is wrong there.
func (p Problem) Error() string { return p.Path + ": " + p.Err.Error() }

// Unwrap returns what is wrong.
func (p Problem) Unwrap() error { return p.Err }

// Remedy says what to do.
func (p Problem) Remedy() string {
	var known interface{ Remedy() string }
	if errors.As(p.Err, &known) {
		return known.Remedy()
	}
	return "move it to another place if it is needed, or else remove it"
}

// Keys returns the claims that have backups, also when all of them are
// damaged, sorted by name.
func (r *Repository) Keys() ([]Key, error) {
	dir, err := r.enter()
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	all, _, err := claims(dir)
	if err != nil {
		return nil, err
	}
	var keys []Key
	for _, k := range all {
		list, err := r.claimNames(dir, k)
		if err != nil {
			return nil, err
		}
		for _, name := range list {
			if isID(name) {
				keys = append(keys, k)
				break
			}
		}
	}
	return keys, nil
}

// Backups returns the complete backups of a claim, oldest first. A claim
// without backups has none; that is no error. Damaged ones are in Problems.
func (r *Repository) Backups(k Key) ([]Backup, error) {
	list, _, err := r.list(k)
	return list, err
}

// Newest returns the newest complete backup of a claim without reading the
// others; false when there is none.
func (r *Repository) Newest(k Key) (Backup, bool, error) {
	if err := k.Validate(); err != nil {
		return Backup{}, false, err
	}
	dir, err := r.enter()
	if err != nil {
		return Backup{}, false, err
	}
	defer dir.Close()
	claim, err := openClaim(dir, k)
	if errors.Is(err, fs.ErrNotExist) {
		return Backup{}, false, nil
	}
	if err != nil {
		return Backup{}, false, err
	}
	defer claim.Close()
	return r.newestIn(claim, k)
}

// newestIn is Newest in the open folder of the claim. One that is damaged, or was
// removed just now, is not complete.
func (r *Repository) newestIn(claim *os.Root, k Key) (Backup, bool, error) {
	list, err := names(claim)
	if err != nil {
		return Backup{}, false, err
	}
	for _, id := range slices.Backward(list) {
		if !isID(id) {
			continue
		}
		if b, err := readBackup(claim, k, id); err == nil {
			b.repo = r
			return b, true, nil
		}
	}
	return Backup{}, false, nil
}

// Problems returns what Keys and Backups leave out although it stands on the
// BackupDisk: backups that are damaged or of a newer format, and symbolic
// links or files in place of a folder. What Sweep removes is not among them.
func (r *Repository) Problems() ([]Problem, error) {
	dir, err := r.enter()
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	keys, problems, err := claims(dir)
	if err != nil {
		return nil, err
	}
	for _, k := range keys {
		_, more, err := r.survey(dir, k)
		if err != nil {
			return nil, err
		}
		problems = append(problems, more...)
	}
	return problems, nil
}

// Find returns the newest complete backup that at names. At is one of
//   - "latest" or "": the newest of all;
//   - the beginning of an ID, in UTC, at least a year: 2018, 20181202,
//     20181202T0300, or a whole ID 20181202T000000Z; 2018-12-02 works too;
//   - an exact time in RFC 3339 (2018-12-02T01:00:00+01:00): only the backup
//     of that very second. A time between two backups finds none, because
//     nobody should restore a state other than the one that was asked for
//     without knowing it.
//
// Without a result the error is a *NoBackupError that says what there is. A
// damaged backup is never returned, nor silently an older one in its place: when
// the newest one that at names is damaged, the error names it, and matches
// ErrDamaged too. A text of another form is an error that matches ErrTime.
func (r *Repository) Find(k Key, at string) (Backup, error) {
	prefix, err := parseAt(at)
	if err != nil {
		return Backup{}, err
	}
	list, problems, err := r.list(k)
	if err != nil {
		return Backup{}, err
	}
	b, ok := match(list, prefix)
	none := &NoBackupError{Key: k, At: cmp.Or(at, latestName), Have: ids(list)}
	for _, p := range problems {
		// An older damaged one does not stand in the way of what was asked for.
		if p.ID != "" && strings.HasPrefix(p.ID, prefix) && (!ok || p.ID > b.ID) {
			none.Damaged = append(none.Damaged, p.ID)
		}
	}
	if ok && len(none.Damaged) == 0 {
		return b, nil
	}
	return Backup{}, none
}

// FindImage is Find among the backups of one block image, whatever claims they
// were made for: an image may outlive its claim, and a claim may get another
// image. Names of images are only unique on one hosting volume: without a GBID
// to tell them apart, backups of two images of the name are ErrAmbiguous.
func (r *Repository) FindImage(image, gbid, at string) (Backup, error) {
	prefix, err := parseAt(at)
	if err != nil {
		return Backup{}, err
	}
	keys, err := r.Keys()
	if err != nil {
		return Backup{}, err
	}
	var list []Backup
	for _, k := range keys {
		backups, err := r.Backups(k)
		if err != nil {
			return Backup{}, err
		}
		for _, b := range backups {
			if i := b.Info.Block; i != nil && i.Name == image && (gbid == "" || i.GBID == gbid) {
				list = append(list, b)
			}
		}
	}
	for _, b := range list {
		if b.Info.Block.GBID != list[0].Info.Block.GBID {
			return Backup{}, fmt.Errorf("image %s: claims %s and %s have backups of different images of this name: %w", image, list[0].Key, b.Key, ErrAmbiguous)
		}
	}
	slices.SortStableFunc(list, func(a, b Backup) int { return a.Time.Compare(b.Time) })
	if b, ok := match(list, prefix); ok {
		return b, nil
	}
	return Backup{}, &NoBackupError{Image: image, At: cmp.Or(at, latestName), Have: ids(list)}
}

// match returns the last backup of the list whose ID begins with prefix.
func match(list []Backup, prefix string) (Backup, bool) {
	for _, b := range slices.Backward(list) {
		if strings.HasPrefix(b.ID, prefix) {
			return b, true
		}
	}
	return Backup{}, false
}

func ids(list []Backup) []string {
	var all []string
	for _, b := range list {
		all = append(all, b.ID)
	}
	return all
}

// claims returns every folder of a claim, also an empty one.
func claims(dir *os.Root) (keys []Key, problems []Problem, err error) {
	spaces, err := names(dir)
	if err != nil {
		return nil, nil, err
	}
	for _, namespace := range spaces {
		if !validNamespace(namespace) {
			continue
		}
		sub, err := openDir(dir, namespace)
		if errors.Is(err, ErrForeign) {
			problems = append(problems, Problem{Key: Key{Namespace: namespace}, Path: namespace, Err: err})
			continue
		}
		if errors.Is(err, fs.ErrNotExist) {
			continue // Removed just now.
		}
		if err != nil {
			return nil, nil, err
		}
		k, p, err := claimsOf(sub, namespace)
		_ = sub.Close()
		if errors.Is(err, fs.ErrNotExist) {
			continue // Its last claim was removed just now.
		}
		if err != nil {
			return nil, nil, err
		}
		keys, problems = append(keys, k...), append(problems, p...)
	}
	return keys, problems, nil
}

func claimsOf(dir *os.Root, namespace string) (keys []Key, problems []Problem, err error) {
	list, err := names(dir)
	if err != nil {
		return nil, nil, err
	}
	for _, name := range list {
		if !validClaim(name) {
			continue
		}
		k := Key{namespace, name}
		sub, err := openDir(dir, name)
		switch {
		case err == nil:
			_ = sub.Close()
			keys = append(keys, k)
		case errors.Is(err, ErrForeign):
			problems = append(problems, Problem{Key: k, Path: k.String(), Err: err})
		case errors.Is(err, fs.ErrNotExist): // Removed just now.
		default:
			return nil, nil, err
		}
	}
	return keys, problems, nil
}

// openClaim opens the folder of a claim.
func openClaim(dir *os.Root, k Key) (*os.Root, error) {
	if err := k.Validate(); err != nil {
		return nil, err
	}
	sub, err := openDir(dir, k.Namespace)
	if err != nil {
		return nil, err
	}
	defer sub.Close()
	return openDir(sub, k.Claim)
}

func (r *Repository) claimNames(dir *os.Root, k Key) ([]string, error) {
	claim, err := openClaim(dir, k)
	if err != nil {
		return nil, err
	}
	defer claim.Close()
	return names(claim)
}

func (r *Repository) list(k Key) ([]Backup, []Problem, error) {
	if err := k.Validate(); err != nil {
		return nil, nil, err
	}
	dir, err := r.enter()
	if err != nil {
		return nil, nil, err
	}
	defer dir.Close()
	return r.survey(dir, k)
}

// survey reads all backups of a claim; those it cannot read are problems.
func (r *Repository) survey(dir *os.Root, k Key) ([]Backup, []Problem, error) {
	claim, err := openClaim(dir, k)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	defer claim.Close()
	return r.surveyIn(claim, k)
}

func (r *Repository) surveyIn(claim *os.Root, k Key) (list []Backup, problems []Problem, err error) {
	ids, err := names(claim)
	if err != nil {
		return nil, nil, err
	}
	for _, id := range ids {
		if !isID(id) {
			continue
		}
		b, err := readBackup(claim, k, id)
		if errors.Is(err, fs.ErrNotExist) {
			if here, e := exists(claim, id); e == nil && !here {
				continue // It was removed meanwhile.
			}
		}
		if err != nil {
			problems = append(problems, Problem{Key: k, ID: id, Path: filepath.Join(k.Namespace, k.Claim, id), Err: err})
			continue
		}
		b.repo = r
		list = append(list, b)
	}
	return list, problems, nil
}

// readBackup reads one backup without looking into its manifest and data.
func readBackup(claim *os.Root, k Key, id string) (Backup, error) {
	b, err := readRecord(claim, k, id)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrDamaged) {
		return b, &DamageError{Key: k, ID: id, Err: err}
	}
	return b, err
}

func readRecord(claim *os.Root, k Key, id string) (Backup, error) {
	dir, err := openDir(claim, id)
	if err != nil {
		return Backup{}, err
	}
	defer dir.Close()
	text, err := readFile(dir, recordName, 1<<24)
	if errors.Is(err, fs.ErrNotExist) {
		return Backup{}, fmt.Errorf("%s: %w", filepath.Join(dir.Name(), recordName), fs.ErrNotExist)
	}
	if err != nil {
		return Backup{}, err
	}
	b, err := parseRecord(filepath.Join(dir.Name(), recordName), text, k, id)
	if err != nil {
		return Backup{}, err
	}
	for name, right := range map[string]func(fs.FileMode) bool{
		dataName: fs.FileMode.IsDir, objectsName: fs.FileMode.IsDir, manifestName: fs.FileMode.IsRegular,
	} {
		info, err := dir.Lstat(name)
		if err != nil {
			return Backup{}, fmt.Errorf("%s: %w", filepath.Join(b.Dir, name), errors.Unwrap(err))
		}
		if !right(info.Mode()) {
			return Backup{}, fmt.Errorf("%s: %w: it is %s", filepath.Join(b.Dir, name), ErrDamaged, kindOf(info.Mode()))
		}
	}
	b.Protected, err = exists(dir, protectedName)
	return b, err
}
