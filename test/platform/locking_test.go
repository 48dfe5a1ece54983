//go:build platform && soak

package platform

import (
	"strings"
	"testing"
)

// TestMandatoryLockingIsRefused sets each option of the two alone: together they
// hang a guest that has a session, and either is enough to be refused.
func TestMandatoryLockingIsRefused(t *testing.T) {
	b := newBench(t)
	img := b.smallImage("fenced")
	b.listed(img)
	b.backup("block/fenced")
	path := b.live(img)
	write(t, path, 0, 1<<20, 20)
	before, ino := hashFile(t, path), inode(t, path)
	for option, value := range map[string]string{"features.enforce-mandatory-lock": "on", "locks.mandatory-locking": "forced"} {
		b.setOption(option, value, func() {
			remedy := "gluster volume reset " + b.lab.HostingVolume + " " + option
			b.refused(1, []string{b.lab.HostingVolume, option, remedy}, "restore-block", img.Name, "--yes")
			b.refused(1, []string{option}, "restore-block", img.Name, "--dry-run")
			if o := b.run("check"); o.code != 1 || !strings.Contains(o.stdout, remedy) {
				t.Errorf("check does not tell of %s", option)
			}
		})
	}
	if got := hashFile(t, path); got != before || inode(t, path) != ino {
		t.Errorf("the image was changed: %s, was %s", got, before)
	}
	b.restore("restore-block", img.Name)
}

// setOption sets an option of the blockhost volume while f runs.
func (b *bench) setOption(option, value string, f func()) {
	b.Helper()
	gluster := func(args ...string) {
		b.Helper()
		b.guest(append([]string{"gluster", "--mode=script", "volume"}, args...)...)
	}
	gluster("set", b.lab.HostingVolume, option, value)
	defer gluster("reset", b.lab.HostingVolume, option)
	f()
}
