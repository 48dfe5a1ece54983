package main

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/glusterbackupd/glusterbackupd/test/lab"
)

func TestMissingPackages(t *testing.T) {
	all := func(name string) (string, error) { return name, nil }
	if got := missingPackages(all); len(got) > 0 {
		t.Errorf("with everything: %q; want nothing", got)
	}
	without := func(name string) (string, error) {
		if name == "mkfs.xfs" || name == "etcd" {
			return "", os.ErrNotExist
		}
		return name, nil
	}
	if got, want := missingPackages(without), []string{"etcd-server", "xfsprogs"}; !slices.Equal(got, want) {
		t.Errorf("missing %q; want %q", got, want)
	}
}

func TestLoopsInside(t *testing.T) {
	const list = `{"loopdevices": [
		{"name":"/dev/loop0", "back-file":"/run/glusterbackupd-lab/disk.img"},
		{"name":"/dev/loop1", "back-file":"/run/glusterbackupd-lab-of-another/disk.img"},
		{"name":"/dev/loop2", "back-file":"/var/tmp/glusterbackupd-lab/x (deleted)"},
		{"name":"/dev/loop3", "back-file":"/home/disk.img"}]}`
	got, err := loopsInside([]byte(list), "/run/glusterbackupd-lab", "/var/tmp/glusterbackupd-lab")
	if want := []string{"/dev/loop0", "/dev/loop2"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("loops %q, %v; want %q", got, err, want)
	}
	if _, err := loopsInside([]byte("loop0"), "/run"); err == nil {
		t.Error("a list that is no JSON is accepted")
	}
}

func TestOurs(t *testing.T) {
	tests := map[string]struct {
		mount mountinfo.Info
		want  bool
	}{
		"our volume anywhere":    {mountinfo.Info{FSType: "fuse.glusterfs", Source: "192.168.77.10:vol_1", Mountpoint: "/mnt"}, true},
		"our snapshot":           {mountinfo.Info{FSType: "fuse.glusterfs", Source: "192.168.77.11:/snaps/s/v", Mountpoint: "/mnt"}, true},
		"another pool's volume":  {mountinfo.Info{FSType: "fuse.glusterfs", Source: "192.168.77.101:vol_1", Mountpoint: "/mnt"}, false},
		"below our folder":       {mountinfo.Info{FSType: "xfs", Source: "/dev/loop1", Mountpoint: lab.Dir + "/disk"}, true},
		"beside our folder":      {mountinfo.Info{FSType: "xfs", Source: "/dev/loop1", Mountpoint: lab.Dir + "-2/disk"}, false},
		"another's file systems": {mountinfo.Info{FSType: "ext4", Source: "/dev/sda1", Mountpoint: "/"}, false},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			if got := ours(&tt.mount); got != tt.want {
				t.Errorf("ours(%+v) = %v; want %v", tt.mount, got, tt.want)
			}
		})
	}
}

// TestKnownHosts wants the file to accept the guest's key at both addresses,
// and no other key.
func TestKnownHosts(t *testing.T) {
	name := filepath.Join(t.TempDir(), "known_hosts")
	right, err := newKeyPair("right")
	if err != nil {
		t.Fatal(err)
	}
	wrong, err := newKeyPair("wrong")
	if err != nil {
		t.Fatal(err)
	}
	if err := writeKnownHosts(name, right.public, "192.168.77.10", "192.168.77.11"); err != nil {
		t.Fatal(err)
	}
	check, err := knownhosts.New(name)
	if err != nil {
		t.Fatal(err)
	}
	for _, ip := range []string{"192.168.77.10", "192.168.77.11"} {
		address := &net.TCPAddr{IP: net.ParseIP(ip), Port: 22}
		if err := check(ip+":22", address, right.public); err != nil {
			t.Errorf("the right key at %s: %v", ip, err)
		}
		var refused *knownhosts.KeyError
		if err := check(ip+":22", address, wrong.public); !errors.As(err, &refused) {
			t.Errorf("a wrong key at %s: %v; want a KeyError", ip, err)
		}
	}
	if _, err := ssh.ParsePrivateKey(right.private); err != nil {
		t.Errorf("private key: %v", err)
	}
}
