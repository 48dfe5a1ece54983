package guest

import (
	"context"
	"errors"
	"os"
	"os/exec"
)

// The lab's addresses. The namespace keeps them apart from the host's.
const (
	Address      = "192.168.77.10" // The guest, as Gluster and Heketi know it.
	Address2     = "192.168.77.11" // A second address of the same guest.
	HostAddress  = "192.168.77.1"  // The host's end, inside the namespace.
	tap          = "tap0"
	netnsFolder  = "/run/netns/"
	hostNetwork  = HostAddress + "/24"
	tunnelDevice = "/dev/net/tun"
)

// MakeNetwork creates the network namespace with loopback and the guest's tap
// device. An existing namespace of that name is an error.
func MakeNetwork(ctx context.Context, name string) error {
	if _, err := os.Stat(tunnelDevice); err != nil {
		_ = run(ctx, "modprobe", "tun") // The tap command below says what is wrong.
	}
	for _, args := range [][]string{
		{"ip", "netns", "add", name},
		{"ip", "-n", name, "link", "set", "lo", "up"},
		{"ip", "-n", name, "tuntap", "add", tap, "mode", "tap"},
		{"ip", "-n", name, "addr", "add", hostNetwork, "dev", tap},
		{"ip", "-n", name, "link", "set", tap, "up"},
	} {
		if err := run(ctx, args...); err != nil {
			return err
		}
	}
	return nil
}

// RemoveNetwork deletes the namespace and all devices in it. A missing one is
// fine.
func RemoveNetwork(ctx context.Context, name string) error {
	if _, err := os.Stat(netnsFolder + name); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	// The tap outlives the namespace's name for as long as a process is in it.
	_ = exec.CommandContext(ctx, "ip", "-n", name, "link", "del", tap).Run()
	return run(ctx, "ip", "netns", "del", name)
}
