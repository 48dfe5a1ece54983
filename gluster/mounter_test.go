package gluster_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/glusterbackupd/glusterbackupd/gluster"
	"github.com/glusterbackupd/glusterbackupd/gluster/glusterd2"
	"github.com/glusterbackupd/glusterbackupd/runner"
)

// Snapshots are mounted from where the pool serves them.
func TestMountSnapshotPath(t *testing.T) {
	h, dir := &helper{}, strings.ReplaceAll(t.TempDir(), "#", "_")
	m, err := gluster.NewMounter(gluster.MounterOptions{
		Base: filepath.Join(dir, "mnt"), LogDir: filepath.Join(dir, "log"), Run: h, SnapshotPath: glusterd2.SnapshotPath,
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.MountSnapshot(t.Context(), []string{"g1"}, "s", "v", "n", gluster.MountOptions{}); !errors.Is(err, gluster.ErrMount) {
		t.Fatal(err)
	}
	if got := h.args[len(h.args)-2]; got != "--volfile-id=/snaps/s" {
		t.Errorf("mounted %s, want /snaps/s", got)
	}
}

// helper stands for glusterfs(8): it notes its arguments, writes the client's log
// and mounts nothing.
type helper struct {
	args         []string
	version, log string
	err          error
}

func (*helper) Name() string { return "localhost" }

func (h *helper) Run(_ context.Context, args ...string) ([]byte, error) {
	if args[1] == "--version" {
		return []byte(h.version), nil
	}
	h.args = args
	for _, arg := range args {
		if path, ok := strings.CutPrefix(arg, "--log-file="); ok {
			if err := os.WriteFile(path, []byte(h.log), 0o600); err != nil {
				return nil, err
			}
		}
	}
	return nil, h.err
}

func newMounter(t *testing.T, run gluster.Commander) (m *gluster.Mounter, base string) {
	t.Helper()
	dir := strings.ReplaceAll(t.TempDir(), "#", "_")
	base = filepath.Join(dir, "mnt")
	m, err := gluster.NewMounter(gluster.MounterOptions{Base: base, LogDir: filepath.Join(dir, "log"), Run: run})
	if err != nil {
		t.Fatal(err)
	}
	return m, base
}

func TestMountArguments(t *testing.T) {
	h := &helper{}
	m, base := newMounter(t, h)
	log := filepath.Join(filepath.Dir(base), "log", "n.log")
	const (
		frozen   = " --attribute-timeout=3600 --entry-timeout=3600 --negative-timeout=3600"
		unopened = " --xlator-option=*-open-behind.read-after-open=no --xlator-option=*-open-behind.use-anonymous-fd=yes"
		from     = " --volfile-server=g1 --volfile-id=/snaps/s/v"
	)
	snapshot := func(o gluster.MountOptions) func() (string, error) {
		return func() (string, error) { return m.MountSnapshot(t.Context(), []string{"g1"}, "s", "v", "n", o) }
	}
	volume := func(o gluster.MountOptions) func() (string, error) {
		return func() (string, error) { return m.MountVolume(t.Context(), []string{"g1"}, "v", "n", o) }
	}
	tests := map[string]struct {
		version string
		mount   func() (string, error)
		want    string
	}{
		"snapshot": {"glusterfs 10.3\n", snapshot(gluster.MountOptions{}), "--read-only" + frozen + from},
		"three servers": {"", func() (string, error) {
			return m.MountSnapshot(t.Context(), []string{"g1", "g2", "fe80::1"}, "s", "v", "n", gluster.MountOptions{})
		}, "--read-only" + frozen + " --volfile-server=g1 --volfile-server=g2 --volfile-server=fe80::1 --volfile-id=/snaps/s/v"},
		"direct": {
			"glusterfs 10.3\n", snapshot(gluster.MountOptions{DirectIO: true, SingleCopy: true}),
			"--read-only --direct-io-mode=enable" + frozen + from,
		},
		"single copy": {"glusterfs 10.3\n", snapshot(gluster.MountOptions{SingleCopy: true}), "--read-only" + frozen + unopened + from},
		"single copy, client that would leak": {
			"glusterfs 7.6\n", snapshot(gluster.MountOptions{SingleCopy: true}), "--read-only" + frozen + from,
		},
		"single copy, client of no version": {
			"?", snapshot(gluster.MountOptions{SingleCopy: true}), "--read-only" + frozen + from,
		},
		"volume": {"", volume(gluster.MountOptions{}), "--volfile-server=g1 --volfile-id=/v"},
		"volume, direct and read-only": {
			"", volume(gluster.MountOptions{DirectIO: true, ReadOnly: true}),
			"--read-only --direct-io-mode=enable --volfile-server=g1 --volfile-id=/v",
		},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			h.version = tt.version
			if dir, err := tt.mount(); !errors.Is(err, gluster.ErrMount) {
				t.Fatalf("mount = %q, %v", dir, err)
			}
			want := append([]string{"--acl", "--use-readdirp=yes", "--fuse-mountopts=nodev,nosuid,noexec", "--log-level=WARNING", "--log-file=" + log},
				append(strings.Fields(tt.want), filepath.Join(base, "n"))...)
			if filepath.Base(h.args[0]) != "glusterfs" || !slices.Equal(h.args[1:], want) {
				t.Errorf("arguments = %q\nwant %q", h.args, want)
			}
		})
	}
}

