package lab_test

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"

	"github.com/glusterbackupd/glusterbackupd/test/lab"
)

func sample() *lab.Lab {
	return &lab.Lab{State: lab.State{
		NetNS: "gblab", Address: "192.168.77.10", SSHUser: "root", SSHKey: "/lab/key", KnownHosts: "/lab/known_hosts",
		HeketiURL: "http://127.0.0.1:18080", HeketiUser: "admin", HeketiKeyFile: "/lab/heketi.key", Kubeconfig: "/lab/kubeconfig",
		Claims: []lab.Claim{{Namespace: "media", Name: "photos"}, {Namespace: "shop", Name: "photos"}},
		Images: []lab.Image{{Namespace: "shop", Claim: "db", Name: "blockvol_a"}, {Name: "blockvol_b"}},
	}}
}

func TestConfigIsTOML(t *testing.T) {
	name := filepath.Join(t.TempDir(), "config.toml")
	if err := sample().WriteConfig(name, `/backup "disk"`); err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if _, err := toml.DecodeFile(name, &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"destination": map[string]any{"path": `/backup "disk"`},
		"kubernetes":  map[string]any{"kubeconfig": "/lab/kubeconfig"},
		"heketi":      map[string]any{"url": "http://127.0.0.1:18080", "user": "admin", "key_file": "/lab/heketi.key"},
		"gluster": map[string]any{"transport": "ssh", "ssh": map[string]any{
			"user": "root", "key_file": "/lab/key", "known_hosts": "/lab/known_hosts",
		}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("configuration %v; want %v", got, want)
	}
	if info, err := os.Stat(name); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v; want 0600", info, err)
	}
}

func TestFind(t *testing.T) {
	l := sample()
	if c, ok := l.Claim("shop", "photos"); !ok || c != &l.Claims[1] {
		t.Errorf("Claim(shop, photos) = %v, %v; want the second", c, ok)
	}
	if _, ok := l.Claim("shop", "none"); ok {
		t.Error("Claim(shop, none) is found")
	}
	if i, ok := l.ClaimImage("", ""); !ok || i.Name != "blockvol_b" {
		t.Errorf("ClaimImage of no claim = %v, %v; want blockvol_b", i, ok)
	}
	if i, ok := l.Image("blockvol_a"); !ok || i.Claim != "db" {
		t.Errorf("Image(blockvol_a) = %v, %v; want the one of db", i, ok)
	}
}

func TestCommandLines(t *testing.T) {
	enter := strings.Join(sample().Enter("kubectl", "get", "pvc"), " ")
	if want := "nsenter --net=/run/netns/gblab -- kubectl get pvc"; enter != want {
		t.Errorf("Enter: %s; want %s", enter, want)
	}
	ssh := strings.Join(sample().SSH(), " ")
	for _, want := range []string{"StrictHostKeyChecking=yes", "UserKnownHostsFile=/lab/known_hosts", "root@192.168.77.10"} {
		if !strings.Contains(ssh, want) {
			t.Errorf("ssh: %s; want %s in it", ssh, want)
		}
	}
}
