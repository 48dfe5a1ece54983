//go:build integration

package integration_test

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"

	"github.com/glusterbackupd/glusterbackupd/test/lab/servers"
)

// cluster is a Kubernetes API with a volume binder and without nodes. Its
// methods make objects, with an admin's rights, and end the test on failure.
type cluster struct {
	t     *testing.T
	api   *servers.API
	admin kubernetes.Interface
	start func() (*servers.API, error) // Starts the API server, also again.
}

func startKube(t *testing.T) *cluster {
	t.Helper()
	env, ports := newEnv(t), freePorts(t, 4)
	etcd, url, err := env.Etcd(t.Context(), ports[0], ports[1])
	if err != nil {
		t.Fatal(err)
	}
	stop(t, etcd)
	start := func() (*servers.API, error) { return env.APIServer(t.Context(), url, ports[2]) }
	server, err := start()
	if err != nil {
		t.Fatal(err)
	}
	stop(t, server.Process)
	manager, err := env.ControllerManager(t.Context(), server.Kubeconfig, ports[3])
	if err != nil {
		t.Fatal(err)
	}
	stop(t, manager)
	config := must[*rest.Config](t)(clientcmd.BuildConfigFromFlags("", server.Kubeconfig))
	config.QPS, config.Burst, config.WarningHandler = 500, 1000, rest.NoWarnings{}
	return &cluster{t: t, api: server, admin: must[*kubernetes.Clientset](t)(kubernetes.NewForConfig(config)), start: start}
}

// stopAPI ends the API server, and restart starts it again with its data.
func (k *cluster) stopAPI() {
	k.t.Helper()
	k.check(k.api.Stop())
}

func (k *cluster) restart() {
	k.t.Helper()
	server, err := k.start()
	k.check(err)
	stop(k.t, server.Process)
	k.api = server
}

func (k *cluster) check(err error) {
	k.t.Helper()
	if err != nil {
		k.t.Fatal(err)
	}
}

func (k *cluster) namespaces(names ...string) {
	k.t.Helper()
	for _, name := range names {
		n := &corev1.Namespace{ObjectMeta: meta("", name)}
		_, err := k.admin.CoreV1().Namespaces().Create(k.t.Context(), n, metav1.CreateOptions{})
		k.check(err)
	}
}

func glusterfsSource(endpoints, path string) corev1.PersistentVolumeSource {
	return corev1.PersistentVolumeSource{Glusterfs: &corev1.GlusterfsPersistentVolumeSource{EndpointsName: endpoints, Path: path}}
}

// bound makes a claim and then its PersistentVolume, in the order and with the
// claimRef of a provisioner (the binder is slow otherwise), and waits until the
// binder has bound them.
func (k *cluster) bound(namespace, name string, annotations map[string]string, source corev1.PersistentVolumeSource) {
	k.t.Helper()
	pvc := k.claim(namespace, name)
	pv := &corev1.PersistentVolume{
		ObjectMeta: meta("", "pv-"+namespace+"-"+name),
		Spec: corev1.PersistentVolumeSpec{
			PersistentVolumeSource: source,
			Capacity:               corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")},
			AccessModes:            []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			StorageClassName:       "gluster",
			ClaimRef:               &corev1.ObjectReference{Namespace: namespace, Name: name, UID: pvc.UID},
		},
	}
	pv.Annotations = annotations
	_, err := k.admin.CoreV1().PersistentVolumes().Create(k.t.Context(), pv, metav1.CreateOptions{})
	k.check(err)
	k.waitPhase(namespace, name, corev1.ClaimBound)
}

func (k *cluster) claim(namespace, name string) *corev1.PersistentVolumeClaim {
	k.t.Helper()
	class := "gluster"
	pvc := &corev1.PersistentVolumeClaim{
		ObjectMeta: meta(namespace, name),
		Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes:      []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			StorageClassName: &class,
			Resources: corev1.VolumeResourceRequirements{
				Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")},
			},
		},
	}
	pvc, err := k.admin.CoreV1().PersistentVolumeClaims(namespace).Create(k.t.Context(), pvc, metav1.CreateOptions{})
	k.check(err)
	return pvc
}

func (k *cluster) waitPhase(namespace, name string, phase corev1.PersistentVolumeClaimPhase) {
	k.t.Helper()
	eventually(k.t, fmt.Sprintf("claim %s/%s", namespace, name), func(ctx context.Context) error {
		pvc, err := k.admin.CoreV1().PersistentVolumeClaims(namespace).Get(ctx, name, metav1.GetOptions{})
		if err == nil && pvc.Status.Phase != phase {
			err = fmt.Errorf("phase %s, want %s", pvc.Status.Phase, phase)
		}
		return err
	})
}

// removeVolume deletes a PersistentVolume at once, without the finalizer that
// a controller would remove.
func (k *cluster) removeVolume(name string) {
	k.t.Helper()
	volumes := k.admin.CoreV1().PersistentVolumes()
	k.check(volumes.Delete(k.t.Context(), name, metav1.DeleteOptions{}))
	_, err := volumes.Patch(k.t.Context(), name, types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{})
	k.check(err)
}

