package gluster_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/glusterbackupd/glusterbackupd/gluster"
)

const unit = gluster.DataUnit

// TestDataProgram shortens what filefrag says of files on XFS and on ext4: of 1.47, and
// of 1.42.9, which has neither "last" nor "shared".
func TestDataProgram(t *testing.T) {
	const head, columns = "Filesystem type is: 58465342\n", " ext:     logical_offset:        physical_offset: length:   expected: flags:\n"
	for name, tt := range map[string]struct{ said, want string }{
		"reserved": {head + `File size of /a b/.shard/` + gfid + `.17 is 16777216 (4096 blocks of 4096 bytes)
` + columns + `   0:       10..      12:       2419..      2421:      3:         10:
   1:      256..     299:       2432..      2475:     44:       2665: unwritten
   2:      300..     300:       2476..      2476:      1:            
   3:      301..     767:       2477..      2943:    467:             last,unwritten
/a b/.shard/` + gfid + ".17: 2 extents found\n", "17 4 4120 0-0 9-9\n"},
		"nothing": {head + "File size of /b/g.3 is 0 (0 blocks of 4096 bytes)\n/b/g.3: 0 extents found\n", "3 0 0\n"},
		"small blocks": {head + "File size of /b/g.4 is 5 (1 block of 1024 bytes)\n" + columns +
			"   0:        0..       0:       2419..      2421:      1:         10: last,eof\n/b/g.4: 1 extent found\n", "4 1 2 0-0\n"},
		"two extents in one unit": {"File size of /b/g.5 is 1048576 (256 blocks of 4096 bytes)\n" + columns + `   0:        0..      40:       2419..      2421:     41:             shared
   1:       41..      80:       2419..      2421:     40:             
   2:      128..     255:       9419..      9521:    128:             eof
/b/g.5: 2 extents found
`, "5 3 1672 0-2 4-7\n"},
		"wide numbers": {"File size of /b/g.6 is 42949672960 (10485760 blocks of 4096 bytes)\n" + columns + `   0:        5..       5:   40124421..  40124421:      1:          5:
   1: 10444800..10444800:  140126464.. 140126464:      1:   50304000: last
/b/g.6: 2 extents found
`, "6 2 16 0-0 326400-326400\n"},
		"cut off":    {"File size of /b/g.7 is 16777216 (4096 blocks of 4096 bytes)\n" + columns + "   0:        0..     299:       2432..      2475:     44:       2665:\n", ""},
		"lost lines": {"File size of /b/g.7 is 4096 (1 block of 4096 bytes)\n/b/g.7: 1 extent found\n", ""},
		"an error":   {"File size of /b/g.7 is 4096 (1 block of 4096 bytes)\n/b/g.7: FIBMAP unsupported\n/b/g.7: 0 extents found\n", ""},
		"guessed": {"File size of /b/g.7 is 360 (1 block of 4096 bytes)\n" + columns +
			"   0:        0..       0:   45161585..  45161585:      1:             merged,eof\n/b/g.7: 1 extent found\n", ""},
		"guessed the rest": {"File size of /b/g.7 is 8192 (2 blocks of 4096 bytes)\n" + columns + "   0:        0..       0:   45161585..  45161585:      1:\n" +
			columns + "/b/g.7: 1 extent found\n", ""},
		"guessed nothing": {"File size of /b/g.7 is 8192 (2 blocks of 4096 bytes)\n" + columns +
			"   0:        0..       0:   45161585..  45161585:      1:\n/b/g.7: 0 extents found\n", ""},
		"a number left out": {"File size of /b/g.7 is 8192 (2 blocks of 4096 bytes)\n" + columns +
			"   1:        1..       1:   45161585..  45161585:      1:             eof\n/b/g.7: 1 extent found\n", ""},
		"backwards": {"File size of /b/g.7 is 8192 (2 blocks of 4096 bytes)\n" + columns +
			"   0:        1..       1:   45161585..  45161585:      1:\n   1:        0..       0:   45161585..  45161585:      1:\n/b/g.7: 2 extents found\n", ""},
		"another size": {"File size of /b/g.7 is 8192 (2 blocks, blocksize 4096)\n" + columns +
			"   0:        0..       0:   45161585..  45161585:      1:\n/b/g.7: 1 extent found\n", ""},
		"the next one": {"File size of /b/g.7 is 8192 (2 blocks of 4096 bytes)\nwhat\n/b/g.7: 0 extents found\n" +
			"File size of /b/g.8 is 0 (0 blocks of 4096 bytes)\n/b/g.8: 0 extents found\n", "8 0 0\n"},
	} {
		if out, err := runAwk(t, tt.said, ""); err != nil || out != tt.want {
			t.Errorf("%s: %q, %v; want %q", name, out, err, tt.want)
		}
	}
	if out, err := runAwk(t, "File size of /b/g is 0 (0 blocks of 4096 bytes)\n/b/g: 0 extents found\n", "0"); err != nil || out != "0 0 0\n" {
		t.Errorf("the file itself: %q, %v", out, err)
	}
}

