package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// runs makes the measurements.
type runs struct {
	*stage
	options
	table *table
}

// compare measures each tool as often as asked for, with cold caches, and puts
// it into the table. Tools take turns, so that all of them meet the same load. The
// volume is mounted for writing before and after.
func (r *runs) compare(ctx context.Context, name string, v *volume, from string, tools []tool) error {
	results := make([][]result, len(tools))
	for round := range r.repeat {
		for i, t := range tools {
			to := filepath.Join(r.disk, "copy")
			if err := os.RemoveAll(to); err != nil {
				return err
			}
			if t.prepare != nil {
				if err := t.prepare(ctx, to); err != nil {
					return err
				}
			}
			if err := v.cold(ctx, t); err != nil {
				return err
			}
			res, err := timed(ctx, t.args(from, to)...)
			if err != nil {
				return err
			}
			fmt.Printf("  %s %d: %-28s %7.2f s  CPU %6.2f s  RSS %4d MiB\n",
				name, round+1, t.name, res.wall.Seconds(), res.cpu.Seconds(), res.rss>>20)
			results[i] = append(results[i], res)
		}
	}
	for i, t := range tools {
		r.table.add(name, t.name, results[i])
	}
	return v.live(ctx)
}

// find only walks.
var find = onSnapshot("find -printf '%s %T@'", nil, func(from, _ string) []string {
	return []string{"find", from, "-printf", "%s %T@\n"}
})

// versions makes a first version and returns the tools that make the next.
func (r *runs) versions(ctx context.Context, from, name string) ([]tool, error) {
	one := filepath.Join(r.disk, name)
	known := one + ".known"
	if err := os.MkdirAll(one, 0o700); err != nil {
		return nil, err
	}
	time.Sleep(3 * time.Second) // Of younger files the engine keeps no fingerprint.
	if _, err := timed(ctx, ours("native", from, one, "-fingerprints", known)...); err != nil {
		return nil, err
	}
	next := filepath.Join(r.disk, "next.known")
	forget := func(ctx context.Context, to string) error {
		if err := os.RemoveAll(next); err != nil {
			return err
		}
		return mkdir(ctx, to)
	}
	linkDest := func(from, to string) []string {
		return []string{"rsync", "-aHAXS", "--numeric-ids", "--link-dest=" + one, contents(from), contents(to)}
	}
	return []tool{
		onVolume("rsync -aHAXS --link-dest", mkdir, linkDest),
		onSnapshot("rsync, on the snapshot's mount", mkdir, linkDest),
		onSnapshot("glusterbackupd, native", forget, func(from, to string) []string {
			return ours("native", from, to, "-reference", one, "-known", known, "-fingerprints", next)
		}),
	}, nil
}

// filled makes n files on the volume, and a first version of them.
func (r *runs) filled(ctx context.Context, v *volume, n int) (from string, next []tool, err error) {
	from = filepath.Join(v.dir, "data")
	if err := fill(ctx, from, n, small); err != nil {
		return "", nil, err
	}
	next, err = r.versions(ctx, from, v.name)
	return from, next, err
}

// small is the tree of small files: first copy, next version, and the way back.
func (r *runs) small(ctx context.Context) error {
	v, err := r.volume(ctx, "small")
	if err != nil {
		return err
	}
	from := filepath.Join(v.dir, "data")
	if err := fill(ctx, from, r.files, small); err != nil {
		return err
	}
	name := fmt.Sprintf("%d small files, first copy", r.files)
	if err := r.compare(ctx, name, v, from, firstCopyTools()); err != nil {
		return err
	}
	next, err := r.versions(ctx, from, "small")
	if err != nil {
		return err
	}
	if err := r.compare(ctx, "unchanged, next version", v, from, append(next, find)); err != nil {
		return err
	}
	if err := r.verify(ctx, v); err != nil {
		return err
	}
	back := filepath.Join(v.dir, "back")
	clean := func(ctx context.Context, _ string) error {
		if err := os.RemoveAll(back); err != nil {
			return err
		}
		return mkdir(ctx, back)
	}
	return r.compare(ctx, fmt.Sprintf("restore of %d files into a volume", r.files), v, filepath.Join(r.disk, "small"), []tool{
		onVolume("rsync -aHAXS", clean, func(from, _ string) []string {
			return []string{"rsync", "-aHAXS", "--numeric-ids", contents(from), contents(back)}
		}),
		onVolume("glusterbackupd, native", clean, func(from, _ string) []string { return ours("native", from, back) }),
		onVolume("glusterbackupd, native, fsync", clean, func(from, _ string) []string { return ours("native", from, back, "-sync") }),
	})
}

