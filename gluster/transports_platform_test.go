//go:build platform && soak

package gluster_test

import (
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/kubernetes"

	"github.com/glusterbackupd/glusterbackupd/gluster"
	"github.com/glusterbackupd/glusterbackupd/gluster/glustertest"
	"github.com/glusterbackupd/glusterbackupd/kube"
	"github.com/glusterbackupd/glusterbackupd/runner"
	"github.com/glusterbackupd/glusterbackupd/test/lab/kubelet"
)

// TestTransports holds every transport that runs the gluster command to the same
// suite. It is part of make soak.
func TestTransports(t *testing.T) {
	if address := os.Getenv(inGuest); address != "" {
		onNode(t, address)
		return
	}
	p := newPlatform(t)
	t.Run("over ssh", p.testSSH)
	t.Run("in a container", p.testContainer)
	t.Run("in a pod", p.testPod)
	t.Run("on the node itself", p.testNode)
}

// conform runs the whole suite over one way to run commands on the node.
func conform(t *testing.T, address string, connect func(host string) gluster.Commander, command ...string) {
	t.Helper()
	client := func(timeout time.Duration) *gluster.Client {
		c, err := gluster.New(gluster.Options{
			Hosts: []gluster.Commander{connect(address)}, Connect: connect, Command: command, Timeout: timeout,
		})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	glustertest.TestPool(t, glustertest.Setup{
		Pool: client(gluster.DefaultTimeout), Impatient: client(time.Second), Prefix: "gbtest-",
		Volume: single, Stopped: created, NotThin: plain, Path: "/snaps/s/" + single,
		Bricks: []gluster.Brick{{Host: address, Path: "/bricks/gbtest/a/brick"}},
	})
}

func (p *platform) host(name string) gluster.Commander { return p.ssh.Host(name) }

func (p *platform) testSSH(t *testing.T) { conform(t, p.lab.Address, p.host) }

// container is the folder of a container: its root, and a program that leads into
// it as "docker exec" does, made of the same namespaces.
const container = "/var/tmp/gbtest-container"

const makeContainer = `
d=/var/tmp/gbtest-container
mkdir -p $d/root
cat >$d/docker <<'END'
#!/bin/sh
if [ "$1" != exec ] || [ "$2" != glusterfs ]; then echo "Error: No such container: $2" >&2; exit 1; fi
shift 2
exec nsenter --target "$(cat /var/tmp/gbtest-container/pid)" --mount --uts --ipc --pid --root --wd -- "$@"
END
chmod 755 $d/docker
setsid unshare --mount --uts --ipc --pid --fork --kill-child sh -c '
	mount --rbind / /var/tmp/gbtest-container/root
	mount -t proc proc /var/tmp/gbtest-container/root/proc
	hostname gbtest-container
	exec chroot /var/tmp/gbtest-container/root sleep infinity' </dev/null >/dev/null 2>&1 &
echo $! >$d/parent
for try in $(seq 100); do
	pid=$(cat /proc/$(cat $d/parent)/task/$(cat $d/parent)/children | tr -d ' ')
	if [ -n "$pid" ] && [ "$(cat /proc/$pid/comm)" = sleep ]; then break; fi
	sleep 0.1
done
echo "$pid" >$d/pid
`

const removeContainer = `
d=/var/tmp/gbtest-container
if [ -s $d/parent ]; then kill -9 $(cat $d/pid) $(cat $d/parent) 2>/dev/null || true; sleep 1; fi
if [ -d $d/root ]; then rmdir $d/root; fi
rm -rf $d
`

// Commands go over ssh into a container: quoting, exit codes and paths survive
// both ways.
func (p *platform) testContainer(t *testing.T) {
	p.script(t, removeContainer)
	t.Cleanup(func() { p.script(t, removeContainer) })
	p.script(t, makeContainer)
	prefix := []string{container + "/docker", "exec", "glusterfs"}
	run := func(args ...string) (string, error) {
		out, err := p.host(p.lab.Address).Run(t.Context(), slices.Concat(prefix, args)...)
		return string(out), err
	}
	if out, err := run("hostname"); err != nil || out != "gbtest-container\n" {
		t.Fatalf("hostname = %q, %v, want that of the container", out, err)
	}
	args := []string{"it's", `"quoted"`, "$HOME `id` $(id)", "a\nb", "*", "", "--flag", `back\slash`, "a&b=c;d#e"}
	if out, err := run(append([]string{"printf", `%s\0`}, args...)...); err != nil || out != strings.Join(args, "\x00")+"\x00" {
		t.Errorf("arguments = %q, %v", out, err)
	}
	_, err := run("sh", "-c", "echo why >&2; exit 3")
	var exit *runner.ExitError
	if !errors.As(err, &exit) || exit.Code != 3 || exit.Stderr != "why\n" {
		t.Errorf("exit 3 = %v", err)
	}
	for what, command := range map[string][]string{
		"no gluster":   append(slices.Clone(prefix), "no-gluster-here"),
		"no container": {container + "/docker", "exec", "heketi", "gluster"},
	} {
		c := p.newClient(t, gluster.Options{Command: command})
		err := c.Ping(t.Context())
		var e *gluster.Error
		if !errors.Is(err, gluster.ErrFailed) || gluster.Temporary(err) || !errors.As(err, &e) || gluster.NotInstalled(err) != (what == "no gluster") {
			t.Errorf("%s: Ping = %v", what, err)
		}
	}
	conform(t, p.lab.Address, p.host, append(prefix, "gluster")...)
}

// Commands go through the real API server to a kubelet without pods, which hands
// them to the guest.
func (p *platform) testPod(t *testing.T) {
	config, err := kube.RESTConfig(p.lab.Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	api, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	k := &kubelet.Kubelet{
		Node: "gbtest-node", Namespace: "default", Pod: "gbtest-glusterfs", Container: "glusterfs",
		Labels: map[string]string{"gbtest": "pod"}, HostIP: p.lab.Address, Exec: p.exec,
	}
	t.Cleanup(func() {
		k.Die()
		if err := k.Remove(context.WithoutCancel(t.Context()), api); err != nil {
			t.Error(err)
		}
	})
	if err := k.Start(t.Context(), api); err != nil {
		t.Fatal(err)
	}
	pods, err := runner.NewPods(runner.PodOptions{Config: config, Namespace: "default", Selector: "gbtest=pod", Container: "glusterfs"})
	if err != nil {
		t.Fatal(err)
	}
	conform(t, p.lab.Address, func(host string) gluster.Commander { return pods.Host(host) })
}

// exec runs a command of the kubelet in the guest.
func (p *platform) exec(ctx context.Context, args []string, stdout, stderr io.Writer) (int, error) {
	out, err := p.host(p.lab.Address).Run(ctx, args...)
	if _, writeErr := stdout.Write(out); writeErr != nil {
		return 0, writeErr
	}
	if exit, ok := errors.AsType[*runner.ExitError](err); ok {
		_, err := io.WriteString(stderr, exit.Stderr)
		return exit.Code, err
	}
	return 0, err
}

// inGuest tells this program that it runs on the Gluster node itself; its value
// is the node's address.
const inGuest = "GBTEST_NODE"

// testNode runs this program on the Gluster node, where TestTransports asks
// gluster without ssh.
func (p *platform) testNode(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.Open(self)
	if err != nil {
		t.Fatal(err)
	}
	defer program.Close()
	t.Cleanup(func() { p.script(t, "rm -f /var/tmp/gbtest.test") })
	if _, err := p.lab.GuestInput(t.Context(), program, "sh", "-c", "cat >/var/tmp/gbtest.test && chmod 700 /var/tmp/gbtest.test"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute)
	defer cancel()
	out, err := p.lab.Script(ctx, "cd /var/tmp && "+inGuest+`="$1" ./gbtest.test -test.v -test.run '^TestTransports$' 2>&1`, p.lab.Address)
	if err != nil || !strings.Contains(string(out), "--- PASS: TestTransports") {
		t.Errorf("on the node:\n%s", out)
	}
}

// onNode is the suite with the transport local.
func onNode(t *testing.T, address string) {
	local := runner.NewLocal(runner.LocalOptions{})
	conform(t, address, func(string) gluster.Commander { return local })
}
