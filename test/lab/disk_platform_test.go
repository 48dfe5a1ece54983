//go:build platform

package lab_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/glusterbackupd/glusterbackupd/test/lab"
)

func TestDisk(t *testing.T) {
	for _, fsType := range []string{lab.XFS, lab.Ext4} {
		t.Run(fsType, func(t *testing.T) {
			ctx, dir := t.Context(), filepath.Join(t.TempDir(), "disk")
			disk, err := lab.NewDisk(ctx, fsType, 320, dir)
			if err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(dir, "file")
			if err := os.WriteFile(file, []byte("kept"), 0o600); err != nil {
				t.Error(err)
			}
			if err := disk.Unmount(ctx); err != nil {
				t.Fatal(err)
			}
			if _, err := os.Stat(file); !os.IsNotExist(err) {
				t.Errorf("the file is there without the disk: %v", err)
			}
			if err := disk.Mount(ctx); err != nil {
				t.Fatal(err)
			}
			if content, err := os.ReadFile(file); err != nil || string(content) != "kept" {
				t.Errorf("after mounting again: %q, %v", content, err)
			}
			if err := disk.Close(ctx); err != nil {
				t.Error(err)
			}
			if _, err := os.Stat(disk.Image); !os.IsNotExist(err) {
				t.Errorf("the image is still there: %v", err)
			}
		})
	}
}
