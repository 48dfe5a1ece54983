package catalog

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/glusterbackupd/glusterbackupd/manifest"
)

// mostDifferences is how many differences a DamageError carries.
const mostDifferences = 20

// add counts a difference and keeps it while there is room.
func (e *DamageError) add(d manifest.Difference) {
	e.Total++
	if len(e.Differences) < mostDifferences {
		e.Differences = append(e.Differences, d)
	}
}

// damage turns an error of reading a backup into a *DamageError, unless it
// says something else about the disk or comes from the context.
func (b Backup) damage(ctx context.Context, err error) error {
	var known *DamageError
	switch {
	case err == nil || ctx.Err() != nil || errors.As(err, &known):
		return err
	case errors.Is(err, ErrNotRepository) || errors.Is(err, ErrFormat) || errors.Is(err, manifest.ErrVersion):
		return err
	}
	return &DamageError{Key: b.Key, ID: b.ID, Err: err}
}

// open opens the folder of the backup after making sure that the BackupDisk
// is there: what is not mounted is not damaged.
func (b Backup) open() (*os.Root, error) {
	if b.repo == nil {
		return nil, &NotRepositoryError{b.Dir, "the backup was not read from one"}
	}
	root, err := b.repo.enter()
	if err != nil {
		return nil, err
	}
	defer root.Close()
	claim, err := openClaim(root, b.Key)
	if err != nil {
		return nil, err
	}
	defer claim.Close()
	return openDir(claim, b.ID)
}

// Manifest returns the entries of the manifest in its order. Nothing of it is
// used before the digest of the whole file was checked; a file with another
// digest yields one error that matches ErrDamaged. The sequence ends after its
// first error. It may be read several times, each time from the disk.
func (b Backup) Manifest(ctx context.Context) iter.Seq2[manifest.Entry, error] {
	return func(yield func(manifest.Entry, error) bool) {
		f, err := b.openManifest(ctx)
		if err != nil {
			yield(manifest.Entry{}, err)
			return
		}
		defer f.Close()
		b.entries(ctx, f)(yield)
	}
}

// Below returns the entries of the manifest at and below sub, as a scan of that
// part alone gives them; an empty sub is everything. Otherwise it is Manifest.
func (b Backup) Below(ctx context.Context, sub string) iter.Seq2[manifest.Entry, error] {
	if sub == "" {
		return b.Manifest(ctx)
	}
	return manifest.Below(b.Manifest(ctx), sub)
}

// openManifest opens the manifest after checking its digest.
func (b Backup) openManifest(ctx context.Context) (*os.File, error) {
	dir, err := b.open()
	if err != nil {
		return nil, b.damage(ctx, err)
	}
	defer dir.Close()
	f, err := openFile(dir, manifestName)
	if err != nil {
		return nil, b.damage(ctx, err)
	}
	got, err := hashOf(ctx, f)
	if err == nil && got != b.Summary.SHA256 {
		err = fmt.Errorf("%s: its SHA-256 is %s, backup.json says %s", f.Name(), got, b.Summary.SHA256)
	}
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		_ = f.Close()
		return nil, b.damage(ctx, err)
	}
	return f, nil
}

// entries reads an opened manifest; it leaves f open.
func (b Backup) entries(ctx context.Context, f *os.File) iter.Seq2[manifest.Entry, error] {
	return func(yield func(manifest.Entry, error) bool) {
		r, err := manifest.NewReader(f)
		for err == nil {
			var e manifest.Entry
			if err = ctx.Err(); err != nil {
				break
			}
			if e, err = r.Next(); err == nil && !yield(e, nil) {
				return
			}
		}
		if !errors.Is(err, io.EOF) {
			yield(manifest.Entry{}, b.damage(ctx, err))
		}
	}
}

// hashOf returns the SHA-256 of what r yields, in hex.
func hashOf(ctx context.Context, r io.Reader) (string, error) {
	sum := sha256.New()
	for {
		if ctx.Err() != nil {
			return "", context.Cause(ctx)
		}
		_, err := io.CopyN(sum, r, 1<<20)
		if errors.Is(err, io.EOF) {
			return hex.EncodeToString(sum.Sum(nil)), nil
		}
		if err != nil {
			return "", err
		}
	}
}

// Object returns a file of objects/ after checking its digest. A name that the
// backup does not have is an error that matches fs.ErrNotExist.
func (b Backup) Object(name string) ([]byte, error) {
	want, ok := b.Objects[name]
	if !ok {
		return nil, fmt.Errorf("object %q of backup %s of %s: %w", name, b.ID, b.Key, fs.ErrNotExist)
	}
	content, err := b.readObject(name, want)
	return content, b.damage(context.Background(), err)
}

func (b Backup) readObject(name, want string) ([]byte, error) {
	dir, err := b.open()
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	objects, err := openDir(dir, objectsName)
	if err != nil {
		return nil, err
	}
	defer objects.Close()
	content, err := readFile(objects, name, 1<<28)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(content)
	if got := hex.EncodeToString(sum[:]); got != want {
		return nil, fmt.Errorf("%s/%s: its SHA-256 is %s, backup.json says %s", objectsName, name, got, want)
	}
	return content, nil
}

