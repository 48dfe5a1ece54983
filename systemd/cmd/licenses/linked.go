package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// module is a Go module of which something is linked.
type module struct {
	path, version string
	dir           string
	files         []file   // Licences and notices.
	sources       []string // The Go files that are linked.
	licences      []string // SPDX identifiers, filled in by check.
}

func (m *module) String() string { return strings.TrimSpace(m.path + " " + m.version) }

// file is a licence or a notice.
type file struct{ name, text string }

// listed is what go list says of a package.
type listed struct {
	Dir      string
	GoFiles  []string
	Standard bool
	Module   *struct {
		Path, Version, Dir string
		Main               bool
	}
}

// linked returns the modules of all packages that the program is made of on
// any of the architectures, and Go itself, sorted by path.
func linked(ctx context.Context, program string, arches []string) ([]*module, error) {
	if len(arches) == 0 {
		return nil, errors.New("no architecture is named")
	}
	modules := map[string]*module{}
	for _, arch := range arches {
		packages, err := list(ctx, program, arch)
		if err != nil {
			return nil, err
		}
		for _, p := range packages {
			if p.Standard || p.Module.Main {
				continue
			}
			m := modules[p.Module.Path]
			if m == nil {
				m = &module{path: p.Module.Path, version: p.Module.Version, dir: p.Module.Dir}
				modules[m.path] = m
			}
			if err := m.add(p); err != nil {
				return nil, err
			}
		}
	}
	std, err := goItself(ctx)
	if err != nil {
		return nil, err
	}
	sorted := []*module{std}
	for _, m := range modules {
		slices.SortFunc(m.files, func(a, b file) int { return strings.Compare(a.name, b.name) })
		sorted = append(sorted, m)
	}
	slices.SortFunc(sorted, func(a, b *module) int { return strings.Compare(a.path, b.path) })
	return sorted, nil
}

func list(ctx context.Context, program, arch string) ([]listed, error) {
	cmd := exec.CommandContext(ctx, "go", "list", "-deps", "-json=Dir,GoFiles,Standard,Module", program)
	cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH="+arch, "CGO_ENABLED=0")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list for %s: %w", arch, err)
	}
	var packages []listed
	for decoder := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		err := decoder.Decode(&p)
		if errors.Is(err, io.EOF) {
			return packages, nil
		}
		if err != nil {
			return nil, fmt.Errorf("go list for %s: %w", arch, err)
		}
		packages = append(packages, p)
	}
}

// add takes up a package: its sources, and what licences and notices lie in
// its folder and in those above it, up to the module's.
func (m *module) add(p listed) error {
	for _, name := range p.GoFiles {
		m.sources = append(m.sources, filepath.Join(p.Dir, name))
	}
	for dir := p.Dir; ; dir = filepath.Dir(dir) {
		if err := m.addFiles(dir); err != nil {
			return err
		}
		if dir == m.dir {
			return nil
		}
		if !strings.HasPrefix(dir, m.dir) {
			return fmt.Errorf("%s is not inside %s", p.Dir, m.dir)
		}
	}
}

var textFile = regexp.MustCompile(`(?i)^(licen[cs]e|copying|notice|patents|copyright)([-._].*)?$`)

func (m *module) addFiles(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !textFile.MatchString(e.Name()) || strings.HasSuffix(e.Name(), ".go") || !e.Type().IsRegular() {
			continue
		}
		name, err := filepath.Rel(m.dir, filepath.Join(dir, e.Name()))
		if err != nil {
			return err
		}
		if slices.ContainsFunc(m.files, func(f file) bool { return f.name == name }) {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return err
		}
		m.files = append(m.files, file{name, string(text)})
	}
	return nil
}

// goItself is the standard library and the runtime.
func goItself(ctx context.Context) (*module, error) {
	out, err := exec.CommandContext(ctx, "go", "env", "GOROOT", "GOVERSION").Output()
	if err != nil {
		return nil, fmt.Errorf("go env: %w", err)
	}
	root, version, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	m := &module{path: "Go", version: strings.TrimPrefix(version, "go"), dir: root}
	if err := m.addFiles(root); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return m, nil
}
