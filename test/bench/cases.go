package main

import (
	"context"
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
// it into the table. Tools take turns, so that all of them meet the same load.
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
			if err := v.cold(ctx); err != nil {
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
	return nil
}

// find only walks.
var find = tool{"find -printf '%s %T@'", nil, func(from, _ string) []string {
	return []string{"find", from, "-printf", "%s %T@\n"}
}}

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
	return []tool{
		{"rsync -aHAXS --link-dest", mkdir, func(from, to string) []string {
			return []string{"rsync", "-aHAXS", "--numeric-ids", "--link-dest=" + one, contents(from), contents(to)}
		}},
		{"glusterbackupd, native", forget, func(from, to string) []string {
			return ours("native", from, to, "-reference", one, "-known", known, "-fingerprints", next)
		}},
	}, nil
}

// small is the tree of small files: first copy, next version, and the way back.
func (r *runs) small(ctx context.Context) error {
	v, err := r.volume(ctx, "small")
	if err != nil {
		return err
	}
	from := filepath.Join(v.dir, "data")
	if err := fill(ctx, from, r.files); err != nil {
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
	back := filepath.Join(v.dir, "back")
	clean := func(ctx context.Context, _ string) error {
		if err := os.RemoveAll(back); err != nil {
			return err
		}
		return mkdir(ctx, back)
	}
	return r.compare(ctx, fmt.Sprintf("restore of %d files into a volume", r.files), v, filepath.Join(r.disk, "small"), []tool{
		{"rsync -aHAXS", clean, func(from, _ string) []string {
			return []string{"rsync", "-aHAXS", "--numeric-ids", contents(from), contents(back)}
		}},
		{"glusterbackupd, native", clean, func(from, _ string) []string { return ours("native", from, back) }},
		{"glusterbackupd, native, fsync", clean, func(from, _ string) []string { return ours("native", from, back, "-sync") }},
	})
}

// late is a volume on which each operation takes a millisecond.
func (r *runs) late(ctx context.Context) error {
	v, err := r.volume(ctx, "late")
	if err != nil {
		return err
	}
	from := filepath.Join(v.dir, "data")
	if err := fill(ctx, from, r.delayed); err != nil {
		return err
	}
	next, err := r.versions(ctx, from, "late")
	if err != nil {
		return err
	}
	if err := v.delay(ctx); err != nil {
		return err
	}
	if err := r.compare(ctx, fmt.Sprintf("%d files, 1 ms per operation, first copy", r.delayed), v, from, firstCopyTools()[:2]); err != nil {
		return err
	}
	return r.compare(ctx, "1 ms per operation, unchanged", v, from, append(next, find))
}

// changes is a larger tree of which 1 % is written anew.
func (r *runs) changes(ctx context.Context) error {
	v, err := r.volume(ctx, "changes")
	if err != nil {
		return err
	}
	from := filepath.Join(v.dir, "data")
	if err := fill(ctx, from, r.many); err != nil {
		return err
	}
	next, err := r.versions(ctx, from, "changes")
	if err != nil {
		return err
	}
	if err := changeOnePercent(from, r.many, 2); err != nil {
		return err
	}
	return r.compare(ctx, fmt.Sprintf("1 %% of %d files changed", r.many), v, from, next)
}

// images is an image on a sharded volume: first copy, and a changed one.
func (r *runs) images(ctx context.Context) error {
	v, err := r.volume(ctx, "images", "features.shard=on", "features.shard-block-size=64MB")
	if err != nil {
		return err
	}
	from := filepath.Join(v.dir, "image")
	if err := writeImage(from, r.image); err != nil {
		return err
	}
	name := fmt.Sprintf("image of %d MiB, %d MiB of data", r.image>>20, r.image>>20*3/8)
	err = r.compare(ctx, name+", first copy", v, from, []tool{
		{"rsync -aS", nil, func(from, to string) []string { return []string{"rsync", "-aS", from, to} }},
		{"cp --sparse=always", nil, func(from, to string) []string { return []string{"cp", "--sparse=always", from, to} }},
		{"dd bs=4M of=/dev/null", nil, func(from, _ string) []string { return []string{"dd", "bs=4M", "if=" + from, "of=/dev/null"} }},
		{"glusterbackupd", nil, func(from, to string) []string { return ours("image", from, to) }},
	})
	if err != nil {
		return err
	}
	one, written := filepath.Join(r.disk, "image"), filepath.Join(r.disk, "written")
	if _, err := timed(ctx, ours("image", from, one)...); err != nil {
		return err
	}
	if err := changeBlocks(from, r.image, 3); err != nil {
		return err
	}
	clone := func(ctx context.Context, to string) error { return run(ctx, "cp", "--reflink=always", one, to) }
	err = r.compare(ctx, "1 % of its blocks changed", v, from, []tool{
		{"rsync -I --inplace onto a reflink", clone, func(from, to string) []string {
			return []string{"rsync", "-aI", "--inplace", "--no-whole-file", from, to}
		}},
		{"glusterbackupd", nil, func(from, to string) []string {
			return ours("image", from, to, "-reference", one, "-fingerprints", written)
		}},
	})
	if err != nil {
		return err
	}
	text, err := os.ReadFile(written)
	if err != nil {
		return err
	}
	n, err := strconv.ParseInt(string(text), 10, 64)
	if err != nil {
		return err
	}
	r.table.note("glusterbackupd hashes each image whole and waits until it is on the disk; the other tools do neither, and dd writes nothing.")
	r.table.note("Of the changed image, %.1f MiB were changed and glusterbackupd wrote %.1f MiB.",
		float64(r.image/block/100*block)/(1<<20), float64(n)/(1<<20))
	return nil
}