func runAwk(t *testing.T, in, piece string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "awk", "-v", "piece="+piece, "-v", fmt.Sprintf("unit=%d", gluster.DataUnit), gluster.DataProgram)
	cmd.Stdin = strings.NewReader(in)
	out, err := cmd.Output()
	return string(out), err
}

// TestDataOfFiles asks for files of which it is known where they have data, the last of
// them far behind.
func TestDataOfFiles(t *testing.T) {
	brick := t.TempDir()
	if err := os.MkdirAll(filepath.Join(brick, ".shard"), 0o755); err != nil {
		t.Fatal(err)
	}
	want := gluster.BrickData{}
	for i, data := range [][]int64{{}, {0}, {5, 6, 9}, {1, 100, 101, 102, 300}, {3, 326400}} {
		path := filepath.Join(brick, ".shard", fmt.Sprintf("%s.%d", gfid, i))
		if i == 0 {
			path = filepath.Join(brick, "image")
		}
		want[int64(i)] = writeUnits(t, path, data)
	}
	out, err := exec.CommandContext(t.Context(), "sh", "-c", gluster.DataScript, "sh", brick, ".", "image", gfid, gluster.DataProgram, fmt.Sprint(gluster.DataUnit)).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	got, err := gluster.ParseData(string(out), gfid)
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v: %s\nof\n%s", err, diff, out)
	}
}

// writeUnits makes a file with data in these units, and space that is only reserved.
func writeUnits(t *testing.T, path string, units []int64) (want [][2]int64) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, n := range units {
		if _, err := f.WriteAt([]byte("data"), n*unit+unit/2); err != nil {
			t.Fatal(err)
		}
		if k := len(want); k > 0 && want[k-1][1] == n*unit {
			want[k-1][1] += unit
		} else {
			want = append(want, [2]int64{n * unit, (n + 1) * unit})
		}
	}
	if err := unix.Fallocate(int(f.Fd()), 0, 400*unit, 100*unit); err != nil {
		t.Fatalf("the test needs a file system that reserves space: %v", err)
	}
	return want
}

func TestParseData(t *testing.T) {
	got, err := gluster.ParseData("stat 0 520\nstat "+gfid+".17 0\n0 2 512 0-1 3-3\n17 0 0\nend\n", gfid)
	want := gluster.BrickData{0: {{0, 2 * unit}, {3 * unit, 4 * unit}}, 17: nil}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
	// What does not account for the blocks is not known.
	for _, unaccounted := range []string{"stat 3 8\n3 0 0\n", "stat 3 520\n3 1 500 0-1\n", "3 0 0\n"} {
		if got, err := gluster.ParseData(unaccounted+"end\n", gfid); err != nil || len(got) != 0 {
			t.Errorf("%q: %v, %v", unaccounted, got, err)
		}
	}
	for name, bad := range map[string]string{
		"cut off":       "0 1 8 0-1\n",
		"cut off later": "0 1 8 0-1\nend\n1 1 8 2-3\n",
		"nothing":       "",
		"no number":     "x 1 8 0-1\nend\n",
		"negative":      "-1 1 8 0-1\nend\n",
		"blank line":    "\nend\n",
		"twice":         "stat 0 8\n0 1 8 0-1\n0 1 8 2-3\nend\n",
		"backwards":     "0 1 8 3-1\nend\n",
		"overlapping":   "0 1 8 0-3 3-4\nend\n",
		"no range":      "0 1 8 3\nend\n",
		"huge":          "0 1 8 0-99999999999\nend\n",
		"stat of none":  "stat x 8\nend\n",
		"stat of what":  "stat 0 x\nend\n",
	} {
		if got, err := gluster.ParseData(bad, gfid); !errors.Is(err, gluster.ErrAnswer) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

// TestImageDataRefuses: on a striped or dispersed volume the offsets of the bricks are not
// those of the file.
func TestImageDataRefuses(t *testing.T) {
	c := &gluster.Client{}
	for _, v := range []gluster.Volume{{Type: "Disperse", DisperseCount: 3}, {Type: "Striped-Replicate"}, {Type: "Tier"}, {}} {
		if _, err := c.ImageData(t.Context(), v, "s", "image", gfid); err == nil || !strings.Contains(err.Error(), "of type") {
			t.Errorf("%s: %v", v.Type, err)
		}
	}
	for file, id := range map[string]string{"../x": gfid, "image": "x'y"} {
		if _, err := c.ImageData(t.Context(), gluster.Volume{Type: "Replicate"}, "s", file, id); !errors.Is(err, gluster.ErrName) {
			t.Errorf("%q, %q: %v", file, id, err)
		}
	}
}
