package catalog

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Format is the version of the format on the disk that this package writes,
// and the newest that it reads. docs/format.md has the history.
const Format = 1

const (
	metaDir    = ".glusterbackup"
	markerName = "repository.json"
	lockName   = "lock"
	tempPrefix = "tmp-"
)

// Options tune Init and Open. The zero value is usable.
type Options struct {
	// Logger receives what is repaired on the way and is no error. Nil means
	// nowhere.
	Logger *slog.Logger
}

// Repository is an opened BackupDisk. Its methods may be called by several
// goroutines at once. Reading needs no lock; what changes the folder of a claim
// needs the claim's, see Lock. Any number of locks may be held at a time.
type Repository struct {
	root string
	id   string
	log  *slog.Logger
	hook func(step string) error // Tests die here; nil otherwise.

	mu     sync.Mutex          // Guards the fields below, and the making and removing of claim folders.
	locks  []*Lock             // Those that are held.
	active map[string]*Staging // By the relative path of the finished backup.
}

// marker is the content of repository.json.
type marker struct {
	Format  int       `json:"format"`
	ID      string    `json:"id"`
	Created time.Time `json:"created"`
}

var markerID = regexp.MustCompile(`^[0-9a-f]{32}$`)

// Init makes the existing, empty folder root a BackupDisk and opens it. A
// folder that already is one is an error that matches fs.ErrExist, one with
// anything in it (except lost+found) ErrNotEmpty. An Init that died can be
// repeated.
func Init(root string, o Options) (*Repository, error) {
	r, err := newRepository(root, o)
	if err != nil {
		return nil, err
	}
	if err := r.init(); err != nil {
		return nil, fmt.Errorf("new BackupDisk: %w", r.full(err))
	}
	return r, nil
}

// Open opens the BackupDisk at root and changes nothing. ErrNotRepository
// means that the marker is missing (the disk is not mounted), ErrFormat that
// a newer version made it, ErrDamaged that the marker is not readable.
func Open(root string, o Options) (*Repository, error) {
	r, err := newRepository(root, o)
	if err != nil {
		return nil, err
	}
	dir, m, err := r.open()
	if err != nil {
		return nil, err
	}
	r.id = m.ID
	return r, dir.Close()
}

