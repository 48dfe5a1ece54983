package catalog

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// Staging is a backup that is being made: the folder <id>.partial, which is
// never listed. Whoever began it ends it with Publish or Abort; calling Abort
// in any case is right, since it does nothing after a successful Publish.
//
// Its methods may be called by several goroutines, but nothing may still be
// writing below Data when Publish is called.
type Staging struct {
	repo *Repository
	key  Key
	id   string
	time time.Time
	dir  string      // Absolute path of the partial.
	info os.FileInfo // Identity of the partial.
	prev *Backup

	mu      sync.Mutex
	objects map[string]string
	state   state
}

type state int

const (
	stateOpen state = iota
	stateFailed
	statePublished
	stateAborted
)

// Begin starts the backup of a claim as of the time at, to the second, and
// makes its folders. It needs the lock of the claim. A finished backup or a
// leftover of the same second is an error that matches fs.ErrExist.
func (r *Repository) Begin(k Key, at time.Time) (*Staging, error) {
	id, t, err := formatID(at)
	if err != nil {
		return nil, err
	}
	s := &Staging{repo: r, key: k, id: id, time: t, objects: map[string]string{}}
	if err := s.begin(); err != nil {
		return nil, fmt.Errorf("begin backup %s of %s: %w", id, k, r.full(err))
	}
	return s, nil
}

func (s *Staging) begin() error {
	if err := s.key.Validate(); err != nil {
		return err
	}
	r := s.repo
	dir, err := r.enterLocked(s.key)
	if err != nil {
		return err
	}
	defer dir.Close()
	r.mu.Lock()
	defer r.mu.Unlock()
	claim, err := r.makeClaim(dir, s.key)
	if err != nil {
		return err
	}
	defer claim.Close()
	prev, ok, err := r.newestIn(claim, s.key)
	if err != nil {
		return err
	}
	if ok {
		s.prev = &prev
	}
	if err := s.makePartial(claim); err != nil {
		return err
	}
	r.active[s.path()] = s
	return nil
}

