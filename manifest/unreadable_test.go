package manifest_test

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/glusterbackupd/glusterbackupd/manifest"
)

// TestScanUnreadable runs itself without root's right to read everything.
func TestScanUnreadable(t *testing.T) {
	if dir := os.Getenv("UNREADABLE_TREE"); dir != "" {
		scanUnreadable(t, dir)
		return
	}
	root := t.TempDir()
	put(t, root+"/a", "a")
	put(t, root+"/file", "secret")
	put(t, root+"/folder/inside", "x")
	put(t, root+"/last", "z")
	put(t, root+"/names-only/inside", "x")
	if err := os.Link(root+"/file", root+"/linked"); err != nil {
		t.Fatal(err)
	}
	for name, mode := range map[string]os.FileMode{"file": 0, "folder": 0, "names-only": 0o444} {
		if err := errors.Join(os.Chown(filepath.Join(root, name), 1000, 1000), os.Chmod(filepath.Join(root, name), mode)); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("setpriv", "--bounding-set=-dac_override,-dac_read_search", os.Args[0], "-test.run=^TestScanUnreadable$", "-test.v")
	cmd.Env = append(os.Environ(), "UNREADABLE_TREE="+root)
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: TestScanUnreadable") {
		t.Errorf("without rights: %v\n%s", err, out)
	}
}

func scanUnreadable(t *testing.T, root string) {
	var emitted, failed []string
	emit := func(e manifest.Entry) error {
		emitted = append(emitted, e.Path)
		return nil
	}
	err := manifest.Scan(t.Context(), root, hashed, emit)
	var first *manifest.ScanError
	if !errors.As(err, &first) || first.Path != "file" || !errors.Is(err, fs.ErrPermission) {
		t.Errorf("first error %v", err)
	}
	emitted = nil
	o := hashed
	o.Failed = func(e *manifest.ScanError) error {
		failed = append(failed, e.Path)
		return nil
	}
	if err := manifest.Scan(t.Context(), root, o, emit); !errors.Is(err, manifest.ErrIncomplete) {
		t.Errorf("error %v, want %v", err, manifest.ErrIncomplete)
	}
	if diff := cmp.Diff([]string{"file", "folder", "linked", "names-only/inside"}, failed); diff != "" {
		t.Errorf("failed: %s", diff)
	}
	if diff := cmp.Diff([]string{".", "a", "last", "names-only"}, emitted); diff != "" {
		t.Errorf("emitted: %s", diff)
	}
	stop := errors.New("enough")
	o.Failed = func(*manifest.ScanError) error { return stop }
	if err := manifest.Scan(t.Context(), root, o, emit); !errors.Is(err, stop) {
		t.Errorf("error %v, want %v", err, stop)
	}
}
