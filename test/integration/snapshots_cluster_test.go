//go:build integration

package integration_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/yaml"

	"github.com/glusterbackupd/glusterbackupd/kube"
	"github.com/glusterbackupd/glusterbackupd/test/lab/servers"
)

const (
	repository      = "3f9a0c1e-repository"
	class           = "glusterbackupd"
	modern          = "snapshot.storage.k8s.io"
	legacy          = "volumesnapshot.external-storage.k8s.io"
	claimFinalizer  = "snapshot.storage.kubernetes.io/pvc-as-source-protection"
	contentsModern  = "volumesnapshotcontents"
	contentsLegacy  = "volumesnapshotdatas"
	definitionGroup = "apiextensions.k8s.io"
)

// snapshotCluster is a cluster in which snapshot APIs are installed.
type snapshotCluster struct {
	*cluster
	dynamic dynamic.Interface
}

func startSnapshots(t *testing.T) *snapshotCluster {
	t.Helper()
	k := startKube(t)
	config := must[*rest.Config](t)(clientcmd.BuildConfigFromFlags("", k.api.Kubeconfig))
	config.QPS, config.Burst, config.WarningHandler = 500, 1000, rest.NoWarnings{}
	return &snapshotCluster{k, must[*dynamic.DynamicClient](t)(dynamic.NewForConfig(config))}
}

func (k *snapshotCluster) resource(group, resource, namespace string) dynamic.ResourceInterface {
	r := k.dynamic.Resource(schema.GroupVersionResource{Group: group, Version: "v1", Resource: resource})
	if namespace == "" {
		return r
	}
	return r.Namespace(namespace)
}

// install makes the CustomResourceDefinitions of one API, and waits until they
// are served.
func (k *snapshotCluster) install(group string) {
	k.t.Helper()
	files := []string{filepath.Join("testdata", "legacy-snapshots.yaml")}
	if group == modern {
		dir := must[string](k.t)(servers.SnapshotCRDs(k.t.Context(), servers.BuildOptions{}))
		files = must[[]string](k.t)(filepath.Glob(filepath.Join(dir, modern+"_*.yaml")))
	}
	for _, file := range files {
		for part := range bytes.SplitSeq(must[[]byte](k.t)(os.ReadFile(file)), []byte("\n---\n")) {
			u := &unstructured.Unstructured{}
			k.check(yaml.Unmarshal(bytes.TrimPrefix(part, []byte("---\n")), &u.Object))
			_, err := k.resource(definitionGroup, "customresourcedefinitions", "").Create(k.t.Context(), u, metav1.CreateOptions{})
			k.check(err)
		}
	}
	eventually(k.t, group, func(ctx context.Context) error {
		for _, resource := range []string{"volumesnapshots", contentsOf(group)} {
			if _, err := k.resource(group, resource, "").List(ctx, metav1.ListOptions{}); err != nil {
				return err
			}
		}
		return nil
	})
}

func contentsOf(group string) string {
	if group == modern {
		return contentsModern
	}
	return contentsLegacy
}