// makeClaim opens the folder of a claim and makes it if it is missing. The lock
// of the claim does not cover the folder of its namespace, which another process
// may find empty and remove in between; then it is made again.
func (r *Repository) makeClaim(dir *os.Root, k Key) (claim *os.Root, err error) {
	const attempts = 20
	for range attempts {
		claim, err = r.makeFolders(dir, k)
		if !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	return claim, err
}

func (r *Repository) makeFolders(dir *os.Root, k Key) (*os.Root, error) {
	namespace, err := makeDir(dir, k.Namespace)
	if err != nil {
		return nil, err
	}
	defer namespace.Close()
	if err := r.step("begin: namespace made"); err != nil {
		return nil, err
	}
	claim, err := makeDir(namespace, k.Claim)
	if err != nil {
		return nil, err
	}
	if err := r.step("begin: claim made"); err != nil {
		_ = claim.Close()
		return nil, err
	}
	return claim, nil
}

// makePartial makes <id>.partial with its folders, or nothing.
func (s *Staging) makePartial(claim *os.Root) error {
	if found, err := exists(claim, s.id); err != nil || found {
		return errors.Join(err, fmt.Errorf("%s: %w", filepath.Join(claim.Name(), s.id), fs.ErrExist))
	}
	name := s.id + partialSuffix
	if err := claim.Mkdir(name, 0o700); err != nil {
		return err
	}
	err := s.fillPartial(claim, name)
	if err != nil {
		err = errors.Join(err, removeTree(context.Background(), claim, name))
	}
	return err
}

func (s *Staging) fillPartial(claim *os.Root, name string) error {
	if err := s.repo.step("begin: partial made"); err != nil {
		return err
	}
	dir, err := openDir(claim, name)
	if err != nil {
		return err
	}
	defer dir.Close()
	for _, sub := range []string{objectsName, dataName} {
		if err := dir.Mkdir(sub, 0o700); err != nil {
			return err
		}
		if err := s.repo.step("begin: " + sub + " made"); err != nil {
			return err
		}
	}
	s.dir = dir.Name()
	s.info, err = dir.Stat(".")
	return err
}

// path names the finished backup relative to the root.
func (s *Staging) path() string { return filepath.Join(s.key.Namespace, s.key.Claim, s.id) }

// Key returns the claim.
func (s *Staging) Key() Key { return s.key }

// ID returns the ID that the backup will have.
func (s *Staging) ID() string { return s.id }

// Data returns the absolute path of the empty folder for the data. It becomes
// the root of the tree: the caller gives it mode, owner, times and extended
// attributes of the source's root.
func (s *Staging) Data() string { return filepath.Join(s.dir, dataName) }

// Fingerprints returns the absolute path of a file that the copy engine may make
// beside the data, for the copy of the next version. It is no part of the backup.
func (s *Staging) Fingerprints() string { return filepath.Join(s.dir, fingerprintsName) }

// Shards returns the absolute path of a file for what the bricks say of an image,
// for the copy of the next version. It is no part of the backup.
func (s *Staging) Shards() string { return filepath.Join(s.dir, shardsName) }

// Blocks returns the absolute path of a file for the digests of the blocks of an image,
// for the copy of the next version. It is no part of the backup.
func (s *Staging) Blocks() string { return filepath.Join(s.dir, blocksName) }

// Previous returns the newest complete backup of the claim, for hard links and
// reflinks; false when there is none. It cannot be removed before this Staging
// is finished.
func (s *Staging) Previous() (Backup, bool) {
	if s.prev == nil {
		return Backup{}, false
	}
	return *s.prev, true
}

// WriteObject keeps a small file beside the data, such as pvc.json, and waits
// until it is on the disk. Name is of lower-case letters, digits, dots, dashes
// and underscores; the same name twice is an error that matches fs.ErrExist.
func (s *Staging) WriteObject(name string, content []byte) error {
	if err := s.writeObject(name, content); err != nil {
		return fmt.Errorf("object %q of backup %s of %s: %w", name, s.id, s.key, s.repo.full(err))
	}
	return nil
}

func (s *Staging) writeObject(name string, content []byte) error {
	if !objectName.MatchString(name) {
		return fmt.Errorf("name: %w", fs.ErrInvalid)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != stateOpen {
		return ErrFinished
	}
	claim, dir, err := s.enter()
	if err != nil {
		return err
	}
	defer claim.Close()
	defer dir.Close()
	objects, err := openDir(dir, objectsName)
	if err != nil {
		return err
	}
	defer objects.Close()
	if err := writeFile(objects, name, content); err != nil {
		if !errors.Is(err, fs.ErrExist) { // Half a file must not be published.
			err = errors.Join(err, remove(objects, name))
		}
		return err
	}
	sum := sha256.Sum256(content)
	s.objects[name] = hex.EncodeToString(sum[:])
	return s.repo.step("object written")
}

// enter opens the folders of the claim and of the partial after making sure
// that the right disk is mounted and locked, and that the partial is the one
// that Begin made. Without an error the caller closes both.
func (s *Staging) enter() (claim, partial *os.Root, err error) {
	dir, err := s.repo.enterLocked(s.key)
	if err != nil {
		return nil, nil, err
	}
	defer dir.Close()
	if claim, err = openClaim(dir, s.key); err != nil {
		return nil, nil, s.vanished(err)
	}
	if partial, err = openDir(claim, s.id+partialSuffix); err == nil {
		var info os.FileInfo
		if info, err = partial.Stat("."); err == nil && os.SameFile(info, s.info) {
			return claim, partial, nil
		}
		_ = partial.Close()
	}
	_ = claim.Close()
	if err == nil {
		err = fs.ErrNotExist
	}
	return nil, nil, s.vanished(err)
}

// vanished explains a missing partial: the disk is not the one of Begin, for
// instance a copy with the same marker.
func (s *Staging) vanished(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return &NotRepositoryError{s.repo.root, "the folder of the running backup is gone: " + s.path() + partialSuffix}
	}
	return err
}

// Abort removes everything that was staged. It is idempotent, and does nothing
// after a successful Publish; one that is running it waits for. When Abort
// fails, Sweep removes the rest later.
func (s *Staging) Abort() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state == statePublished || s.state == stateAborted {
		return nil
	}
	s.state = stateFailed
	defer s.repo.release(s)
	if err := s.abort(); err != nil {
		return fmt.Errorf("abort backup %s of %s: %w", s.id, s.key, err)
	}
	s.state = stateAborted
	return nil
}

func (s *Staging) abort() error {
	claim, partial, err := s.enter()
	if err != nil {
		return err
	}
	_ = partial.Close()
	defer claim.Close()
	if err := removeTree(context.Background(), claim, s.id+partialSuffix); err != nil {
		return err
	}
	return s.repo.tidy(s.key)
}

// release ends the claim of s on its folder and on its reference.
func (r *Repository) release(s *Staging) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.active[s.path()] == s {
		delete(r.active, s.path())
	}
}

// busy reports whether a running backup is or needs the folder at path,
// relative to the root and without ".partial". The caller holds r.mu.
func (r *Repository) busy(path string) bool {
	if _, own := r.active[path]; own {
		return true
	}
	for _, s := range r.active {
		if s.prev != nil && filepath.Join(s.key.Namespace, s.key.Claim, s.prev.ID) == path {
			return true
		}
	}
	return false
}
