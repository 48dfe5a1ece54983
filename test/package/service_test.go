//go:build platform && soak

package packages

import (
	"strings"
	"testing"
	"time"
)

// start enables and starts the service and waits for READY.
func (s *service) start() {
	s.Helper()
	s.sh("systemctl enable --now --quiet glusterbackupd")
	s.assertShow("ActiveState", "active")
	s.assertShow("SubState", "running")
}

// show returns a property of the service.
func (s *service) show(property string) string {
	s.Helper()
	return s.sh(`systemctl show -p "$1" --value glusterbackupd`, property)
}

func (s *service) assertShow(property, want string) {
	s.Helper()
	if got := s.show(property); got != want {
		s.Errorf("%s is %q, want %q", property, got, want)
	}
}

// awaitBackup waits for the first backup, which a claim without one gets soon.
func (s *service) awaitBackup() {
	s.Helper()
	s.await(5*time.Minute, "yes", `test -e "$1/latest" && echo yes || echo no`, backups)
	s.await(2*time.Minute, "0", `gluster --mode=script snapshot list "$1" | grep -c ^gb- || true`, s.lab.ReplicaVolume)
}

// idle is what is there while the service runs and copies nothing.
func idle() left { return left{"0", "0", "0", "0", "0"} }

// TestServiceLife starts the daemon, lets it make a backup, reloads it with a
// good and with a faulty configuration, and stops it.
func TestServiceLife(t *testing.T) {
	s := install(t)
	s.start()
	s.awaitBackup()
	s.assertBackup()
	s.assertLeft("after the backup", idle())
	if s.show("StatusText") == "" {
		t.Error("the daemon says nothing of what it is doing")
	}
	pid := s.show("MainPID")

	s.configure("[log]\nlevel = \"debug\"\n")
	s.sh("systemctl reload glusterbackupd")
	s.await(time.Minute, "running", "systemctl show -p SubState --value glusterbackupd")
	s.configure("[log]\nloudness = \"debug\"\n")
	s.sh("if systemctl reload glusterbackupd 2>/dev/null; then echo 'a faulty file was taken' >&2; exit 1; fi")
	// Who does not use systemctl gets the same.
	s.sh("systemctl kill --signal HUP --kill-who main glusterbackupd; sleep 3")
	s.await(time.Minute, "running", "systemctl show -p SubState --value glusterbackupd")
	if status := s.show("StatusText"); !strings.Contains(status, "config") {
		t.Errorf("after a reload of a faulty file the status is %q", status)
	}
	s.sh("journalctl -u glusterbackupd --no-pager | grep -q loudness")
	s.assertShow("MainPID", pid)
	s.assertShow("NRestarts", "0")

	s.sh("systemctl stop glusterbackupd")
	s.assertShow("Result", "success")
	s.assertLeft("after the stop", nothing())
}

// TestServiceStop stops the daemon in mid-copy.
func TestServiceStop(t *testing.T) {
	s := install(t)
	s.configure(slowly)
	s.start()
	s.awaitCopy()
	s.assertLeft("in mid-copy", left{"0", "1", "1", "1", "1"})
	s.sh("systemctl stop glusterbackupd")
	s.assertShow("Result", "success")
	s.assertLeft("after the stop", nothing())
}

// TestServiceKill kills the daemon in mid-copy. systemd starts it again, and
// that start tidies up and backs up.
func TestServiceKill(t *testing.T) {
	s := install(t)
	s.configure(slowly)
	s.start()
	s.awaitCopy()
	s.configure("")
	s.sh("systemctl kill --signal KILL --kill-who main glusterbackupd")
	s.await(time.Minute, "auto-restart", "systemctl show -p SubState --value glusterbackupd")
	s.assertLeft("after the kill", left{"0", "-", "0", "1", "1"})
	s.await(5*time.Minute, "active 1", "echo $(systemctl show -p ActiveState --value glusterbackupd) $(systemctl show -p NRestarts --value glusterbackupd)")
	s.awaitBackup()
	s.assertBackup()
	s.assertLeft("after the restart", idle())
}

// TestServiceAfterReboot ends everything in mid-copy the way a reboot does:
// the daemon and Gluster's own daemons go down in systemd's order and come up
// again. The guest keeps what it writes to its root in memory, so that it
// cannot be booted again.
func TestServiceAfterReboot(t *testing.T) {
	s := install(t)
	s.configure(slowly)
	s.start()
	s.awaitCopy()
	s.configure("")
	s.sh("systemctl stop glusterbackupd glusterd")
	s.sh("systemctl start --no-block glusterbackupd; systemctl start glusterd")
	s.await(5*time.Minute, "active", "systemctl is-active glusterbackupd || true")
	s.awaitBackup()
	s.assertBackup()
	s.assertLeft("after the start", idle())
}
