//go:build platform

package platform

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestRefusals shows for each thing that can be wrong outside of Gluster one
// clear error with a remedy and the right exit code.
func TestRefusals(t *testing.T) {
	tests := map[string]struct {
		// wrong breaks something; what it cannot undo by itself it registers
		// with Cleanup.
		wrong func(b *bench)
		args  []string
		code  int
		texts []string
	}{
		"wrong Heketi key": {func(b *bench) {
			key := filepath.Join(b.TempDir(), "key")
			b.file(key, "not the key\n")
			b.configure(replaced(b.lab.HeketiKeyFile, key))
		}, backupDocs, 1, []string{b401, "Heketi"}},
		"Heketi down": {func(b *bench) {
			b.configure(replaced(b.lab.HeketiURL, "http://127.0.0.1:1"))
		}, backupDocs, 1, []string{"127.0.0.1:1"}},
		"ssh host key changed": {func(b *bench) {
			hosts := filepath.Join(b.TempDir(), "known_hosts")
			b.file(hosts, b.lab.Address+" ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f\n")
			b.configure(replaced(b.lab.KnownHosts, hosts))
		}, backupDocs, 1, []string{"host key", "192.168.77.10"}},
		"ssh key refused": {func(b *bench) {
			key := filepath.Join(b.TempDir(), "id_ed25519")
			host(b, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key)
			b.configure(replaced(b.lab.SSHKey, key))
		}, backupDocs, 1, []string{"192.168.77.10"}},
		"BackupDisk not mounted": {func(b *bench) {
			b.configure(replaced(b.disk, b.TempDir()))
		}, backupDocs, 10, []string{"BackupDisk"}},
		"unknown claim":     {nil, []string{"backup", "media/nothing"}, 4, []string{"media/nothing"}},
		"pending claim":     {nil, []string{"backup", "shop/pending"}, 1, []string{"shop/pending"}},
		"foreign claim":     {nil, []string{"backup", "shop/nfs"}, 1, []string{"shop/nfs"}},
		"unknown image":     {nil, []string{"restore-block", "blockvol_00000000000000000000000000000000", "--yes"}, 4, []string{"blockvol_0000"}},
		"name with a path":  {nil, []string{"restore-block", "../../etc/passwd", "--yes"}, 2, []string{"etc/passwd"}},
		"name with a shell": {nil, []string{"restore-block", "$(reboot)", "--yes"}, 2, []string{"reboot"}},
		"claim with a path": {nil, []string{"restore", "../x", "--yes"}, 2, []string{"../x"}},
		"unknown config key": {func(b *bench) {
			b.configure(func(s string) string { return s + "\n[backup]\nparallell = 3\n" })
		}, backupDocs, 2, []string{"parallell", "config.toml:"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			if tt.wrong != nil {
				tt.wrong(b)
			}
			b.refused(tt.code, tt.texts, tt.args...)
		})
	}
}

// b401 is in every error of a server that refused the key.
const b401 = "refused"

var backupDocs = []string{"backup", "media/docs"}

func (b *bench) file(path, content string) {
	b.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		b.Fatal(err)
	}
}

// TestRefusalsOfBackups breaks backups on the BackupDisk.
func TestRefusalsOfBackups(t *testing.T) {
	b := newBench(t)
	r := b.backup("media/docs")
	b.refused(4, []string{"19990101", r.Backup.ID[:8]}, "restore", "media/docs", "--at", "19990101", "--yes")
	b.refused(2, []string{"--yes"}, "restore", "media/docs")

	manifest := filepath.Join(filepath.Dir(r.Backup.Path), "manifest.zst")
	content, err := os.ReadFile(manifest)
	if err != nil {
		t.Fatal(err)
	}
	b.file(manifest, string(content[:len(content)/2]))
	b.refused(13, []string{"media/docs", r.Backup.ID}, "restore", "media/docs", "--yes")
	content[len(content)/2] ^= 1
	b.file(manifest, string(content))
	b.refused(13, []string{"media/docs", r.Backup.ID}, "restore", "media/docs", "--yes")
	content[len(content)/2] ^= 1
	b.file(manifest, string(content))
	for _, e := range scan(t, r.Backup.Path) {
		if e.Type == "file" && e.Size > 100 && !strings.ContainsAny(e.Path, "\n") {
			b.overwrite(filepath.Join(r.Backup.Path, e.Path))
			b.refused(13, []string{"media/docs", r.Backup.ID}, "restore", "media/docs", "--yes")
			return
		}
	}
	t.Fatal("no file to damage")
}

// overwrite changes one byte in the middle of a file and keeps its times.
func (b *bench) overwrite(path string) {
	b.Helper()
	info, err := os.Stat(path)
	if err != nil {
		b.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	one := make([]byte, 1)
	if _, err := f.ReadAt(one, info.Size()/2); err != nil {
		b.Fatal(err)
	}
	one[0] ^= 0xff
	if _, err := f.WriteAt(one, info.Size()/2); err != nil {
		b.Fatal(err)
	}
	if err := os.Chtimes(path, info.ModTime(), info.ModTime()); err != nil {
		b.Fatal(err)
	}
}

// TestRefusesWhileAPodUsesTheClaim is the file claim's case; the block claim's
// is in TestRestoreBlock.
func TestRefusesWhileAPodUsesTheClaim(t *testing.T) {
	b := newBench(t)
	b.backup("media/docs")
	remove := b.pod("media/docs")
	b.refused(1, []string{"media/docs", "glusterbackupd-test"}, "restore", "media/docs", "--yes")
	remove()
}

// pod makes a running pod that uses the claim, and returns what removes it.
func (b *bench) pod(claim string) func() {
	b.Helper()
	namespace, name, _ := strings.Cut(claim, "/")
	pods := b.admin().CoreV1().Pods(namespace)
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "glusterbackupd-test"},
		Spec: corev1.PodSpec{
			Containers: []corev1.Container{{Name: "app", Image: "app"}},
			Volumes: []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{
				PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: name},
			}}},
		},
	}
	made, err := pods.Create(b.Context(), pod, metav1.CreateOptions{})
	if err != nil {
		b.Fatal(err)
	}
	remove := func() {
		var now int64
		err := pods.Delete(context.Background(), pod.Name, metav1.DeleteOptions{GracePeriodSeconds: &now})
		if err != nil {
			b.Error(err)
		}
	}
	made.Status.Phase = corev1.PodRunning
	if _, err := pods.UpdateStatus(b.Context(), made, metav1.UpdateOptions{}); err != nil {
		remove()
		b.Fatal(err)
	}
	return remove
}

// TestBackupDiskFull fills a small BackupDisk in mid-copy.
func TestBackupDiskFull(t *testing.T) {
	b := newBareBench(t, "ext4", 64)
	b.must("init")
	b.refused(1, []string{"media/photos", "space"}, "backup", "media/photos")
	b.must("list")
}
