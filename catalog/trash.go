package catalog

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"time"

	"golang.org/x/time/rate"
)

// EmptyOptions tune EmptyTrash. The zero value empties all of it without a
// pause.
type EmptyOptions struct {
	// Rate is how many files and folders are deleted in a second; 0 means as
	// fast as possible.
	Rate int
	// Keys are the claims whose trash is meant; none means all.
	Keys []Key
}

// Emptied is what EmptyTrash deleted.
type Emptied struct {
	Backups int   // Finished and half-made ones that are gone altogether.
	Entries int64 // Files and folders.
}

// EmptyTrash deletes what Trash and Sweep took out of the catalogue. It needs no
// lock: nothing else uses what is in the trash, and its names are random and
// never used again. Two processes may empty the same trash. It stops as soon as
// ctx ends, in the middle of a backup too, and the next call goes on from there.
//
// It goes on after an error with one backup; the errors are joined.
func (r *Repository) EmptyTrash(ctx context.Context, o EmptyOptions) (done Emptied, err error) {
	dir, err := r.enter()
	if err != nil {
		return done, fmt.Errorf("empty trash: %w", err)
	}
	defer dir.Close()
	d := &deletion{step: r.step}
	if o.Rate > 0 {
		d.limit = rate.NewLimiter(rate.Limit(o.Rate), 1)
	}
	keys := o.Keys
	var faults []error
	if len(keys) == 0 {
		keys, _, err = claims(dir)
		faults = append(faults, err)
	}
	for _, k := range keys {
		if ctx.Err() != nil {
			faults = append(faults, context.Cause(ctx))
			break
		}
		n, err := r.emptyClaim(ctx, dir, k, d)
		done.Backups += n
		faults = append(faults, err)
	}
	done.Entries = d.entries
	if err := errors.Join(faults...); err != nil {
		return done, fmt.Errorf("empty trash: %w", err)
	}
	return done, nil
}

// emptyClaim empties the trash in the folder of one claim.
func (r *Repository) emptyClaim(ctx context.Context, dir *os.Root, k Key, d *deletion) (backups int, err error) {
	claim, err := openClaim(dir, k)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrForeign) {
		return 0, nil // Problems tells of what is foreign.
	}
	if err != nil {
		return 0, err
	}
	defer claim.Close()
	list, err := trashIn(claim)
	if err != nil || len(list) == 0 {
		return 0, err
	}
	// Whoever renamed it may have died before that was on the disk. Then a
	// power cut would bring back a listed backup, half deleted.
	if err := syncDir(claim); err != nil {
		return 0, err
	}
	if err := r.step("empty: synced"); err != nil {
		return 0, err
	}
	var faults []error
	for _, name := range list {
		err := d.tree(ctx, claim, name)
		if err == nil {
			backups++
		}
		if faults = append(faults, err); ctx.Err() != nil {
			break
		}
	}
	if err := errors.Join(faults...); err != nil {
		return backups, err
	}
	if err := r.step("empty: deleted"); err != nil {
		return backups, err
	}
	return backups, r.tidyEmpty(claim, k)
}

// trashIn returns the trash in the folder of a claim.
func trashIn(claim *os.Root) ([]string, error) {
	list, err := names(claim)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // The folder was removed just now.
	}
	return slices.DeleteFunc(list, func(name string) bool {
		info, err := claim.Lstat(name)
		return !isTrash(name) || err != nil || !info.IsDir()
	}), err
}

// tidyEmpty removes the folder of a claim that has nothing any more. If somebody
// works on the claim, that is left to him.
func (r *Repository) tidyEmpty(claim *os.Root, k Key) error {
	if list, err := names(claim); err != nil || len(list) > 0 {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	if err := r.tidy(k); !errors.Is(err, ErrNotLocked) {
		return err // The caller has the lock.
	}
	l, err := r.Lock("empty trash", ClaimScope(k))
	if errors.Is(err, ErrLocked) {
		return nil
	}
	if err != nil {
		return err
	}
	return errors.Join(r.tidy(k), l.Release())
}

// deletion deletes trees, at a bounded pace. Its zero value knows no bound.
type deletion struct {
	limit   *rate.Limiter
	step    func(name string) error // Nil outside of EmptyTrash.
	entries int64                   // What was deleted so far.
}

// removeTree deletes name and what is below it; a missing name is no error.
func removeTree(ctx context.Context, parent *os.Root, name string) error {
	return new(deletion).tree(ctx, parent, name)
}

// tree deletes name and what is below it; a missing name is no error, also one
// that somebody else deletes meanwhile. It works on names relative to open
// folders, so that neither the length nor the depth of a path matters (one
// descriptor per level), deletes links instead of following them, and refuses to
// enter another file system that somebody mounted there.
func (d *deletion) tree(ctx context.Context, parent *os.Root, name string) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	first := parent.Remove(name)
	switch {
	case first == nil:
		return d.deleted(ctx)
	case errors.Is(first, fs.ErrNotExist):
		return nil
	}
	info, err := parent.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil || !info.IsDir() {
		return first
	}
	dir, err := openDir(parent, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := sameDevice(parent, dir); err != nil {
		return err
	}
	if err := d.content(ctx, dir); err != nil {
		return err
	}
	err = parent.Remove(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return d.deleted(ctx)
}

// content deletes everything in dir, a batch of names at a time, because a
// folder may hold millions of them.
func (d *deletion) content(ctx context.Context, dir *os.Root) error {
	for {
		batch, err := batchOf(dir)
		if len(batch) == 0 {
			if errors.Is(err, io.EOF) || errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			return err
		}
		for _, name := range batch {
			if err := d.tree(ctx, dir, name); err != nil {
				return err
			}
		}
	}
}

func batchOf(dir *os.Root) ([]string, error) {
	const most = 1024
	f, err := dir.Open(".")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Readdirnames(most)
}

// deleted counts one entry, and waits until the next one may go.
func (d *deletion) deleted(ctx context.Context) error {
	d.entries++
	if d.step != nil {
		if err := d.step("empty: entry"); err != nil {
			return err
		}
	}
	if d.limit == nil {
		return nil
	}
	timer := time.NewTimer(d.limit.Reserve().Delay())
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}
