package servers

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// program is a command that is built from one of the nested modules.
type program struct {
	name    string // File name of the result.
	module  string // Nested module: a folder beside this file, and the first half of the cache folder.
	version string
	source  string // Import path.
	ldflags string
}

// The programs that the lab runs.
func heketiServer() program {
	return program{"heketi", "heketi", "10.3.0", "github.com/heketi/heketi", ""}
}

func heketiCLI() program {
	return program{"heketi-cli", "heketi", "10.3.0", "github.com/heketi/heketi/client/cli/go", ""}
}

func apiServer() program { return kubeProgram("kube-apiserver") }

func controllerManager() program { return kubeProgram("kube-controller-manager") }

func kubeProgram(name string) program {
	return program{
		name, "kube", "1.34.4", "k8s.io/kubernetes/cmd/" + name,
		" -X k8s.io/component-base/version.gitVersion=v1.34.4",
	}
}

func (p program) folder() string { return p.module + "-" + p.version }

// BuildOptions says where the nested modules lie and where the results go.
type BuildOptions struct {
	Source string       // Folder of this package in a checkout; "" asks the go command.
	Bin    string       // "" is CacheDir()/bin.
	Logger *slog.Logger // Nil discards.
}

// Build compiles every server that is missing in Bin. An interrupted build
// leaves nothing that a later one takes for a finished program.
func Build(ctx context.Context, o BuildOptions) error {
	log := o.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	env := Env{Bin: o.Bin}
	for _, p := range []program{heketiServer(), heketiCLI(), apiServer(), controllerManager()} {
		target := env.binary(p)
		if _, err := os.Stat(target); err == nil {
			continue
		}
		if o.Source == "" {
			source, err := sourceDir(ctx)
			if err != nil {
				return err
			}
			o.Source = source
		}
		start := time.Now()
		if err := p.build(ctx, filepath.Join(o.Source, p.module), target); err != nil {
			return err
		}
		log.Info("built", "program", p.name, "version", p.version, "seconds", int(time.Since(start).Seconds()))
	}
	return nil
}

// HeketiCLI returns the path of the built heketi-cli.
func (e Env) HeketiCLI() string { return e.binary(heketiCLI()) }

func (p program) build(ctx context.Context, module, target string) error {
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return err
	}
	temp := fmt.Sprintf("%s.tmp-%d", target, os.Getpid())
	defer func() { _ = os.Remove(temp) }() // Gone already when the build succeeded.
	cmd := exec.CommandContext(ctx, "go", "build", "-ldflags", "-s -w"+p.ldflags, "-o", temp, p.source)
	cmd.Dir = module
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off", "GOFLAGS=")
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("build %s: %w: %s", p.name, err, strings.TrimSpace(output.String()))
	}
	return os.Rename(temp, target)
}

// sourceDir finds this package's folder through the go command, which knows
// the module of the current folder.
func sourceDir(ctx context.Context) (string, error) {
	const pkg = "github.com/glusterbackupd/glusterbackupd/test/lab/servers"
	out, err := exec.CommandContext(ctx, "go", "list", "-f", "{{.Dir}}", pkg).Output()
	dir := strings.TrimSpace(string(out))
	if err == nil && dir == "" {
		err = fs.ErrNotExist
	}
	if err != nil {
		return "", fmt.Errorf("folder of %s (run this inside the checkout): %w", pkg, err)
	}
	return dir, nil
}
