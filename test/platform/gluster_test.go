//go:build platform

package platform

import (
	"fmt"
	"strings"
	"testing"
)

// standalone makes a configuration without Kubernetes and Heketi that lists
// the volumes given as "claim=volume" or "claim=volume/image".
func (b *bench) standalone(volumes ...string) {
	b.Helper()
	b.configure(func(s string) string {
		start, end := strings.Index(s, "[kubernetes]"), strings.Index(s, "[gluster]")
		s = s[:start] + s[end:]
		s = strings.Replace(s, "[gluster]\n", fmt.Sprintf("[gluster]\nhosts = [%q]\n", b.lab.Address), 1)
		for _, v := range volumes {
			claim, volume, _ := strings.Cut(v, "=")
			volume, image, _ := strings.Cut(volume, "/")
			s += fmt.Sprintf("[[volumes]]\nclaim = %q\nvolume = %q\n", claim, volume)
			if image != "" {
				s += fmt.Sprintf("image = %q\n", image)
			}
		}
		return s
	})
}

// TestWithoutKubernetes runs the same commands with volumes listed in the
// configuration.
func TestWithoutKubernetes(t *testing.T) {
	b := newBench(t)
	img := b.smallImage("alone")
	b.standalone("archive/docs="+b.volumeOf("media/docs"), "archive/queue="+b.lab.HostingVolume+"/"+img.Name)
	b.must("check")
	b.must("backup", "--all")
	out := b.must("list")
	if !strings.Contains(out, "archive/docs") || !strings.Contains(out, img.Name) {
		t.Errorf("list prints\n%s", out)
	}
	b.restore("restore", "archive/docs")
	b.restore("restore-block", img.Name)
	b.refused(4, []string{"archive/none"}, "backup", "archive/none")
}

// TestVolumesThatCannotBeSnapshotted shows what keeps a volume from being
// covered: each with its own error, and nothing left behind.
func TestVolumesThatCannotBeSnapshotted(t *testing.T) {
	b := newBench(t)
	b.standalone("hand/replica="+b.lab.ReplicaVolume, "hand/plain="+b.lab.PlainVolume, "hand/none=no_such_volume")
	gluster := func(args ...string) {
		t.Helper()
		b.guest(append([]string{"gluster", "--mode=script"}, args...)...)
	}
	b.must("backup", "hand/replica")

	b.refused(1, []string{b.lab.PlainVolume, "thin"}, "backup", "hand/plain")
	b.refused(1, []string{"no_such_volume"}, "backup", "hand/none")

	t.Run("brick down", func(*testing.T) {
		brick := b.lab.ReplicaBricks[0]
		b.script(`kill -9 "$(gluster --mode=script volume status "$1" "$2" detail | sed -n 's/^Pid *: //p')"`, b.lab.ReplicaVolume, b.lab.Address+":"+brick)
		b.refused(1, []string{b.lab.ReplicaVolume, "brick", "down"}, "backup", "hand/replica")
		gluster("volume", "start", b.lab.ReplicaVolume, "force")
		b.awaitBricks(b.lab.ReplicaVolume)
	})
	t.Run("snapshot limit reached", func(*testing.T) {
		gluster("snapshot", "create", "byhand", b.lab.ReplicaVolume, "no-timestamp")
		gluster("snapshot", "config", b.lab.ReplicaVolume, "snap-max-hard-limit", "1")
		b.refused(1, []string{b.lab.ReplicaVolume, "limit"}, "backup", "hand/replica")
		gluster("snapshot", "config", b.lab.ReplicaVolume, "snap-max-hard-limit", "256")
		gluster("snapshot", "delete", "byhand")
	})
	t.Run("volume stopped", func(*testing.T) {
		gluster("volume", "stop", b.lab.ReplicaVolume, "force")
		b.refused(1, []string{b.lab.ReplicaVolume, "not started"}, "backup", "hand/replica")
		gluster("volume", "start", b.lab.ReplicaVolume)
		b.awaitBricks(b.lab.ReplicaVolume)
	})
	t.Run("thin pool too full", func(*testing.T) {
		b.configure(nil)
		b.configure(func(s string) string { return s + "[limits]\npool_data = 1\n" })
		b.refused(1, []string{"thin pool", "full"}, "backup", "media/photos")
	})
}

// TestForgottenVolumeKeepsNoSnapshot takes a volume out of the configuration
// while a snapshot of ours is kept on it; Heketi would refuse to delete it.
func TestForgottenVolumeKeepsNoSnapshot(t *testing.T) {
	b := newBench(t)
	b.keepSnapshots()
	b.standalone("hand/replica=" + b.lab.ReplicaVolume)
	b.must("backup", "--all")
	if len(b.snapshots()) != 1 {
		t.Fatalf("snapshots %v", b.snapshots())
	}
	b.keepsSnapshots = false
	b.standalone("media/docs=" + b.volumeOf("media/docs"))
	b.must("backup", "--all")
}

// awaitBricks waits until all bricks of a volume run.
func (b *bench) awaitBricks(volume string) {
	b.Helper()
	b.script(`
i=0
while gluster --mode=script volume status "$1" | grep -q '^Brick.* N '; do
	i=$((i + 1))
	[ $i -lt 60 ] || exit 1
	sleep 1
done`, volume)
}