// endpoints makes the Endpoints and the Service of a glusterfs volume.
func (k *cluster) endpoints(namespace, name string) {
	k.t.Helper()
	//nolint:staticcheck // Endpoints are what glusterfs volumes use.
	e := &corev1.Endpoints{ObjectMeta: meta(namespace, name), Subsets: []corev1.EndpointSubset{{
		Addresses: []corev1.EndpointAddress{{IP: "192.168.78.10"}}, Ports: []corev1.EndpointPort{{Port: 1}},
	}}}
	_, err := k.admin.CoreV1().Endpoints(namespace).Create(k.t.Context(), e, metav1.CreateOptions{})
	k.check(err)
	s := &corev1.Service{ObjectMeta: meta(namespace, name), Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 1}}}}
	_, err = k.admin.CoreV1().Services(namespace).Create(k.t.Context(), s, metav1.CreateOptions{})
	k.check(err)
}

// pod makes a pod on node-1 that mounts the claim; no kubelet runs it, so its
// phase is written here.
func (k *cluster) pod(namespace, name, claim string, phase corev1.PodPhase) {
	k.t.Helper()
	pod := &corev1.Pod{ObjectMeta: meta(namespace, name), Spec: corev1.PodSpec{
		NodeName:   "node-1",
		Containers: []corev1.Container{{Name: "c", Image: "i"}},
		Volumes: []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{
			PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: claim},
		}}},
	}}
	pods := k.admin.CoreV1().Pods(namespace)
	pod, err := pods.Create(k.t.Context(), pod, metav1.CreateOptions{})
	k.check(err)
	pod.Status.Phase = phase
	_, err = pods.UpdateStatus(k.t.Context(), pod, metav1.UpdateOptions{})
	k.check(err)
}

// shutDown deletes a pod, which stays until a kubelet has stopped it.
func (k *cluster) shutDown(namespace, name string) {
	k.t.Helper()
	k.check(k.admin.CoreV1().Pods(namespace).Delete(k.t.Context(), name, metav1.DeleteOptions{}))
}

// raw returns an object as it is served, without managedFields.
func (k *cluster) raw(path string) map[string]any {
	k.t.Helper()
	content, err := k.admin.CoreV1().RESTClient().Get().AbsPath(path).SetHeader("Accept", "application/json").DoRaw(k.t.Context())
	k.check(err)
	var object map[string]any
	k.check(json.Unmarshal(content, &object))
	if metadata, ok := object["metadata"].(map[string]any); ok {
		delete(metadata, "managedFields")
	}
	return object
}

// serviceAccount makes one without rights and returns its kubeconfig.
func (k *cluster) serviceAccount(namespace, name string) string {
	k.t.Helper()
	accounts := k.admin.CoreV1().ServiceAccounts(namespace)
	_, err := accounts.Create(k.t.Context(), &corev1.ServiceAccount{ObjectMeta: meta(namespace, name)}, metav1.CreateOptions{})
	k.check(err)
	token, err := accounts.CreateToken(k.t.Context(), name, &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	k.check(err)
	config, err := clientcmd.LoadFromFile(k.api.Kubeconfig)
	k.check(err)
	for user := range config.AuthInfos {
		config.AuthInfos[user] = &api.AuthInfo{Token: token.Status.Token}
	}
	path := filepath.Join(k.t.TempDir(), "kubeconfig")
	k.check(clientcmd.WriteToFile(*config, path))
	return path
}

// annotate sets annotations of a claim, or with name "" of a namespace.
func (k *cluster) annotate(namespace, name string, annotations map[string]string) {
	k.t.Helper()
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": annotations}})
	k.check(err)
	if name == "" {
		_, err = k.admin.CoreV1().Namespaces().Patch(k.t.Context(), namespace, types.MergePatchType, patch, metav1.PatchOptions{})
	} else {
		_, err = k.admin.CoreV1().PersistentVolumeClaims(namespace).Patch(k.t.Context(), name, types.MergePatchType, patch, metav1.PatchOptions{})
	}
	k.check(err)
}

// grant lets a service account get and list resources in the whole cluster.
func (k *cluster) grant(namespace, name string, resources ...string) {
	k.t.Helper()
	k.allow(namespace, name, []rbacv1.PolicyRule{{
		APIGroups: []string{""}, Resources: resources, Verbs: []string{"get", "list"},
	}})
}

// allow gives a service account rights in the whole cluster.
func (k *cluster) allow(namespace, name string, rules []rbacv1.PolicyRule) {
	k.t.Helper()
	rbac := k.admin.RbacV1()
	name, account := namespace+"-"+name, name
	role := &rbacv1.ClusterRole{ObjectMeta: meta("", name), Rules: rules}
	_, err := rbac.ClusterRoles().Create(k.t.Context(), role, metav1.CreateOptions{})
	k.check(err)
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: meta("", name),
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: name},
		Subjects:   []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: namespace, Name: account}},
	}
	_, err = rbac.ClusterRoleBindings().Create(k.t.Context(), binding, metav1.CreateOptions{})
	k.check(err)
}
