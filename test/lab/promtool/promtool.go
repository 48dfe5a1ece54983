// Package promtool fetches promtool, which tests Prometheus alerts, out of
// the distribution's package prometheus. The package is not installed: it would
// start a server on the host.
package promtool

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// Install returns the path of promtool below the folder bin, and fetches it
// first when the version that apt offers is not there. An interrupted fetch
// leaves nothing that a later one takes for a finished program.
func Install(ctx context.Context, bin string) (path string, err error) {
	version, err := candidate(ctx)
	if err != nil {
		return "", err
	}
	target := filepath.Join(bin, "prometheus-"+strings.ReplaceAll(version, ":", "_"), "promtool")
	if _, err := os.Stat(target); err == nil {
		return target, nil
	}
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return "", err
	}
	temp, err := os.MkdirTemp(bin, ".promtool-")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(temp) }() // A leftover in the cache harms nobody.
	if err := unpack(ctx, temp, version); err != nil {
		return "", err
	}
	return target, os.Rename(filepath.Join(temp, "usr", "bin", "promtool"), target)
}

// candidate asks apt for the version that it would install, and lets it read
// its lists first when it has none.
func candidate(ctx context.Context) (string, error) {
	text, err := output(ctx, "", "apt-cache", "show", "--no-all-versions", "prometheus")
	if err != nil {
		if _, err := output(ctx, "", "apt-get", "update", "-qq"); err != nil {
			return "", err
		}
		if text, err = output(ctx, "", "apt-cache", "show", "--no-all-versions", "prometheus"); err != nil {
			return "", err
		}
	}
	// A version becomes the name of a folder.
	found := regexp.MustCompile(`(?m)^Version: ([0-9][0-9A-Za-z.+:~-]*)$`).FindStringSubmatch(text)
	if found == nil {
		return "", errors.New("apt-cache show prometheus: no version")
	}
	return found[1], nil
}

// unpack fetches the package into dir and unpacks it there. A list that has
// grown old names a package that is gone, so it is read anew once.
func unpack(ctx context.Context, dir, version string) error {
	download := []string{"apt-get", "download", "-qq", "prometheus=" + version}
	if _, err := output(ctx, dir, download...); err != nil {
		if _, err := output(ctx, "", "apt-get", "update", "-qq"); err != nil {
			return err
		}
		if _, err := output(ctx, dir, download...); err != nil {
			return err
		}
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.deb"))
	if err != nil {
		return err
	}
	if len(files) != 1 {
		return fmt.Errorf("apt-get download prometheus: %d packages; want one", len(files))
	}
	_, err = output(ctx, dir, "dpkg-deb", "-x", files[0], dir)
	return err
}

func output(ctx context.Context, dir string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, bytes.TrimSpace(stderr.Bytes()))
	}
	return string(out), nil
}
