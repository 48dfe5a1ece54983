package config

import (
	"regexp"
	"time"
)

// Transport is how glusterbackupd reaches Gluster.
type Transport string

const (
	// TransportSSH runs the gluster command on a Gluster host by ssh.
	TransportSSH Transport = "ssh"
	// TransportLocal runs the gluster command on this machine, which is a
	// Gluster host itself.
	TransportLocal Transport = "local"
	// TransportPod runs the gluster command in a pod on a Gluster host, through
	// the Kubernetes API.
	TransportPod Transport = "pod"
	// TransportGlusterd2 asks glusterd2 over its REST interface; no command is
	// run.
	TransportGlusterd2 Transport = "glusterd2"
)

// Gluster says how Gluster is reached.
type Gluster struct {
	// Transport is "ssh" (the gluster command on a Gluster host, or in a
	// container there), "local" (this machine is a Gluster host), "pod" (in a
	// pod of Gluster, through the Kubernetes API) or "glusterd2" (the REST
	// interface of glusterd2, Gluster's other management daemon).
	Transport Transport `toml:"transport" example:"local"`
	// Hosts are the names or addresses of the Gluster hosts to ask, tried in
	// this order; volumes are mounted from them too. Empty means those that
	// Heketi names; required with the transports ssh and pod when there is no
	// [heketi]. With glusterd2, empty means the hosts of its urls.
	Hosts []string `toml:"hosts" example:"gluster1.example.com gluster2.example.com"`
	// Timeout is how long one gluster command or request may take, whole
	// seconds.
	Timeout Duration `toml:"timeout" example:"5m"`
	// MountDir is the folder below which volumes and snapshots are mounted
	// while they are in use, an absolute path. It is created when needed.
	MountDir string `toml:"mount_dir" example:"/run/glusterbackupd/mnt"`

	SSH       SSH       `toml:"ssh"`
	Local     Local     `toml:"local"`
	Pod       Pod       `toml:"pod"`
	Glusterd2 Glusterd2 `toml:"glusterd2"`
}

// SSH is how Gluster hosts are reached with the transport ssh.
type SSH struct {
	// User is the user on the Gluster hosts. It must be allowed to run gluster
	// and lvs.
	User string `toml:"user" example:"root"`
	// Port is the port of sshd on the Gluster hosts, 1 to 65535.
	Port int `toml:"port" example:"2222"`
	// KeyFile holds the private key, without a passphrase, an absolute path.
	// Other users of the machine must not be able to read it. Required with the
	// transport ssh.
	KeyFile string `toml:"key_file" example:"/etc/glusterbackupd/id_ed25519"`
	// KnownHosts holds the host keys of the Gluster hosts, in the form of
	// OpenSSH, an absolute path. Required with the transport ssh.
	KnownHosts string `toml:"known_hosts" example:"/etc/glusterbackupd/known_hosts"`
	// KeepAlive is the time between two signs of life on an idle connection.
	KeepAlive Duration `toml:"keep_alive" example:"30s"`
	// DialTimeout is how long to wait for a connection.
	DialTimeout Duration `toml:"dial_timeout" example:"5s"`
	// Command runs gluster on the Gluster host: the program, and arguments that
	// come before those of glusterbackupd.
	Command []string `toml:"command" example:"docker exec glusterfs gluster"`
}

// Local is how Gluster is reached with the transport local.
type Local struct {
	// Command runs gluster on this machine: the program, and arguments that
	// come before those of glusterbackupd.
	Command []string `toml:"command" example:"docker exec glusterfs gluster"`
}

func (g *Gluster) setDefaults() {
	*g = Gluster{
		Transport: TransportSSH,
		Hosts:     []string{},
		Timeout:   Duration(10 * time.Minute),
		MountDir:  "/run/glusterbackupd/mnt",
		SSH: SSH{
			User:        "root",
			Port:        22,
			KeepAlive:   Duration(15 * time.Second),
			DialTimeout: Duration(10 * time.Second),
			Command:     []string{"gluster"},
		},
		Local: Local{Command: []string{"gluster"}},
		Pod: Pod{
			Namespace:   "glusterfs",
			Selector:    "glusterfs-node=pod",
			Container:   "glusterfs",
			DialTimeout: Duration(10 * time.Second),
			Command:     []string{"gluster"},
		},
		Glusterd2: Glusterd2{
			URLs:        []string{},
			User:        "glustercli",
			DialTimeout: Duration(10 * time.Second),
		},
	}
}

// Command returns the gluster command of the transport in use, nil when that
// one runs no commands.
func (g *Gluster) Command() []string {
	switch g.Transport {
	case TransportLocal:
		return g.Local.Command
	case TransportPod:
		return g.Pod.Command
	case TransportGlusterd2:
		return nil
	case TransportSSH:
	}
	return g.SSH.Command
}

var (
	hostForm = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$|^[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]+$`)
	userForm = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]{0,31}$`)
)

func (g *Gluster) validate(r *report) {
	switch g.Transport {
	case TransportSSH:
		r.absolute("gluster.ssh.key_file", g.SSH.KeyFile)
		r.absolute("gluster.ssh.known_hosts", g.SSH.KnownHosts)
	case TransportLocal, TransportPod:
	case TransportGlusterd2:
		r.absolute("gluster.glusterd2.secret_file", g.Glusterd2.SecretFile)
		if len(g.Glusterd2.URLs) == 0 {
			r.add("gluster.glusterd2.urls", `required: addresses like "https://gluster1.example.com:24007"`)
		}
	default:
		r.add("gluster.transport", `want "ssh", "local", "pod" or "glusterd2", not %q`, string(g.Transport))
	}
	seen := map[string]bool{}
	for i, host := range g.Hosts {
		switch key := element("gluster.hosts", i); {
		case !hostForm.MatchString(host):
			r.add(key, "want a host name or an address without a port, not %q", host)
		case seen[host]:
			r.add(key, "names %s a second time", host)
		}
		seen[host] = true
	}
	if g.Timeout <= 0 || time.Duration(g.Timeout)%time.Second != 0 {
		r.add("gluster.timeout", "want whole seconds, 1s or more, not %s", g.Timeout)
	}
	r.absolute("gluster.mount_dir", g.MountDir)
	g.SSH.validate(r)
	r.command("gluster.local.command", g.Local.Command)
	g.Pod.validate(r)
	g.Glusterd2.validate(r)
}

func (s *SSH) validate(r *report) {
	if !userForm.MatchString(s.User) {
		r.add("gluster.ssh.user", "want the name of a user, not %q", s.User)
	}
	r.between("gluster.ssh.port", s.Port, 1, 65535)
	r.positive("gluster.ssh.keep_alive", s.KeepAlive)
	r.positive("gluster.ssh.dial_timeout", s.DialTimeout)
	r.command("gluster.ssh.command", s.Command)
}
