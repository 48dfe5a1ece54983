// Package kubelet is a stand-in for a kubelet that runs no pods: it registers a
// node and a pod with a real API server and serves the exec requests that this
// one passes on, by the streaming protocol and with the code of real kubelets
// and container runtimes (k8s.io/cri-streaming). What the commands do is up to
// the test.
package kubelet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
	utilexec "k8s.io/utils/exec"
)

// Exec runs a command in the container and returns its exit code. An error means
// that it could not be started.
type Exec func(ctx context.Context, args []string, stdout, stderr io.Writer) (code int, err error)

// Kubelet is one node with one pod.
type Kubelet struct {
	Node, Namespace, Pod, Container string
	Labels                          map[string]string
	HostIP                          string // Of the node, as Kubernetes knows it.
	Exec                            Exec

	server *httptest.Server

	mu      sync.Mutex
	streams []net.Conn // The connections that streams run over.
}

// Start serves on loopback and registers node and pod, the latter as ready. The
// namespace must exist.
func (k *Kubelet) Start(ctx context.Context, api kubernetes.Interface) error {
	k.server = httptest.NewUnstartedServer(http.HandlerFunc(k.serve))
	k.server.Config.ConnState = func(c net.Conn, state http.ConnState) {
		if state == http.StateHijacked {
			k.mu.Lock()
			defer k.mu.Unlock()
			k.streams = append(k.streams, c)
		}
	}
	k.server.StartTLS()
	_, text, err := net.SplitHostPort(k.server.Listener.Addr().String())
	if err != nil {
		return err
	}
	port, err := strconv.ParseInt(text, 10, 32)
	if err != nil {
		return err
	}
	node, err := api.CoreV1().Nodes().Create(ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: k.Node}}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	node.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "127.0.0.1"}}
	node.Status.DaemonEndpoints.KubeletEndpoint.Port = int32(port)
	if _, err := api.CoreV1().Nodes().UpdateStatus(ctx, node, metav1.UpdateOptions{}); err != nil {
		return err
	}
	pod, err := api.CoreV1().Pods(k.Namespace).Create(ctx, &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: k.Namespace, Name: k.Pod, Labels: k.Labels},
		Spec:       corev1.PodSpec{NodeName: k.Node, Containers: []corev1.Container{{Name: k.Container, Image: "none"}}},
	}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	pod.Status.Phase = corev1.PodRunning
	pod.Status.HostIP = k.HostIP
	pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
	_, err = api.CoreV1().Pods(k.Namespace).UpdateStatus(ctx, pod, metav1.UpdateOptions{})
	return err
}

// SetReady changes what the API server is told of the pod.
func (k *Kubelet) SetReady(ctx context.Context, api kubernetes.Interface, ready corev1.ConditionStatus) error {
	pod, err := api.CoreV1().Pods(k.Namespace).Get(ctx, k.Pod, metav1.GetOptions{})
	if err != nil {
		return err
	}
	pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: ready}}
	_, err = api.CoreV1().Pods(k.Namespace).UpdateStatus(ctx, pod, metav1.UpdateOptions{})
	return err
}

// Die ends the server and breaks its streams; node and pod stay registered.
func (k *Kubelet) Die() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, c := range k.streams {
		c.Close()
	}
	k.server.CloseClientConnections()
	k.server.Close()
}

// Remove takes node and pod away again.
func (k *Kubelet) Remove(ctx context.Context, api kubernetes.Interface) error {
	now := int64(0)
	return errors.Join(
		api.CoreV1().Pods(k.Namespace).Delete(ctx, k.Pod, metav1.DeleteOptions{GracePeriodSeconds: &now}),
		api.CoreV1().Nodes().Delete(ctx, k.Node, metav1.DeleteOptions{}))
}

// The limits of a real kubelet.
const (
	idleTimeout     = 4 * time.Hour
	creationTimeout = 30 * time.Second
)

func (k *Kubelet) serve(w http.ResponseWriter, r *http.Request) {
	path := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	if len(path) != 4 || path[0] != "exec" || path[1] != k.Namespace || path[2] != k.Pod || path[3] != k.Container {
		http.Error(w, "container not found", http.StatusNotFound)
		return
	}
	o, err := remotecommand.NewOptions(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	remotecommand.ServeExec(w, r, executor{k.Exec}, k.Pod, "", k.Container, r.Form["command"], o,
		idleTimeout, creationTimeout, remotecommand.SupportedStreamingProtocols)
}

// executor is what ServeExec calls once the streams are there.
type executor struct{ exec Exec }

// ExecInContainer implements remotecommand.Executor.
func (e executor) ExecInContainer(ctx context.Context, _, _, _ string, args []string, _ io.Reader, stdout, stderr io.WriteCloser,
	_ bool, _ <-chan remotecommand.TerminalSize, _ time.Duration,
) error {
	code, err := e.exec(ctx, args, stdout, stderr)
	switch {
	case err != nil:
		return fmt.Errorf("OCI runtime exec failed: %w", err)
	case code != 0:
		return utilexec.CodeExitError{Err: fmt.Errorf("exit code %d", code), Code: code}
	}
	return nil
}
