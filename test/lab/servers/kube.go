package servers

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

// Etcd starts etcd on loopback, with its data in <Dir>/etcd, and returns the
// URL for clients.
func (e Env) Etcd(ctx context.Context, clientPort, peerPort int) (*Process, string, error) {
	client, peer := loopback("http", clientPort), loopback("http", peerPort)
	ready := func(ctx context.Context) error { return e.get(ctx, client+"/health", "", "") }
	p, err := e.startAndWait(ctx, "etcd", ready, "etcd",
		"--data-dir", filepath.Join(e.Dir, "etcd"), "--unsafe-no-fsync",
		"--listen-client-urls", client, "--advertise-client-urls", client,
		"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
		"--initial-cluster", "default="+peer)
	return p, client, err
}

// API is a Kubernetes API server that runs.
type API struct {
	*Process
	URL        string // For example https://127.0.0.1:16443.
	Kubeconfig string // File with the certificate and the token of a cluster admin, mode 0600.
	TokenFile  string // File with that token alone, mode 0600.
	CA         string // PEM file that the server's certificate is checked against.
}

// APIServer starts kube-apiserver on loopback with RBAC, a token for a member
// of system:masters, and without the ServiceAccount admission (nothing makes
// service accounts here). Its files are kept in <Dir>/kube.
func (e Env) APIServer(ctx context.Context, etcdURL string, port int) (*API, error) {
	dir := filepath.Join(e.Dir, "kube")
	url := loopback("https", port)
	api := &API{
		URL: url, Kubeconfig: filepath.Join(dir, "kubeconfig"),
		TokenFile: filepath.Join(dir, "token"), CA: filepath.Join(dir, "certs", "apiserver.crt"),
	}
	token, err := writeAPIFiles(dir, api.TokenFile)
	if err != nil {
		return nil, err
	}
	ready := func(ctx context.Context) error { return e.get(ctx, url+"/readyz", api.CA, token) }
	api.Process, err = e.startAndWait(ctx, "kube-apiserver", ready, e.binary(apiServer()),
		"--etcd-servers="+etcdURL, "--secure-port="+strconv.Itoa(port), "--bind-address=127.0.0.1",
		"--advertise-address=127.0.0.1", "--cert-dir="+filepath.Dir(api.CA),
		"--service-account-key-file="+filepath.Join(dir, "sa.key"),
		"--service-account-signing-key-file="+filepath.Join(dir, "sa.key"),
		"--service-account-issuer=https://kubernetes.default.svc",
		"--token-auth-file="+filepath.Join(dir, "tokens.csv"), "--authorization-mode=RBAC",
		"--service-cluster-ip-range=10.0.0.0/24", "--disable-admission-plugins=ServiceAccount", "--allow-privileged")
	if err != nil {
		return nil, err
	}
	ca, err := os.ReadFile(api.CA)
	if err != nil {
		return nil, err
	}
	return api, os.WriteFile(api.Kubeconfig, kubeconfig(url, ca, token), 0o600)
}

// writeAPIFiles makes the admin's token and the key that signs service
// account tokens. What exists is kept, so that a server started again accepts
// the old token.
func writeAPIFiles(dir, tokenFile string) (token string, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	if known, err := os.ReadFile(tokenFile); err == nil {
		return string(known), nil
	}
	random := make([]byte, 16)
	if _, err := rand.Read(random); err != nil {
		return "", err
	}
	token = hex.EncodeToString(random)
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return "", err
	}
	block := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	if err := os.WriteFile(filepath.Join(dir, "sa.key"), block, 0o600); err != nil {
		return "", err
	}
	line := token + ",admin,admin,system:masters\n"
	if err := os.WriteFile(filepath.Join(dir, "tokens.csv"), []byte(line), 0o600); err != nil {
		return "", err
	}
	return token, os.WriteFile(tokenFile, []byte(token), 0o600)
}

// kubeconfig renders a kubeconfig file with one cluster and one user.
func kubeconfig(url string, ca []byte, token string) []byte {
	return fmt.Appendf(nil, `apiVersion: v1
kind: Config
clusters:
- name: lab
  cluster:
    server: %s
    certificate-authority-data: %s
users:
- name: admin
  user:
    token: %s
contexts:
- name: lab
  context:
    cluster: lab
    user: admin
current-context: lab
`, url, base64.StdEncoding.EncodeToString(ca), token)
}

// ControllerManager starts kube-controller-manager with nothing but the
// persistent volume binder, which makes the phases of claims and volumes
// real.
func (e Env) ControllerManager(ctx context.Context, kubeconfig string, port int) (*Process, error) {
	certs := filepath.Join(e.Dir, "kube", "controller-certs")
	url := loopback("https", port) + "/healthz"
	ready := func(ctx context.Context) error {
		return e.get(ctx, url, filepath.Join(certs, "kube-controller-manager.crt"), "")
	}
	return e.startAndWait(ctx, "kube-controller-manager", ready, e.binary(controllerManager()),
		"--kubeconfig="+kubeconfig, "--controllers=persistentvolume-binder-controller", "--leader-elect=false",
		"--bind-address=127.0.0.1", "--secure-port="+strconv.Itoa(port), "--cert-dir="+certs)
}

// SnapshotController starts the common snapshot-controller, which must have
// been built and whose CustomResourceDefinitions must exist.
func (e Env) SnapshotController(ctx context.Context, kubeconfig string, port int) (*Process, error) {
	address := "127.0.0.1:" + strconv.Itoa(port)
	ready := func(ctx context.Context) error { return e.get(ctx, "http://"+address+"/metrics", "", "") }
	return e.startAndWait(ctx, "snapshot-controller", ready, e.binary(snapshotController()),
		"--kubeconfig="+kubeconfig, "--http-endpoint="+address, "--v=5")
}

func loopback(scheme string, port int) string { return fmt.Sprintf("%s://127.0.0.1:%d", scheme, port) }
