package catalog

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/glusterbackupd/glusterbackupd/manifest"
)

// PublishOptions tune Publish. The zero value is usable.
type PublishOptions struct {
	// Images are files that were copied piece by piece, by their path below Data.
	// What was written is read back from the disk, past the cache of the kernel, and
	// compared.
	Images map[string]CopiedImage
	// Copied, when set, is asked for each regular file below Data whether its
	// content was copied for this backup, and whether it then had this SHA-256
	// in hex when it was read from the source.
	Copied func(path, sha256 string) (copied, equal bool)
	// Progress is called with the number of bytes hashed so far; calls do not
	// overlap.
	Progress func(bytes int64)
}

// Publish makes the staged data a backup: it waits until all of it is on the
// disk, reads it back into the manifest, writes backup.json last and then
// renames the folder. Before the rename the backup does not exist; once
// Publish has returned it outlives a power cut.
//
// A file that is a hard link to the previous backup is not read again: its
// hash comes from that one's manifest. When the previous manifest is damaged
// everything is read.
//
// Data that is not as in Images, or not as Copied says, is a *DamageError, a full disk a
// *SpaceError, a disk that was exchanged ErrNotRepository. After an error only
// Abort is left.
func (s *Staging) Publish(ctx context.Context, info Info, o PublishOptions) (Backup, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != stateOpen {
		return Backup{}, fmt.Errorf("publish backup %s of %s: %w", s.id, s.key, ErrFinished)
	}
	s.state = stateFailed
	b, err := s.publish(ctx, info, o)
	if err != nil {
		return Backup{}, fmt.Errorf("publish backup %s of %s: %w", s.id, s.key, s.repo.full(err))
	}
	return b, nil
}

func (s *Staging) publish(ctx context.Context, info Info, o PublishOptions) (Backup, error) {
	if err := info.validate(); err != nil {
		return Backup{}, err
	}
	b := Backup{
		Key: s.key, ID: s.id, Time: s.time, Dir: filepath.Join(s.repo.root, s.path()),
		Info: info.utc(), Objects: maps.Clone(s.objects), repo: s.repo,
	}
	claim, dir, err := s.enter()
	if err != nil {
		return Backup{}, err
	}
	_ = claim.Close()
	defer dir.Close()
	if err := s.settle(dir, o.Images); err != nil {
		return Backup{}, err
	}
	if b.Summary, err = s.writeManifest(ctx, dir, o); err != nil {
		return Backup{}, err
	}
	if err := s.repo.step("publish: manifest written"); err != nil {
		return Backup{}, err
	}
	if err := s.writeRecord(dir, b); err != nil {
		return Backup{}, err
	}
	if err := ctx.Err(); err != nil {
		return Backup{}, context.Cause(ctx)
	}
	return b, s.commit()
}

