package lab

import (
	"os"
	"strings"
)

// HeketiKey reads the key of Heketi's admin.
func (l *Lab) HeketiKey() (string, error) {
	content, err := os.ReadFile(l.HeketiKeyFile)
	return strings.TrimSpace(string(content)), err
}

// SSH is the command line of ssh to the guest, for use inside the lab's
// network namespace (see Enter). The host key is always checked.
func (l *Lab) SSH() []string {
	return []string{
		"ssh", "-i", l.SSHKey, "-o", "IdentitiesOnly=yes", "-o", "UserKnownHostsFile=" + l.KnownHosts,
		"-o", "StrictHostKeyChecking=yes", "-o", "LogLevel=ERROR", l.SSHUser + "@" + l.Address,
	}
}
