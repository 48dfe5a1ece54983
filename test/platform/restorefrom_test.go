//go:build platform && soak

package platform

import (
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// restoreClass is docs/kubernetes/restoreclass.yaml for the one node of the lab.
const restoreClass = `
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: glusterbackupd-restore}
provisioner: backup.gluster.org/restore
parameters: {volumetype: none, snapfactor: "1.5"}
`

// restoreFrom is what a tenant applies.
const restoreFrom = `
apiVersion: v1
kind: PersistentVolumeClaim
metadata:
  name: again
  namespace: media
  annotations: {backup.gluster.org/restore-from: shop/uploads@latest}
spec:
  storageClassName: glusterbackupd-restore
  accessModes: [ReadWriteMany]
  resources: {requests: {storage: 1Gi}}
`

// TestRestoreFrom is a tenant's new claim that is filled from the backup of
// another one, of a namespace that first does not and then does allow it: it is
// bound when everything is there, and not before.
func TestRestoreFrom(t *testing.T) {
	b := newBench(t)
	r := b.backup("shop/uploads")
	before := scan(t, r.Backup.Path)
	b.snapshotAPI()
	b.mayRestoreNew()
	class, claim := filepath.Join(t.TempDir(), "class.yaml"), filepath.Join(t.TempDir(), "claim.yaml")
	b.file(class, restoreClass)
	b.kubectl("apply", "-f", class)
	d := b.daemon(9184, func(s string) string {
		return daemonConfig(9184, "schedule = \"0 0 1 1 *\"\nfirst_backup = \"0s\"\n", "namespaces = [\"media\"]\n", "")(s)
	})
	b.within(time.Minute, "daemon is ready", func() bool { code, _ := d.get("/readyz"); return code == 200 })
	b.file(claim, restoreFrom)
	t.Cleanup(func() { b.removeClaim("media", "again") })
	b.kubectl("apply", "-f", claim)
	b.within(2*time.Minute, "the refusal", func() bool {
		return strings.Contains(b.annotation("media", "again", "restore-status"), "namespace shop does not allow claims of namespace media")
	})
	b.kubectl("annotate", "--overwrite", "namespace", "shop", "backup.gluster.org/restore-to=media")
	t.Cleanup(func() { b.kubectl("annotate", "namespace", "shop", "backup.gluster.org/restore-to-") })
	b.kubectl("-n", "media", "annotate", "--overwrite", "pvc", "again", "backup.gluster.org/restore-from=shop/uploads@"+r.Backup.ID)
	took := b.within(8*time.Minute, "the claim is filled", func() bool {
		phase := b.kubectl("-n", "media", "get", "pvc", "again", "-o", "jsonpath={.status.phase}")
		status := b.annotation("media", "again", "restore-status")
		if phase == "Bound" && !strings.Contains(status, "read back and equal") && !strings.Contains(status, "publish") && !strings.Contains(status, "read back") {
			t.Errorf("bound before it was filled: %s", status)
		}
		if strings.Contains(status, r.Backup.ID+": failed") {
			t.Fatalf("status %s", status)
		}
		return strings.Contains(status, ": done")
	})
	t.Logf("filled after %s: %s\n%s", took.Round(time.Second), b.annotation("media", "again", "restore-status"), b.kubectl("-n", "media", "get", "pvc"))
	volume := b.kubectl("get", "pv", b.pvOf("media", "again"), "-o", "jsonpath={.spec.glusterfs.path}")
	dir, unmount := b.mount(volume)
	assertEqual(t, before, scan(t, dir))
	unmount()
	if strings.Contains(d.logged(), "forbidden") {
		t.Error("the documented rights are not enough")
	}
}
