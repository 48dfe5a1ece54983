//go:build integration

package packages

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// root is a root folder to install into.
type root struct {
	*testing.T
	dir string
	log string // What the scripts asked of systemctl.
}

// newRoot makes an empty root. The scripts run outside of it, where a systemctl
// that only takes notes comes first.
func newRoot(t *testing.T) *root {
	t.Helper()
	r := &root{T: t, dir: t.TempDir()}
	for _, dir := range []string{"var/lib/dpkg/info", "var/lib/dpkg/updates"} {
		if err := os.MkdirAll(filepath.Join(r.dir, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	r.write("var/lib/dpkg/status", "", 0o644)
	tools := t.TempDir()
	r.log = filepath.Join(tools, "log")
	stub := "#!/bin/sh\necho \"$@\" >>" + r.log + "\n"
	if err := os.WriteFile(filepath.Join(tools, "systemctl"), []byte(stub), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", tools+":"+os.Getenv("PATH")+":/usr/sbin:/sbin")
	return r
}

func (r *root) write(name, text string, mode fs.FileMode) {
	r.Helper()
	if err := os.WriteFile(filepath.Join(r.dir, name), []byte(text), mode); err != nil {
		r.Fatal(err)
	}
}

func (r *root) dpkg(args ...string) {
	r.Helper()
	out, err := exec.Command("dpkg", append([]string{
		"--root=" + r.dir, "--force-script-chrootless", "--force-depends", "--force-not-root",
	}, args...)...).CombinedOutput()
	if err != nil {
		r.Fatalf("dpkg %v: %v\n%s", args, err, out)
	}
}

func (r *root) rpm(args ...string) {
	r.Helper()
	out, err := exec.Command("rpm", append([]string{
		"--root=" + r.dir, "--dbpath=/var/lib/rpm", "--nodeps", "--noscripts",
	}, args...)...).CombinedOutput()
	if err != nil {
		r.Fatalf("rpm %v: %v\n%s", args, err, out)
	}
}

// assert checks the content of a file; "" is that it is not there.
func (r *root) assert(name, want string) {
	r.Helper()
	got, err := os.ReadFile(filepath.Join(r.dir, name))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		r.Fatal(err)
	}
	if string(got) != want {
		r.Errorf("%s holds %.40q, want %.40q", name, got, want)
	}
}

const (
	configFile = "etc/glusterbackupd/config.toml"
	keyFile    = "etc/glusterbackupd/heketi.key"
	program    = "usr/bin/glusterbackupd"
	edited     = "[destination]\npath = \"/backupdisk\"\n"
)

// TestDebLife installs, updates, removes and purges: what the admin wrote stays
// until the purge, and keys stay after it.
func TestDebLife(t *testing.T) {
	r := newRoot(t)
	deb := built(t, "deb", dist)
	r.dpkg("--install", deb)
	info, err := os.Stat(filepath.Join(r.dir, program))
	if err != nil || info.Mode() != 0o755 {
		t.Fatalf("%s: %v, %v", program, info, err)
	}
	r.write(configFile, edited, 0o640)
	r.write(keyFile, "secret", 0o600)
	r.dpkg("--install", deb)
	r.assert(configFile, edited)
	r.dpkg("--remove", "glusterbackupd")
	r.assert(program, "")
	r.assert(configFile, edited)
	r.dpkg("--purge", "glusterbackupd")
	r.assert(configFile, "")
	r.assert(keyFile, "secret")
	r.assertCalls()
}

// assertCalls checks that the service was disabled at the removal, and never
// enabled or started.
func (r *root) assertCalls() {
	r.Helper()
	calls, err := os.ReadFile(r.log)
	if err != nil {
		r.Fatal(err)
	}
	disabled := false
	for line := range strings.Lines(string(calls)) {
		for word := range strings.FieldsSeq(line) {
			switch word {
			case "enable", "start", "restart", "try-restart", "reload-or-restart", "preset":
				r.Errorf("a script asked systemctl for %q", line)
			case "disable":
				disabled = true
			}
		}
	}
	if !disabled {
		r.Errorf("the removal did not disable the service: %q", calls)
	}
}

// TestRPMLife does the same with rpm, which keeps an edited file beside.
func TestRPMLife(t *testing.T) {
	r := newRoot(t)
	file := built(t, "rpm", dist)
	r.rpm("--install", file)
	r.write(configFile, edited, 0o640)
	r.write(keyFile, "secret", 0o600)
	r.rpm("--upgrade", "--force", file)
	r.assert(configFile, edited)
	r.rpm("--erase", "glusterbackupd")
	r.assert(program, "")
	r.assert(configFile, "")
	r.assert(configFile+".rpmsave", edited)
	r.assert(keyFile, "secret")
}
