//go:build integration

package systemd_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// exposure is what "systemd-analyze security" may say of the unit at most, in
// tenths of its scale of 0 (safe) to 10. Each point left has its reason in the
// unit file.
const exposure = "37"

// executableUnit returns a copy of the unit file whose program exists: systemd
// takes a missing one for a fault.
func executableUnit(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(unitFile)
	if err != nil {
		t.Fatal(err)
	}
	text = bytes.ReplaceAll(text, []byte("/usr/bin/glusterbackupd"), []byte("/bin/true"))
	path := filepath.Join(t.TempDir(), unitFile)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestUnitVerifies lets systemd read the unit: every key and value is known to
// the systemd of this machine.
func TestUnitVerifies(t *testing.T) {
	out, err := exec.Command("systemd-analyze", "verify", "--man=no", executableUnit(t)).CombinedOutput()
	if err != nil || len(bytes.TrimSpace(out)) > 0 {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
}

func TestUnitExposure(t *testing.T) {
	out, err := exec.Command("systemd-analyze", "security", "--offline=yes", "--no-pager", "--threshold="+exposure,
		executableUnit(t)).CombinedOutput()
	if err != nil {
		t.Errorf("systemd-analyze security: %v\n%s", err, out)
	}
}
