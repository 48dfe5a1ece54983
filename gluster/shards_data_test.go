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

// TestDataProgram shortens what filefrag 1.47 says of files on XFS and on ext4.
func TestDataProgram(t *testing.T) {
	const said = `Filesystem type is: 58465342
File size of /a b/.shard/0abec332-39fa-491c-afc7-5c2950ce88ac.17 is 16777216 (4096 blocks of 4096 bytes)
 ext:     logical_offset:        physical_offset: length:   expected: flags:
   0:       10..      12:       2419..      2421:      3:         10:
   1:      256..     299:       2432..      2475:     44:       2665: unwritten
   2:      300..     300:       2476..      2476:      1:            
   3:      301..     767:       2477..      2943:    467:             last,unwritten
/a b/.shard/0abec332-39fa-491c-afc7-5c2950ce88ac.17: 2 extents found
File size of /b/g.3 is 0 (0 blocks of 4096 bytes)
/b/g.3: 0 extents found
File size of /b/g.4 is 5 (1 block of 1024 bytes)
   0:        0..       0:       2419..      2421:      1:         10: last,eof
/b/g.4: 1 extent found
File size of /b/g.5 is 1048576 (256 blocks of 4096 bytes)
   0:        0..      40:       2419..      2421:     41:             shared
   1:       41..      80:       2419..      2421:     40:             
   2:      128..     255:       9419..      9521:    128:             last,eof
/b/g.5: 2 extents found
File size of /b/g.6 is 16777216 (4096 blocks of 4096 bytes)
   0:        0..     299:       2432..      2475:     44:       2665:
File size of /b/g.7 is 4096 (1 block of 4096 bytes)
/b/g.7: FIBMAP unsupported
`
	out, err := runAwk(t, said, "")
	want := "17 0-0 9-9\n3\n4 0-0\n5 0-2 4-7\n"
	if err != nil || out != want {
		t.Errorf("%q, %v; want %q", out, err, want)
	}
	if out, err := runAwk(t, said[:strings.Index(said, "File size of /b/g.3")], "0"); err != nil || out != "0 0-0 9-9\n" {
		t.Errorf("the file itself: %q, %v", out, err)
	}
}

func runAwk(t *testing.T, in, piece string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "awk", "-v", "piece="+piece, gluster.DataProgram)
	cmd.Stdin = strings.NewReader(in)
	out, err := cmd.Output()
	return string(out), err
}

// TestDataProgramOnFiles compares it with what the file system says of the same files
// when it is asked for data and holes.
func TestDataProgramOnFiles(t *testing.T) {
	for i, data := range [][]int64{{}, {0}, {5, 6, 9}, {1, 100, 101, 102, 300}} {
		path := filepath.Join(t.TempDir(), fmt.Sprintf("g.%d", i+1))
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		want := fmt.Sprint(i + 1)
		for k, n := range data {
			if _, err := f.WriteAt([]byte("data"), n*unit+unit/2); err != nil {
				t.Fatal(err)
			}
			if k > 0 && data[k-1] == n-1 {
				want = want[:strings.LastIndex(want, "-")] + fmt.Sprintf("-%d", n)
			} else {
				want += fmt.Sprintf(" %d-%d", n, n)
			}
		}
		// Space that is only reserved.
		if err := unix.Fallocate(int(f.Fd()), 0, 400*unit, 100*unit); err != nil {
			t.Skipf("this file system reserves no space: %v", err)
		}
		frag, err := exec.CommandContext(t.Context(), "filefrag", "-v", "-s", "--", path).CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, frag)
		}
		if out, err := runAwk(t, string(frag), ""); err != nil || out != want+"\n" {
			t.Errorf("%q, %v; want %q of\n%s", out, err, want, frag)
		}
	}
}

func TestParseData(t *testing.T) {
	got, err := gluster.ParseData("0 0-1 3-3\n17\nend\n")
	want := gluster.BrickData{0: {{0, 2 * unit}, {3 * unit, 4 * unit}}, 17: nil}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
	for name, bad := range map[string]string{
		"cut off":       "0 0-1\n",
		"cut off later": "0 0-1\nend\n1 2-3\n",
		"nothing":       "",
		"no number":     "x 0-1\nend\n",
		"negative":      "-1 0-1\nend\n",
		"blank line":    "\nend\n",
		"twice":         "0 0-1\n0 2-3\nend\n",
		"backwards":     "0 3-1\nend\n",
		"overlapping":   "0 0-3 3-4\nend\n",
		"no end":        "0 3\nend\n",
		"huge":          "0 0-99999999999\nend\n",
	} {
		if got, err := gluster.ParseData(bad); !errors.Is(err, gluster.ErrAnswer) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}
