package config

import (
	"bytes"
	"fmt"
	"net/url"
	"os"
	"regexp"
)

// Pod is how Gluster is reached with the transport pod.
type Pod struct {
	// Kubeconfig is the kubeconfig file, an absolute path. Empty means that of
	// [kubernetes], and without one the service account of the pod in which
	// glusterbackupd runs. It must be allowed to list pods and to create
	// pods/exec in the namespace.
	Kubeconfig string `toml:"kubeconfig" example:"/etc/glusterbackupd/pods.kubeconfig"`
	// Namespace is where the pods of Gluster are.
	Namespace string `toml:"namespace" example:"storage"`
	// Selector finds the pods of Gluster by their labels.
	Selector string `toml:"selector" example:"glusterfs=storage-pod"`
	// Container is the name of the container in the pods.
	Container string `toml:"container" example:"gluster"`
	// DialTimeout is how long to wait for a connection.
	DialTimeout Duration `toml:"dial_timeout" example:"5s"`
	// Command runs gluster in the container: the program, and arguments that
	// come before those of glusterbackupd.
	Command []string `toml:"command" example:"gluster"`
}

// selectorForm is a list of equalities and of keys that must be there, which is
// all that is needed to find pods; the API server knows more.
var selectorForm = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._/-]*[A-Za-z0-9])?(==?[A-Za-z0-9._-]*)?(,[A-Za-z0-9]([A-Za-z0-9._/-]*[A-Za-z0-9])?(==?[A-Za-z0-9._-]*)?)*$`)

func (p *Pod) validate(r *report) {
	if p.Kubeconfig != "" {
		r.absolute("gluster.pod.kubeconfig", p.Kubeconfig)
	}
	r.name("gluster.pod.namespace", p.Namespace, namespaceForm, `the name of a namespace like "glusterfs"`)
	r.name("gluster.pod.selector", p.Selector, selectorForm, `labels like "glusterfs-node=pod"`)
	r.name("gluster.pod.container", p.Container, namespaceForm, `the name of a container like "glusterfs"`)
	r.positive("gluster.pod.dial_timeout", p.DialTimeout)
	r.command("gluster.pod.command", p.Command)
}

// Glusterd2 is how Gluster is reached with the transport glusterd2.
type Glusterd2 struct {
	// URLs are the addresses of the servers of one pool, http or https, tried in
	// this order. Required with the transport glusterd2.
	URLs []string `toml:"urls" example:"https://gluster1.example.com:24007 https://gluster2.example.com:24007"`
	// User is the user of glusterd2, which knows only this one.
	User string `toml:"user" example:"glustercli"`
	// SecretFile holds what is in the file auth of glusterd2's working folder,
	// an absolute path. Other users of the machine must not be able to read it.
	// Required with the transport glusterd2.
	SecretFile string `toml:"secret_file" example:"/etc/glusterbackupd/glusterd2.secret"`
	// CAFile holds the certificates, in PEM, that the servers' certificates are
	// checked against, an absolute path. Empty means those of the system. It
	// needs https URLs.
	CAFile string `toml:"ca_file" example:"/etc/glusterbackupd/glusterd2-ca.pem"`
	// DialTimeout is how long to wait for a connection.
	DialTimeout Duration `toml:"dial_timeout" example:"5s"`
}

func (g *Glusterd2) validate(r *report) {
	seen := map[string]bool{}
	for i, address := range g.URLs {
		key := element("gluster.glusterd2.urls", i)
		g.validateURL(r, key, address)
		if seen[address] {
			r.add(key, "is there a second time")
		}
		seen[address] = true
	}
	if g.User == "" {
		r.add("gluster.glusterd2.user", "must not be empty")
	}
	if g.SecretFile != "" {
		r.absolute("gluster.glusterd2.secret_file", g.SecretFile)
	}
	if g.CAFile != "" {
		r.absolute("gluster.glusterd2.ca_file", g.CAFile)
	}
	r.positive("gluster.glusterd2.dial_timeout", g.DialTimeout)
}

// validateURL checks one address. Messages do not repeat it, since it may hold a
// password by mistake.
func (g *Glusterd2) validateURL(r *report, key, address string) {
	u, err := url.Parse(address)
	switch {
	case err != nil || (u.Scheme != "http" && u.Scheme != "https") || !hostForm.MatchString(u.Hostname()):
		r.add(key, `want an address like "https://gluster1.example.com:24007"`)
	case u.User != nil:
		r.add(key, "must not name a user or password: use user and secret_file")
	case u.RawQuery != "" || u.Fragment != "":
		r.add(key, "must end with the path, without a query or fragment")
	case u.Scheme == "http" && g.CAFile != "" && !r.has("gluster.glusterd2.ca_file"):
		r.add("gluster.glusterd2.ca_file", "has no effect where the URL is http")
	}
}

// Hosts returns the host of each URL.
func (g *Glusterd2) Hosts() []string {
	var hosts []string
	for _, address := range g.URLs {
		if u, err := url.Parse(address); err == nil {
			hosts = append(hosts, u.Hostname())
		}
	}
	return hosts
}

// Secret reads the secret from its file, without the white space around it, at
// each call. The caller must not log or store it.
func (g *Glusterd2) Secret() (string, error) {
	content, err := os.ReadFile(g.SecretFile)
	if err != nil {
		return "", fmt.Errorf("glusterd2 secret: %w", err)
	}
	secret := bytes.TrimSpace(content)
	if len(secret) == 0 {
		return "", fmt.Errorf("glusterd2 secret: %s is empty", g.SecretFile)
	}
	return string(secret), nil
}
