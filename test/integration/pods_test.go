//go:build integration

package integration_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/glusterbackupd/glusterbackupd/gluster"
	"github.com/glusterbackupd/glusterbackupd/kube"
	"github.com/glusterbackupd/glusterbackupd/runner"
	"github.com/glusterbackupd/glusterbackupd/test/lab/kubelet"
)

const podSelector = "glusterfs-node=pod"

// localExec runs a command on this machine, as a container runtime does: without
// a shell, and with an error of its own for a program that is not there.
func localExec(ctx context.Context, args []string, stdout, stderr io.Writer) (int, error) {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Stdout, cmd.Stderr = stdout, stderr
	err := cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode(), nil
	}
	return 0, err
}

// startPod registers a Gluster pod on a node of its own.
func startPod(t *testing.T, k *cluster, node, hostIP string) *kubelet.Kubelet {
	t.Helper()
	p := &kubelet.Kubelet{
		Node: node, Namespace: "glusterfs", Pod: "glusterfs-" + node, Container: "glusterfs",
		Labels: map[string]string{"glusterfs-node": "pod"}, HostIP: hostIP, Exec: localExec,
	}
	k.check(p.Start(t.Context(), k.admin))
	t.Cleanup(p.Die)
	return p
}

func newPods(t *testing.T, kubeconfig string, change func(*runner.PodOptions)) *runner.Pods {
	t.Helper()
	config, err := kube.RESTConfig(kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	o := runner.PodOptions{Config: config, Namespace: "glusterfs", Selector: podSelector, Container: "glusterfs"}
	if change != nil {
		change(&o)
	}
	p, err := runner.NewPods(o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// Commands in pods, through the real API server and the real exec protocol.
func TestPods(t *testing.T) {
	k := startKube(t)
	k.namespaces("glusterfs", "other")
	first := startPod(t, k, "node-1", "192.0.2.11")
	second := startPod(t, k, "node-2", "127.0.0.1")
	pods := newPods(t, k.api.Kubeconfig, nil)
	t.Run("arguments", func(t *testing.T) { podArguments(t, pods) })
	t.Run("results", func(t *testing.T) { podResults(t, pods) })
	t.Run("ends", func(t *testing.T) { podEnds(t, k, pods) })
	t.Run("names", func(t *testing.T) { podNames(t, pods) })
	t.Run("rights", func(t *testing.T) { podRights(t, k) })
	t.Run("wrong container", func(t *testing.T) {
		wrong := newPods(t, k.api.Kubeconfig, func(o *runner.PodOptions) { o.Container = "heketi" })
		_, err := wrong.Host("node-1").Run(t.Context(), "true")
		if !errors.Is(err, runner.ErrPod) || gluster.Temporary(err) || !strings.Contains(remedy(err), "gluster.pod.container") {
			t.Errorf("Run = %v, want a final ErrPod", err)
		}
	})
	t.Run("gone", func(t *testing.T) { podGone(t, k, pods, first, second) })
}

// Every byte of every argument arrives, without a shell in between.
func podArguments(t *testing.T, pods *runner.Pods) {
	args := []string{"it's", `"quoted"`, "$HOME `id` $(id)", "a\nb", "*", "", "--flag", `back\slash`, "ümläut", "a&b=c;d#e%20f"}
	out, err := pods.Host("node-1").Run(t.Context(), append([]string{"printf", `%s\0`}, args...)...)
	got := strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00")
	if err != nil || !slices.Equal(got, args) {
		t.Errorf("Run = %q, %v, want %q", got, err, args)
	}
}

func podResults(t *testing.T, pods *runner.Pods) {
	pod, ctx := pods.Host("node-1"), t.Context()
	for _, code := range []int{1, 2, 127, 255} {
		out, err := pod.Run(ctx, "sh", "-c", `echo out; echo err >&2; exit $0`, strconv.Itoa(code))
		var exit *runner.ExitError
		if !errors.As(err, &exit) || exit.Code != code || string(out) != "out\n" || exit.Stderr != "err\n" || exit.Host != "node-1" {
			t.Errorf("exit %d: Run = %q, %v", code, out, err)
		}
	}
	// A program that is not in the container is the same as over ssh.
	_, err := pod.Run(ctx, "no-such-program")
	var exit *runner.ExitError
	if !errors.As(err, &exit) || exit.Code != 127 || !gluster.NotInstalled(err) {
		t.Errorf("missing program: Run = %v, want exit code 127", err)
	}
	large, err := pod.Run(ctx, "head", "-c", "8000000", "/dev/zero")
	if err != nil || len(large) != 8000000 || len(bytes.Trim(large, "\x00")) > 0 {
		t.Errorf("large output: %d bytes, %v", len(large), err)
	}
}

func podEnds(t *testing.T, k *cluster, pods *runner.Pods) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	start := time.Now()
	_, err := pods.Host("node-1").Run(ctx, "sleep", "60")
	if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) > 10*time.Second || gluster.Temporary(err) {
		t.Errorf("Run = %v after %v, want the caller's deadline", err, time.Since(start))
	}
	small := newPods(t, k.api.Kubeconfig, func(o *runner.PodOptions) { o.MaxOutput = 1000 })
	start = time.Now()
	_, err = small.Host("node-1").Run(t.Context(), "sh", "-c", "head -c 100000 /dev/zero; sleep 60")
	if !errors.Is(err, runner.ErrOutputTooLarge) || time.Since(start) > 10*time.Second {
		t.Errorf("Run = %v after %v, want ErrOutputTooLarge", err, time.Since(start))
	}
}

// Gluster knows its nodes by names or addresses, Kubernetes by its own.
func podNames(t *testing.T, pods *runner.Pods) {
	for _, name := range []string{"node-1", "192.0.2.11", "localhost", "127.0.0.1"} {
		if _, err := pods.Host(name).Run(t.Context(), "true"); err != nil {
			t.Errorf("by the name %s: %v", name, err)
		}
	}
	_, err := pods.Host("192.0.2.99").Run(t.Context(), "true")
	if !errors.Is(err, runner.ErrUnreachable) || !gluster.Temporary(err) || !strings.Contains(remedy(err), "kubectl") {
		t.Errorf("another node: Run = %v, want a temporary ErrUnreachable", err)
	}
	if _, err := pods.Host("-o").Run(t.Context(), "true"); !errors.Is(err, runner.ErrHostName) {
		t.Errorf("no name at all: Run = %v", err)
	}
	if nodes, err := pods.Nodes(t.Context()); err != nil || !slices.Equal(nodes, []string{"node-1", "node-2"}) {
		t.Errorf("Nodes = %q, %v", nodes, err)
	}
}

// podRights finds the smallest role that does: the one of docs/transports.md.
func podRights(t *testing.T, k *cluster) {
	kubeconfig := k.serviceAccount("other", "backup")
	pods := newPods(t, kubeconfig, nil)
	run := func() error {
		_, err := pods.Host("node-1").Run(t.Context(), "true")
		return err
	}
	if err := run(); !errors.Is(err, runner.ErrAuth) || gluster.Temporary(err) || !strings.Contains(remedy(err), "pods/exec") {
		t.Errorf("without rights: Run = %v, want a final ErrAuth", err)
	}
	meta := metav1.ObjectMeta{Namespace: "glusterfs", Name: "backup"}
	role := &rbacv1.Role{ObjectMeta: meta, Rules: []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"list"}}}}
	roles := k.admin.RbacV1().Roles("glusterfs")
	role, err := roles.Create(t.Context(), role, metav1.CreateOptions{})
	k.check(err)
	_, err = k.admin.RbacV1().RoleBindings("glusterfs").Create(t.Context(), &rbacv1.RoleBinding{
		ObjectMeta: meta, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "backup"},
		Subjects: []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: "other", Name: "backup"}},
	}, metav1.CreateOptions{})
	k.check(err)
	eventually(t, "list, but not exec", func(context.Context) error {
		if err := run(); !errors.Is(err, runner.ErrAuth) || !strings.Contains(err.Error(), "glusterfs-node-1") {
			return errors.Join(errors.New("want a refusal of exec"), err)
		}
		return nil
	})
	role.Rules = append(role.Rules, rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"pods/exec"}, Verbs: []string{"create"}})
	_, err = roles.Update(t.Context(), role, metav1.UpdateOptions{})
	k.check(err)
	eventually(t, "exec", func(context.Context) error { return run() })
}

