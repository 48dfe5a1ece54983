//go:build platform && soak

package packages

import (
	"bytes"
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/glusterbackupd/glusterbackupd/test/lab"
)

// service is the package as it is installed in the lab's guest, with a
// BackupDisk and a volume to back up, under the guest's systemd.
type service struct {
	*testing.T
	lab *lab.Lab
}

// Files of the guest.
const (
	disk     = "/backupdisk"
	diskFile = "/var/cache/package-test.img"
	backups  = disk + "/office/files"
	dropIn   = "/run/systemd/system/glusterbackupd.service.d"
)

// install brings the deb into the guest, and a BackupDisk on XFS. Both are gone
// when the test ends, and so is every file that it put into the volume.
func install(t *testing.T) *service {
	t.Helper()
	l, err := lab.Load()
	if err != nil {
		t.Fatal(err)
	}
	s := &service{t, l}
	t.Cleanup(func() { _ = l.Close() })
	deb, err := os.ReadFile(built(t, "deb", dist))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.leave)
	if _, err := l.GuestInput(t.Context(), bytes.NewReader(deb), "sh", "-c", "cat >/var/cache/package-test.deb"); err != nil {
		t.Fatal(err)
	}
	s.sh(`
dpkg --install /var/cache/package-test.deb >/dev/null
truncate -s 2G "$1"; mkfs.xfs -q -m reflink=1 "$1"
mkdir -m 0700 "$2"; mount -o loop "$1" "$2"
`, diskFile, disk)
	s.configure("")
	s.sh("glusterbackupd init")
	s.fill()
	return s
}

// leave removes what install made; the guest serves other tests. It is also the
// test of the removal: nothing of the package and no mount is left.
func (s *service) leave() {
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Minute)
	defer cancel()
	out, err := s.lab.Script(ctx, `
dpkg --purge glusterbackupd >/dev/null
rm -rf "$3" /var/cache/package-test.deb; systemctl daemon-reload
if mountpoint -q "$2"; then umount "$2"; fi
if [ -d "$2" ]; then rmdir "$2"; fi
rm -f "$1"
rm -f /etc/glusterbackupd/*.key; if [ -d /etc/glusterbackupd ]; then rmdir /etc/glusterbackupd; fi
for s in $(gluster --mode=script snapshot list "$4" | grep '^gb-' || true); do
	echo "left behind: snapshot $s"; gluster --mode=script snapshot delete "$s" >/dev/null
done
dir=$(mktemp -d); mount -t glusterfs localhost:"$4" "$dir"
rm -rf "$dir/package-test"; umount "$dir"; rmdir "$dir"
find /usr/bin/glusterbackupd /usr/lib/systemd/system/glusterbackupd.service /etc/systemd/system/*/glusterbackupd.service \
	/etc/glusterbackupd /var/log/glusterbackupd /run/glusterbackupd 2>/dev/null || true
grep /run/glusterbackupd /proc/mounts || true
`, diskFile, disk, dropIn, s.lab.ReplicaVolume)
	if err != nil || len(out) > 0 {
		s.Errorf("after the removal: %v\n%s", err, out)
	}
}

// configure writes the configuration: the one volume, and no snapshots that
// stay, so that each one is a leftover.
func (s *service) configure(more string) {
	s.Helper()
	s.sh(`cat >/etc/glusterbackupd/config.toml <<CONF
[backup]
schedule = "0 0 1 1 *"
spread = "0s"
first_backup = "1s"
[retention]
snapshots = "0s"
safety_snapshots = "0s"
[destination]
path = "$1"
[gluster]
transport = "local"
hosts = ["$2"]
[[volumes]]
volume = "$3"
claim = "office/files"
$4
CONF`, disk, s.lab.Address, s.lab.ReplicaVolume, more)
}

// slowly makes a copy last long enough to be interrupted.
const slowly = "[copy]\nbandwidth_limit = \"1MiB\"\n"