// settle waits for the data to be on the disk, and makes the kernel forget
// what it has of the files that are to be compared with what was copied.
func (s *Staging) settle(dir *os.Root, images map[string]CopiedImage) error {
	if err := syncFS(dir); err != nil {
		return err
	}
	if err := s.repo.step("publish: data synced"); err != nil {
		return err
	}
	data, err := openDir(dir, dataName)
	if err != nil {
		return err
	}
	defer data.Close()
	for _, path := range slices.Sorted(maps.Keys(images)) {
		if err := dropCache(data, path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func dropCache(data *os.Root, path string) error {
	info, err := data.Lstat(path)
	if err != nil || !info.Mode().IsRegular() {
		return err // The comparison with the scan says it better.
	}
	f, err := data.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
		return &os.PathError{Op: "fadvise", Path: path, Err: err}
	}
	return nil
}

// writeManifest scans the data into manifest.zst and waits until that is on
// the disk.
func (s *Staging) writeManifest(ctx context.Context, dir *os.Root, o PublishOptions) (sum manifest.Summary, err error) {
	f, err := dir.OpenFile(manifestName, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return sum, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	w, err := manifest.NewWriter(f)
	if err != nil {
		return sum, err
	}
	ref, done, err := s.reference(ctx)
	if err != nil {
		return sum, err
	}
	defer done()
	expect := expectation{images: maps.Clone(o.Images)}
	scan := manifest.ScanOptions{Hash: true, Reference: ref, Progress: o.Progress, Pieces: map[string]manifest.PieceScan{}}
	for path, image := range o.Images {
		blocks, err := image.openBlocks(dir)
		if err != nil {
			return sum, err
		}
		if blocks != nil {
			defer blocks.Close()
		}
		scan.Pieces[path] = image.scan(blocks)
	}
	err = manifest.Scan(ctx, s.Data(), scan, func(e manifest.Entry) error {
		expect.see(e)
		if o.Copied != nil && e.Type == manifest.File {
			expect.seeCopied(e, o.Copied)
		}
		return w.Write(e)
	})
	if err != nil {
		return sum, err
	}
	if err := expect.result(s.key, s.id); err != nil {
		return sum, err
	}
	if sum, err = w.Close(); err != nil {
		return sum, err
	}
	return sum, f.Sync()
}

// reference returns the previous backup as a source of hashes, and what is to
// be called after the scan.
func (s *Staging) reference(ctx context.Context) (*manifest.Reference, func(), error) {
	if s.prev == nil {
		return nil, func() {}, nil
	}
	f, err := s.prev.openManifest(ctx)
	switch {
	case errors.Is(err, ErrDamaged):
		s.repo.log.Warn("manifest of the previous backup is damaged, all files are read",
			"claim", s.key.String(), "backup", s.prev.ID, "error", err)
		return nil, func() {}, nil
	case err != nil:
		return nil, nil, err
	}
	ref := &manifest.Reference{Root: s.prev.DataDir(), Entries: s.prev.entries(ctx, f)}
	return ref, func() { _ = f.Close() }, nil
}

// expectation compares files with what they must be.
type expectation struct {
	images map[string]CopiedImage
	damage DamageError
}

func (x *expectation) see(e manifest.Entry) {
	image, ok := x.images[e.Path]
	if !ok {
		return
	}
	delete(x.images, e.Path)
	if image.Size != e.Size {
		x.damage.add(manifest.Difference{Path: e.Path, Kind: manifest.DiffSize, Want: fmt.Sprint(image.Size), Got: fmt.Sprint(e.Size)})
		return
	}
	if want, got := image.Pieces.Differ(e.Pieces); want != got {
		x.damage.add(manifest.Difference{Path: e.Path, Kind: manifest.DiffContent, Want: want, Got: got})
	}
}

// seeCopied compares a file with what was read from the source.
func (x *expectation) seeCopied(e manifest.Entry, check func(path, sha256 string) (copied, equal bool)) {
	if copied, equal := check(e.Path, e.SHA256); copied && !equal {
		x.damage.add(manifest.Difference{Path: e.Path, Kind: manifest.DiffContent, Want: "the digest of what was copied", Got: e.SHA256})
	}
}

// result is called after the scan; paths that it did not meet are missing.
func (x *expectation) result(k Key, id string) error {
	for _, path := range slices.Sorted(maps.Keys(x.images)) {
		x.damage.add(manifest.Difference{Path: path, Kind: manifest.DiffMissing, Want: string(manifest.File)})
	}
	if x.damage.Total == 0 {
		return nil
	}
	x.damage.Key, x.damage.ID = k, id
	return &x.damage
}

// writeRecord writes backup.json, after which the partial is complete and on
// the disk with all its names.
func (s *Staging) writeRecord(dir *os.Root, b Backup) error {
	objects, err := openDir(dir, objectsName)
	if err != nil {
		return err
	}
	defer objects.Close()
	if err := syncDir(objects); err != nil {
		return err
	}
	text, err := encode(b.record())
	if err != nil {
		return err
	}
	if err := writeFile(dir, recordName, text); err != nil {
		return err
	}
	if err := s.repo.step("publish: record written"); err != nil {
		return err
	}
	if err := syncDir(dir); err != nil {
		return err
	}
	return s.repo.step("publish: partial synced")
}

// commit renames the partial to the finished backup.
func (s *Staging) commit() error {
	claim, dir, err := s.enter()
	if err != nil {
		return err
	}
	_ = dir.Close()
	defer claim.Close()
	defer s.repo.release(s) // Deferred before the lock below: it takes it too.
	s.repo.mu.Lock()
	defer s.repo.mu.Unlock()
	if found, err := exists(claim, s.id); err != nil || found {
		return errors.Join(err, fmt.Errorf("%s: %w", filepath.Join(claim.Name(), s.id), fs.ErrExist))
	}
	if err := claim.Rename(s.id+partialSuffix, s.id); err != nil {
		return err
	}
	s.state = statePublished
	if err := s.repo.step("publish: renamed"); err != nil {
		return err
	}
	if err := syncDir(claim); err != nil {
		return err
	}
	if err := s.repo.step("publish: rename synced"); err != nil {
		return err
	}
	s.pointLatest(claim)
	return nil
}

// pointLatest makes the link latest point to the newest backup. The link is
// for people; the backup is safe without it, and Sweep mends it.
func (s *Staging) pointLatest(claim *os.Root) {
	b, _, err := s.repo.newestIn(claim, s.key)
	if err == nil {
		err = s.repo.setLatest(claim, b.ID)
	}
	if err != nil {
		s.repo.log.Warn("link to the latest backup is not up to date", "claim", s.key.String(), "error", err)
	}
}
