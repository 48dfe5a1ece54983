//go:build integration

package integration_test

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"

	"github.com/glusterbackupd/glusterbackupd/kube"
)

const (
	volumeID = "dfe9c3289d058ad0b1252c95b868c144"
	oldID    = "636e259ca93cdb80fb1f7df51804d1b2"
	blockID  = "894eff0265e1564eb4dc153a75e503ee"
	blockIQN = "iqn.2016-12.org.gluster-block:7d8d3ac7-13ba-4827-b0d4-23af0f23a1dd"
)

func TestKube(t *testing.T) {
	k := startKube(t)
	c := kubeClient(t, k.api.Kubeconfig)
	if version, err := c.Ping(t.Context()); err != nil || !strings.HasPrefix(version, "v1.") {
		t.Fatalf("ping: %q, %v", version, err)
	}
	k.namespaces("shop", "office", "many")
	k.makeClaims()
	t.Run("claims", func(t *testing.T) { testClaims(t, c) })
	t.Run("lost", func(t *testing.T) { testLost(t, c, k) })
	t.Run("many claims", func(t *testing.T) { testManyClaims(t, c, k) })
	t.Run("objects", func(t *testing.T) { testObjects(t, c, k) })
	t.Run("users", func(t *testing.T) { testUsers(t, c, k) })
	t.Run("missing", func(t *testing.T) { testMissingClaim(t, c) })
	t.Run("rights", func(t *testing.T) { testRights(t, k) })
	t.Run("credentials", func(t *testing.T) { testCredentials(t, k) })
	t.Run("server down", func(t *testing.T) {
		if err := k.api.Stop(); err != nil {
			t.Fatal(err)
		}
		_, err := c.Claim(t.Context(), "shop", "files")
		if !errors.Is(err, kube.ErrUnreachable) || errors.Is(err, kube.ErrNoClaim) || !kube.Temporary(err) || !strings.Contains(remedy(err), k.api.Kubeconfig) {
			t.Errorf("%v, remedy %q; want ErrUnreachable, temporary", err, remedy(err))
		}
	})
}

func kubeClient(t *testing.T, kubeconfig string) *kube.Client {
	t.Helper()
	return must[*kube.Client](t)(kube.New(kube.Options{Kubeconfig: kubeconfig, QPS: 200}))
}

// makeClaims makes one claim of each kind, as the provisioners do.
func (k *cluster) makeClaims() {
	k.bound("shop", "files", map[string]string{
		"gluster.kubernetes.io/heketi-volume-id": volumeID,
		"kubernetes.io/createdby":                "heketi-dynamic-provisioner",
		"gluster.org/type":                       "file",
	}, glusterfsSource("glusterfs-dynamic-files", "vol_"+volumeID))
	k.endpoints("shop", "glusterfs-dynamic-files")
	k.bound("shop", "old", nil, glusterfsSource("glusterfs-cluster", "vol_"+oldID))
	k.bound("shop", "snapshot", nil, glusterfsSource("glusterfs-cluster", "/snaps/gb-1/vol_"+oldID))
	k.bound("shop", "block", map[string]string{
		"glusterBlockShare":       "blockvol_" + blockID,
		"gluster.org/volume-id":   blockID,
		"kubernetes.io/createdby": "heketi",
		"gluster.org/type":        "block",
	}, corev1.PersistentVolumeSource{ISCSI: &corev1.ISCSIPersistentVolumeSource{
		TargetPortal: "192.168.78.10", IQN: blockIQN, FSType: "xfs", SessionCHAPAuth: true,
		SecretRef: &corev1.SecretReference{Name: "glusterblk-secret", Namespace: "shop"},
	}})
	k.bound("office", "nfs", map[string]string{"pv.kubernetes.io/provisioned-by": "example.com/nfs"},
		corev1.PersistentVolumeSource{NFS: &corev1.NFSVolumeSource{Server: "nfs", Path: "/x"}})
	k.claim("office", "waiting")
}