// A pod that is not ready, a kubelet that died and a pod that ended are passed
// over, and cost no time-out.
func podGone(t *testing.T, k *cluster, pods *runner.Pods, first, second *kubelet.Kubelet) {
	unreachable := func(what string) {
		t.Helper()
		start := time.Now()
		_, err := pods.Host("node-1").Run(t.Context(), "true")
		if !errors.Is(err, runner.ErrUnreachable) || !gluster.Temporary(err) || remedy(err) == "" || time.Since(start) > 5*time.Second {
			t.Errorf("%s: Run = %v after %v, want a temporary ErrUnreachable", what, err, time.Since(start))
		}
	}
	k.check(first.SetReady(t.Context(), k.admin, corev1.ConditionFalse))
	unreachable("not ready")
	k.check(first.SetReady(t.Context(), k.admin, corev1.ConditionTrue))
	first.Die()
	unreachable("kubelet died")
	k.check(first.Remove(t.Context(), k.admin))
	unreachable("no pod")
	// The connection breaks while a command runs: it may have run.
	go func() {
		time.Sleep(time.Second)
		second.Die()
	}()
	_, err := pods.Host("node-2").Run(t.Context(), "sleep", "20")
	if !errors.Is(err, runner.ErrConnectionLost) {
		t.Errorf("Run = %v, want ErrConnectionLost", err)
	}
}
