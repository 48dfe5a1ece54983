//go:build platform && soak

package packages

import (
	"strings"
	"testing"
	"time"
)

// oneBackup makes the service one backup instead of the daemon, in the very
// confinement of the unit.
func (s *service) oneBackup() {
	s.Helper()
	s.sh(`mkdir -p "$1"; cat >"$1/test.conf" <<CONF
[Service]
Type=oneshot
Restart=no
WatchdogSec=0
ExecStart=
ExecStart=/usr/bin/glusterbackupd backup office/files
CONF
systemctl daemon-reload`, dropIn)
}

// may is what the confined service has to be able to do, by hand, with what no
// volume brings along; mayNot is what it must not.
const (
	may = `
set -e
cd /backupdisk
echo x >capable; setfattr -n security.capability -v 0x0100000200040000000000000000000000000000 capable
echo x >trusted; setfattr -n trusted.x -v y trusted
echo x >bits; chown 70000:70001 bits; chmod 6755 bits; test "$(stat -c %a bits)" = 6755
mknod block b 7 200; mknod char c 10 200
nice -n 5 true
lvs >/dev/null
mkdir -p /run/glusterbackupd/mnt /var/log/glusterbackupd
rm capable trusted bits block char`
	mayNot = `
for try in \
	"touch /usr/x" "touch /etc/x" "touch /boot/x" "touch /root/x" "touch /sys/fs/cgroup/x" \
	"dd if=/dev/zero of=/dev/vdc bs=512 count=0 conv=notrunc" "head -c 1 /dev/mem" "head -c 1 /dev/kmsg" \
	"unshare --mount true" "modprobe loop" "hostname gluster" "sysctl -w vm.swappiness=60"
do
	if $try >/dev/null 2>&1; then echo "$try"; fi
done >/backupdisk/allowed`
)

// runConfined runs a shell script in the confinement of the unit.
func (s *service) runConfined(script string) {
	s.Helper()
	s.sh(`mkdir -p "$1"; printf %s "$2" >/var/cache/package-test.sh; cat >"$1/test.conf" <<CONF
[Service]
Type=oneshot
Restart=no
WatchdogSec=0
ExecStart=
ExecStart=/bin/sh /var/cache/package-test.sh
CONF
systemctl daemon-reload
systemctl start glusterbackupd || { journalctl --no-pager -n 30 -u glusterbackupd >&2; exit 1; }
rm /var/cache/package-test.sh`, dropIn, script)
}

// TestConfinement tries both sides of the confinement.
func TestConfinement(t *testing.T) {
	s := install(t)
	s.runConfined(may)
	s.runConfined(mayNot)
	if allowed := s.sh("cat /backupdisk/allowed"); strings.TrimSpace(allowed) != "" {
		t.Errorf("the confined service may:\n%s", allowed)
	}
}

// TestConfinedBackup backs a volume up as the unit is allowed to: nothing that a
// claim can hold may be lost to its confinement.
func TestConfinedBackup(t *testing.T) {
	s := install(t)
	s.oneBackup()
	s.sh("systemctl start glusterbackupd")
	s.assertBackup()
	s.assertLeft("after the backup", nothing())
}

// TestConfinedKill kills a backup in mid-copy. Its mounts are gone at once, by
// the kernel; its snapshot and what it had copied go with the next start.
func TestConfinedKill(t *testing.T) {
	s := install(t)
	s.oneBackup()
	s.configure(slowly)
	s.sh("systemctl start --no-block glusterbackupd")
	s.awaitCopy()
	s.assertLeft("in mid-copy", left{"0", "1", "1", "1", "1"})
	s.sh("systemctl kill --signal KILL --kill-who main glusterbackupd")
	s.await(time.Minute, "failed", "systemctl is-active glusterbackupd || true")
	s.assertLeft("after the kill", left{"0", "-", "0", "1", "1"})
	s.configure("")
	s.sh("systemctl start glusterbackupd")
	s.assertBackup()
	s.assertLeft("after the next backup", nothing())
}

// TestConfinedStop stops a backup in mid-copy: the daemon's release is not
// disturbed by what systemd does to the other processes.
func TestConfinedStop(t *testing.T) {
	s := install(t)
	s.oneBackup()
	s.configure(slowly)
	s.sh("systemctl start --no-block glusterbackupd")
	s.awaitCopy()
	s.sh("systemctl stop glusterbackupd")
	s.assertLeft("after the stop", nothing())
}

// TestConfinedTidiesCommand kills a command, whose mount is the machine's. The
// service takes its snapshot and half a backup away, and works beside the mount,
// which it cannot reach from its own mount namespace; the next command does.
func TestConfinedTidiesCommand(t *testing.T) {
	s := install(t)
	s.oneBackup()
	s.configure(slowly)
	s.sh("nohup glusterbackupd backup office/files >/dev/null 2>&1 & echo $! >/run/package-test.pid")
	s.awaitCopy()
	s.sh("kill -KILL $(cat /run/package-test.pid); rm /run/package-test.pid; pkill -KILL -f 'rsync.*package-test|rsync.*/run/glusterbackupd' || true")
	s.assertLeft("after the kill", left{"1", "-", "1", "1", "1"})
	s.configure("")
	s.sh("systemctl start glusterbackupd")
	s.assertBackup()
	s.assertLeft("after the service's backup", left{"1", "-", "1", "0", "0"})
	if log := s.sh("journalctl --no-pager -u glusterbackupd"); !strings.Contains(log, "a command that was killed left a mount") {
		t.Errorf("the journal says nothing of the mount:\n%s", log)
	}
	s.sh("glusterbackupd backup office/files")
	s.assertLeft("after the next command", nothing())
}
