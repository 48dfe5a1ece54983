package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/moby/sys/mountinfo"

	"github.com/glusterbackupd/glusterbackupd/test/lab"
	"github.com/glusterbackupd/glusterbackupd/test/lab/guest"
)

// down ends the lab, whole or half: the servers that were recorded, every
// mount of the guest's volumes and below the lab's folders, what else runs in
// the lab's network namespace, the namespace, loop devices, and all files.
func down(ctx context.Context) error {
	err := unmount(ours)
	l, loadErr := lab.Load()
	if loadErr != nil && !errors.Is(loadErr, lab.ErrDown) {
		err = errors.Join(err, loadErr)
	}
	if l != nil {
		for _, p := range slices.Backward(l.Servers) {
			err = errors.Join(err, p.Stop())
		}
	}
	return errors.Join(err,
		endNamespace(ctx, lab.NetNS),
		guest.RemoveNetwork(ctx, lab.NetNS),
		detachLoops(ctx),
		os.RemoveAll(lab.Dir),
		os.RemoveAll(lab.Disks),
	)
}

// ours says whether a mount belongs to the lab.
func ours(m *mountinfo.Info) bool {
	if m.FSType == "fuse.glusterfs" {
		return strings.HasPrefix(m.Source, guest.Address+":") || strings.HasPrefix(m.Source, guest.Address2+":")
	}
	return inside(m.Mountpoint, lab.Dir) || inside(m.Mountpoint, lab.Disks)
}

// halfFilled says whether a mount may be left of an up that was killed while
// it filled a claim.
func halfFilled(m *mountinfo.Info) bool {
	return m.FSType == "fuse.glusterfs" && inside(m.Mountpoint, lab.Dir)
}

func inside(path, dir string) bool { return path == dir || strings.HasPrefix(path, dir+"/") }

// unmount takes away the mounts that match, the newest first. A busy one is
// detached: the processes that use it end with the lab.
func unmount(match func(*mountinfo.Info) bool) error {
	mounts, err := mountinfo.GetMounts(func(m *mountinfo.Info) (skip, stop bool) { return !match(m), false })
	for _, m := range slices.Backward(mounts) {
		if e := syscall.Unmount(m.Mountpoint, 0); e == nil {
			continue
		}
		if e := syscall.Unmount(m.Mountpoint, syscall.MNT_DETACH); e != nil && !errors.Is(e, syscall.EINVAL) {
			err = errors.Join(err, fmt.Errorf("unmount %s: %w", m.Mountpoint, e))
		}
	}
	return err
}

// endNamespace ends the processes that are in the network namespace.
func endNamespace(ctx context.Context, name string) error {
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		for range 50 {
			pids := namespacePIDs(ctx, name)
			if len(pids) == 0 {
				return nil
			}
			for _, pid := range pids {
				_ = syscall.Kill(pid, signal)
			}
			time.Sleep(100 * time.Millisecond)
		}
	}
	return fmt.Errorf("processes %v do not leave the network namespace %s", namespacePIDs(ctx, name), name)
}

// namespacePIDs lists the processes in the namespace; none when there is no
// such namespace.
func namespacePIDs(ctx context.Context, name string) (pids []int) {
	out, err := exec.CommandContext(ctx, "ip", "netns", "pids", name).Output()
	if err != nil {
		return nil
	}
	for _, field := range strings.Fields(string(out)) {
		if pid, err := strconv.Atoi(field); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// detachLoops frees the loop devices whose files lie in the lab's folders.
func detachLoops(ctx context.Context) error {
	out, err := exec.CommandContext(ctx, "losetup", "--json", "--list", "--output", "NAME,BACK-FILE").Output()
	if err != nil || len(strings.TrimSpace(string(out))) == 0 {
		return err
	}
	devices, err := loopsInside(out, lab.Dir, lab.Disks)
	for _, device := range devices {
		err = errors.Join(err, exec.CommandContext(ctx, "losetup", "--detach", device).Run())
	}
	return err
}

// loopsInside reads losetup's JSON list.
func loopsInside(list []byte, dirs ...string) (devices []string, err error) {
	var answer struct {
		LoopDevices []struct {
			Name string `json:"name"`
			File string `json:"back-file"`
		} `json:"loopdevices"`
	}
	if err := json.Unmarshal(list, &answer); err != nil {
		return nil, fmt.Errorf("list of loop devices: %w", err)
	}
	for _, d := range answer.LoopDevices {
		file := strings.TrimSuffix(d.File, " (deleted)")
		if slices.ContainsFunc(dirs, func(dir string) bool { return inside(file, dir) }) {
			devices = append(devices, d.Name)
		}
	}
	return devices, nil
}
