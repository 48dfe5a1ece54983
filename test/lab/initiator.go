package lab

import (
	"context"
	"fmt"
	"strings"
)

// loginScript logs the guest's initiator in. The CHAP password comes from the
// journal on the blockhost volume, which the guest has mounted for its
// targets.
const loginScript = `
iqn="$1" portal="$2" user="$3" journal="$4"
node() { iscsiadm -m node -T "$iqn" -p "$portal" "$@" >/dev/null; }
iscsiadm -m session 2>/dev/null | grep -q " $iqn " || {
	node -o new
	# Emulated processors: little data under way, and patience.
	node -o update -n node.session.queue_depth -v 4
	node -o update -n node.session.cmds_max -v 16
	node -o update -n 'node.conn[0].timeo.noop_out_timeout' -v 30
	if [ -n "$user" ]; then
		node -o update -n node.session.auth.authmethod -v CHAP
		node -o update -n node.session.auth.username -v "$user"
		node -o update -n node.session.auth.password -v "$(sed -n 's/^PASSWORD: //p' "$journal" | tail -n 1)"
	fi
	node --login
}
device="/dev/disk/by-path/ip-$portal-iscsi-$iqn-lun-0"
i=0
until [ -b "$device" ]; do
	i=$((i + 1))
	[ $i -lt 600 ] || { echo "no $device" >&2; exit 1; }
	sleep 0.2
done
echo "$device"
`

const logoutScript = `
iqn="$1" portal="$2"
if iscsiadm -m session 2>/dev/null | grep -q " $iqn "; then
	iscsiadm -m node -T "$iqn" -p "$portal" --logout >/dev/null
fi
iscsiadm -m node -T "$iqn" -p "$portal" -o delete >/dev/null 2>&1 || true
`

// Login logs the guest's own iSCSI initiator in to an image, with CHAP when
// the image wants it, and returns the block device in the guest. Logging in
// twice is fine.
func (l *Lab) Login(ctx context.Context, image *Image) (device string, err error) {
	user := ""
	if image.Auth {
		user = image.GBID
	}
	out, err := l.Script(ctx, loginScript, image.IQN, l.portal(), user, l.GuestJournal(image))
	if err != nil {
		return "", fmt.Errorf("log in to %s: %w", image.Name, err)
	}
	return strings.TrimSpace(string(out)), nil
}

// Logout ends the session of an image. Without one it does nothing.
func (l *Lab) Logout(ctx context.Context, image *Image) error {
	if _, err := l.Script(ctx, logoutScript, image.IQN, l.portal()); err != nil {
		return fmt.Errorf("log out of %s: %w", image.Name, err)
	}
	return nil
}

// Initiator is the name under which the guest logs in.
func (l *Lab) Initiator(ctx context.Context) (string, error) {
	out, err := l.Guest(ctx, "sed", "-n", "s/^InitiatorName=//p", "/etc/iscsi/initiatorname.iscsi")
	return strings.TrimSpace(string(out)), err
}

// GuestMount is where the guest has the blockhost volume mounted for LIO.
func (l *Lab) GuestMount() string { return "/run/gluster-block/" + l.HostingVolume }

// GuestJournal is an image's journal in the guest.
func (l *Lab) GuestJournal(image *Image) string { return l.GuestMount() + "/block-meta/" + image.Name }

func (l *Lab) portal() string { return l.Address + ":3260" }
