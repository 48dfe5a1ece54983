package runner

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/rest"
)

// PodOptions are the settings of Pods. Config, Namespace, Selector and Container
// are required.
type PodOptions struct {
	// Config says where the API server is and who asks it. It is copied.
	Config *rest.Config
	// Namespace and Selector (of labels) tell which pods commands may run in.
	Namespace, Selector string
	// Container is the name of the container in those pods.
	Container string
	// DialTimeout limits the search for a pod, and again the connection's
	// set-up, default 15 s.
	DialTimeout time.Duration
	// MaxOutput is the limit of standard output in bytes, default 16 MiB.
	MaxOutput int64
	// Logger receives one debug record per command; nil discards.
	Logger *slog.Logger
}

// Pods runs commands in pods, one per node, through the Kubernetes API. It holds
// no connection between commands. It is safe for concurrent use.
type Pods struct {
	opts   PodOptions
	config *rest.Config
	core   *rest.RESTClient
	params runtime.ParameterCodec
}

// NewPods checks the options; it does not connect.
func NewPods(o PodOptions) (*Pods, error) {
	if o.Config == nil || o.Namespace == "" || o.Container == "" {
		return nil, errors.New("pods: configuration, namespace and container are required")
	}
	// An empty selector would run commands in any pod of the namespace.
	if s, err := labels.Parse(o.Selector); err != nil || s.Empty() {
		return nil, fmt.Errorf("pods: %q is no selector of labels", o.Selector)
	}
	if o.DialTimeout <= 0 {
		o.DialTimeout = DefaultDialTimeout
	}
	if o.MaxOutput <= 0 {
		o.MaxOutput = DefaultMaxOutput
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	scheme := runtime.NewScheme()
	if err := corev1.AddToScheme(scheme); err != nil {
		return nil, fmt.Errorf("pods: %w", err)
	}
	config := rest.CopyConfig(o.Config)
	config.UserAgent = "glusterbackupd"
	config.APIPath, config.GroupVersion = "/api", &corev1.SchemeGroupVersion
	config.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	core, err := rest.RESTClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("pods: %w", err)
	}
	return &Pods{opts: o, config: config, core: core, params: runtime.NewParameterCodec(scheme)}, nil
}

// Host returns the runner for the pod on one node, which may be named by its
// name or by an address of its own or of the pod.
func (p *Pods) Host(name string) *Pod { return &Pod{pods: p, name: name} }

// Nodes returns the names of the nodes on which such a pod is ready.
func (p *Pods) Nodes(ctx context.Context) ([]string, error) {
	list, err := p.list(ctx, "")
	if err != nil {
		return nil, err
	}
	var nodes []string
	for i := range list {
		if ready(&list[i]) {
			nodes = append(nodes, list[i].Spec.NodeName)
		}
	}
	return nodes, nil
}

// list returns all pods of the selector; host is for errors.
func (p *Pods) list(ctx context.Context, host string) ([]corev1.Pod, error) {
	limited, cancel := context.WithTimeoutCause(ctx, p.opts.DialTimeout, errNoAnswer)
	defer cancel()
	var list corev1.PodList
	err := p.core.Get().Namespace(p.opts.Namespace).Resource("pods").
		VersionedParams(&metav1.ListOptions{LabelSelector: p.opts.Selector}, p.params).Do(limited).Into(&list)
	switch {
	case err == nil:
		return list.Items, nil
	case ctx.Err() != nil:
		return nil, fmt.Errorf("pods on %s: %w", host, context.Cause(ctx))
	}
	return nil, p.fail(host, "", statusOf(err), cause(limited, err))
}

// pod returns the name of the ready pod on the host.
func (p *Pods) pod(ctx context.Context, host string) (string, error) {
	list, err := p.list(ctx, host)
	if err != nil {
		return "", err
	}
	names := []string{host}
	i := slices.IndexFunc(list, func(pod corev1.Pod) bool { return runsOn(&pod, names) })
	if i < 0 {
		// Perhaps the host is known by a name that Kubernetes does not use.
		limited, cancel := context.WithTimeout(ctx, p.opts.DialTimeout)
		defer cancel()
		if names, err = net.DefaultResolver.LookupHost(limited, host); err == nil {
			i = slices.IndexFunc(list, func(pod corev1.Pod) bool { return runsOn(&pod, names) })
		}
	}
	switch {
	case len(list) == 0:
		return "", p.fail(host, "", 0, errNoPods)
	case i < 0:
		return "", p.fail(host, "", 0, errNotThere)
	case !ready(&list[i]):
		return "", p.fail(host, list[i].Name, 0, errNotReady)
	}
	return list[i].Name, nil
}

// runsOn tells whether the pod is on the node with one of the names. A pod that
// has ended is on no node.
func runsOn(pod *corev1.Pod, names []string) bool {
	if pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed {
		return false
	}
	known := []string{pod.Spec.NodeName, pod.Status.HostIP, pod.Status.PodIP}
	for _, ip := range pod.Status.HostIPs {
		known = append(known, ip.IP)
	}
	for _, ip := range pod.Status.PodIPs {
		known = append(known, ip.IP)
	}
	return slices.ContainsFunc(names, func(name string) bool { return name != "" && slices.Contains(known, name) })
}

func ready(pod *corev1.Pod) bool {
	return pod.DeletionTimestamp == nil && slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}
