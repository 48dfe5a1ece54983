package lab

import (
	"fmt"
	"os"
)

// WriteConfig writes a configuration of glusterbackupd, mode 0600, that points
// at the lab and at the given BackupDisk. The program must run inside the
// lab's network namespace (see Enter).
func (l *Lab) WriteConfig(path, backupDisk string) error {
	return os.WriteFile(path, []byte(l.Config(backupDisk)), 0o600)
}

// Config is the text that WriteConfig writes.
func (l *Lab) Config(backupDisk string) string {
	return fmt.Sprintf(`[destination]
path = %q

[kubernetes]
kubeconfig = %q

[heketi]
url = %q
user = %q
key_file = %q

[gluster]
transport = "ssh"

[gluster.ssh]
user = %q
key_file = %q
known_hosts = %q
`, backupDisk, l.Kubeconfig, l.HeketiURL, l.HeketiUser, l.HeketiKeyFile, l.SSHUser, l.SSHKey, l.KnownHosts)
}