func testClaims(t *testing.T, c *kube.Client) {
	base := func(namespace, name string) kube.Claim {
		return kube.Claim{
			Namespace: namespace, Name: name, Phase: "Bound", PV: "pv-" + namespace + "-" + name,
			StorageClass: "gluster", Size: 1 << 30, Kind: kube.File,
		}
	}
	files, old, snapshot, block := base("shop", "files"), base("shop", "old"), base("shop", "snapshot"), base("shop", "block")
	nfs, waiting := base("office", "nfs"), base("office", "waiting")
	files.HeketiID, files.VolumePath, files.CreatedBy = volumeID, "vol_"+volumeID, "heketi-dynamic-provisioner"
	old.HeketiID, old.VolumePath = oldID, "vol_"+oldID
	snapshot.Kind = kube.Foreign
	block.Kind, block.HeketiID, block.BlockName, block.CreatedBy = kube.Block, blockID, "blockvol_"+blockID, "heketi"
	block.IQN, block.GBID = blockIQN, strings.TrimPrefix(blockIQN, "iqn.2016-12.org.gluster-block:")
	nfs.Kind, nfs.CreatedBy = kube.Foreign, "example.com/nfs"
	waiting.Kind, waiting.Phase, waiting.PV = kube.Pending, "Pending", ""
	want := []kube.Claim{nfs, waiting, block, files, old, snapshot}

	got, err := c.Claims(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	shop, err := c.Claims(t.Context(), "shop")
	if diff := cmp.Diff(got[2:], shop); diff != "" || err != nil {
		t.Errorf("claims of one namespace, %v (-of all +of it):\n%s", err, diff)
	}
	for i := range got {
		one, err := c.Claim(t.Context(), got[i].Namespace, got[i].Name)
		if diff := cmp.Diff(got[i], one); diff != "" || err != nil {
			t.Errorf("claim, %v (-listed +read):\n%s", err, diff)
		}
		if kind := got[i].Kind; got[i].UID == "" || got[i].NamespaceUID == "" || (got[i].Reason == "") != (kind == kube.File || kind == kube.Block) {
			t.Errorf("UID or reason of %+v", got[i])
		}
		if age := time.Since(got[i].Created); age < -time.Second || age > time.Hour {
			t.Errorf("%s was created %s ago", got[i].Name, age)
		}
		got[i].UID, got[i].NamespaceUID, got[i].Reason, got[i].Created = "", "", "", time.Time{}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("claims (-want +got):\n%s", diff)
	}
}

func testLost(t *testing.T, c *kube.Client, k *cluster) {
	k.bound("office", "lost", nil, glusterfsSource("e", "vol_lost"))
	k.removeVolume("pv-office-lost")
	k.waitPhase("office", "lost", corev1.ClaimLost)
	got, err := c.Claim(t.Context(), "office", "lost")
	if err != nil || got.Kind != kube.Lost || !strings.Contains(got.Reason, "pv-office-lost") {
		t.Errorf("lost claim: %+v, %v", got, err)
	}
}

// testManyClaims needs more than one page.
func testManyClaims(t *testing.T, c *kube.Client, k *cluster) {
	const n = 520
	for i := range n {
		k.claim("many", fmt.Sprintf("c-%d", i))
	}
	got, err := c.Claims(t.Context(), "many")
	names := make(map[string]bool)
	for _, claim := range got {
		names[claim.Name] = true
	}
	if err != nil || len(got) != n || len(names) != n {
		t.Errorf("%d claims with %d names, %v; want %d", len(got), len(names), err, n)
	}
}

func testObjects(t *testing.T, c *kube.Client, k *cluster) {
	tests := map[string]map[string]string{ // Claim to the names of its objects.
		"files": {"pvc.json": "files", "pv.json": "pv-shop-files", "endpoints.json": "glusterfs-dynamic-files", "service.json": "glusterfs-dynamic-files"},
		"old":   {"pvc.json": "old", "pv.json": "pv-shop-old"}, // Its Endpoints do not exist.
		"block": {"pvc.json": "block", "pv.json": "pv-shop-block"},
	}
	for name, want := range tests {
		claim := must[kube.Claim](t)(c.Claim(t.Context(), "shop", name))
		objects, err := c.Objects(t.Context(), claim)
		if err != nil || len(objects) != len(want) {
			t.Errorf("objects of %s: %d, %v; want %d", name, len(objects), err, len(want))
		}
		for file, object := range want {
			var got struct {
				APIVersion, Kind string
				Metadata         struct{ Name, UID string }
				Spec             json.RawMessage
			}
			if err := json.Unmarshal(objects[file], &got); err != nil || got.Metadata.Name != object || got.Metadata.UID == "" || got.APIVersion != "v1" || got.Kind == "" {
				t.Errorf("%s of %s: %+v, %v", file, name, got, err)
			}
			if bytes.Contains(objects[file], []byte("managedFields")) {
				t.Errorf("managedFields in %s of %s", file, name)
			}
		}
	}
	served := k.raw("/api/v1/persistentvolumes/pv-shop-block")
	claim := must[kube.Claim](t)(c.Claim(t.Context(), "shop", "block"))
	objects := must[map[string][]byte](t)(c.Objects(t.Context(), claim))
	var got map[string]any
	if err := json.Unmarshal(objects["pv.json"], &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(served, got); diff != "" {
		t.Errorf("PersistentVolume (-served +kept):\n%s", diff)
	}
	claim.UID = "another"
	if _, err := c.Objects(t.Context(), claim); !errors.Is(err, kube.ErrNoClaim) {
		t.Errorf("objects of a claim that was replaced: %v, want ErrNoClaim", err)
	}
}

func testUsers(t *testing.T, c *kube.Client, k *cluster) {
	k.pod("shop", "running", "files", corev1.PodRunning)
	k.pod("shop", "pending", "files", corev1.PodPending)
	k.pod("shop", "done", "files", corev1.PodSucceeded)
	k.pod("shop", "failed", "files", corev1.PodFailed)
	k.pod("shop", "other", "old", corev1.PodRunning)
	k.pod("office", "elsewhere", "files", corev1.PodRunning)
	k.pod("shop", "stopping", "files", corev1.PodRunning)
	k.shutDown("shop", "stopping")
	want := []kube.Pod{
		{Namespace: "shop", Name: "pending", Phase: "Pending", Node: "node-1"},
		{Namespace: "shop", Name: "running", Phase: "Running", Node: "node-1"},
		{Namespace: "shop", Name: "stopping", Phase: "Running", Node: "node-1", Deleting: true},
	}
	got, err := c.Users(t.Context(), "shop", "files")
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("users, %v (-want +got):\n%s", err, diff)
	}
	if got, err := c.Users(t.Context(), "shop", "block"); len(got) != 0 || err != nil {
		t.Errorf("users of an unused claim: %v, %v", got, err)
	}
}

func testMissingClaim(t *testing.T, c *kube.Client) {
	for _, namespace := range []string{"shop", "no-such-namespace"} {
		_, claim := c.Claim(t.Context(), namespace, "nobody")
		_, objects := c.Objects(t.Context(), kube.Claim{Namespace: namespace, Name: "nobody", UID: "u"})
		for _, err := range []error{claim, objects} {
			if !errors.Is(err, kube.ErrNoClaim) || kube.Temporary(err) || !strings.Contains(remedy(err), "--namespace "+namespace) {
				t.Errorf("%v, remedy %q; want ErrNoClaim", err, remedy(err))
			}
		}
	}
	if got, err := c.Claims(t.Context(), "no-such-namespace"); len(got) != 0 || err != nil {
		t.Errorf("claims of no namespace: %v, %v", got, err)
	}
}

// testRights shows that the rights which the remedy names are enough, and that
// there is a clear error without them.
func testRights(t *testing.T, k *cluster) {
	path := k.serviceAccount("shop", "backup")
	c := kubeClient(t, path)
	_, ping := c.Ping(t.Context())
	_, claims := c.Claims(t.Context(), "")
	_, claim := c.Claim(t.Context(), "shop", "files")
	_, users := c.Users(t.Context(), "shop", "files")
	for _, err := range []error{ping, claims, claim, users} {
		if !errors.Is(err, kube.ErrForbidden) || kube.Temporary(err) || !strings.Contains(remedy(err), path) {
			t.Errorf("%v, remedy %q; want ErrForbidden", err, remedy(err))
		}
	}
	k.grant("shop", "backup", "persistentvolumeclaims", "persistentvolumes", "namespaces", "pods", "endpoints", "services")
	// The authorizer follows new roles with a short delay.
	eventually(t, "the new rights", func(ctx context.Context) error { _, err := c.Ping(ctx); return err })
	granted, err := c.Claim(t.Context(), "shop", "files")
	if err != nil {
		t.Fatal(err)
	}
	if objects, err := c.Objects(t.Context(), granted); err != nil || len(objects) != 4 {
		t.Errorf("objects with these rights: %d, %v; want 4", len(objects), err)
	}
	if _, err := c.Users(t.Context(), "shop", "files"); err != nil {
		t.Errorf("users with these rights: %v", err)
	}
}

func testCredentials(t *testing.T, k *cluster) {
	other := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(other.Close)
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: other.Certificate().Raw})
	tests := map[string]struct {
		change func(*api.Config)
		want   error
		remedy string
	}{
		"wrong token": {func(c *api.Config) {
			for _, u := range c.AuthInfos {
				u.Token, u.TokenFile = "wrong", ""
			}
		}, kube.ErrUnauthorized, "credentials"},
		"wrong authority": {func(c *api.Config) {
			for _, s := range c.Clusters {
				s.CertificateAuthority, s.CertificateAuthorityData = "", ca
			}
		}, kube.ErrUnreachable, "certificate-authority"},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			config := must[*api.Config](t)(clientcmd.LoadFromFile(k.api.Kubeconfig))
			tt.change(config)
			path := filepath.Join(t.TempDir(), "kubeconfig")
			if err := clientcmd.WriteToFile(*config, path); err != nil {
				t.Fatal(err)
			}
			c := kubeClient(t, path)
			_, ping := c.Ping(t.Context())
			_, claim := c.Claim(t.Context(), "shop", "files")
			for _, err := range []error{ping, claim} {
				if !errors.Is(err, tt.want) || kube.Temporary(err) || !strings.Contains(remedy(err), path) || !strings.Contains(remedy(err), tt.remedy) {
					t.Errorf("%v, remedy %q; want %v, %q", err, remedy(err), tt.want, tt.remedy)
				}
			}
		})
	}
	token := strings.TrimSpace(string(must[[]byte](t)(os.ReadFile(k.api.TokenFile))))
	c := kubeClient(t, k.api.Kubeconfig)
	if text := fmt.Sprintf("%+v %#v", c, c); token == "" || strings.Contains(text, token) {
		t.Errorf("the token appears in %s", text)
	}
}

// eventually asks until there is no error, for at most half a minute.
func eventually(t *testing.T, what string, try func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for {
		err := try(ctx)
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s: %v", what, err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func meta(namespace, name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: namespace, Name: name}
}