// fill puts everything into the volume that a file system can hold, and enough
// of it that a slow copy takes a minute.
func (s *service) fill() {
	s.Helper()
	s.sh(`
dir=$(mktemp -d); mount -t glusterfs -o acl localhost:"$1" "$dir"
t=$dir/package-test; mkdir "$t"; cd "$t"
for i in $(seq 60); do head -c 1048576 /dev/urandom >"data-$i"; done
echo other >owner; chown 70000:70001 owner
echo none >mode; chmod 000 mode
echo bits >bits; chown 7:8 bits; chmod 6755 bits
echo trusted >trusted; setfattr -n trusted.of-somebody -v yes trusted
mknod block b 7 200; mknod char c 10 200; mkfifo fifo; ln -s nowhere link; ln owner hardlink
cd /; umount "$dir"; rmdir "$dir"
`, s.lab.ReplicaVolume)
}

// sh runs a script in the guest, which has to succeed.
func (s *service) sh(script string, args ...string) string {
	s.Helper()
	out, err := s.lab.Script(s.Context(), script, args...)
	if err != nil {
		s.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// await repeats a question to the guest until its answer is what is wanted.
func (s *service) await(limit time.Duration, want, script string, args ...string) {
	s.Helper()
	got := ""
	for deadline := time.Now().Add(limit); time.Now().Before(deadline); time.Sleep(300 * time.Millisecond) {
		if got = s.sh(script, args...); got == want {
			return
		}
	}
	s.Fatalf("%s: %q, want %q within %s\n%s", script, got, want, limit,
		s.sh("systemctl status --no-pager --full --lines 40 glusterbackupd || true"))
}

// awaitCopy waits until data arrives in a half-written backup.
func (s *service) awaitCopy() {
	s.Helper()
	s.await(2*time.Minute, "yes", `ls "$1"/*.partial/data/* >/dev/null 2>&1 && echo yes || echo no`, backups)
}

// left is what is there of a run: mounts of the machine and of the service's
// own name space, Gluster clients, snapshots and half-written backups.
type left struct{ mounts, inside, clients, snapshots, partial string }

func (s *service) left() left {
	s.Helper()
	f := strings.Fields(s.sh(`
count() { grep -c "$@" || true; }
pid=$(systemctl show -p MainPID --value glusterbackupd)
count ' /run/glusterbackupd/' </proc/mounts
if [ "$pid" -gt 0 ]; then count ' /run/glusterbackupd/' </proc/"$pid"/mounts; else echo -; fi
pgrep -c -f 'glusterfs .*/run/glusterbackupd/' || true
gluster --mode=script snapshot list "$1" | count '^gb-'
find "$2" -maxdepth 3 \( -name '*.partial' -o -name '.trash-*' \) | count .
`, s.lab.ReplicaVolume, disk))
	if len(f) != 5 {
		s.Fatalf("the guest said %q", f)
	}
	return left{f[0], f[1], f[2], f[3], f[4]}
}

// nothing is left when no process of the service runs.
func nothing() left { return left{"0", "-", "0", "0", "0"} }

func (s *service) assertLeft(when string, want left) {
	s.Helper()
	if got := s.left(); got != want {
		s.Errorf("%s there are (mounts, mounts inside, clients, snapshots, partial backups) %v, want %v", when, got, want)
	}
}

// assertBackup compares the newest backup with the volume: every property of
// every entry, by the tools of the guest.
func (s *service) assertBackup() {
	s.Helper()
	s.sh("glusterbackupd verify")
	diff := s.sh(`
dir=$(mktemp -d); mount -t glusterfs -o acl,ro localhost:"$1" "$dir"
list() {
	cd "$1/package-test"
	find . -type d -o -exec stat -c '%n %F %a %u %g %h %t:%T %N' {} + | sort
	find . -type f -exec sha256sum {} + | sort
	getfattr -h -d -m trusted.of trusted
}
(list "$dir") >/run/package-test.want; (list "$2/latest/data") >/run/package-test.got
umount "$dir"; rmdir "$dir"
diff /run/package-test.want /run/package-test.got || true
rm /run/package-test.want /run/package-test.got
`, s.lab.ReplicaVolume, backups)
	if diff != "" {
		s.Errorf("volume <, backup >:\n%s", diff)
	}
}
