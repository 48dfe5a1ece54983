package gluster

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// lifeScript prints the id of the host's boot, when the process began, in clock
// ticks since then (the 22nd field of proc(5)'s stat, the 20th behind the name), and
// the inode of the folder that the kernel has for the mounted file system, which is
// made with each mount: with brick multiplexing a process outlives its bricks.
const lifeScript = `set -eu
cat /proc/sys/kernel/random/boot_id
sed 's/^.*) //' "/proc/$1/stat" | cut -d ' ' -f 20
device=$(readlink -f "$(findmnt -n -v -o SOURCE --target "$2")")
stat -c %i /sys/fs/*/"${device##*/}"`

var life = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\n[0-9]+\n[0-9]+\n$`)

// BrickLives returns for each brick of the volume, in its order, a text that is
// another one whenever the brick's file system may have been mounted anew since: it
// is made of the boot of its host, of the brick's process and of the mount. All
// bricks must run.
func (c *Client) BrickLives(ctx context.Context, volume string) ([]string, error) {
	states, err := c.BrickStates(ctx, volume)
	if err != nil {
		return nil, err
	}
	bricks, lives := make([]Brick, len(states)), make([]string, len(states))
	for i, s := range states {
		if bricks[i] = (Brick{Host: s.Host, Path: s.Path}); s.PID == 0 {
			return nil, fmt.Errorf("brick %s does not run", bricks[i])
		}
	}
	err = c.eachBrick(ctx, bricks, func(ctx context.Context, i int, cmd Commander) error {
		pid := strconv.Itoa(states[i].PID)
		out, err := cmd.Run(ctx, c.hostCommand("sh", "-c", lifeScript, "sh", pid, bricks[i].Path)...)
		if err != nil {
			return err
		}
		if !life.Match(out) {
			return fmt.Errorf("%w: boot and process %q", ErrAnswer, firstLine(string(out)))
		}
		lives[i] = strings.Join(append(strings.Fields(string(out)), pid), " ")
		return nil
	})
	return lives, err
}
