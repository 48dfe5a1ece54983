//go:build platform && soak

package platform

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/glusterbackupd/glusterbackupd/test/lab/servers"
)

// class is the manifest of the class that docs/tenants.md names.
const class = "../../docs/kubernetes/snapshotclass.yaml"

// snapshotAPI has the API server serve VolumeSnapshots.
func (b *bench) snapshotAPI() {
	b.Helper()
	dir, err := servers.SnapshotCRDs(b.Context(), servers.BuildOptions{})
	if err != nil {
		b.Fatal(err)
	}
	for _, kind := range []string{"volumesnapshots", "volumesnapshotcontents", "volumesnapshotclasses"} {
		b.kubectl("apply", "-f", filepath.Join(dir, "snapshot.storage.k8s.io_"+kind+".yaml"))
	}
	b.within(time.Minute, "the VolumeSnapshotClass is there", func() bool {
		cmd := exec.Command("kubectl", "--kubeconfig", b.lab.Kubeconfig, "apply", "-f", class)
		return cmd.Run() == nil // The definitions are not served at once.
	})
}

// annotation returns one of ours of a claim.
func (b *bench) annotation(namespace, claim, key string) string {
	b.Helper()
	return b.kubectl("-n", namespace, "get", "pvc", claim, "-o", `jsonpath={.metadata.annotations.backup\.gluster\.org/`+key+`}`)
}

// TestTenants is what a tenant does with kubectl alone, while the daemon has no
// more rights than it needs: a snapshot and a backup now, a look at what there
// is, a restore, and the end of the snapshot.
func TestTenants(t *testing.T) {
	b := newBench(t)
	b.keepsSnapshots = true
	t.Cleanup(b.deleteSnapshots)
	b.snapshotAPI()
	d := b.daemon(9183, func(s string) string {
		return daemonConfig(9183, "schedule = \"0 0 1 1 *\"\nfirst_backup = \"0s\"\n", "namespaces = [\"shop\"]\n", "")(s)
	})
	t.Cleanup(func() {
		b.kubectl("-n", "shop", "annotate", "pvc", "uploads", "backup.gluster.org/restore-", "backup.gluster.org/restore-status-",
			"backup.gluster.org/backups-", "backup.gluster.org/hidden-snapshots-")
	})
	b.within(time.Minute, "daemon is ready", func() bool { code, _ := d.get("/readyz"); return code == 200 })

	manifest := filepath.Join(t.TempDir(), "snapshot.yaml")
	b.file(manifest, `
apiVersion: snapshot.storage.k8s.io/v1
kind: VolumeSnapshot
metadata: {name: before-the-upgrade, namespace: shop}
spec:
  volumeSnapshotClassName: glusterbackupd
  source: {persistentVolumeClaimName: uploads}
`)
	b.kubectl("apply", "-f", manifest)
	took := b.within(5*time.Minute, "the VolumeSnapshot is ready", func() bool {
		return b.kubectl("-n", "shop", "get", "volumesnapshot", "before-the-upgrade", "-o", "jsonpath={.status.readyToUse}") == "true"
	})
	t.Logf("VolumeSnapshot was ready after %s\n%s", took.Round(time.Second), b.kubectl("get", "volumesnapshots,volumesnapshotcontents", "-A"))
	if n := b.countOf("shop/uploads"); n != 1 {
		t.Errorf("%d backups of the claim, want the one that was asked for", n)
	}
	var ids string
	b.within(time.Minute, "the claim lists its backup", func() bool {
		ids = b.annotation("shop", "uploads", "backups")
		return ids != ""
	})
	b.restoreByAnnotation(ids)

	b.kubectl("-n", "shop", "delete", "volumesnapshot", "before-the-upgrade", "--timeout=2m")
	if left := b.snapshots(); slices.ContainsFunc(left, func(s string) bool { return strings.Contains(s, b.volumeOf("shop/uploads")) }) {
		t.Errorf("snapshots after the VolumeSnapshot is gone: %q", left)
	}
	if n := b.countOf("shop/uploads"); n != 1 {
		t.Errorf("%d backups after the VolumeSnapshot is gone", n)
	}
	if left := b.kubectl("get", "volumesnapshots,volumesnapshotcontents", "-A", "-o", "name"); left != "" {
		t.Errorf("left in the cluster: %s", left)
	}
	if strings.Contains(d.logged(), "forbidden") {
		t.Error("the documented rights are not enough")
	}
}

// restoreByAnnotation destroys files of shop/uploads and asks for them as its
// tenant: first wrongly, then while a pod uses the claim, then rightly.
func (b *bench) restoreByAnnotation(id string) {
	b.Helper()
	dir, unmount := b.mount(b.volumeOf("shop/uploads"))
	before := scan(b, dir)
	lost := destroy(b, dir)
	unmount()
	ask := func(value, want string) {
		b.Helper()
		b.kubectl("-n", "shop", "annotate", "--overwrite", "pvc", "uploads", "backup.gluster.org/restore="+value)
		took := b.within(8*time.Minute, "restore="+value+" has ended", func() bool {
			status := b.annotation("shop", "uploads", "restore-status")
			return strings.HasPrefix(status, value+": done") || strings.HasPrefix(status, value+": failed")
		})
		status := b.annotation("shop", "uploads", "restore-status")
		b.Logf("restore=%s ended after %s: %s", value, took.Round(time.Second), status)
		if !strings.HasPrefix(status, value+": "+want) {
			b.Errorf("restore=%s: %s, want %s", value, status, want)
		}
	}
	ask("19990101", "failed")
	if status := b.annotation("shop", "uploads", "restore-status"); !strings.Contains(status, id) {
		b.Errorf("a wrong value is not told what exists: %s", status)
	}
	release := b.pod("shop/uploads")
	ask("latest", "failed")
	release()
	ask(id, "done")
	dir, unmount = b.mount(b.volumeOf("shop/uploads"))
	defer unmount()
	if _, err := os.Lstat(filepath.Join(dir, lost)); err != nil {
		b.Errorf("%s is not back: %v", lost, err)
	}
	assertEqual(b, before, scan(b, dir))
	if events := b.kubectl("-n", "shop", "get", "events", "-o", "jsonpath={.items[*].reason}"); !strings.Contains(events, "Restored") {
		b.Errorf("events: %s", events)
	}
}
