package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/version"
	"k8s.io/client-go/dynamic"
	coordinationv1client "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/pager"
	"k8s.io/klog/v2"
)

const (
	defaultTimeout = 30 * time.Second
	defaultQPS     = 20
)

// The resources that the package asks for.
const (
	claimResource     = "persistentvolumeclaims"
	volumeResource    = "persistentvolumes"
	namespaceResource = "namespaces"
	podResource       = "pods"
	endpointsResource = "endpoints"
	serviceResource   = "services"
	eventResource     = "events"
	leaseResource     = "leases"
)

// Options configure a [Client]. The zero value is a client inside a pod.
type Options struct {
	// Kubeconfig is the file that names server and credentials; its current
	// context is used. "" means the service account of the pod that this
	// program runs in.
	Kubeconfig string
	// Timeout of each request; a long list takes one request per 500 items. 0
	// means 30 seconds.
	Timeout time.Duration
	// QPS limits the requests per second, with bursts of twice as many; 0
	// means 20.
	QPS float32
	// Logger gets the API server's warnings (such as the deprecation of
	// Endpoints) and what client-go says about broken connections, at level
	// Debug; nil discards them.
	Logger *slog.Logger
}

// Client asks one Kubernetes API server. It is safe for concurrent use.
type Client struct {
	kubeconfig, server string
	timeout            time.Duration
	log                klog.Logger
	core               dynamic.Interface
	leases             coordinationv1client.LeasesGetter // With a rate limit of its own: renewals never queue.
	root               rest.Interface
}

// New reads the kubeconfig and returns a client. It does not connect: use
// [Client.Ping] for that.
func New(o Options) (*Client, error) {
	c := &Client{kubeconfig: o.Kubeconfig, timeout: o.Timeout}
	if c.timeout <= 0 {
		c.timeout = defaultTimeout
	}
	config, err := load(o.Kubeconfig)
	if err != nil {
		return nil, c.misconfigured(err)
	}
	c.server = config.Host
	if o.QPS <= 0 {
		o.QPS = defaultQPS
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	c.log = quiet(o.Logger)
	config.QPS, config.Burst = o.QPS, int(2*o.QPS)+1
	config.UserAgent = "glusterbackupd"
	config.WarningHandler = warnings{o.Logger}
	if c.core, err = dynamic.NewForConfig(config); err != nil {
		return nil, c.misconfigured(err)
	}
	if c.leases, err = coordinationv1client.NewForConfig(config); err != nil {
		return nil, c.misconfigured(err)
	}
	if c.root, err = rootClient(config); err != nil {
		return nil, c.misconfigured(err)
	}
	return c, nil
}

// load does not use clientcmd's deferred loading, which silently falls back to
// the service account when a kubeconfig is empty.
func load(kubeconfig string) (*rest.Config, error) {
	if kubeconfig == "" {
		return rest.InClusterConfig()
	}
	file, err := clientcmd.LoadFromFile(kubeconfig)
	if err != nil {
		return nil, err
	}
	if err := clientcmd.ResolveLocalPaths(file); err != nil {
		return nil, err
	}
	return clientcmd.NewDefaultClientConfig(*file, &clientcmd.ConfigOverrides{}).ClientConfig()
}

// rootClient makes a client for paths outside of any API group.
func rootClient(config *rest.Config) (rest.Interface, error) {
	scheme := runtime.NewScheme()
	metav1.AddToGroupVersion(scheme, schema.GroupVersion{Version: "v1"})
	config = rest.CopyConfig(config)
	config.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	return rest.UnversionedRESTClientFor(config)
}

// warnings hands the server's Warning headers to the logger.
type warnings struct{ log *slog.Logger }

// HandleWarningHeader implements rest.WarningHandler.
func (w warnings) HandleWarningHeader(_ int, _, text string) {
	w.log.Debug("Kubernetes API warns", "text", text)
}

// limit bounds one request, and gives it the logger for client-go.
func (c *Client) limit(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(klog.NewContext(ctx, c.log), c.timeout)
}

// quiet makes the logger for client-go, which calls every broken connection an
// error: what is one is decided by who gets the error that is returned. It is
// handed over by context, so that the program's global klog stays as it is.
func quiet(l *slog.Logger) klog.Logger { return logr.FromSlogHandler(demoted{l.Handler()}) }

// demoted makes every record one of level Debug.
type demoted struct{ slog.Handler }

// Enabled implements slog.Handler. Finer levels than client-go's first are its
// tracing, which nobody asks for here.
func (d demoted) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelInfo && d.Handler.Enabled(ctx, slog.LevelDebug)
}

