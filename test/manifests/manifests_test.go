// Package manifests tests the files in docs/kubernetes that users apply.
package manifests_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"
)

const folder = "../../docs/kubernetes"

// documents returns the YAML documents of a file.
func documents(t *testing.T, name string) (list [][]byte) {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(folder, name))
	if err != nil {
		t.Fatal(err)
	}
	for document := range bytes.SplitSeq(content, []byte("\n---\n")) {
		list = append(list, append(slices.Clone(document), '\n'))
	}
	return list
}

// script returns restore.sh of the plain manifest.
func script(t *testing.T) string {
	t.Helper()
	var scripts corev1.ConfigMap
	if err := yaml.UnmarshalStrict(documents(t, "restore-pod.yaml")[0], &scripts); err != nil {
		t.Fatal(err)
	}
	return scripts.Data["restore.sh"]
}

// TestRestorePod has a pod with both claims, the snapshot's read-only.
func TestRestorePod(t *testing.T) {
	var pod corev1.Pod
	if err := yaml.UnmarshalStrict(documents(t, "restore-pod.yaml")[1], &pod); err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(pod.Spec.Volumes, func(v corev1.Volume) bool {
		return v.Name == "snapshot" && v.PersistentVolumeClaim.ReadOnly
	}) {
		t.Errorf("volumes %+v", pod.Spec.Volumes)
	}
}

// TestTemplate is the plain manifest with parameters.
func TestTemplate(t *testing.T) {
	var template struct {
		Parameters []struct{ Name, Value string }
		Objects    []map[string]any
	}
	if err := yaml.Unmarshal(documents(t, "restore-template.yaml")[0], &template); err != nil {
		t.Fatal(err)
	}
	values := map[string]string{"CLAIM": "uploads", "SNAPSHOT": "uploads-20181202-000009", "IMAGE": "busybox:1.36"}
	for n, object := range template.Objects {
		text, err := yaml.Marshal(object)
		if err != nil {
			t.Fatal(err)
		}
		filled := string(text)
		for _, p := range template.Parameters {
			filled = strings.ReplaceAll(filled, "${"+p.Name+"}", values[p.Name])
		}
		var got, want map[string]any
		if err := yaml.Unmarshal([]byte(filled), &got); err != nil {
			t.Fatal(err)
		}
		if err := yaml.Unmarshal(documents(t, "restore-pod.yaml")[n], &want); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("object %d; manifest -, template +:\n%s", n, diff)
		}
	}
}

func TestRestoreScript(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "restore.sh")
	for name, content := range map[string]string{
		"restore.sh": script(t), "snapshot/a b/1": "old", "snapshot/a b/2": "old", "snapshot/top": "old", "data/a b/1": "new", "data/later": "new",
	} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	restore := func(args ...string) (string, error) {
		cmd := exec.Command("sh", append([]string{path}, args...)...)
		cmd.Env = append(os.Environ(), "SNAPSHOT="+filepath.Join(dir, "snapshot"), "DATA="+filepath.Join(dir, "data"))
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	want := func(contents map[string]string) {
		t.Helper()
		for name, content := range contents {
			got, err := os.ReadFile(filepath.Join(dir, "data", name))
			if content == "" && err == nil || content != "" && string(got) != content {
				t.Errorf("%s: %q, %v, want %q", name, got, err, content)
			}
		}
	}
	for _, args := range [][]string{{}, {"-n"}, {"../snapshot"}, {"a b/../../x"}, {"top", "missing"}} {
		if out, err := restore(args...); err == nil {
			t.Errorf("%q was accepted: %s", args, out)
		}
	}
	if out, err := restore("-n", "--all"); err != nil || !strings.Contains(out, "a b/2") {
		t.Errorf("-n: %s, %v", out, err)
	}
	want(map[string]string{"a b/1": "new", "a b/2": "", "top": "", "later": "new"})
	if out, err := restore("/a b/1"); err != nil {
		t.Errorf("one file: %s, %v", out, err)
	}
	want(map[string]string{"a b/1": "old", "a b/2": "", "top": ""})
	if out, err := restore("a b", "top"); err != nil {
		t.Errorf("a folder: %s, %v", out, err)
	}
	want(map[string]string{"a b/2": "old", "a b/a b/1": "", "top": "old"})
	if out, err := restore("--all"); err != nil {
		t.Errorf("all: %s, %v", out, err)
	}
	want(map[string]string{"a b/1": "old", "later": "new"})
}

// TestManifestsAreOfKnownKinds finds a misspelt apiVersion or kind.
func TestManifestsAreOfKnownKinds(t *testing.T) {
	known := []string{
		"v1 ServiceAccount", "rbac.authorization.k8s.io/v1 ClusterRole", "rbac.authorization.k8s.io/v1 ClusterRoleBinding",
		"rbac.authorization.k8s.io/v1 Role", "rbac.authorization.k8s.io/v1 RoleBinding", "snapshot.storage.k8s.io/v1 VolumeSnapshotClass",
	}
	for _, name := range []string{"rbac.yaml", "snapshotclass.yaml"} {
		for n, document := range documents(t, name) {
			var head struct{ APIVersion, Kind string }
			if err := yaml.Unmarshal(document, &head); err != nil {
				t.Fatal(err)
			}
			if _, err := schema.ParseGroupVersion(head.APIVersion); err != nil || !slices.Contains(known, head.APIVersion+" "+head.Kind) {
				t.Errorf("%s, document %d: %s %s", name, n, head.APIVersion, head.Kind)
			}
		}
	}
}
