package blockstore_test

import (
	"bufio"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/glusterbackupd/glusterbackupd/blockstore"
)

const (
	imageName = "blockvol_894eff0265e1564eb4dc153a75e503ee"
	imageGBID = "7d8d3ac7-13ba-4827-b0d4-23af0f23a1dd"
)

// folderMode is what gluster-block gives its folders. Without root nobody
// could look into them.
func folderMode() os.FileMode {
	if os.Geteuid() == 0 {
		return 0
	}
	return 0o700
}

// emptyTree makes the layout without any block volume.
func emptyTree(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	for _, dir := range []string{blockstore.MetaDir, blockstore.StoreDir} {
		must(t, os.Mkdir(filepath.Join(root, dir), 0o700))
	}
	for _, name := range []string{"meta.lock", "prio.info"} {
		must(t, os.WriteFile(filepath.Join(root, blockstore.MetaDir, name), nil, 0o600))
	}
	for _, dir := range []string{blockstore.MetaDir, blockstore.StoreDir} {
		must(t, os.Chmod(filepath.Join(root, dir), folderMode()))
	}
	return root
}

// recordedTree makes the tree that the fixtures show: the journals, and the
// images with their recorded sizes and links, as holes.
func recordedTree(t *testing.T) string {
	t.Helper()
	root := emptyTree(t)
	entries, err := os.ReadDir("testdata/block-meta")
	must(t, err)
	for _, e := range entries {
		text, err := os.ReadFile(filepath.Join("testdata/block-meta", e.Name()))
		must(t, err)
		must(t, os.WriteFile(filepath.Join(root, blockstore.MetaDir, e.Name()), text, 0o600))
	}
	f, err := os.Open("testdata/stat-fuse.txt")
	must(t, err)
	closing(t, f)
	line := regexp.MustCompile(`/block-store/(\S+) ino=(\d+) .* size=(\d+) `)
	first := make(map[string]string)
	for s := bufio.NewScanner(f); s.Scan(); {
		m := line.FindStringSubmatch(s.Text())
		if m == nil {
			continue
		}
		p := filepath.Join(root, blockstore.StoreDir, m[1])
		if other := first[m[2]]; other != "" {
			must(t, os.Link(other, p))
			continue
		}
		first[m[2]] = p
		size, err := strconv.ParseInt(m[3], 10, 64)
		must(t, err)
		must(t, os.WriteFile(p, nil, 0o600))
		must(t, os.Truncate(p, size))
	}
	return root
}

// addImage adds a block volume of that size, exported by one host.
func addImage(t *testing.T, root, name, gbid string, size int) {
	t.Helper()
	must(t, os.WriteFile(filepath.Join(root, blockstore.MetaDir, name), []byte(journalText(gbid, size)), 0o600))
	p := filepath.Join(root, blockstore.StoreDir, gbid)
	must(t, os.WriteFile(p, nil, 0o600))
	must(t, os.Truncate(p, int64(size)))
}

func journalText(gbid string, size int) string {
	return "VOLUME: vol_a\nGBID: " + gbid + "\nHA: 1\nENTRYCREATE: INPROGRESS\nSIZE: " + strconv.Itoa(size) +
		"\nENTRYCREATE: SUCCESS\n10.0.0.1: CONFIGINPROGRESS\n10.0.0.1: CONFIGSUCCESS\n"
}

// closing closes c at the end of the test. That it was closed before is fine.
func closing(t *testing.T, c io.Closer) {
	t.Helper()
	t.Cleanup(func() {
		if err := c.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
			t.Error(err)
		}
	})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// withoutCapabilities runs f on a thread that may not enter folders of mode
// 000. The thread ends with its goroutine.
func withoutCapabilities(t *testing.T, f func()) {
	t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked
		defer close(done)
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var data [2]unix.CapUserData
		if err := unix.Capget(&header, &data[0]); err != nil {
			done <- err
			return
		}
		data[0].Effective &^= 1<<unix.CAP_DAC_OVERRIDE | 1<<unix.CAP_DAC_READ_SEARCH
		if err := unix.Capset(&header, &data[0]); err != nil {
			done <- err
			return
		}
		f()
	}()
	must(t, <-done)
}
