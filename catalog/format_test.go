package catalog_test

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/glusterbackupd/glusterbackupd/catalog"
)

var update = flag.Bool("update", false, "write the fixture of the present format")

// fixture is a whole BackupDisk in a tar file, because a checkout keeps
// neither times nor modes.
func fixture(format int) string {
	return filepath.Join("testdata", fmt.Sprintf("format-%d.tar.gz", format))
}

// TestFormats reads a BackupDisk of every format that ever was released, and
// continues it. The fixture of a released format is never written again.
func TestFormats(t *testing.T) {
	if *update {
		writeFixture(t)
	}
	for format := 1; format <= catalog.Format; format++ {
		t.Run(fmt.Sprint(format), func(t *testing.T) {
			root := tempDir(t)
			tar(t, "--extract", "--same-owner", "--preserve-permissions", "--file", fixture(format), "--directory", root)
			r := openRepo(t, root)
			equal(t, ids(t, r.Repository, web), idsOf([]int{0, 1}))
			equal(t, ids(t, r.Repository, db), idsOf([]int{0}))
			b, err := r.Find(db, "")
			if err != nil || b.Info.Kind != catalog.KindBlock || *b.Info.Block != *blockInfo().Block {
				t.Errorf("block backup %+v, %v", b.Info, err)
			}
			if entries := hashes(t, b); entries["block-store/"+b.Info.Block.GBID] == "" {
				t.Errorf("entries %v", entries)
			}
			for part := range 3 {
				if err := b.Verify(t.Context(), catalog.VerifyOptions{Sample: catalog.Sample{Part: part, Parts: 3}}); err != nil {
					t.Error(err)
				}
			}
			if err := b.Verify(t.Context(), catalog.VerifyOptions{}); err != nil {
				t.Error(err)
			}
			r.backup(web, 2)
		})
	}
}

func blockInfo() catalog.Info {
	i := info()
	i.Kind, i.Volume = catalog.KindBlock, "vol_2"
	i.Claim = &catalog.ClaimInfo{UID: "5f0f1f2e-0000-4000-8000-000000000001", PersistentVolume: "pvc-1", Size: 1 << 20}
	i.Block = &catalog.BlockInfo{
		Name: "blockvol_0123456789abcdef0123456789abcdef", GBID: "5f0f1f2e-0000-4000-8000-000000000002",
		Size: 1 << 20, Data: 5, HostingVolume: "vol_2",
	}
	return i
}

func writeFixture(t *testing.T) {
	t.Helper()
	r := newRepo(t)
	r.backup(web, 0)
	r.backup(web, 1)
	s, err := r.Begin(db, at(0))
	if err != nil {
		t.Fatal(err)
	}
	block := blockInfo().Block
	write(t, s.Data(), map[string]string{"block-meta/" + block.Name: "VOLUME: vol_2\n", "block-store/" + block.GBID: "image"})
	if err := os.Truncate(filepath.Join(s.Data(), "block-store", block.GBID), block.Size); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Publish(t.Context(), blockInfo(), catalog.PublishOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll("testdata", 0o755); err != nil {
		t.Fatal(err)
	}
	tar(t, "--create", "--gzip", "--sparse", "--sort=name", "--numeric-owner", "--exclude=.glusterbackup/lock",
		"--file", fixture(catalog.Format), "--directory", r.Root(), ".glusterbackup", "shop")
}

func tar(t *testing.T, args ...string) {
	t.Helper()
	args = append([]string{"--format=pax", "--xattrs", "--xattrs-include=*"}, args...)
	if out, err := exec.Command("tar", args...).CombinedOutput(); err != nil {
		t.Fatalf("tar: %v: %s", err, out)
	}
}
