package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/glusterbackupd/glusterbackupd/config"
	"github.com/glusterbackupd/glusterbackupd/daemon"
	"github.com/glusterbackupd/glusterbackupd/gluster"
	"github.com/glusterbackupd/glusterbackupd/runner"
)

// failing is an app whose gluster program says and returns what it is told.
func failing(t *testing.T, script string) *app {
	t.Helper()
	program := filepath.Join(t.TempDir(), "gluster")
	if err := os.WriteFile(program, []byte("#!/bin/sh\n"+script), 0o755); err != nil {
		t.Fatal(err)
	}
	c := config.Default()
	c.Gluster.Transport = config.TransportLocal
	c.Gluster.Local.Command = []string{program}
	return newApp(t, &c)
}

func newApp(t *testing.T, c *config.Config) *app {
	t.Helper()
	p, err := newPools(c, runner.NewLocal(runner.LocalOptions{}), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return &app{cfg: c, gluster: p}
}

// findings returns what check says about the pool on this machine.
func findings(t *testing.T, a *app) []finding {
	t.Helper()
	var c checker
	c.gluster(t.Context(), a, []daemon.Target{{Hosts: []string{"localhost"}}, {Hosts: []string{"localhost"}}})
	return c.list
}

func find(list []finding, text string) bool {
	return slices.ContainsFunc(list, func(f finding) bool { return strings.Contains(f.Detail, text) && f.Remedy != "" })
}

func TestCheckSaysWhichTransportFits(t *testing.T) {
	// An sshd on this machine, and a gluster command that is not there.
	sshd, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sshd.Close() })
	go func() {
		for {
			conn, err := sshd.Accept()
			if err != nil {
				return
			}
			fmt.Fprint(conn, "SSH-2.0-OpenSSH_9.2\r\n")
			conn.Close()
		}
	}()
	_, port, err := net.SplitHostPort(sshd.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	a := failing(t, "echo not found >&2; exit 127\n")
	if a.cfg.Gluster.SSH.Port, err = strconv.Atoi(port); err != nil {
		t.Fatal(err)
	}
	list := findings(t, a)
	if list[0].Status != "fail" || list[0].Check != "Gluster (local)" || list[0].Remedy == "" {
		t.Errorf("first finding: %+v", list[0])
	}
	if !find(list, `transport = "ssh" may do: sshd answers on localhost:`+port) || !find(list, `"docker", "exec"`) {
		t.Errorf("findings: %+v", list)
	}
	sshd.Close()
	list = findings(t, failing(t, "echo 'Connection failed. Please check if gluster daemon is operational.'; exit 1\n"))
	if find(list, "docker") {
		t.Errorf("findings: %+v", list)
	}
}

func TestCheckOfOnePoolPerSetOfHosts(t *testing.T) {
	a := failing(t, `echo '<?xml version="1.0"?><cliOutput><opRet>0</opRet><opErrno>0</opErrno></cliOutput>'`+"\n")
	if list := findings(t, a); len(list) != 1 || list[0].Status != "ok" {
		t.Errorf("findings: %+v", list)
	}
}

// Of the hosts that Heketi names, the transport local asks the one that it runs on.
func TestLocalAsksItself(t *testing.T) {
	a := failing(t, `echo '<?xml version="1.0"?><cliOutput><opRet>0</opRet><opErrno>0</opErrno></cliOutput>'`+"\n")
	p, err := a.gluster.client([]string{"198.51.100.1", "localhost", "198.51.100.2"})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Ping(t.Context()); err != nil {
		t.Error(err)
	}
	p, err = a.gluster.client([]string{"198.51.100.1", "198.51.100.2"})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Ping(t.Context()); err == nil || !strings.Contains(remedyOf(err), "ssh") {
		t.Errorf("Ping of a pool that this machine is no part of = %v", err)
	}
	if hosts := a.staticHosts(); !slices.Equal(hosts, []string{"localhost"}) {
		t.Errorf("without hosts: %q", hosts)
	}
}

func TestCheckOverGlusterd2(t *testing.T) {
	server := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "[]") })
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() { _ = http.Serve(l, server) }()
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("3f0c5e0e"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := config.Default()
	c.Gluster.Transport = config.TransportGlusterd2
	c.Gluster.Glusterd2.URLs, c.Gluster.Glusterd2.SecretFile = []string{"http://" + l.Addr().String()}, secret
	a := newApp(t, &c)
	list := findings(t, a)
	if list[0].Status != "ok" || !find(list, "not available over glusterd2: the levels of thin pools") || !find(list, "no image is restored in place") {
		t.Errorf("findings: %+v", list)
	}
	if text := fmt.Sprintf("%+v %#v", a.gluster, a.gluster); strings.Contains(text, "3f0c5e0e") {
		t.Error("the secret is printed")
	}
	_, err = a.gluster.connect("g1").Run(context.Background(), "true")
	if err == nil || remedyOf(err) == "" || gluster.Temporary(err) {
		t.Errorf("a command over glusterd2: %v", err)
	}
	if got := glusterHosts(&c.Gluster); !slices.Equal(got, []string{"127.0.0.1"}) {
		t.Errorf("hosts: %q", got)
	}
	if path := snapshotPath(c.Gluster.Transport)("s", "v"); path != "/snaps/s" {
		t.Errorf("snapshot path: %q", path)
	}
}
