package guest

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/glusterbackupd/glusterbackupd/test/lab/servers"
)

// Sizes of the guest's disks; their files are sparse.
const (
	heketiDisk = 64 << 30 // /dev/vdb, which Heketi manages.
	handDisk   = 8 << 30  // /dev/vdc, for volumes that are made by hand.
)

// Machine says how the guest is started.
type Machine struct {
	Image Image
	Disks string // Folder for the guest's disks and what it writes over its root.
	Seed  string // File written by WriteSeed.
	Run   string // Folder for the control socket and the serial console's log.
}

// Start boots the guest as a server of env, whose network namespace must
// exist. It does not wait: the guest is ready when its sshd answers. The root
// image is never written to; what the guest writes there is lost with the
// process. The data disks are made when they are missing.
func (m Machine) Start(env servers.Env) (*servers.Process, error) {
	if err := os.MkdirAll(m.Disks, 0o700); err != nil {
		return nil, err
	}
	for name, size := range map[string]int64{"data.img": heketiDisk, "hand.img": handDisk} {
		err := sparse(filepath.Join(m.Disks, name), size)
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, err
		}
	}
	// QEMU keeps the changes to the root image in a deleted file in TMPDIR.
	return env.Start("guest", append([]string{"env", "TMPDIR=" + m.Disks}, m.args()...)...)
}

// args is QEMU's command line. Host crashes do not matter to a lab, so its
// disks skip every flush. The processors are emulated: /dev/kvm may exist and
// still not run a guest.
func (m Machine) args() []string {
	const options = ",if=virtio,format=raw,cache=unsafe,discard=unmap"
	return []string{
		"qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max", "-m", "4096", "-smp", "2",
		"-nodefaults", "-display", "none", "-no-reboot",
		"-serial", "file:" + filepath.Join(m.Run, "serial.log"),
		"-qmp", "unix:" + filepath.Join(m.Run, "qmp.sock") + ",server=on,wait=off",
		"-kernel", m.Image.Kernel, "-initrd", m.Image.Initrd,
		"-append", "root=/dev/vda rw console=ttyS0 net.ifnames=0 mitigations=off panic=1",
		"-drive", "file=" + m.Image.Root + options + ",snapshot=on",
		"-drive", "file=" + filepath.Join(m.Disks, "data.img") + options,
		"-drive", "file=" + filepath.Join(m.Disks, "hand.img") + options,
		"-drive", "file=" + m.Seed + options + ",readonly=on",
		"-netdev", "tap,id=n,ifname=" + tap + ",script=no,downscript=no", "-device", "virtio-net-pci,netdev=n",
		"-object", "rng-random,id=r,filename=/dev/urandom", "-device", "virtio-rng-pci,rng=r",
	}
}
