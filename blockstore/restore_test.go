package blockstore_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/glusterbackupd/glusterbackupd/blockstore"
)

// journalless is smallTree with the journal gone.
func journalless(t *testing.T) (root string, s *blockstore.Store) {
	t.Helper()
	root, _ = smallTree(t)
	must(t, os.Remove(filepath.Join(root, blockstore.MetaDir, "small")))
	return root, blockstore.Open(root)
}

func metaNames(t *testing.T, root string) string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(root, blockstore.MetaDir))
	must(t, err)
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return strings.Join(all, " ")
}

func TestRestoreJournal(t *testing.T) {
	root, img := smallTree(t)
	s := blockstore.Open(root)
	journal := filepath.Join(root, blockstore.MetaDir, "small")
	content, err := s.JournalBytes("small")
	must(t, err)
	must(t, os.Remove(journal))
	// A run that died has left its temporary journal.
	must(t, os.WriteFile(filepath.Join(root, blockstore.MetaDir, ".glusterbackupd-LEFT"), []byte("VOL"), 0o600))

	j := parse(t, string(content))
	found, err := s.ImageFor("small", j)
	must(t, err)
	if found.Inode != img.Inode || found.Size != img.Size {
		t.Errorf("ImageFor = %+v, want %+v", found, img)
	}
	must(t, s.RestoreJournal("small", append(content, "10.0.0.1: CLEAN"...)))
	got, err := s.JournalBytes("small")
	must(t, err)
	if string(got) != string(content) {
		t.Errorf("journal = %q, want %q", got, content)
	}
	if st := stat(t, journal); st.Mode&0o777 != 0o600 || st.Nlink != 1 {
		t.Errorf("mode %o, %d links; want 600 and 1", st.Mode, st.Nlink)
	}
	if got := metaNames(t, root); got != "meta.lock prio.info small" {
		t.Errorf("block-meta holds %s", got)
	}
	if _, err := s.Image("small"); err != nil {
		t.Error(err)
	}
}

// TestRestoreJournalKeepsUnknownKeys puts a journal of a later gluster-block
// back: what this version does not know is on the volume again, byte by byte.
func TestRestoreJournalKeepsUnknownKeys(t *testing.T) {
	_, s := journalless(t)
	content := "LATER: value, with: colons\n" + journalText(smallGBID, 8<<20) + "LATER: again\n"
	must(t, s.RestoreJournal("small", []byte(content)))
	got, err := s.JournalBytes("small")
	must(t, err)
	if string(got) != content {
		t.Errorf("journal = %q, want %q", got, content)
	}
}

func TestRestoreJournalRefuses(t *testing.T) {
	good := journalText(smallGBID, 8<<20)
	tests := map[string]struct {
		name, content string
		spoil         func(t *testing.T, root string)
		want          error
	}{
		"path":         {"../small", good, nil, blockstore.ErrName},
		"dot":          {"small.1", good, nil, blockstore.ErrName},
		"damaged":      {"small", "GBID: x\n", nil, blockstore.ErrJournal},
		"empty":        {"small", "", nil, blockstore.ErrIncomplete},
		"no newline":   {"small", "VOLUME: vol_a", nil, blockstore.ErrIncomplete},
		"was deleting": {"small", good + "10.0.0.1: CLEANUPINPROGRESS\n", nil, blockstore.ErrIncomplete},
		"exists": {"small", good, func(t *testing.T, root string) {
			must(t, os.WriteFile(filepath.Join(root, blockstore.MetaDir, "small"), []byte("VOLUME: b\n"), 0o600))
		}, blockstore.ErrJournalExists},
		"other journal": {"small", good, func(t *testing.T, root string) {
			must(t, os.WriteFile(filepath.Join(root, blockstore.MetaDir, "other"), []byte(good), 0o600))
		}, blockstore.ErrAmbiguous},
		"damaged neighbour": {"small", good, func(t *testing.T, root string) {
			must(t, os.WriteFile(filepath.Join(root, blockstore.MetaDir, "other"), []byte("x\n"), 0o600))
		}, blockstore.ErrJournal},
		"no image": {"small", good, func(t *testing.T, root string) {
			must(t, os.Remove(filepath.Join(root, blockstore.StoreDir, smallGBID)))
		}, blockstore.ErrNoFile},
		"other size": {"small", journalText(smallGBID, 4<<20), nil, blockstore.ErrSize},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			root, s := journalless(t)
			if tt.spoil != nil {
				tt.spoil(t, root)
			}
			before := metaNames(t, root)
			if err := s.RestoreJournal(tt.name, []byte(tt.content)); !errors.Is(err, tt.want) {
				t.Errorf("RestoreJournal = %v, want %v", err, tt.want)
			}
			if after := metaNames(t, root); after != before {
				t.Errorf("block-meta holds %s, before %s", after, before)
			}
		})
	}
}

func TestImageForRefuses(t *testing.T) {
	root, _ := smallTree(t)
	s := blockstore.Open(root)
	j := parse(t, journalText(smallGBID, 8<<20))
	for name, want := range map[string]error{
		"small": blockstore.ErrJournalExists, "other": blockstore.ErrAmbiguous, "a/b": blockstore.ErrName,
	} {
		if _, err := s.ImageFor(name, j); !errors.Is(err, want) {
			t.Errorf("ImageFor(%q) = %v, want %v", name, err, want)
		}
	}
}

// TestRestoreJournalWaitsForNobody has another process hold gluster-block's
// lock, with the same kind of lock.
func TestRestoreJournalWaitsForNobody(t *testing.T) {
	root, s := journalless(t)
	release := holdLock(t, filepath.Join(root, blockstore.MetaDir, "meta.lock"))
	err := s.RestoreJournal("small", []byte(journalText(smallGBID, 8<<20)))
	wantError(t, err, blockstore.ErrBusy)
	release()
	must(t, s.RestoreJournal("small", []byte(journalText(smallGBID, 8<<20))))
}

// holdLock runs this test binary again as the holder of a POSIX lock.
func holdLock(t *testing.T, name string) (release func()) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestLockHolder$", "-test.timeout=1m")
	cmd.Env = append(os.Environ(), "BLOCKSTORE_LOCK="+name)
	in, err := cmd.StdinPipe()
	must(t, err)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	release = sync.OnceFunc(func() {
		if err := errors.Join(in.Close(), cmd.Wait()); err != nil {
			t.Errorf("lock holder: %v", err)
		}
	})
	t.Cleanup(release)
	ready := make(chan error, 1)
	go func() {
		_, err := out.Read(make([]byte, 1))
		ready <- err
	}()
	select {
	case err := <-ready:
		must(t, err)
	case <-time.After(time.Minute):
		t.Fatal("the lock holder did not come up")
	}
	return release
}