// VerifyOptions say what Verify reads. The zero value is everything.
type VerifyOptions struct {
	// Sub limits it to one path below the data and what is in it; "" is everything,
	// with the objects. One that the manifest does not have is an error that matches
	// fs.ErrNotExist.
	Sub string
	// Sample limits it to a part of the content.
	Sample Sample
	// Progress is called with the number of bytes read so far. It may be nil.
	Progress func(bytes int64)
}

// Verify reads the data again and compares it with the manifest in every
// property; those that are not content are compared also of what is not in the
// sample.
//
// Everything that differs, is missing, or cannot be read is in the
// *DamageError, up to a limit.
func (b Backup) Verify(ctx context.Context, o VerifyOptions) error {
	if err := b.verify(ctx, o); err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	return nil
}

func (b Backup) verify(ctx context.Context, o VerifyOptions) error {
	sub, err := cleanSub(o.Sub)
	if err != nil {
		return err
	}
	images, err := b.Images(ctx)
	if err != nil {
		return err
	}
	if sub == "" {
		for _, name := range slices.Sorted(maps.Keys(b.Objects)) {
			if _, err := b.readObject(name, b.Objects[name]); err != nil {
				return b.damage(ctx, err)
			}
		}
	}
	found := &DamageError{Key: b.Key, ID: b.ID}
	wanted := 0
	c := comparison{backup: b, sub: sub, o: o, images: images, unreadable: map[string]error{}}
	err = manifest.Compare(counted(b.Below(ctx, sub), &wanted), c.scan(ctx), manifest.CompareOptions{Sampled: o.Sample.limits()}, func(d manifest.Difference) error {
		found.add(c.explain(d))
		return nil
	})
	switch {
	case wanted == 0: // Whatever stands there on the disk.
		return fmt.Errorf("%q in backup %s of %s: %w", sub, b.ID, b.Key, fs.ErrNotExist)
	case err != nil:
		return err
	case found.Total == 0:
		return nil
	}
	if dir, err := b.open(); err != nil { // The disk may have gone meanwhile.
		return b.damage(ctx, err)
	} else if err := dir.Close(); err != nil {
		return err
	}
	return found
}

// cleanSub takes slashes around a path away; the whole tree becomes "".
func cleanSub(sub string) (string, error) {
	sub = strings.Trim(sub, "/")
	if sub == "" || sub == "." {
		return "", nil
	}
	for part := range strings.SplitSeq(sub, "/") {
		if part == "" || part == "." || part == ".." {
			return "", fmt.Errorf("path %q: %w", sub, fs.ErrInvalid)
		}
	}
	return sub, nil
}

// counted passes entries on and counts them.
func counted(entries iter.Seq2[manifest.Entry, error], n *int) iter.Seq2[manifest.Entry, error] {
	return func(yield func(manifest.Entry, error) bool) {
		for e, err := range entries {
			*n++
			if !yield(e, err) {
				return
			}
		}
	}
}

// comparison reads the data for Verify.
type comparison struct {
	backup     Backup
	sub        string
	o          VerifyOptions
	images     map[string]manifest.Pieces
	unreadable map[string]error
}

// maxUnreadable ends a scan of a disk that is broken altogether.
const maxUnreadable = 10000

var errEnough = errors.New("enough was read")

// scan returns the entries of the data. What cannot be read is left out and
// remembered, so that one bad sector does not hide the state of the rest.
func (c *comparison) scan(ctx context.Context) iter.Seq2[manifest.Entry, error] {
	o := manifest.ScanOptions{Hash: true, Sub: c.sub, Progress: c.o.Progress, Failed: func(e *manifest.ScanError) error {
		if c.unreadable[e.Path] = e.Err; len(c.unreadable) > maxUnreadable {
			return e
		}
		return nil
	}}
	o.Pieces = map[string]manifest.PieceScan{}
	for path, p := range c.images {
		o.Pieces[path] = manifest.PieceScan{Size: p.Size, Block: p.Block, Known: c.o.Sample.others(p)}
	}
	if c.o.Sample.limits() {
		o.Content = func(e *manifest.Entry) bool { return c.images[e.Path].Size > 0 || c.o.Sample.has(e.Path) }
	}
	return func(yield func(manifest.Entry, error) bool) {
		err := manifest.Scan(ctx, c.backup.DataDir(), o, func(e manifest.Entry) error {
			if !yield(e, nil) {
				return errEnough
			}
			return nil
		})
		if err != nil && !errors.Is(err, errEnough) && !errors.Is(err, manifest.ErrIncomplete) {
			yield(manifest.Entry{}, c.backup.damage(ctx, err))
		}
	}
}

// explain says why an entry is missing.
func (c *comparison) explain(d manifest.Difference) manifest.Difference {
	if err, ok := c.unreadable[d.Path]; ok && !errors.Is(err, fs.ErrNotExist) {
		d.Kind, d.Got = manifest.DiffContent, "cannot be read: "+err.Error()
	}
	return d
}
