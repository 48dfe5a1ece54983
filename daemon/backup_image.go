package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/glusterbackupd/glusterbackupd/blockstore"
	"github.com/glusterbackupd/glusterbackupd/catalog"
	"github.com/glusterbackupd/glusterbackupd/copier"
)

// fillImage copies the image and its journal under the names that they have in
// the hosting volume. The journal is copied byte by byte, CHAP passwords
// included, as the tenant's data is: see docs/format.md.
func (d *Daemon) fillImage(ctx context.Context, s *catalog.Staging, t Target, f frozen, info *catalog.Info) (images map[string]catalog.CopiedImage, err error) {
	store := blockstore.Open(f.dir)
	img, err := findImage(store, t)
	if err != nil {
		return nil, err
	}
	source, err := store.OpenImage(img, blockstore.ReadOnly)
	if err != nil {
		return nil, err
	}
	defer source.Close()
	if err := writeJournal(s.Data(), store, t.Image); err != nil {
		return nil, err
	}
	dest := filepath.Join(s.Data(), img.Path)
	if err := os.MkdirAll(filepath.Dir(dest), 0o700); err != nil {
		return nil, err
	}
	target, cloned, err := copier.CreateImage(dest, img.Size, previousImage(s, img))
	if err != nil {
		// The last image may be unreadable; that must not cost this backup.
		d.log.Warn("the image of the last backup cannot be cloned", "claim", t.Key.String(), "image", t.Image, "error", err)
		if target, cloned, err = copier.CreateImage(dest, img.Size, ""); err != nil {
			return nil, err
		}
	}
	defer target.Close()
	c := copier.ImageCopy{
		Source: source, Compare: cloned, Fresh: !cloned,
		Digest: copier.PieceDigests, PieceSize: copier.ImagePieceSize(img.Size),
		Progress: d.progress(PhaseCopy, t.Key, t.Volume),
	}
	if cloned || previousImage(s, img) == "" { // Without clones nothing of the last image is read but what is copied.
		blocks, err := d.newBlocks(s, img)
		if err != nil {
			return nil, err
		}
		defer blocks.Close()
		c.Blocks = blocks
	}
	res, err := d.copyImage(ctx, d.track(ctx, s, t, f, img), target, c)
	if err != nil {
		return nil, err
	}
	copied := catalog.CopiedImage{Size: img.Size, Pieces: res.Pieces, Touched: res.Touched, Blocks: c.Blocks != nil && res.BlocksErr == nil}
	if res.BlocksErr != nil {
		d.log.Warn("the digests of the image's blocks are not kept, the next backup reads more of this one", "claim", t.Key.String(), "image", t.Image,
			"error", errors.Join(res.BlocksErr, os.Remove(s.Blocks())))
	}
	info.Kind = catalog.KindBlock
	info.Block = &catalog.BlockInfo{Name: t.Image, GBID: img.GBID, Size: img.Size, Data: res.Data, Chunks: res.Chunks, HostingVolume: t.Volume}
	info.Copied = catalog.CopyStats{Files: 1, Bytes: img.Size, FilesTransferred: 1, BytesTransferred: res.Written, Cloned: cloned, BytesUnread: res.Unread}
	return map[string]catalog.CopiedImage{img.Path: copied}, target.Close()
}

// newBlocks makes the file of the digests of the image's blocks, as a clone of that of
// the last backup if that has one.
func (d *Daemon) newBlocks(s *catalog.Staging, img blockstore.Image) (*copier.ImageFile, error) {
	size := copier.BlockDigestsSize(img.Size)
	if previous, ok := s.Previous(); ok {
		blocks, _, err := copier.CreateImage(s.Blocks(), size, previous.Blocks())
		if err == nil {
			return blocks, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			d.log.Warn("the digests of the last image's blocks cannot be cloned, more of that image is read", "path", previous.Blocks(), "error", err)
		}
	}
	blocks, _, err := copier.CreateImage(s.Blocks(), size, "")
	return blocks, err
}

// writeJournal copies the image's journal to data/block-meta/<name>.
func writeJournal(data string, store *blockstore.Store, name string) error {
	journal, err := store.JournalBytes(name)
	if err != nil {
		return err
	}
	dir := filepath.Join(data, blockstore.MetaDir)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, name), journal, 0o600)
}

// previousImage returns the path of the same image in the previous backup, to
// be cloned, or nothing.
func previousImage(s *catalog.Staging, img blockstore.Image) string {
	previous, ok := s.Previous()
	if !ok || previous.Info.Block == nil || previous.Info.Block.GBID != img.GBID {
		return ""
	}
	return filepath.Join(previous.DataDir(), img.Path)
}

// findImage returns the target's image if its journal is complete and agrees
// with the GBID that the claim or Heketi names.
func findImage(store *blockstore.Store, t Target) (blockstore.Image, error) {
	img, err := store.Image(t.Image)
	if err != nil {
		return img, err
	}
	if t.GBID != "" && t.GBID != img.GBID {
		return img, &MismatchError{Image: t.Image, Volume: t.Volume, Journal: img.GBID, Claim: t.GBID}
	}
	return img, nil
}

// MismatchError says that the claim and the journal of the hosting volume name
// different images.
type MismatchError struct{ Image, Volume, Journal, Claim string }

// Error names both ids.
func (e *MismatchError) Error() string {
	return fmt.Sprintf("image %s: journal of volume %s says GBID %s, but the claim or Heketi says %s", e.Image, e.Volume, e.Journal, e.Claim)
}

// Remedy says where to look.
func (e *MismatchError) Remedy() string {
	return fmt.Sprintf("compare the PV's iscsi.iqn, heketi-cli blockvolume info, and block-meta/%s on volume %s; nothing was touched", e.Image, e.Volume)
}