// uninstall removes an API with all of its objects.
func (k *snapshotCluster) uninstall(group string) {
	k.t.Helper()
	for _, resource := range []string{"volumesnapshots", contentsOf(group), "volumesnapshotclasses"} {
		definitions := k.resource(definitionGroup, "customresourcedefinitions", "")
		err := definitions.Delete(k.t.Context(), resource+"."+group, metav1.DeleteOptions{})
		if !apierrors.IsNotFound(err) {
			k.check(err)
		}
	}
	eventually(k.t, "end of "+group, func(ctx context.Context) error {
		_, err := k.resource(group, "volumesnapshots", "").List(ctx, metav1.ListOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return fmt.Errorf("still served: %w", err)
	})
}

// make makes an object from YAML.
func (k *snapshotCluster) make(group, resource, namespace, text string) *unstructured.Unstructured {
	k.t.Helper()
	u := &unstructured.Unstructured{}
	k.check(yaml.Unmarshal([]byte(text), &u.Object))
	u.SetAPIVersion(group + "/v1")
	made, err := k.resource(group, resource, namespace).Create(k.t.Context(), u, metav1.CreateOptions{})
	k.check(err)
	return made
}

// ask makes a tenant's request.
func (k *snapshotCluster) ask(group, namespace, name, claim string) *unstructured.Unstructured {
	k.t.Helper()
	spec := "spec: {volumeSnapshotClassName: glusterbackupd, source: {persistentVolumeClaimName: " + claim + "}}"
	if group == legacy {
		spec = "spec: {persistentVolumeClaimName: " + claim + "}"
	}
	return k.make(group, "volumesnapshots", namespace, "{kind: VolumeSnapshot, metadata: {name: "+name+"}, "+spec+"}")
}

func (k *snapshotCluster) get(group, resource, namespace, name string) *unstructured.Unstructured {
	k.t.Helper()
	u, err := k.resource(group, resource, namespace).Get(k.t.Context(), name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	k.check(err)
	return u
}

func (k *snapshotCluster) delete(group, resource, namespace, name string) {
	k.t.Helper()
	k.check(k.resource(group, resource, namespace).Delete(k.t.Context(), name, metav1.DeleteOptions{}))
}

func (k *snapshotCluster) patch(group, resource, namespace, name, patch string, sub ...string) {
	k.t.Helper()
	_, err := k.resource(group, resource, namespace).Patch(k.t.Context(), name, types.MergePatchType, []byte(patch), metav1.PatchOptions{}, sub...)
	k.check(err)
}

// gone waits until an object no longer exists.
func (k *snapshotCluster) gone(group, resource, namespace, name string) {
	k.t.Helper()
	eventually(k.t, resource+" "+name, func(context.Context) error {
		if u := k.get(group, resource, namespace, name); u != nil {
			return fmt.Errorf("still there, deleted %v, finalizers %v", u.GetDeletionTimestamp(), u.GetFinalizers())
		}
		return nil
	})
}

// contents returns the names of all contents.
func (k *snapshotCluster) contents(group string) []string {
	k.t.Helper()
	list, err := k.resource(group, contentsOf(group), "").List(k.t.Context(), metav1.ListOptions{})
	k.check(err)
	names := make([]string, 0, len(list.Items))
	for i := range list.Items {
		names = append(names, list.Items[i].GetName())
	}
	return names
}

func field(u *unstructured.Unstructured, fields ...string) any {
	if u == nil {
		return nil
	}
	value, _, _ := unstructured.NestedFieldNoCopy(u.Object, fields...)
	return value
}

// requests counts what a client asks of the API server, by method, and can
// break the connection.
type requests struct {
	mu    sync.Mutex
	all   []string
	limit int // Writes that go through before the others are refused; negative is no limit.
}

func (r *requests) since(do func()) []string {
	r.mu.Lock()
	r.all = nil
	r.mu.Unlock()
	do()
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.all)
}

// note takes down a request and tells whether it may pass.
func (r *requests) note(q *http.Request) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if q.URL.Query().Get("watch") != "" || !strings.HasPrefix(q.URL.Path, "/api") {
		return true
	}
	r.all = append(r.all, q.Method+" "+q.URL.Path)
	if q.Method == http.MethodGet || r.limit < 0 {
		return true
	}
	r.limit--
	return r.limit >= 0
}

func (r *requests) allow(writes int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.limit = writes
}

// counted returns the kubeconfig of a proxy that counts, with an admin's rights.
func (k *snapshotCluster) counted() (string, *requests) {
	k.t.Helper()
	config := must[*rest.Config](k.t)(clientcmd.BuildConfigFromFlags("", k.api.Kubeconfig))
	transport := must[http.RoundTripper](k.t)(rest.TransportFor(config))
	target := must[*url.URL](k.t)(url.Parse(k.api.URL))
	r := &requests{limit: -1}
	proxy := &httputil.ReverseProxy{Transport: transport, FlushInterval: -1, Rewrite: func(p *httputil.ProxyRequest) { p.SetURL(target) }}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if !r.note(q) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusServiceUnavailable)
			_ = json.NewEncoder(w).Encode(apierrors.NewServiceUnavailable("the test says so").Status())
			return
		}
		proxy.ServeHTTP(w, q)
	}))
	k.t.Cleanup(server.Close)
	path := filepath.Join(k.t.TempDir(), "kubeconfig")
	k.check(clientcmd.WriteToFile(api.Config{
		Clusters:       map[string]*api.Cluster{"c": {Server: server.URL}},
		AuthInfos:      map[string]*api.AuthInfo{"u": {Token: "t"}},
		Contexts:       map[string]*api.Context{"x": {Cluster: "c", AuthInfo: "u"}},
		CurrentContext: "x",
	}, path))
	return path, r
}

// snapshots returns one under test; options that are not given are filled in.
func snapshots(t *testing.T, kubeconfig string, o kube.SnapshotOptions) *kube.Snapshots {
	t.Helper()
	if o.Repository == "" {
		o.Repository = repository
	}
	if o.Class == "" {
		o.Class = class
	}
	return must[*kube.Snapshots](t)(kubeClient(t, kubeconfig).Snapshots(o))
}

// snapshotOf is a snapshot of a claim.
func snapshotOf(pvc metav1.Object, name string) kube.VolumeSnapshot {
	return kube.VolumeSnapshot{
		Namespace: pvc.GetNamespace(), Name: name, Claim: pvc.GetName(), ClaimUID: string(pvc.GetUID()),
		Volume: "vol_3f3f3f3f3f3f3f3f3f3f3f3f3f3f3f3f", Snapshot: "glusterbackupd_" + name,
		Backup: "20181202T000000Z", Schedule: "0 3 * * *",
		Created: time.Date(2018, 12, 2, 0, 0, 7, 123456789, time.UTC), Size: 3 << 30,
	}
}

// listed returns the snapshot of that name from List, nil when there is none.
func listed(t *testing.T, s *kube.Snapshots, namespace, name string) *kube.VolumeSnapshot {
	t.Helper()
	for _, v := range must[[]kube.VolumeSnapshot](t)(s.List(t.Context())) {
		if v.Namespace == namespace && v.Name == name {
			return &v
		}
	}
	return nil
}