// verify reads the copy of the small files, as verify does.
func (r *runs) verify(ctx context.Context, v *volume) error {
	return r.compare(ctx, fmt.Sprintf("verify of %d files, on the disk of the copies", r.files), v, filepath.Join(r.disk, "small"), []tool{
		onDisk("find -type f -exec cat {} +", nil, func(from, _ string) []string { return []string{"find", from, "-type", "f", "-exec", "cat", "{}", "+"} }),
		onDisk("glusterbackupd", nil, func(from, _ string) []string { return ours("scan", from, "") }),
	})
}

// late is a volume on which each operation takes a millisecond.
func (r *runs) late(ctx context.Context) error {
	v, err := r.volume(ctx, "late")
	if err != nil {
		return err
	}
	from, next, err := r.filled(ctx, v, r.delayed)
	if err != nil {
		return err
	}
	if err := v.delay(ctx); err != nil {
		return err
	}
	if err := r.compare(ctx, fmt.Sprintf("%d files, 1 ms per operation, first copy", r.delayed), v, from, firstCopyTools()[:3]); err != nil {
		return err
	}
	return r.compare(ctx, "1 ms per operation, unchanged", v, from, append(next, find))
}

// replicas is the tree on a volume with three replicas, which Heketi makes where it
// is not told otherwise, all of them on this machine.
func (r *runs) replicas(ctx context.Context) error {
	v, err := r.replicated(ctx, "replicas", 3)
	if err != nil {
		return err
	}
	from, next, err := r.filled(ctx, v, r.delayed)
	if err != nil {
		return err
	}
	name := fmt.Sprintf("%d files, three replicas", r.delayed)
	if err := r.compare(ctx, name+", first copy", v, from, firstCopyTools()[:3]); err != nil {
		return err
	}
	return r.compare(ctx, "three replicas, unchanged", v, from, append(next, find))
}

// changes is a larger tree of which 1 % is written anew.
func (r *runs) changes(ctx context.Context) error {
	v, err := r.volume(ctx, "changes")
	if err != nil {
		return err
	}
	from, next, err := r.filled(ctx, v, r.many)
	if err != nil {
		return err
	}
	if err := changeOnePercent(from, r.many, 2); err != nil {
		return err
	}
	return r.compare(ctx, fmt.Sprintf("1 %% of %d files changed", r.many), v, from, next)
}

// shard is the size of the shards of the image.
const shard = 64 << 20

