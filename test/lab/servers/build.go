package servers

import (
	"bytes"
	"context"
	"encoding/json"
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
	cgo     bool // It loads libraries of the machine that it runs on.
}

// The programs that the lab runs.
func heketiServer() program {
	return program{"heketi", "heketi", "10.3.0", "github.com/heketi/heketi", "", false}
}

func heketiCLI() program {
	return program{"heketi-cli", "heketi", "10.3.0", "github.com/heketi/heketi/client/cli/go", "", false}
}

func apiServer() program { return kubeProgram("kube-apiserver") }

func controllerManager() program { return kubeProgram("kube-controller-manager") }

func kubeProgram(name string) program {
	return program{
		name, "kube", "1.34.4", "k8s.io/kubernetes/cmd/" + name,
		" -X k8s.io/component-base/version.gitVersion=v1.34.4", false,
	}
}

func glusterd2Server() program {
	return program{"glusterd2", "glusterd2", "5.0.0-20181211", "github.com/gluster/glusterd2/glusterd2", "", true}
}

func snapshotController() program {
	return program{
		"snapshot-controller", "snapshotter", "8.7.0",
		"github.com/kubernetes-csi/external-snapshotter/v8/cmd/snapshot-controller", "", false,
	}
}

func (p program) folder() string { return p.module + "-" + p.version }

// BuildOptions says where the nested modules lie and where the results go.
type BuildOptions struct {
	Source string       // Folder of this package in a checkout; "" asks the go command.
	Bin    string       // "" is CacheDir()/bin.
	Logger *slog.Logger // Nil discards.
}

// Build compiles every server of the lab that is missing in Bin. An interrupted
// build leaves nothing that a later one takes for a finished program.
func Build(ctx context.Context, o BuildOptions) error {
	for _, p := range []program{heketiServer(), heketiCLI(), apiServer(), controllerManager()} {
		if _, err := o.build(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

// BuildGlusterd2 compiles glusterd2, which is no part of the lab, if it is
// missing, and returns its path. It needs a C compiler, and runs where the C
// library is not older than here.
func BuildGlusterd2(ctx context.Context, o BuildOptions) (string, error) {
	return o.build(ctx, glusterd2Server())
}

// BuildSnapshotController compiles the common snapshot-controller of CSI, which
// is no part of the lab, if it is missing.
func BuildSnapshotController(ctx context.Context, o BuildOptions) error {
	_, err := o.build(ctx, snapshotController())
	return err
}

// SnapshotCRDs returns the folder of the CustomResourceDefinitions of
// VolumeSnapshots, as YAML files. It builds nothing.
func SnapshotCRDs(ctx context.Context, o BuildOptions) (string, error) {
	source := o.Source
	if source == "" {
		var err error
		if source, err = sourceDir(ctx); err != nil {
			return "", err
		}
	}
	const module = "github.com/kubernetes-csi/external-snapshotter/client/v8"
	cmd := exec.CommandContext(ctx, "go", "mod", "download", "-json", module)
	cmd.Dir = filepath.Join(source, snapshotController().module)
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=")
	out, err := cmd.Output()
	var downloaded struct{ Dir string }
	if err == nil {
		err = json.Unmarshal(out, &downloaded)
	}
	if err != nil {
		return "", fmt.Errorf("download %s: %w", module, err)
	}
	return filepath.Join(downloaded.Dir, "config", "crd"), nil
}

// build compiles one program if it is missing, and returns its path.
func (o BuildOptions) build(ctx context.Context, p program) (string, error) {
	target := Env{Bin: o.Bin}.binary(p)
	if _, err := os.Stat(target); err == nil {
		return target, nil
	}
	source := o.Source
	if source == "" {
		var err error
		if source, err = sourceDir(ctx); err != nil {
			return "", err
		}
	}
	start := time.Now()
	if err := p.build(ctx, filepath.Join(source, p.module), target); err != nil {
		return "", err
	}
	if o.Logger != nil {
		o.Logger.Info("built", "program", p.name, "version", p.version, "seconds", int(time.Since(start).Seconds()))
	}
	return target, nil
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
	cgo := "0"
	if p.cgo {
		cgo = "1"
	}
	cmd.Env = append(os.Environ(), "CGO_ENABLED="+cgo, "GOWORK=off", "GOFLAGS=")
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
