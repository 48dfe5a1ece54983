package copier_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/glusterbackupd/glusterbackupd/copier"
	"github.com/glusterbackupd/glusterbackupd/manifest"
)

// failing returns an engine whose rsync prints messages and exits with code.
func failing(t *testing.T, code int, messages string) *copier.Rsync {
	t.Helper()
	return newRsync(t, copier.RsyncOptions{Command: script(t, fmt.Sprintf(
		"[ \"$1\" = --version ] && { echo 'rsync  version 3.2.7'; exit; }\ncat >&2 <<'E'\n%s\nE\nexit %d\n", messages, code))})
}

func TestRsyncError(t *testing.T) {
	const last = "rsync error: some files/attrs were not transferred (see previous errors) (code 23) at main.c(1394) [sender=3.5.0]"
	tests := map[string]struct {
		code          int
		messages      string
		is            error
		text, meaning string
	}{
		"unreadable": {
			code: 23, messages: `rsync: [sender] send_files failed to open "/s/a: b (5)": Permission denied (13)` + "\n" + last,
			is: fs.ErrPermission, text: `"/s/a: b (5)"`, meaning: "partial transfer due to error",
		},
		"vanished": {
			code: 24, messages: `file has vanished: "/s/gone"`, text: `"/s/gone"`, meaning: "vanished",
		},
		"full disk": {
			code: 11, messages: `rsync: [receiver] write failed on "/d/f": No space left on device (28)`,
			is: syscall.ENOSPC, text: `"/d/f"`, meaning: "file I/O",
		},
		"full disk after other messages": {
			code: 12, messages: `rsync: connection unexpectedly closed: Broken pipe (32)` + strings.Repeat("\nnoise", 50) +
				"\n" + `rsync: [receiver] mkstemp "/d/.f.AbCdEf" failed: No space left on device (28)` + strings.Repeat("\nnoise", 50),
			is: syscall.ENOSPC, meaning: "protocol data stream",
		},
		"quota": {
			code: 23, messages: "x: Input/output error (5)\nmkdir \"/d/x\" failed: Disk quota exceeded (122)\n" + last,
			is: syscall.EDQUOT, text: `"/d/x"`,
		},
		"first of several": {
			code: 23, messages: "a: Input/output error (5)\nb: Permission denied (13)\n" + last, is: syscall.EIO, text: "a:",
		},
		"no message":   {code: 30, meaning: "timeout"},
		"unknown code": {code: 99, messages: "what", text: "what", meaning: "unknown"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := failing(t, tt.code, tt.messages).Copy(t.Context(), copier.Tree{Source: t.TempDir(), Dest: t.TempDir()})
			var failed *copier.RsyncError
			if !errors.As(err, &failed) || failed.Code != tt.code || failed.Remedy() == "" {
				t.Fatalf("error %#v, want code %d", err, tt.code)
			}
			if tt.is != nil && !errors.Is(err, tt.is) || tt.is == nil && failed.Errno != 0 {
				t.Errorf("error %v with errno %d, want %v", err, failed.Errno, tt.is)
			}
			if !strings.Contains(err.Error(), tt.text) || !strings.Contains(err.Error(), tt.meaning) {
				t.Errorf("error %q lacks %q or %q", err, tt.text, tt.meaning)
			}
			if strings.Count(failed.Stderr, "\n") > 30 {
				t.Errorf("%d lines of messages were kept", strings.Count(failed.Stderr, "\n"))
			}
		})
	}
}

func TestRsyncKilledBySignal(t *testing.T) {
	r := newRsync(t, copier.RsyncOptions{Command: script(t, "[ \"$1\" = --version ] && { echo 'rsync  version 3.2.7'; exit; }\nkill -9 $$\n")})
	_, err := r.Copy(t.Context(), copier.Tree{Source: t.TempDir(), Dest: t.TempDir()})
	var failed *copier.RsyncError
	if !errors.As(err, &failed) || failed.Code != -1 {
		t.Errorf("error %v, want one with code -1", err)
	}
}

// TestRsyncThatSaysNothing has an rsync that succeeds without statistics.
func TestRsyncThatSaysNothing(t *testing.T) {
	if _, err := failing(t, 0, "").Copy(t.Context(), copier.Tree{Source: t.TempDir(), Dest: t.TempDir()}); err == nil {
		t.Error("taken for success")
	}
}

// TestRsyncKeepsTheXattrsOfTheManifest copies one file with attributes of every
// kind.
func TestRsyncKeepsTheXattrsOfTheManifest(t *testing.T) {
	src, dest := folderWith(t, "f", 1), t.TempDir()
	var want []string
	for _, name := range []string{
		"user.a", "user.b/c", "user.trusted.gfid", "trusted.mine", "trusted.overlay.origin", "trusted.gfid", "trusted.gfid2path.0123",
		"trusted.glusterfs.dht", "trusted.glusterfs.quota.a/b", "trusted.afr.dirty", "trusted.ec.size", "trusted.pgfid.1",
		"trusted.bit-rot.version", "trusted.tier.x", "trusted.SGI_ACL_FILE", "security.selinux", "security.other",
	} {
		if err := unix.Setxattr(filepath.Join(src, "f"), name, []byte("v\x00"), 0); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if manifest.KeepXattr(name) {
			want = append(want, name)
		}
	}
	if _, err := newRsync(t, copier.RsyncOptions{}).Copy(t.Context(), copier.Tree{Source: src, Dest: dest}); err != nil {
		t.Fatal(err)
	}
	list := make([]byte, 4096)
	n, err := unix.Listxattr(filepath.Join(dest, "f"), list)
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Split(strings.TrimSuffix(string(list[:n]), "\x00"), "\x00")
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("copied %q, want %q", got, want)
	}
}

// TestRsyncMerelySpuriousMessages has a run that fails because of rsync's own
// fault only, once with something real beside it.
func TestRsyncMerelySpuriousMessages(t *testing.T) {
	const spurious = `rsync: [generator] get_acl: sys_acl_get_file(b, ACL_TYPE_DEFAULT): Permission denied (13)`
	for messages, want := range map[string]int{spurious: 2, spurious + "\nx: Input/output error (5)": 1} {
		count := filepath.Join(t.TempDir(), "count")
		command := script(t, "[ \"$1\" = --version ] && { echo 'rsync  version 3.2.7'; exit; }\necho >> "+count+
			"\ncat >&2 <<'E'\n"+messages+"\nE\nexit 23\n")
		_, err := newRsync(t, copier.RsyncOptions{Command: command}).Copy(t.Context(), copier.Tree{Source: t.TempDir(), Dest: t.TempDir()})
		var failed *copier.RsyncError
		if !errors.As(err, &failed) {
			t.Errorf("error %v, want an *RsyncError", err)
		}
		if runs, err := os.ReadFile(count); err != nil || len(runs) != want {
			t.Errorf("%d runs, want %d (%v)", len(runs), want, err)
		}
	}
}