// images is an image on a sharded volume: first copy, one of which blocks all over it
// have changed, one of which one shard has, and what verify does.
func (r *runs) images(ctx context.Context) error {
	v, err := r.volume(ctx, "images", "features.shard=on", "features.shard-block-size=64MB")
	if err != nil {
		return err
	}
	v.images = true
	from := filepath.Join(v.dir, "image")
	if err := writeImage(from, r.image); err != nil {
		return err
	}
	dd := onVolume("dd bs=4M of=/dev/null", nil, func(from, _ string) []string { return []string{"dd", "bs=4M", "if=" + from, "of=/dev/null"} })
	name := fmt.Sprintf("image of %d MiB, %d MiB of data", r.image>>20, r.image>>20*3/8)
	err = r.compare(ctx, name+", first copy", v, from, []tool{
		onVolume("rsync -aS", nil, func(from, to string) []string { return []string{"rsync", "-aS", from, to} }),
		onVolume("cp --sparse=always", nil, func(from, to string) []string { return []string{"cp", "--sparse=always", from, to} }),
		dd,
		onSnapshot("glusterbackupd", nil, func(from, to string) []string { return ours("image", from, to) }),
		onSnapshot("glusterbackupd, fsync", nil, func(from, to string) []string { return ours("image", from, to, "-sync") }),
		onSnapshot("glusterbackupd, tracked", nil, func(from, to string) []string { return ours("image", from, to, "-brick", v.brick) }),
	})
	if err != nil {
		return err
	}
	one := filepath.Join(r.disk, "image")
	said := one + ".said"
	if _, err := timed(ctx, ours("image", from, one, "-says", said)...); err != nil {
		return err
	}
	if err := r.changedImage(ctx, v, from, one, said); err != nil {
		return err
	}
	if err := r.changedShard(ctx, v, from, one); err != nil {
		return err
	}
	return r.compare(ctx, "verify of the image, on the disk of the copies", v, one, []tool{
		dd,
		onDisk("glusterbackupd", nil, func(from, _ string) []string { return ours("scan", from, "") }),
	})
}

// changedImage has one of a hundred blocks change, in all shards: tracking only tells
// what was never written.
func (r *runs) changedImage(ctx context.Context, v *volume, from, one, before string) error {
	at, err := changeBlocks(from, 0, r.image, r.image/block/100, 3)
	if err != nil {
		return err
	}
	after, changed := one+".after", one+".changed"
	if err := writeJSON(changed, at); err != nil {
		return err
	}
	chunks := func(size string) func(from, to string) []string {
		return func(from, to string) []string {
			return ours("image", from, to, "-reference", one, "-pieces", before, "-says", after, "-brick", v.brick, "-written", changed, "-chunk", size)
		}
	}
	err = r.compare(ctx, "1 % of its blocks changed", v, from, []tool{
		r.rsyncOnto(one),
		onSnapshot("glusterbackupd", nil, func(from, to string) []string {
			return ours("image", from, to, "-reference", one, "-pieces", before, "-says", after)
		}),
		onSnapshot("glusterbackupd, fsync", nil, func(from, to string) []string {
			return ours("image", from, to, "-reference", one, "-pieces", before, "-says", after, "-sync")
		}),
		onSnapshot("glusterbackupd, tracked", nil, func(from, to string) []string {
			return ours("image", from, to, "-reference", one, "-pieces", before, "-says", after, "-brick", v.brick)
		}),
		onSnapshot("glusterbackupd, chunks of 256 KiB", nil, chunks("262144")),
		onSnapshot("glusterbackupd, chunks of 64 KiB", nil, chunks("65536")),
	})
	if err != nil {
		return err
	}
	r.table.note("Which chunks of that size have changed is known where it says so, as the thin pools below the bricks tell it with track_chunks; Heketi makes them of 256 KiB. There are no thin pools here: to ask them takes a comparison of their metadata on each brick, over ssh.")
	var s said
	if err := readJSON(after, &s); err != nil {
		return err
	}
	r.table.note("glusterbackupd digests each piece of an image; the other tools do not, and dd writes nothing. With fsync it waits until the image is on the disk, which no other tool does.")
	r.table.note("Of the changed image, %.1f MiB were changed and glusterbackupd wrote %.1f MiB.",
		float64(r.image/block/100*block)/(1<<20), float64(s.Written)/(1<<20))
	return nil
}

