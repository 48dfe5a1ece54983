package copiertest

import (
	"bytes"
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
var temporary = regexp.MustCompile(`^\.f\d{4}\.[A-Za-z0-9]{6}$`)

// crash kills a process in the middle of a copy. No name may hold half a file,
// and the next copy must put everything right.
func crash(t *testing.T, e Engine) {
	if from, to, ok := strings.Cut(os.Getenv(crashVariable), "\n"); ok {
		_, _ = e.Copy(t.Context(), copier.Tree{Source: from, Dest: to}) // It is killed before it ends.
		return
	}
	src, content := bulk(t)
	dest := t.TempDir()
	pattern := "^" + strings.ReplaceAll(t.Name(), "/", "$/^") + "$"
	cmd := exec.Command(os.Args[0], "-test.run", pattern)
	cmd.Env = append(os.Environ(), crashVariable+"="+src+"\n"+dest)
	must(t, cmd.Start())
	for deadline := time.Now().Add(time.Minute); len(names(t, dest)) < 20 && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	must(t, cmd.Process.Kill())
	_ = cmd.Wait() // It says that it was killed.
	left := settled(t, dest)
	if len(left) < 20 || len(left) >= 1500 {
		t.Fatalf("%d of 1500 files were there after the crash", len(left))
	}
	for _, name := range left {
		got, err := os.ReadFile(filepath.Join(dest, name))
		must(t, err)
		if !bytes.Equal(got, content) && !temporary.MatchString(name) {
			t.Errorf("%s was left with %d bytes", name, len(got))
		}
	}
	mustCopy(t, e, copier.Tree{Source: src, Dest: dest, Delete: true})
	wantSame(t, src, dest)
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
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
