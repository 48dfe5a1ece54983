//go:build integration

package packages

import (
	"bytes"
	"compress/gzip"
	"debug/buildinfo"
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestContents checks the paths and modes of what is in the packages, that all
// of it belongs to root, and that nobody else can write any of it.
func TestContents(t *testing.T) {
	for _, kind := range kinds() {
		t.Run(kind, func(t *testing.T) {
			found := entries(t, kind)
			for path, mode := range map[string]string{
				"/usr/bin/glusterbackupd":                                  "-rwxr-xr-x",
				"/usr/lib/systemd/system/glusterbackupd.service":           "-rw-r--r--",
				"/etc/glusterbackupd":                                      "drwxr-x---",
				"/etc/glusterbackupd/config.toml":                          "-rw-r-----",
				"/usr/share/man/man1/glusterbackupd.1.gz":                  "-rw-r--r--",
				"/usr/share/man/man1/glusterbackupd-restore.1.gz":          "-rw-r--r--",
				"/usr/share/man/man1/glusterbackupd-restore-block.1.gz":    "-rw-r--r--",
				"/usr/share/man/man5/glusterbackupd.toml.5.gz":             "-rw-r--r--",
				"/usr/share/bash-completion/completions/glusterbackupd":    "-rw-r--r--",
				"/usr/share/fish/vendor_completions.d/glusterbackupd.fish": "-rw-r--r--",
				"/usr/share/doc/glusterbackupd/README.md":                  "-rw-r--r--",
				"/usr/share/doc/glusterbackupd/docs/format.md":             "-rw-r--r--",
				"/usr/share/doc/glusterbackupd/docs/configuration.md":      "-rw-r--r--",
				map[string]string{
					"deb": "/usr/share/zsh/vendor-completions/_glusterbackupd",
					"rpm": "/usr/share/zsh/site-functions/_glusterbackupd",
				}[kind]: "-rw-r--r--",
				licenceFolder(kind) + "/THIRD-PARTY-LICENSES": "-rw-r--r--",
				map[string]string{
					"deb": "/usr/share/doc/glusterbackupd/copyright",
					"rpm": "/usr/share/licenses/glusterbackupd/LICENSE",
				}[kind]: "-rw-r--r--",
			} {
				if got := found[path].mode; got != mode {
					t.Errorf("%s: mode %q, want %s", path, got, mode)
				}
			}
			for path, e := range found {
				if e.owner != "root/root" {
					t.Errorf("%s belongs to %s", path, e.owner)
				}
				if group, others := e.mode[5], e.mode[8]; group == 'w' || others == 'w' || strings.ContainsAny(e.mode, "sSlbcp") {
					t.Errorf("%s has mode %s", path, e.mode)
				}
				if !strings.HasPrefix(path, "/usr") && !strings.HasPrefix(path, "/etc") && path != "/" {
					t.Errorf("%s is in the package", path)
				}
				if e.config != (path == "/etc/glusterbackupd/config.toml") {
					t.Errorf("%s is a configuration file of the package: %v", path, e.config)
				}
			}
		})
	}
}

func licenceFolder(kind string) string {
	return map[string]string{"deb": "/usr/share/doc/glusterbackupd", "rpm": "/usr/share/licenses/glusterbackupd"}[kind]
}

// TestSameAsSources checks that the unit and the sample arrive as they are.
func TestSameAsSources(t *testing.T) {
	found := entries(t, "deb")
	for path, source := range map[string]string{
		"/usr/lib/systemd/system/glusterbackupd.service": "../../systemd/glusterbackupd.service",
		"/etc/glusterbackupd/config.toml":                "../../systemd/config.toml",
		"/usr/share/doc/glusterbackupd/copyright":        "../../LICENSE",
	} {
		want, err := os.ReadFile(source)
		if err != nil {
			t.Fatal(err)
		}
		if found[path].content != string(want) {
			t.Errorf("%s differs from %s", path, source)
		}
	}
}

// TestBinary checks that the program needs no library, says its version, and
// that every module that is linked into it has its licence in the package.
func TestBinary(t *testing.T) {
	found := entries(t, "deb")
	binary := found["/usr/bin/glusterbackupd"].content
	file, err := elf.NewFile(strings.NewReader(binary))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range file.Progs {
		if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
			t.Error("the program is linked dynamically")
		}
	}
	info, err := buildinfo.Read(strings.NewReader(binary))
	if err != nil {
		t.Fatal(err)
	}
	licences := found[licenceFolder("deb")+"/THIRD-PARTY-LICENSES"].content
	for _, m := range info.Deps {
		if !strings.Contains(licences, "\n"+m.Path+" "+m.Version+": ") {
			t.Errorf("no licence text for %s %s", m.Path, m.Version)
		}
	}
	if len(info.Deps) < 20 {
		t.Errorf("the program has %d modules only", len(info.Deps))
	}
	path := filepath.Join(t.TempDir(), "glusterbackupd")
	if err := os.WriteFile(path, []byte(binary), 0o755); err != nil {
		t.Fatal(err)
	}
	if got := output(t, path, "version"); !strings.HasPrefix(got, "glusterbackupd ") || strings.Contains(got, "development") {
		t.Errorf("the version is %q", got)
	}
}

// TestManPages reads every page, and finds no date or name in its compression.
func TestManPages(t *testing.T) {
	pages := 0
	for path, e := range entries(t, "deb") {
		if !strings.HasPrefix(path, "/usr/share/man/") || !strings.HasSuffix(path, ".gz") {
			continue
		}
		pages++
		r, err := gzip.NewReader(strings.NewReader(e.content))
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if r.Name != "" || !r.ModTime.IsZero() {
			t.Errorf("%s was compressed from %q of %s", path, r.Name, r.ModTime)
		}
		var text bytes.Buffer
		if _, err := text.ReadFrom(r); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if !strings.Contains(text.String(), ".SH NAME\n") {
			t.Errorf("%s is no man page", path)
		}
	}
	if pages < 15 {
		t.Errorf("%d pages", pages)
	}
}

// TestScripts lets the shell read the scripts.
func TestScripts(t *testing.T) {
	dir := t.TempDir()
	output(t, "dpkg-deb", "-e", built(t, "deb", dist), dir)
	scripts := map[string]string{}
	for _, name := range []string{"postinst", "prerm", "postrm"} {
		content, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		scripts["deb "+name] = string(content)
	}
	for _, tag := range []string{"POSTIN", "PREUN", "POSTUN"} {
		scripts["rpm "+tag] = output(t, "rpm", "-qp", "--qf", "%{"+tag+"}", built(t, "rpm", dist))
	}
	for name, text := range scripts {
		cmd := exec.Command("sh", "-n")
		cmd.Stdin = strings.NewReader(text)
		if out, err := cmd.CombinedOutput(); err != nil || len(text) < 100 {
			t.Errorf("%s: %v: %s", name, err, out)
		}
	}
}

// TestDependencies checks the packages that are needed, by their names there.
func TestDependencies(t *testing.T) {
	deb := output(t, "dpkg-deb", "-f", built(t, "deb", dist), "Depends")
	rpm := output(t, "rpm", "-qp", "--requires", built(t, "rpm", dist))
	for _, tt := range []struct{ in, want string }{
		{deb, "rsync (>= 3.1.3)"},
		{deb, "glusterfs-client"},
		{rpm, "rsync >= 3.1.3"},
		{rpm, "glusterfs-fuse"},
	} {
		if !strings.Contains(tt.in, tt.want) {
			t.Errorf("%q is not in %q", tt.want, tt.in)
		}
	}
}
