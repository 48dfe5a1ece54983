#!/bin/sh
# Turns a fresh Debian root (first argument) into the lab's Gluster guest. It
# runs on the host and holds nothing secret and nothing of one single lab:
# keys and programs come with the seed disk at every start.
set -eu
root=$1
in_root() { chroot "$root" env DEBIAN_FRONTEND=noninteractive PATH=/usr/sbin:/usr/bin:/sbin:/bin "$@"; }

# Emulated processors are slow, so a boot loads only what this machine has.
cat >"$root/etc/initramfs-tools/conf.d/lab" <<'CONF'
MODULES=list
COMPRESS=gzip
FSTYPE=ext4
RESUME=none
CONF
printf '%s\n' virtio_pci virtio_blk ext4 >>"$root/etc/initramfs-tools/modules"
rm -f "$root/usr/share/initramfs-tools/hooks/dmsetup" "$root/usr/share/initramfs-tools/hooks/lvm2"
in_root update-initramfs -u -k all

echo gluster >"$root/etc/hostname"
cat >"$root/etc/hosts" <<'CONF'
127.0.0.1 localhost
192.168.77.10 gluster
CONF
cat >"$root/etc/systemd/network/eth0.network" <<'CONF'
[Match]
Name=eth0

[Network]
Address=192.168.77.10/24
Address=192.168.77.11/24
LinkLocalAddressing=no
CONF
echo '/dev/vda / ext4 defaults,noatime 0 0' >"$root/etc/fstab"
printf '%s\n' dm-thin-pool fuse xfs target_core_mod target_core_file iscsi_target_mod iscsi_tcp \
	>"$root/etc/modules-load.d/lab.conf"
mkdir -p "$root/etc/systemd/journald.conf.d"
printf '[Journal]\nStorage=volatile\n' >"$root/etc/systemd/journald.conf.d/lab.conf"
cat >"$root/etc/ssh/sshd_config.d/lab.conf" <<'CONF'
HostKey /etc/ssh/ssh_host_ed25519_key
PasswordAuthentication no
UseDNS no
MaxSessions 100
MaxStartups 100
CONF
rm -f "$root"/etc/ssh/ssh_host_*

# The seed disk is a tar archive.
cat >"$root/etc/systemd/system/lab-seed.service" <<'CONF'
[Unit]
Description=Keys and programs of this lab, from the seed disk
DefaultDependencies=no
After=systemd-remount-fs.service systemd-udevd.service
Before=sysinit.target ssh.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c 'until test -b /dev/vdd; do sleep 0.2; done; exec tar -xf /dev/vdd -C / --no-same-owner'

[Install]
WantedBy=sysinit.target
CONF
in_root systemctl enable -q lab-seed.service glusterd.service ssh.service systemd-networkd.service
in_root systemctl disable -q apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer \
	e2scrub_all.timer e2scrub_reap.service fstrim.timer remote-fs.target open-iscsi.service systemd-pstore.service
in_root systemctl mask -q systemd-networkd-wait-online.service systemd-binfmt.service getty@tty1.service serial-getty@ttyS0.service systemd-timesyncd.service \
	systemd-hwdb-update.service systemd-update-utmp.service systemd-random-seed.service
in_root passwd -q -l root

# Without geo-replication's Python program glusterd starts 20 seconds sooner;
# the hooks serve Samba, CTDB, NFS-Ganesha and SELinux, which are not here.
rm -f "$root"/usr/lib/*/glusterfs/gsyncd
find "$root/var/lib/glusterd/hooks" -type f ! -path '*quota*' ! -path '*Quota*' -delete
mkdir -m 700 -p "$root/root/.ssh"

rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/* "$root"/usr/share/doc/* "$root"/usr/share/locale/* "$root"/usr/share/man/*