func TestSingleCopy(t *testing.T) {
	for want, volumes := range map[bool][]gluster.Volume{
		true:  {{ReplicaCount: 1}, {DistCount: 3, ReplicaCount: 1}},
		false: {{}, {ReplicaCount: 2}, {ReplicaCount: 3, ArbiterCount: 1}, {ReplicaCount: 1, DisperseCount: 3}},
	} {
		for _, v := range volumes {
			if got := v.SingleCopy(); got != want {
				t.Errorf("SingleCopy of %+v = %t", v, got)
			}
		}
	}
}

// The mount table decides, not the helper; what is left of the attempt goes.
func TestMountThatDidNot(t *testing.T) {
	const log = `[2026-11-22 17:39:58.9 +0000] I [glusterfsd.c:2447:daemonize] 0-glusterfs: Pid of current running process is 6940
[2026-11-22 17:39:58.918722 +0000] E [glusterfsd-mgmt.c:2170:mgmt_getspec_cbk] 0-glusterfs: failed to get the 'volume file' from server
[2026-11-22 17:39:58.918756 +0000] E [MSGID: 1] [glusterfsd-mgmt.c:2371:mgmt_getspec_cbk] 0-mgmt: failed to fetch volume file (key:/snaps/s/v)
[2026-11-22 17:39:58.919069 +0000] W [glusterfsd.c:1458:cleanup_and_exit] (-->/lib/x86_64-linux-gnu/libgfrpc.so.0) 0-: received signum (0), shutting down
`
	for desc, helperErr := range map[string]error{
		"helper says yes": nil,
		"helper says no":  &runner.ExitError{Host: "localhost", Command: "glusterfs", Code: 1},
	} {
		t.Run(desc, func(t *testing.T) {
			m, base := newMounter(t, &helper{log: log, err: helperErr})
			_, err := m.MountSnapshot(t.Context(), []string{"g1"}, "s", "v", "n", gluster.MountOptions{})
			var e *gluster.MountError
			if !errors.Is(err, gluster.ErrMount) || !errors.As(err, &e) {
				t.Fatalf("MountSnapshot = %v", err)
			}
			want := "0-glusterfs: failed to get the 'volume file' from server\n0-mgmt: failed to fetch volume file (key:/snaps/s/v)"
			if e.Log != want || e.Source != "g1:/snaps/s/v" || e.Dir != filepath.Join(base, "n") || e.Remedy() == "" {
				t.Errorf("error = %+v", e)
			}
			if helperErr != nil && !errors.Is(err, helperErr) {
				t.Errorf("%v hides the helper's error", err)
			}
			if entries, err := os.ReadDir(base); err != nil || len(entries) > 0 {
				t.Errorf("base holds %v, %v", entries, err)
			}
			if info, err := os.Stat(base); err != nil || info.Mode().Perm() != 0o700 {
				t.Errorf("mode of base = %v, %v", info.Mode(), err)
			}
		})
	}
}

