//go:build platform

package platform

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	authentication "k8s.io/api/authentication/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/glusterbackupd/glusterbackupd/test/lab"
)

// What the documentation tells an admin to apply.
const (
	rights        = "../../docs/kubernetes/rbac.yaml"
	restoreRights = "../../docs/kubernetes/restore-rights.yaml"
)

// account returns a kubeconfig for the account of the documentation, with the
// rights that it names and no others: every test works with them.
func (b *bench) account() string {
	b.Helper()
	// What a killed test was allowed is not left to the others.
	b.kubectl("delete", "--ignore-not-found", "--wait=false", "-f", restoreRights)
	b.kubectl("apply", "-f", rights)
	path := filepath.Join(lab.Dir, "kubeconfig-documented-rights")
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return path
	}
	const month = int64(30 * 24 * 3600)
	request := &authentication.TokenRequest{Spec: authentication.TokenRequestSpec{ExpirationSeconds: new(month)}}
	token, err := b.admin().CoreV1().ServiceAccounts("kube-system").CreateToken(b.Context(), "glusterbackupd", request, meta.CreateOptions{})
	if err != nil {
		b.Fatal(err)
	}
	admin, err := os.ReadFile(b.lab.Kubeconfig)
	if err != nil {
		b.Fatal(err)
	}
	var lines []string
	for line := range strings.SplitSeq(string(admin), "\n") {
		if indent, _, found := strings.Cut(line, "token:"); found {
			line = indent + "token: " + token.Status.Token
		}
		lines = append(lines, line)
	}
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
		b.Fatal(err)
	}
	return path
}

// admin is the API server with all rights.
func (b *bench) admin() kubernetes.Interface {
	b.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", b.lab.Kubeconfig)
	if err != nil {
		b.Fatal(err)
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		b.Fatal(err)
	}
	return client
}
