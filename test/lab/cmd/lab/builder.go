package main

import (
	"context"
	"os"
	"path/filepath"
	"time"

	"github.com/glusterbackupd/glusterbackupd/test/lab"
	"github.com/glusterbackupd/glusterbackupd/test/lab/guest"
	"github.com/glusterbackupd/glusterbackupd/test/lab/servers"
)

// builder starts the parts of a lab one after the other and saves the state
// after each, so that down finds all of them.
type builder struct {
	ctx context.Context //nolint:containedctx // One builder lives for one call of start.
	env servers.Env
	lab *lab.Lab
}

func (b *builder) started(p *servers.Process, err error) error {
	if err != nil {
		return err
	}
	b.lab.Servers = append(b.lab.Servers, p)
	return b.lab.Save()
}

func (b *builder) seedDisk() string { return filepath.Join(lab.Dir, "seed.img") }

// seed makes the lab's keys and the disk that brings them into the guest.
func (b *builder) seed() error {
	if err := os.MkdirAll(lab.Dir, 0o700); err != nil {
		return err
	}
	if err := b.lab.Save(); err != nil {
		return err
	}
	login, err := newKeyPair("lab")
	if err != nil {
		return err
	}
	host, err := newKeyPair("lab guest")
	if err != nil {
		return err
	}
	if err := os.WriteFile(b.lab.SSHKey, login.private, 0o600); err != nil {
		return err
	}
	if err := os.WriteFile(b.lab.HeketiKeyFile, []byte(randomKey()+"\n"), 0o600); err != nil {
		return err
	}
	if err := writeKnownHosts(b.lab.KnownHosts, host.public, b.lab.Address, b.lab.Address2); err != nil {
		return err
	}
	standin, err := buildStandin(b.ctx)
	if err != nil {
		return err
	}
	return guest.WriteSeed(b.seedDisk(), []guest.SeedFile{
		{Path: "/root/.ssh/authorized_keys", Mode: 0o600, Content: login.authorized()},
		{Path: "/etc/ssh/ssh_host_ed25519_key", Mode: 0o600, Content: host.private},
		{Path: "/usr/local/sbin/gluster-block", Mode: 0o755, Content: standin},
		{Path: "/var/lib/glusterd/groups/gluster-block", Mode: 0o644, Content: []byte(blockhostGroup)},
	})
}

func (b *builder) guest(image guest.Image) error {
	m := guest.Machine{Image: image, Disks: lab.Disks, Seed: b.seedDisk(), Run: lab.Dir}
	return b.started(m.Start(b.env))
}

func (b *builder) etcd() error {
	p, url, err := b.env.Etcd(b.ctx, etcdPort, etcdPeerPort)
	b.lab.EtcdURL = url
	return b.started(p, err)
}

func (b *builder) api() error {
	api, err := b.env.APIServer(b.ctx, b.lab.EtcdURL, apiPort)
	if err != nil {
		return err
	}
	b.lab.KubeURL, b.lab.Kubeconfig, b.lab.KubeToken = api.URL, api.Kubeconfig, api.TokenFile
	return b.started(api.Process, nil)
}

func (b *builder) controller() error {
	return b.started(b.env.ControllerManager(b.ctx, b.lab.Kubeconfig, controllerPort))
}

// booted waits for sshd and for an answer of glusterd.
func (b *builder) booted() error {
	return waitFor(b.ctx, 5*time.Minute, func(ctx context.Context) error {
		_, err := b.lab.Guest(ctx, "sh", "-c", "systemctl is-active glusterd && gluster --mode=script volume list")
		return err
	})
}

func (b *builder) heketi() error {
	key, err := b.lab.HeketiKey()
	if err != nil {
		return err
	}
	p, url, err := b.env.Heketi(b.ctx, servers.HeketiOptions{
		Port: heketiPort, AdminKey: key, UserKey: randomKey(), Executor: "ssh", KeyFile: b.lab.SSHKey,
	})
	b.lab.HeketiURL = url
	return b.started(p, err)
}
