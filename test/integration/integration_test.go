//go:build integration

// Package integration_test runs rooms against the real servers they talk to:
// Heketi with its mock executor, and etcd with kube-apiserver and the volume
// binder of kube-controller-manager. No Gluster is involved.
package integration_test

import (
	"errors"
	"os"
	"testing"

	"github.com/glusterbackupd/glusterbackupd/test/lab/servers"
)

// newEnv returns a place for servers, which are built when they are missing.
func newEnv(t *testing.T) servers.Env {
	t.Helper()
	env := servers.Env{Dir: t.TempDir(), Bin: os.Getenv("GLUSTERBACKUPD_LAB_BIN")}
	if err := servers.Build(t.Context(), servers.BuildOptions{Bin: env.Bin}); err != nil {
		t.Fatal(err)
	}
	return env
}

func freePorts(t *testing.T, n int) []int {
	t.Helper()
	ports := make([]int, n)
	for i := range ports {
		port, err := servers.FreePort()
		if err != nil {
			t.Fatal(err)
		}
		ports[i] = port
	}
	return ports
}

// stop ends a server at the end of the test.
func stop(t *testing.T, p *servers.Process) {
	t.Helper()
	t.Cleanup(func() {
		if err := p.Stop(); err != nil {
			t.Errorf("stop %s: %v", p.Name, err)
		}
	})
}

// must ends the test when preparing it fails.
func must[T any](t *testing.T) func(T, error) T {
	t.Helper()
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// remedy returns the sentence for the admin, "" without one.
func remedy(err error) string {
	e, ok := errors.AsType[interface {
		error
		Remedy() string
	}](err)
	if !ok {
		return ""
	}
	return e.Remedy()
}
