package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"github.com/glusterbackupd/glusterbackupd/copier"
	"github.com/glusterbackupd/glusterbackupd/gluster"
	"github.com/glusterbackupd/glusterbackupd/manifest"
	"github.com/glusterbackupd/glusterbackupd/manifest/sparse"
)

// copyOnce is the process that is measured for our engines.
func copyOnce(args []string) error {
	flags := flag.NewFlagSet("copy", flag.ContinueOnError)
	engine := flags.String("engine", "native", "native, rsync, image or scan")
	var t copier.Tree
	var i imageFlags
	flags.StringVar(&t.Source, "from", "", "source")
	flags.StringVar(&t.Dest, "to", "", "destination")
	flags.StringVar(&t.Reference, "reference", "", "earlier copy")
	flags.StringVar(&t.Fingerprints, "fingerprints", "", "file of fingerprints to write")
	flags.StringVar(&t.ReferenceFingerprints, "known", "", "file of fingerprints of the earlier copy")
	flags.BoolVar(&t.Sync, "sync", false, "wait until it is on the disk")
	flags.StringVar(&i.pieces, "pieces", "", "what the earlier copy of the image said")
	flags.StringVar(&i.says, "says", "", "file for what the copy of the image says")
	flags.StringVar(&i.brick, "brick", "", "the brick: what it lacks was never written")
	flags.Int64Var(&i.changed, "changed", -1, "the only shard of 64 MiB that has changed")
	flags.StringVar(&i.written, "written", "", "file with the offsets of the blocks that have changed")
	flags.Int64Var(&i.chunk, "chunk", 0, "size of the chunks of which is known which of them have changed")
	if err := flags.Parse(args); err != nil {
		return err
	}
	ctx := context.Background()
	runtime.GOMAXPROCS(max(copier.Threads, runtime.NumCPU())) // As glusterbackupd does.
	switch *engine {
	case "native":
		e, err := copier.NewNative(copier.NativeOptions{})
		if err != nil {
			return err
		}
		_, err = e.Copy(ctx, t)
		return err
	case "rsync":
		e, err := copier.NewRsync(copier.RsyncOptions{})
		if err != nil {
			return err
		}
		_, err = e.Copy(ctx, t)
		return err
	case "image":
		return i.copy(ctx, t)
	case "scan":
		return scanOnce(ctx, t)
	}
	return fmt.Errorf("no engine %q", *engine)
}

// imageFlags are those of the copy of an image.
type imageFlags struct {
	pieces, says, brick, written string
	changed, chunk               int64
}

// said is what one copy tells the next one, and the table.
type said struct {
	Pieces  []byte
	Written int64
}

// unsynced is an image that is left to the kernel, as other tools leave theirs.
type unsynced struct{ *copier.ImageFile }

func (unsynced) Sync() error { return nil }

func (i imageFlags) copy(ctx context.Context, t copier.Tree) error {
	src, err := copier.OpenImage(t.Source)
	if err != nil {
		return err
	}
	defer src.Close()
	dst, cloned, err := copier.CreateImage(t.Dest, src.Size(), t.Reference)
	if err != nil {
		return err
	}
	defer dst.Close()
	blocks, err := newBlocks(t.Dest, t.Reference, src.Size())
	if err != nil {
		return err
	}
	defer blocks.Close()
	c := copier.ImageCopy{Source: src, Target: dst, Compare: cloned, Fresh: !cloned, Digest: copier.PieceDigests, Blocks: blocks}
	if !t.Sync {
		c.Target = unsynced{dst}
	}
	if i.pieces != "" {
		var before said
		if err := readJSON(i.pieces, &before); err != nil {
			return err
		}
		pieces := copier.ImagePieces(src.Size())
		pieces.SHA256 = string(before.Pieces)
		c.Reference = &copier.ImageReference{Pieces: pieces, Data: dst.Data}
	}
	if i.changed >= 0 {
		c.Reference.Unchanged = func(off, n int64) bool { return off/shard != i.changed && (off+n-1)/shard != i.changed }
	}
	if i.chunk > 0 {
		if c.Reference.Unchanged, err = unchangedChunks(i.written, i.chunk); err != nil {
			return err
		}
		c.Reference.Check = func(off, n int64) bool { return off/n%64 == 0 } // As many as the daemon has looked at.
	}
	if i.brick != "" {
		if c.Zero, err = missing(i.brick, filepath.Base(t.Source)); err != nil {
			return err
		}
	}
	res, err := copier.CopyImage(ctx, c)
	if err == nil && i.says != "" {
		err = writeJSON(i.says, said{[]byte(res.Pieces.SHA256), res.Written})
	}
	if res.Missed+res.Rotten > 0 {
		err = errors.Join(err, fmt.Errorf("%d bytes were missed, %d are rotten", res.Missed, res.Rotten))
	}
	return errors.Join(err, dst.Close(), blocks.Close())
}

