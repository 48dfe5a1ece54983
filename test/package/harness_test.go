//go:build integration || platform

package packages

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// kinds are the kinds of packages.
func kinds() []string { return []string{"deb", "rpm"} }

// built returns the package of a kind for this machine's architecture.
func built(t testing.TB, kind, dir string) string {
	t.Helper()
	arch := runtime.GOARCH
	if kind == "rpm" {
		arch = map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[arch]
	}
	list, err := filepath.Glob(filepath.Join(dir, "glusterbackupd*"+arch+"."+kind))
	if err != nil || len(list) != 1 {
		t.Fatalf("%d packages %s in %s, want one (make package): %v", len(list), kind, dir, err)
	}
	return list[0]
}

const dist = "../../dist"

// entry is a file or folder in a package.
type entry struct {
	mode    string // As ls -l shows it.
	owner   string
	config  bool   // The admin's version of it is kept.
	content string // Of a file in a deb.
}

// entries reads what is in a package, by absolute path.
func entries(t *testing.T, kind string) map[string]entry {
	t.Helper()
	if kind == "deb" {
		return entriesOfDeb(t)
	}
	format := `[%{FILENAMES}\t%{FILEMODES:perms}\t%{FILEUSERNAME}/%{FILEGROUPNAME}\t%{FILEFLAGS:fflags}\n]`
	found := map[string]entry{}
	for line := range strings.Lines(output(t, "rpm", "-qp", "--qf", format, built(t, "rpm", dist))) {
		f := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if len(f) != 4 {
			t.Fatalf("rpm says %q", line)
		}
		found[f[0]] = entry{mode: f[1], owner: f[2], config: f[3] == "cn"}
	}
	return found
}

func entriesOfDeb(t *testing.T) map[string]entry {
	t.Helper()
	deb := built(t, "deb", dist)
	found := map[string]entry{}
	for r := tar.NewReader(strings.NewReader(output(t, "dpkg-deb", "--fsys-tarfile", deb))); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Clean("/" + h.Name)
		found[path] = entry{mode: h.FileInfo().Mode().String(), owner: h.Uname + "/" + h.Gname, content: string(content)}
	}
	for path := range strings.Lines(output(t, "dpkg-deb", "-I", deb, "conffiles")) {
		e := found[strings.TrimSpace(path)]
		e.config = true
		found[strings.TrimSpace(path)] = e
	}
	return found
}

// output runs a command that has to succeed.
func output(t testing.TB, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(fmt.Errorf("%v: %w: %s", args, err, stderr.String()))
	}
	return string(out)
}
