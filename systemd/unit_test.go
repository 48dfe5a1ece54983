package systemd_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/coreos/go-systemd/v22/unit"
)

const unitFile = "glusterbackupd.service"

// settings returns the values of each key of the unit file.
func settings(t *testing.T) map[string][]string {
	t.Helper()
	f, err := os.Open(unitFile)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	options, err := unit.DeserializeOptions(f)
	if err != nil {
		t.Fatal(err)
	}
	values := map[string][]string{}
	for _, o := range options {
		values[o.Name] = append(values[o.Name], o.Value)
	}
	return values
}

// TestUnitKeepsData holds what must never be tidied away from the unit,
// because somebody's data depends on it.
func TestUnitKeepsData(t *testing.T) {
	values := settings(t)
	for _, folder := range []string{"RuntimeDirectory", "CacheDirectory", "StateDirectory"} {
		if got, found := values[folder]; found {
			t.Errorf("%s=%s: systemd deletes it, with what is mounted below", folder, got)
		}
	}
	for key, want := range map[string]string{
		"Type":         "notify",
		"KillMode":     "mixed", // Else SIGTERM ends the Gluster clients before they are unmounted.
		"MountFlags":   "slave", // Else a killed daemon leaves mounts.
		"OOMPolicy":    "continue",
		"Restart":      "on-failure",
		"PrivateTmp":   "yes",
		"ExecStart":    "/usr/bin/glusterbackupd run --config /etc/glusterbackupd/config.toml",
		"NotifyAccess": "main", // A child cannot pretend that the daemon lives.
	} {
		if got := values[key]; !slices.Equal(got, []string{want}) {
			t.Errorf("%s=%q, want %q", key, got, want)
		}
	}
}

// TestUnitKnowsOldSystemd checks that nothing turns into its opposite where
// systemd is too old to know it.
func TestUnitKnowsOldSystemd(t *testing.T) {
	values := settings(t)
	for _, list := range values["SystemCallFilter"] {
		if !strings.HasPrefix(list, "~") {
			t.Errorf("SystemCallFilter=%s: groups that are unknown there would be missing from the list of what is allowed", list)
		}
	}
	for _, key := range []string{"ExecStartPre", "ExecStart", "ExecReload"} {
		for _, line := range values[key] {
			if !strings.HasPrefix(line, "/") {
				t.Errorf("%s=%s: its prefix is not known everywhere", key, line)
			}
		}
	}
}