// unchangedChunks tells which bytes are in no chunk of which a block was written.
func unchangedChunks(written string, size int64) (func(off, n int64) bool, error) {
	var at []int64
	if err := readJSON(written, &at); err != nil {
		return nil, err
	}
	changed := map[int64]bool{}
	for _, off := range at {
		changed[off/size] = true
	}
	return func(off, n int64) bool {
		for i := off / size; i*size < off+n; i++ {
			if changed[i] {
				return false
			}
		}
		return true
	}, nil
}

// newBlocks makes the file of the digests of an image's blocks beside it, from that of
// the earlier copy, as the daemon does.
func newBlocks(image, reference string, size int64) (*copier.ImageFile, error) {
	const suffix = ".blocks"
	if err := os.Remove(image + suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if reference != "" {
		reference += suffix
	}
	f, _, err := copier.CreateImage(image+suffix, copier.BlockDigestsSize(size), reference)
	return f, err
}

// unit is the grain in which a brick is asked where it has data.
const unit = gluster.DataUnit

// missing tells which bytes of an image the only brick never got, as its file system
// says.
func missing(brick, image string) (func(off, n int64) bool, error) {
	shards, err := filepath.Glob(filepath.Join(brick, ".shard", "*.*"))
	if err != nil {
		return nil, err
	}
	written := map[int64]bool{}
	for _, path := range append(shards, filepath.Join(brick, image)) {
		number, err := strconv.ParseInt(strings.TrimPrefix(filepath.Ext(path), "."), 10, 64)
		if err != nil {
			number = 0 // The image's own file.
		}
		if err := dataOf(path, number*shard/unit, written); err != nil {
			return nil, err
		}
	}
	return func(off, n int64) bool {
		for i := off / unit; i*unit < off+n; i++ {
			if written[i] {
				return false
			}
		}
		return true
	}, nil
}

// dataOf notes the units in which a file has data, counted from first.
func dataOf(path string, first int64, written map[int64]bool) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	for off, n := range sparse.Data(f, 0, shard) {
		for i := off / unit; i*unit < off+n; i++ {
			written[first+i] = true
		}
	}
	return nil
}

func writeJSON(path string, value any) error {
	text, err := json.Marshal(value)
	if err != nil {
		return err
	}
	return os.WriteFile(path, text, 0o600)
}

func readJSON(path string, value any) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, value)
}

// scanOnce reads a tree, or an image in a tree of its own, as verify does: all of
// it, with digests. With a reference it is the scan of a version whose unchanged
// files are known from there.
func scanOnce(ctx context.Context, t copier.Tree) error {
	root, o := t.Source, manifest.ScanOptions{Hash: true}
	if info, err := os.Stat(root); err != nil {
		return err
	} else if info.Mode().IsRegular() {
		var name string
		root, name = filepath.Split(root)
		o.Sub = name
		pieces := copier.ImagePieces(info.Size())
		o.Pieces = map[string]manifest.PieceScan{name: {Size: pieces.Size, Block: pieces.Block}}
	}
	out, err := os.Create(cmp.Or(t.Dest, os.DevNull))
	if err != nil {
		return err
	}
	defer out.Close()
	w, err := manifest.NewWriter(out)
	if err != nil {
		return err
	}
	write := func(e manifest.Entry) error { return w.Write(e) }
	if o.Sub != "" { // One file is no manifest.
		write = func(manifest.Entry) error { return nil }
	}
	if t.Reference != "" {
		o.Reference = &manifest.Reference{Root: t.Reference, Entries: entriesOf(t.ReferenceFingerprints)}
	}
	if err := manifest.Scan(ctx, root, o, write); err != nil {
		return err
	}
	_, err = w.Close()
	return errors.Join(err, out.Close())
}

// entriesOf reads a manifest.
func entriesOf(path string) func(yield func(manifest.Entry, error) bool) {
	return func(yield func(manifest.Entry, error) bool) {
		f, err := os.Open(path)
		if err != nil {
			yield(manifest.Entry{}, err)
			return
		}
		defer f.Close()
		r, err := manifest.NewReader(f)
		for err == nil {
			var e manifest.Entry
			if e, err = r.Next(); err == nil && !yield(e, nil) {
				return
			}
		}
		if !errors.Is(err, io.EOF) {
			yield(manifest.Entry{}, err)
		}
	}
}
