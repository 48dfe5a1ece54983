//go:build integration

package servers_test

import (
	"testing"

	heketi "github.com/heketi/heketi/client/api/go-client"
	v1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/glusterbackupd/glusterbackupd/test/lab/servers"
)

func ports(t *testing.T, n int) []int {
	t.Helper()
	list := make([]int, n)
	for i := range list {
		port, err := servers.FreePort()
		if err != nil {
			t.Fatal(err)
		}
		list[i] = port
	}
	return list
}

func stopLater(t *testing.T, p *servers.Process) {
	t.Helper()
	t.Cleanup(func() {
		if err := p.Stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestKubernetes(t *testing.T) {
	env, port, ctx := servers.Env{Dir: t.TempDir()}, ports(t, 4), t.Context()
	if err := servers.Build(ctx, servers.BuildOptions{}); err != nil {
		t.Fatal(err)
	}
	etcd, url, err := env.Etcd(ctx, port[0], port[1])
	if err != nil {
		t.Fatal(err)
	}
	stopLater(t, etcd)
	api, err := env.APIServer(ctx, url, port[2])
	if err != nil {
		t.Fatal(err)
	}
	stopLater(t, api.Process)
	manager, err := env.ControllerManager(ctx, api.Kubeconfig, port[3])
	if err != nil {
		t.Fatal(err)
	}
	stopLater(t, manager)
	config, err := clientcmd.BuildConfigFromFlags("", api.Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	list, err := client.CoreV1().Namespaces().List(ctx, v1.ListOptions{})
	if err != nil || len(list.Items) == 0 {
		t.Errorf("namespaces: %v, %v; want some", list.Items, err)
	}
}

func TestHeketi(t *testing.T) {
	env, port, ctx := servers.Env{Dir: t.TempDir()}, ports(t, 1), t.Context()
	if err := servers.Build(ctx, servers.BuildOptions{}); err != nil {
		t.Fatal(err)
	}
	server, url, err := env.Heketi(ctx, servers.HeketiOptions{Port: port[0], AdminKey: "one", UserKey: "two"})
	if err != nil {
		t.Fatal(err)
	}
	stopLater(t, server)
	if _, err := heketi.NewClient(url, "admin", "one").VolumeList(); err != nil {
		t.Errorf("with the right key: %v", err)
	}
	if _, err := heketi.NewClient(url, "admin", "wrong").VolumeList(); err == nil {
		t.Error("the wrong key is accepted")
	}
}
