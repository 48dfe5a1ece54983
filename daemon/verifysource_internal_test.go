package daemon

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/glusterbackupd/glusterbackupd/blockstore"
	"github.com/glusterbackupd/glusterbackupd/catalog"
	"github.com/glusterbackupd/glusterbackupd/copier"
)

// TestCompareImageWithSource holds an image in a backup against that in a mounted
// snapshot: whatever differs is damage, and says where.
func TestCompareImageWithSource(t *testing.T) {
	const name, gbid, size = "blockvol_1", "7d8d3ac7-13ba-4827-b0d4-23af0f23a1dd", 1 << 20
	journal := "VOLUME: v\nGBID: " + gbid + "\nSIZE: 1048576\nHA: 1\nENTRYCREATE: INPROGRESS\nENTRYCREATE: SUCCESS\n" +
		"a: CONFIGINPROGRESS\na: CONFIGSUCCESS\n"
	lay := func(root, journal string, at int) {
		data := make([]byte, size)
		if at >= 0 {
			data[at] = 1
		}
		for path, content := range map[string]string{
			filepath.Join(blockstore.MetaDir, name): journal, filepath.Join(blockstore.StoreDir, gbid): string(data),
		} {
			path = filepath.Join(root, path)
			if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(content), 0o600)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for want, tt := range map[string]struct {
		journal string
		at      int
	}{
		"":                      {journal, -1},
		"differ at byte 700001": {journal, 700001},
		"journals":              {journal + "a: CLEANUPINPROGRESS\n", -1},
	} {
		snapshot, dir := t.TempDir(), t.TempDir()
		lay(snapshot, journal, -1)
		b := catalog.Backup{Dir: dir, Info: catalog.Info{Block: &catalog.BlockInfo{Name: name, GBID: gbid, Size: size}}}
		lay(b.DataDir(), tt.journal, tt.at)
		d := &Daemon{o: Options{Observe: func(Event) {}}, log: slog.New(slog.DiscardHandler)}
		err := d.compareImage(t.Context(), b, snapshot)
		if want == "" && err == nil {
			continue
		}
		var differs *SourceError
		if !errors.As(err, &differs) || !errors.Is(err, catalog.ErrDamaged) || !strings.Contains(err.Error(), want) || differs.Remedy() == "" {
			t.Errorf("want %q: %v", want, err)
		}
	}
	// An image that cannot be opened is not said to differ.
	snapshot, dir := t.TempDir(), t.TempDir()
	lay(snapshot, journal, -1)
	b := catalog.Backup{Dir: dir, Info: catalog.Info{Block: &catalog.BlockInfo{Name: name, GBID: gbid, Size: size}}}
	lay(b.DataDir(), journal, -1)
	image := filepath.Join(b.DataDir(), blockstore.StoreDir, gbid)
	if err := errors.Join(os.Remove(image), os.Mkdir(image, 0o700)); err != nil {
		t.Fatal(err)
	}
	d := &Daemon{o: Options{Observe: func(Event) {}}, log: slog.New(slog.DiscardHandler)}
	if err := d.compareImage(t.Context(), b, snapshot); !errors.Is(err, copier.ErrNotRegular) || errors.Is(err, catalog.ErrDamaged) {
		t.Errorf("a folder in place of the image: %v", err)
	}
}
