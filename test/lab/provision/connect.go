package provision

import (
	"crypto/tls"
	"net/http"

	heketi "github.com/heketi/heketi/client/api/go-client"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/glusterbackupd/glusterbackupd/test/lab"
	"github.com/glusterbackupd/glusterbackupd/test/lab/servers"
)

// connect makes clients of Heketi and of the Kubernetes API that dial from
// inside the lab's network namespace.
func connect(l *lab.Lab) (*provisioner, error) {
	env := servers.Env{NetNS: l.NetNS}
	config, err := clientcmd.BuildConfigFromFlags("", l.Kubeconfig)
	if err != nil {
		return nil, err
	}
	config.Dial = env.Dial
	config.WarningHandler = rest.NoWarnings{} // Endpoints are deprecated, but they are what the provisioner makes.
	config.QPS, config.Burst = 100, 100
	kube, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	key, err := l.HeketiKey()
	if err != nil {
		return nil, err
	}
	client := heketi.NewClient(l.HeketiURL, l.HeketiUser, key)
	transport := &http.Transport{DialContext: env.Dial}
	client.SetClientFunc(func(_ *tls.Config, redirect heketi.CheckRedirectFunc) (heketi.HttpPerformer, error) {
		return &http.Client{Transport: transport, CheckRedirect: redirect}, nil
	})
	return &provisioner{lab: l, heketi: client, kube: kube}, nil
}
