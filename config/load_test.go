package config_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/glusterbackupd/glusterbackupd/config"
)

// machine is a folder with all files that a configuration names.
type machine struct{ dir string }

func newMachine(t *testing.T) machine {
	t.Helper()
	m := machine{t.TempDir()}
	for name, mode := range map[string]fs.FileMode{
		"kubeconfig": 0o644, "heketi.key": 0o600, "ca.pem": 0o644, "id": 0o640, "known_hosts": 0o644,
	} {
		m.write(t, name, "content of "+name+"\n", mode)
	}
	return m
}

func (m machine) path(name string) string { return filepath.Join(m.dir, name) }

func (m machine) write(t *testing.T, name, content string, mode fs.FileMode) {
	t.Helper()
	if err := errors.Join(os.WriteFile(m.path(name), []byte(content), mode), os.Chmod(m.path(name), mode)); err != nil {
		t.Fatal(err)
	}
}

// load reads a configuration that names the files of the machine.
func (m machine) load(t *testing.T, more string) (*config.Config, error) {
	t.Helper()
	text := strings.ReplaceAll(`[destination]
path = "/backupdisk"
[kubernetes]
kubeconfig = "DIR/kubeconfig"
[heketi]
url = "https://heketi.example.com"
key_file = "DIR/heketi.key"
ca_file = "DIR/ca.pem"
[gluster.ssh]
key_file = "DIR/id"
known_hosts = "DIR/known_hosts"
`+more, "DIR", m.dir)
	m.write(t, "config.toml", text, 0o644)
	return config.Load(m.path("config.toml"))
}

// faults removes the folder's name from the text of an error.
func (m machine) faults(err error) string {
	return strings.ReplaceAll(err.Error(), m.dir+"/", "")
}

func TestLoad(t *testing.T) {
	c, err := newMachine(t).load(t, "")
	if err != nil {
		t.Fatal(err)
	}
	key, err := c.Heketi.Key()
	if key != "content of heketi.key" || err != nil {
		t.Errorf("Key() = %q, %v", key, err)
	}
	if text := toTOML(t, c); strings.Contains(text, "content of") {
		t.Errorf("TOML shows the content of a file:\n%s", text)
	}
}

func TestLoadFileFaults(t *testing.T) {
	tests := map[string]struct {
		damage func(*testing.T, machine)
		more   string
		want   []string
	}{
		"all missing": {
			damage: func(t *testing.T, m machine) {
				for _, name := range []string{"kubeconfig", "heketi.key", "ca.pem", "id", "known_hosts"} {
					remove(t, m.path(name))
				}
			},
			want: []string{
				"config.toml:4: [kubernetes] kubeconfig: kubeconfig: no such file or directory",
				"config.toml:7: [heketi] key_file: heketi.key: no such file or directory",
				"config.toml:8: [heketi] ca_file: ca.pem: no such file or directory",
				"config.toml:10: [gluster.ssh] key_file: id: no such file or directory",
				"config.toml:11: [gluster.ssh] known_hosts: known_hosts: no such file or directory",
			},
		},
		"open secrets": {
			damage: func(t *testing.T, m machine) {
				m.write(t, "heketi.key", "hunter2", 0o644)
				m.write(t, "id", "hunter2", 0o602)
			},
			want: []string{
				"config.toml:7: [heketi] key_file: heketi.key is open to every user of this machine: run chmod o= heketi.key",
				"config.toml:10: [gluster.ssh] key_file: id is open to every user of this machine: run chmod o= id",
			},
		},
		"not regular": {
			damage: func(t *testing.T, m machine) {
				remove(t, m.path("heketi.key"))
				remove(t, m.path("id"))
				if err := errors.Join(os.Mkdir(m.path("heketi.key"), 0o700), syscall.Mkfifo(m.path("id"), 0o600)); err != nil {
					t.Fatal(err)
				}
			},
			want: []string{
				"config.toml:7: [heketi] key_file: heketi.key: not a regular file",
				"config.toml:10: [gluster.ssh] key_file: id: not a regular file",
			},
		},
		"empty": {
			damage: func(t *testing.T, m machine) { m.write(t, "known_hosts", "", 0o644) },
			want:   []string{"config.toml:11: [gluster.ssh] known_hosts: known_hosts: the file is empty"},
		},
		"together with a fault of the text": {
			damage: func(t *testing.T, m machine) { remove(t, m.path("heketi.key")) },
			more:   "[backup]\nparallel = 0\n",
			want: []string{
				"config.toml:7: [heketi] key_file: heketi.key: no such file or directory",
				"config.toml:13: [backup] parallel: want 1 to 64, not 0",
			},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			tt.damage(t, m)
			_, err := m.load(t, tt.more)
			if err == nil {
				t.Fatal("Load found no fault")
			}
			equal(t, strings.Split(m.faults(err), "\n"), tt.want)
			if strings.Contains(err.Error(), "hunter2") {
				t.Error("the error shows the content of a file")
			}
		})
	}
}

func TestLoadLocalNeedsNoSSHFiles(t *testing.T) {
	m := newMachine(t)
	remove(t, m.path("id"))
	remove(t, m.path("known_hosts"))
	if _, err := m.load(t, "[gluster]\ntransport = \"local\"\n"); err != nil {
		t.Error(err)
	}
}

// Each transport needs its own files, and only those.
func TestLoadTransportFiles(t *testing.T) {
	m := newMachine(t)
	remove(t, m.path("id"))
	remove(t, m.path("known_hosts"))
	m.write(t, "secret", "hunter2", 0o600)
	pod := "[gluster]\ntransport = \"pod\"\n[gluster.pod]\nkubeconfig = \"" + m.path("kubeconfig") + "\"\n"
	gd2 := "[gluster]\ntransport = \"glusterd2\"\n[gluster.glusterd2]\nurls = [\"https://g1:24007\"]\nsecret_file = \"" + m.path("secret") + "\"\n"
	for _, more := range []string{pod, gd2} {
		if _, err := m.load(t, more); err != nil {
			t.Errorf("%v with:\n%s", err, more)
		}
	}
	m.write(t, "secret", "hunter2", 0o644)
	remove(t, m.path("kubeconfig"))
	for _, more := range []string{pod, gd2} {
		if _, err := m.load(t, more); err == nil || strings.Contains(err.Error(), "hunter2") || !strings.Contains(err.Error(), "[gluster.") {
			t.Errorf("%v with:\n%s", err, more)
		}
	}
}

func TestLoadMissing(t *testing.T) {
	_, err := config.Load(filepath.Join(t.TempDir(), "none.toml"))
	var faults *config.Faults
	if !errors.As(err, &faults) || !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("Load: %v, want *Faults that is fs.ErrNotExist", err)
	}
	if !strings.HasSuffix(err.Error(), "none.toml: no such file or directory") {
		t.Errorf("Load: %v", err)
	}
	if !strings.Contains(faults.Remedy(), "--config") {
		t.Errorf("Remedy() = %q", faults.Remedy())
	}
}

func TestHeketiKeyFaults(t *testing.T) {
	m := newMachine(t)
	h := config.Heketi{KeyFile: m.path("none")}
	if _, err := h.Key(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Key() of a missing file: %v", err)
	}
	m.write(t, "blank", " \n", 0o600)
	h.KeyFile = m.path("blank")
	if key, err := h.Key(); err == nil {
		t.Errorf("Key() of a blank file = %q", key)
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}