// Handle implements slog.Handler.
func (d demoted) Handle(ctx context.Context, r slog.Record) error {
	r.Level = slog.LevelDebug
	return d.Handler.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (d demoted) WithAttrs(a []slog.Attr) slog.Handler { return demoted{d.Handler.WithAttrs(a)} }

// WithGroup implements slog.Handler.
func (d demoted) WithGroup(name string) slog.Handler { return demoted{d.Handler.WithGroup(name)} }

// Server returns the API server's URL.
func (c *Client) Server() string { return c.server }

// Ping returns the server's version, such as "v1.34.4", after it has checked
// that claims, volumes, namespaces and pods of the whole cluster may be listed.
// The rights to watch, to hold Leases and to write are not asked for: whoever
// needs them learns from [Client.Watch], [Leases.Acquire] and the others.
func (c *Client) Ping(ctx context.Context) (string, error) {
	const op = "read version"
	limited, cancel := c.limit(ctx)
	defer cancel()
	result := c.root.Get().AbsPath("/version").Do(limited)
	if err := result.Error(); err != nil {
		return "", c.fail(ctx, limited, request{op: op}, err)
	}
	var v version.Info
	body, err := result.Raw()
	if err == nil {
		err = json.Unmarshal(body, &v)
	}
	if err == nil && v.GitVersion == "" {
		err = errors.New("no version in the answer")
	}
	if err != nil {
		return "", c.damaged(request{op: op}, err)
	}
	for _, resource := range []string{claimResource, volumeResource, namespaceResource, podResource} {
		if _, err := c.page(ctx, request{op: "list", resource: resource}, metav1.ListOptions{Limit: 1}); err != nil {
			return "", err
		}
	}
	return v.GitVersion, nil
}

// request says what is asked, for errors too.
type request struct {
	op, resource, namespace, name string
	// group of the resource, whose version is v1; "" is the core group.
	group string
}

// resource returns the client of a resource.
func (c *Client) resource(r request) dynamic.ResourceInterface {
	all := c.core.Resource(schema.GroupVersionResource{Group: r.group, Version: "v1", Resource: r.resource})
	if r.namespace == "" {
		return all
	}
	return all.Namespace(r.namespace)
}

// get reads one object.
func (c *Client) get(ctx context.Context, r request) (*unstructured.Unstructured, error) {
	limited, cancel := c.limit(ctx)
	defer cancel()
	object, err := c.resource(r).Get(limited, r.name, metav1.GetOptions{})
	if err != nil {
		return nil, c.fail(ctx, limited, r, err)
	}
	return object, nil
}

// create makes an object and returns it as it is served.
func (c *Client) create(ctx context.Context, r request, object any) (*unstructured.Unstructured, error) {
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(object)
	if err != nil {
		return nil, c.about(r, err)
	}
	limited, cancel := c.limit(ctx)
	defer cancel()
	made, err := c.resource(r).Create(limited, &unstructured.Unstructured{Object: content}, metav1.CreateOptions{})
	if err != nil {
		return nil, c.fail(ctx, limited, r, err)
	}
	return made, nil
}

// remove deletes an object; with a uid that very one, and no later one of the same
// name. That there is none is no error.
func (c *Client) remove(ctx context.Context, r request, uid types.UID) error {
	var o metav1.DeleteOptions
	if uid != "" {
		o.Preconditions = &metav1.Preconditions{UID: &uid}
	}
	limited, cancel := c.limit(ctx)
	defer cancel()
	err := c.resource(r).Delete(limited, r.name, o)
	if err != nil && !apierrors.IsNotFound(err) {
		return c.fail(ctx, limited, r, err)
	}
	return nil
}

// page reads one page of a list.
func (c *Client) page(ctx context.Context, r request, o metav1.ListOptions) (*unstructured.UnstructuredList, error) {
	limited, cancel := c.limit(ctx)
	defer cancel()
	list, err := c.resource(r).List(limited, o)
	if err != nil {
		return nil, c.fail(ctx, limited, r, err)
	}
	return list, nil
}

// list calls each for every object of a resource, in one namespace or in all.
// The list is one consistent state, also over several pages.
func (c *Client) list(ctx context.Context, r request, each func(*unstructured.Unstructured) error) error {
	return c.listLabeled(ctx, r, "", each)
}

// listLabeled is list for the objects that a label selector names.
func (c *Client) listLabeled(ctx context.Context, r request, selector string, each func(*unstructured.Unstructured) error) error {
	p := pager.New(func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
		list, err := c.page(ctx, r, o)
		if err != nil {
			return nil, err
		}
		return list, nil
	})
	all, _, err := p.List(ctx, metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		if _, ok := errors.AsType[*Error](err); !ok {
			err = c.fail(ctx, ctx, r, err) // The pager itself looks at ctx.
		}
		return err
	}
	return meta.EachListItem(all, func(o runtime.Object) error {
		u, ok := o.(*unstructured.Unstructured)
		if !ok {
			return c.damaged(r, fmt.Errorf("item of type %T", o))
		}
		return each(u)
	})
}

// convert fills a typed object; the served one may have fields that this
// program's version of the API lacks.
func (c *Client) convert(r request, from *unstructured.Unstructured, to any) error {
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(from.Object, to); err != nil {
		r.namespace, r.name = from.GetNamespace(), from.GetName()
		return c.damaged(r, err)
	}
	return nil
}