func newRepository(root string, o Options) (*Repository, error) {
	abs, err := filepath.Abs(root)
	if err != nil {
		return nil, err
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Repository{root: abs, log: o.Logger, active: map[string]*Staging{}}, nil
}

// ID returns the random identity that Init gave the BackupDisk. Snapshots
// carry it in their description.
func (r *Repository) ID() string { return r.id }

// Root returns the absolute path of the BackupDisk.
func (r *Repository) Root() string { return r.root }

// step is called between any two changes on the disk, so that tests can end
// the process there.
func (r *Repository) step(name string) error {
	if r.hook == nil {
		return nil
	}
	return r.hook(name)
}

// init writes the marker last: before that the folder is no repository.
func (r *Repository) init() error {
	dir, err := os.OpenRoot(r.root)
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := vacant(dir); err != nil {
		return err
	}
	meta, err := makeDir(dir, metaDir)
	if err != nil {
		return err
	}
	defer meta.Close()
	if err := r.step("init: folder made"); err != nil {
		return err
	}
	l, err := r.acquire(meta, "init", nil)
	if err != nil {
		return err
	}
	defer l.Release()
	return r.writeMarker(meta)
}

// vacant reports why dir cannot become a BackupDisk. What an Init that died
// leaves is no obstacle.
func vacant(dir *os.Root) error {
	list, err := names(dir)
	if err != nil {
		return err
	}
	list = slices.DeleteFunc(list, func(name string) bool { return name == "lost+found" || name == metaDir })
	if len(list) > 0 {
		return &remediedError{
			fmt.Errorf("%s: %w: it holds %q", dir.Name(), ErrNotEmpty, list[0]),
			"give an empty folder, best a file system of its own",
		}
	}
	meta, err := openDir(dir, metaDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer meta.Close()
	if list, err = names(meta); err != nil {
		return err
	}
	if slices.Contains(list, markerName) {
		return fmt.Errorf("%s: BackupDisk: %w", dir.Name(), fs.ErrExist)
	}
	for _, name := range list {
		if name != lockName && !strings.HasPrefix(name, tempPrefix) {
			return fmt.Errorf("%s: %w: it holds %q", meta.Name(), ErrNotEmpty, name)
		}
	}
	return nil
}

func (r *Repository) writeMarker(meta *os.Root) error {
	if found, err := exists(meta, markerName); err != nil || found {
		return errors.Join(err, fmt.Errorf("%s: BackupDisk: %w", r.root, fs.ErrExist))
	}
	m := marker{Format: Format, ID: random(16), Created: time.Now().UTC().Truncate(time.Second)}
	text, err := encode(m)
	if err != nil {
		return err
	}
	temp := tempPrefix + random(4)
	if err := writeFile(meta, temp, text); err != nil {
		return errors.Join(err, remove(meta, temp))
	}
	if err := r.step("init: marker written"); err != nil {
		return err
	}
	if err := meta.Rename(temp, markerName); err != nil {
		return errors.Join(err, remove(meta, temp))
	}
	if err := r.step("init: marker renamed"); err != nil {
		return err
	}
	r.id = m.ID
	return syncDir(meta)
}

// enter opens the root after making sure that it still is this BackupDisk.
func (r *Repository) enter() (*os.Root, error) {
	dir, m, err := r.open()
	if err != nil {
		return nil, err
	}
	if m.ID != r.id {
		_ = dir.Close()
		return nil, &NotRepositoryError{r.root, fmt.Sprintf("it is BackupDisk %s, expected %s", m.ID, r.id)}
	}
	return dir, nil
}

// enterLocked is enter for those who change the folder of a claim: it must be
// locked, and on the disk that is mounted now.
func (r *Repository) enterLocked(k Key) (*os.Root, error) {
	l := r.holder(ClaimScope(k))
	if l == nil {
		return nil, fmt.Errorf("%s: %s: %w", r.root, ClaimScope(k), ErrNotLocked)
	}
	dir, err := r.enter()
	if err != nil {
		return nil, err
	}
	for _, f := range l.files {
		info, err := dir.Lstat(f.path)
		if err != nil || !os.SameFile(info, f.info) {
			_ = dir.Close()
			return nil, &NotRepositoryError{r.root, "the disk was exchanged, or its lock file removed, while it was locked"}
		}
	}
	return dir, nil
}

// holder returns the lock of this Repository that covers the scope, or nil.
func (r *Repository) holder(s Scope) *Lock {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, l := range r.locks {
		if l.covers(s) {
			return l
		}
	}
	return nil
}

// open opens the root and reads its marker.
func (r *Repository) open() (*os.Root, marker, error) {
	if info, err := os.Stat(r.root); err == nil && !info.IsDir() {
		return nil, marker{}, &NotRepositoryError{r.root, "it is not a folder"}
	}
	dir, err := os.OpenRoot(r.root)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return nil, marker{}, &NotRepositoryError{r.root, "there is no such folder"}
	}
	if err != nil {
		return nil, marker{}, fmt.Errorf("BackupDisk: %w", err)
	}
	m, err := readMarker(dir)
	if err != nil {
		_ = dir.Close()
		return nil, marker{}, err
	}
	return dir, m, nil
}

func readMarker(dir *os.Root) (marker, error) {
	var m marker
	meta, err := openDir(dir, metaDir)
	if err == nil {
		defer meta.Close()
		var text []byte
		if text, err = readFile(meta, markerName, 1<<16); err == nil {
			err = decode(filepath.Join(dir.Name(), metaDir, markerName), text, &m)
		}
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return m, &NotRepositoryError{dir.Name(), "it has no " + metaDir + "/" + markerName}
	case err != nil:
		return m, err
	case !markerID.MatchString(m.ID):
		return m, fmt.Errorf("%s: %w: its id %q", filepath.Join(dir.Name(), metaDir, markerName), ErrDamaged, m.ID)
	}
	return m, nil
}
