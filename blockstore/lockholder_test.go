package blockstore_test

import (
	"io"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// TestLockHolder holds the lock that BLOCKSTORE_LOCK names until its standard
// input ends: the other process in TestRestoreJournalWaitsForNobody. By itself
// it checks that a lock can be had at all.
func TestLockHolder(t *testing.T) {
	name := os.Getenv("BLOCKSTORE_LOCK")
	if name == "" {
		name = t.TempDir() + "/meta.lock"
	}
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	must(t, err)
	closing(t, f)
	must(t, unix.FcntlFlock(f.Fd(), unix.F_SETLK, &unix.Flock_t{Type: unix.F_WRLCK}))
	if os.Getenv("BLOCKSTORE_LOCK") == "" {
		return
	}
	_, err = os.Stdout.WriteString("!")
	must(t, err)
	_, err = io.Copy(io.Discard, os.Stdin)
	must(t, err)
}