func TestMountRefusedNames(t *testing.T) {
	h := &helper{}
	m, base := newMounter(t, h)
	g1 := []string{"g1"}
	for desc, mount := range map[string]func() (string, error){
		"snapshot": func() (string, error) {
			return m.MountSnapshot(t.Context(), g1, "a/b", "v", "n", gluster.MountOptions{})
		},
		"volume": func() (string, error) {
			return m.MountSnapshot(t.Context(), g1, "s", "v,ro", "n", gluster.MountOptions{})
		},
		"live volume": func() (string, error) { return m.MountVolume(t.Context(), g1, "-v", "n", gluster.MountOptions{}) },
		"folder": func() (string, error) {
			return m.MountSnapshot(t.Context(), g1, "s", "v", "../n", gluster.MountOptions{})
		},
		"parent": func() (string, error) {
			return m.MountSnapshot(t.Context(), g1, "s", "v", "..", gluster.MountOptions{})
		},
		"no folder": func() (string, error) { return m.MountSnapshot(t.Context(), g1, "s", "v", "", gluster.MountOptions{}) },
		"no server": func() (string, error) {
			return m.MountSnapshot(t.Context(), nil, "s", "v", "n", gluster.MountOptions{})
		},
		"option": func() (string, error) {
			return m.MountSnapshot(t.Context(), []string{"-o"}, "s", "v", "n", gluster.MountOptions{})
		},
		"two servers": func() (string, error) {
			return m.MountSnapshot(t.Context(), []string{"g1,g2"}, "s", "v", "n", gluster.MountOptions{})
		},
		"backup": func() (string, error) {
			return m.MountSnapshot(t.Context(), []string{"g1", "g2 x"}, "s", "v", "n", gluster.MountOptions{})
		},
	} {
		if dir, err := mount(); err == nil || errors.Is(err, gluster.ErrMount) {
			t.Errorf("%s: mount = %q, %v", desc, dir, err)
		}
	}
	if h.args != nil {
		t.Errorf("the helper was run: %q", h.args)
	}
	if _, err := os.Stat(base); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("base was made: %v", err)
	}
}

func TestMounterOptions(t *testing.T) {
	for desc, o := range map[string]gluster.MounterOptions{
		"no commander": {},
		"space":        {Run: &helper{}, Base: "/run/a b"},
		"comma":        {Run: &helper{}, LogDir: "/var/log/a,ro"},
		"relative":     {Run: &helper{}, Base: "run"},
		"climbing":     {Run: &helper{}, Base: "/run/../etc"},
		"root":         {Run: &helper{}, Base: "/"},
	} {
		if _, err := gluster.NewMounter(o); err == nil {
			t.Errorf("%s: NewMounter took %+v", desc, o)
		}
	}
}

func TestUnmountRefusesOtherFolders(t *testing.T) {
	m, base := newMounter(t, &helper{})
	if err := m.Unmount(t.Context(), filepath.Join(base, "n")); err != nil {
		t.Errorf("Unmount without base = %v", err)
	}
	if err := os.MkdirAll(filepath.Join(base, "n", "sub"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"", "/", "/tmp", base, base + "/", base + "/n/", base + "/n/sub", base + "/../x", "n"} {
		if err := m.Unmount(t.Context(), dir); !errors.Is(err, gluster.ErrName) {
			t.Errorf("Unmount(%q) = %v, want ErrName", dir, err)
		}
	}
	if err := m.Unmount(t.Context(), base+"/n"); err == nil {
		t.Error("Unmount removed a folder that holds something")
	}
	if _, err := os.Stat(base + "/n/sub"); err != nil {
		t.Error(err)
	}
}

// Folders without a mount are what a process leaves that dies before mounting.
func TestLeftoverFolders(t *testing.T) {
	m, base := newMounter(t, &helper{})
	if dirs, err := m.Leftovers(); err != nil || len(dirs) > 0 {
		t.Errorf("Leftovers = %q, %v, want none", dirs, err)
	}
	if err := os.MkdirAll(base+"/n", 0o700); err != nil {
		t.Fatal(err)
	}
	dirs, err := m.Leftovers()
	if err != nil || !slices.Equal(dirs, []string{base + "/n"}) {
		t.Fatalf("Leftovers = %q, %v", dirs, err)
	}
	if err := m.Unmount(t.Context(), dirs[0]); err != nil {
		t.Error(err)
	}
	if dirs, err := m.Leftovers(); err != nil || len(dirs) > 0 {
		t.Errorf("Leftovers = %q, %v, want none", dirs, err)
	}
}
