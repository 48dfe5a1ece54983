package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/glusterbackupd/glusterbackupd/config"
	"github.com/glusterbackupd/glusterbackupd/daemon"
	"github.com/glusterbackupd/glusterbackupd/gluster"
	"github.com/glusterbackupd/glusterbackupd/gluster/glusterd2"
)

// gluster checks that the pool of each set of hosts answers over the transport
// of the configuration, and looks for another transport where it does not.
func (c *checker) gluster(ctx context.Context, a *app, targets []daemon.Target) {
	seen := map[string]bool{}
	for _, t := range targets {
		name := strings.Join(t.Hosts, ",")
		if seen[name] {
			continue
		}
		seen[name] = true
		transport := a.cfg.Gluster.Transport
		check := fmt.Sprintf("Gluster (%s)", transport)
		p, err := a.gluster.client(t.Hosts)
		if err == nil {
			err = p.Ping(ctx)
		}
		c.add(check, name, err)
		if err != nil {
			c.fitting(ctx, a, t.Hosts, err)
		}
	}
	if a.cfg.Gluster.Transport == config.TransportGlusterd2 && len(targets) > 0 {
		c.warn("thin pools", glusterd2.NoPools, "watch the pools by other means (lvs), or use [gluster] transport = \"ssh\"")
		c.warn("block images", "not available over glusterd2: sessions cannot be asked for, so no image is restored in place",
			"restore images to files (restore-block --to), or use [gluster] transport = \"ssh\"")
	}
}

// fitting says which transport would reach the hosts.
func (c *checker) fitting(ctx context.Context, a *app, hosts []string, failed error) {
	found := probe(ctx, a, hosts)
	if gluster.NotInstalled(failed) && a.cfg.Gluster.Transport != config.TransportGlusterd2 {
		found = append(found, "the host was reached but has no gluster command: if it runs in a container there, put the way into it before the "+
			"command, as in command = [\"docker\", \"exec\", \"glusterfs\", \"gluster\"] (podman and crictl alike)")
	}
	if len(found) == 0 {
		c.warn("other transports", "none of ssh, local, pod and glusterd2 reaches "+strings.Join(hosts, ", "),
			"check the names in [gluster] hosts and the network between here and there")
		return
	}
	for _, text := range found {
		c.warn("other transports", text, "docs/transports.md tells what each transport needs and what it cannot do")
	}
}

// probeTimeout bounds the look at one transport of one host.
const probeTimeout = 3 * time.Second

// probe looks at all hosts and transports but the one in use, at the same time.
// It authenticates nowhere, so that what it finds is a hint and no promise.
func probe(ctx context.Context, a *app, hosts []string) []string {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	tries := map[config.Transport]func(context.Context, string) string{
		config.TransportSSH:       probeSSH(a.cfg.Gluster.SSH.Port),
		config.TransportLocal:     probeLocal,
		config.TransportPod:       probePod(a.cfg),
		config.TransportGlusterd2: probeGlusterd2,
	}
	delete(tries, a.cfg.Gluster.Transport)
	var mu sync.Mutex
	var wg sync.WaitGroup
	var found []string
	for _, try := range tries {
		for _, host := range hosts {
			wg.Go(func() {
				if text := try(ctx, host); text != "" {
					mu.Lock()
					defer mu.Unlock()
					found = append(found, text)
				}
			})
		}
	}
	wg.Wait()
	slices.Sort(found)
	return found
}

// probeSSH looks for the greeting of an sshd.
func probeSSH(port int) func(context.Context, string) string {
	return func(ctx context.Context, host string) string {
		address := net.JoinHostPort(host, strconv.Itoa(port))
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
		if err != nil {
			return ""
		}
		defer conn.Close()
		defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
		line, err := bufio.NewReader(io.LimitReader(conn, 1024)).ReadString('\n')
		if err != nil || !strings.HasPrefix(line, "SSH-") {
			return ""
		}
		return fmt.Sprintf("transport = \"ssh\" may do: sshd answers on %s", address)
	}
}

// probeLocal looks whether the host is this one and has the command.
func probeLocal(_ context.Context, host string) string {
	if _, err := exec.LookPath("gluster"); err != nil || !isThisHost(host) {
		return ""
	}
	return fmt.Sprintf("transport = \"local\" may do: %s is this host, and it has the gluster command", host)
}

// probePod looks for a ready pod of the configured selector.
func probePod(c *config.Config) func(context.Context, string) string {
	return func(ctx context.Context, host string) string {
		if c.Kubernetes == nil && c.Gluster.Pod.Kubeconfig == "" {
			return ""
		}
		p, err := newPods(c, nil)
		if err != nil {
			return ""
		}
		nodes, err := p.Nodes(ctx)
		if err != nil || len(nodes) == 0 {
			return ""
		}
		return fmt.Sprintf("transport = \"pod\" may do for %s: pods %s in namespace %s are ready on %s",
			host, c.Gluster.Pod.Selector, c.Gluster.Pod.Namespace, strings.Join(nodes, ", "))
	}
}

// probeGlusterd2 looks for an answer of glusterd2 on its usual port.
func probeGlusterd2(ctx context.Context, host string) string {
	client := &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	base := "http://" + net.JoinHostPort(host, "24007")
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/ping", nil)
	if err != nil {
		return ""
	}
	answer, err := client.Do(r)
	if err != nil {
		return ""
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK || answer.Header.Get("X-Gluster-Peer-Id") == "" {
		return ""
	}
	return fmt.Sprintf("transport = \"glusterd2\" may do: glusterd2 answers on %s", base)
}
