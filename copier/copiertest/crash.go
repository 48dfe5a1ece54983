package copiertest

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/glusterbackupd/glusterbackupd/copier"
)

// crashVariable tells the process that is to be killed what it copies.
const crashVariable = "COPIERTEST_CRASH"

// temporary is what a killed engine may leave behind.
var temporary = regexp.MustCompile(`^\.f\d{4}\.(glusterbackupd-)?[A-Za-z0-9]{6}$`)

// crash kills a process in the middle of a copy. No name may hold half a file,
// and the next copy must put everything right.
func crash(t *testing.T, e Engine) {
	src, content := bulk(t)
	crashed(t, e, src, ".", func(f string, got []byte) bool {
		return bytes.Equal(got, content) || temporary.MatchString(filepath.Base(f))
	})
}

// crashInFolder does that while the engine fills a folder that it made. There a name
// may hold half a file, while nobody else can enter the folder, but not with the
// time that says that it is whole.
func crashInFolder(t *testing.T, e Engine) {
	files, content := bulk(t)
	src, folder := t.TempDir(), "folder"
	must(t, os.Rename(files, filepath.Join(src, folder)))
	crashed(t, e, src, folder, func(f string, got []byte) bool {
		is, err := os.Stat(f)
		must(t, err)
		of, err := os.Stat(filepath.Dir(f))
		must(t, err)
		was, err := os.Stat(filepath.Join(src, folder, filepath.Base(f)))
		return bytes.Equal(got, content) || temporary.MatchString(filepath.Base(f)) ||
			of.Mode().Perm() == 0o700 && err == nil && !was.ModTime().Equal(is.ModTime())
	})
}

// crashed kills a process that copies src when it has made a part of the files in
// folder, each of which must be as it may be.
func crashed(t *testing.T, e Engine, src, folder string, may func(file string, content []byte) bool) {
	t.Helper()
	if from, to, ok := strings.Cut(os.Getenv(crashVariable), "\n"); ok {
		_, _ = e.Copy(t.Context(), copier.Tree{Source: from, Dest: to}) // It is killed before it ends.
		return
	}
	dest := t.TempDir()
	pattern := "^" + strings.ReplaceAll(t.Name(), "/", "$/^") + "$"
	cmd := exec.Command(os.Args[0], "-test.run", pattern)
	cmd.Env = append(os.Environ(), crashVariable+"="+src+"\n"+dest)
	must(t, cmd.Start())
	made := filepath.Join(dest, folder)
	for deadline := time.Now().Add(time.Minute); len(names(t, made)) < 20 && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	must(t, cmd.Process.Kill())
	_ = cmd.Wait() // It says that it was killed.
	left := settled(t, made)
	if len(left) < 20 || len(left) >= 1500 {
		t.Fatalf("%d of 1500 files were there after the crash", len(left))
	}
	for _, name := range left {
		got, err := os.ReadFile(filepath.Join(made, name))
		must(t, err)
		if !may(filepath.Join(made, name), got) {
			t.Errorf("%s was left with %d bytes", name, len(got))
		}
	}
	mustCopy(t, e, copier.Tree{Source: src, Dest: dest, Tidy: true})
	wantSame(t, src, dest)
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if !errors.Is(err, fs.ErrNotExist) {
		must(t, err)
	}
	all := make([]string, 0, len(entries))
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

// settled waits until nothing changes any more: processes that the killed one
// had started may still be ending.
func settled(t *testing.T, dir string) []string {
	t.Helper()
	last := names(t, dir)
	for quiet := 0; quiet < 20; quiet++ {
		time.Sleep(10 * time.Millisecond)
		if now := names(t, dir); strings.Join(now, "/") != strings.Join(last, "/") {
			last, quiet = now, 0
		}
	}
	return last
}