// changedShard has some blocks of one shard change, which is known.
func (r *runs) changedShard(ctx context.Context, v *volume, from, one string) error {
	if err := os.Remove(one); err != nil {
		return err
	}
	before := one + ".before"
	if _, err := timed(ctx, ours("image", from, one, "-says", before)...); err != nil {
		return err
	}
	changed := r.image / shard / 2
	if _, err := changeBlocks(from, changed*shard, shard, 100, 4); err != nil {
		return err
	}
	name := fmt.Sprintf("1 of its %d shards changed, tracked", r.image/shard)
	r.table.note("What the bricks say of the shards, and of where these have data, is known where it says tracked; to ask them takes a look at each shard's inode and extents on each brick, over ssh.")
	tracked := func(from, to string) []string {
		return ours("image", from, to, "-reference", one, "-pieces", before, "-changed", strconv.FormatInt(changed, 10))
	}
	return r.compare(ctx, name, v, from, []tool{
		r.rsyncOnto(one),
		onSnapshot("glusterbackupd", nil, tracked),
		onSnapshot("glusterbackupd, fsync", nil, func(from, to string) []string { return append(tracked(from, to), "-sync") }),
	})
}

// rsyncOnto is what an admin would do with an image on a disk with reflinks.
func (r *runs) rsyncOnto(one string) tool {
	clone := func(ctx context.Context, to string) error { return run(ctx, "cp", "--reflink=always", one, to) }
	return onVolume("rsync -I --inplace onto a reflink", clone, func(from, to string) []string {
		return []string{"rsync", "-aI", "--inplace", "--no-whole-file", from, to}
	})
}

// million is what a large tree needs of memory, on local disks, where that is no
// other than on Gluster and does not take hours.
func (r *runs) million(ctx context.Context) error {
	once := *r
	once.repeat, r = 1, &once // Its memory hardly changes from run to run.
	v := &volume{stage: r.stage}
	from, known := filepath.Join(r.disk, "million"), filepath.Join(r.disk, "million.known")
	if err := fill(ctx, from, r.large, tiny); err != nil {
		return err
	}
	one, list := filepath.Join(r.disk, "million.one"), filepath.Join(r.disk, "million.list")
	time.Sleep(3 * time.Second) // Of younger files the engine keeps no fingerprint.
	name := fmt.Sprintf("%d tiny files, from disk to disk, once", r.large)
	err := r.compare(ctx, name+", first copy", v, from, []tool{
		onDisk("rsync -aHAXS", mkdir, func(from, to string) []string {
			return []string{"rsync", "-aHAXS", "--numeric-ids", contents(from), contents(to)}
		}),
		onDisk("glusterbackupd, native", func(ctx context.Context, to string) error {
			return errors.Join(os.RemoveAll(known), mkdir(ctx, to))
		}, func(from, to string) []string { return ours("native", from, to, "-fingerprints", known) }),
	})
	if err != nil {
		return err
	}
	if err := os.Rename(filepath.Join(r.disk, "copy"), one); err != nil {
		return err
	}
	next := filepath.Join(r.disk, "next.known")
	err = r.compare(ctx, name+", unchanged", v, from, []tool{
		onDisk("rsync -aHAXS --link-dest", mkdir, func(from, to string) []string {
			return []string{"rsync", "-aHAXS", "--numeric-ids", "--link-dest=" + one, contents(from), contents(to)}
		}),
		onDisk("glusterbackupd, native", func(ctx context.Context, to string) error {
			return errors.Join(os.RemoveAll(next), mkdir(ctx, to))
		}, func(from, to string) []string {
			return ours("native", from, to, "-reference", one, "-known", known, "-fingerprints", next)
		}),
	})
	if err != nil {
		return err
	}
	// All files of one have a second name now.
	if err := os.Rename(filepath.Join(r.disk, "copy"), filepath.Join(r.disk, "million.two")); err != nil {
		return err
	}
	return r.compare(ctx, fmt.Sprintf("manifest of %d files", r.large), v, one, []tool{
		onDisk("glusterbackupd", nil, func(from, _ string) []string { return ours("scan", from, list) }),
		onDisk("glusterbackupd, next version", nil, func(_, _ string) []string {
			return ours("scan", filepath.Join(r.disk, "million.two"), "", "-reference", one, "-known", list)
		}),
	})
}
