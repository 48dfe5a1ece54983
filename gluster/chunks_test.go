package gluster_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/glusterbackupd/glusterbackupd/gluster"
)

// TestParseDelta reads what thin_delta 0.9.0 says of two snapshots, without what is the
// same.
func TestParseDelta(t *testing.T) {
	const head, tail = "<superblock uuid=\"\" time=\"2\" transaction=\"3\" data_block_size=\"128\" nr_data_blocks=\"0\">\n  <diff left=\"7\" right=\"9\">\n", "  </diff>\n</superblock>\n"
	const chunk = 64 << 10
	got, err := gluster.ParseDelta([]byte(head+`    <different begin="3" length="2"/>
    <left_only begin="9" length="1"/>
    <right_only begin="7" length="1"/>
`+tail), "7", "9", 128)
	want := gluster.ChunkDelta{{3 * chunk, 5 * chunk}, {7 * chunk, 8 * chunk}, {9 * chunk, 10 * chunk}}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
	if got, err := gluster.ParseDelta([]byte(head+tail), "7", "9", 128); err != nil || len(got) != 0 {
		t.Errorf("nothing has changed: %v, %v", got, err)
	}
	for name, bad := range map[string]string{
		"nothing":       "",
		"cut off":       head,
		"no difference": strings.Replace(head, "  <diff left=\"7\" right=\"9\">\n", "", 1) + "</superblock>\n",
		"two":           head + "  </diff>\n<diff left=\"7\" right=\"9\">\n" + tail,
		"other volumes": strings.Replace(head, "right=\"9\"", "right=\"8\"", 1) + tail,
		"other chunks":  strings.Replace(head, "128", "256", 1) + tail,
		"what":          head + `<similar begin="3" length="2"/>` + tail,
		"no length":     head + `<different begin="3"/>` + tail,
		"no begin":      head + `<different length="3"/>` + tail,
		"negative":      head + `<different begin="-3" length="2"/>` + tail,
		"empty":         head + `<different begin="3" length="0"/>` + tail,
		"far":           head + `<different begin="3" length="9223372036854775807"/>` + tail,
		"twice":         head + `<different begin="3" length="2"/><left_only begin="4" length="1"/>` + tail,
		"no number":     head + `<different begin="x" length="2"/>` + tail,
	} {
		if got, err := gluster.ParseDelta([]byte(bad), "7", "9", 128); !errors.Is(err, gluster.ErrAnswer) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

func TestParseChanges(t *testing.T) {
	delta := gluster.ChunkDelta{{40000, 50000}}
	const old = "stat 0 80\nnew\n+ 0-40960-4096\n0 1 80\nstat " + gfid + ".5 8\n5 1 8 0-4096-90000\nstat " + gfid + ".6 0\n6 0 0\n"
	const now = "stat 0 80\nnew\n+ 5-7-9\nnew\n+ 0-40960-4096\n0 1 80\nstat " + gfid + ".6 8\n6 1 8 4096-8192-90000\nstat " + gfid + ".7 0\n7 0 0\n"
	got, err := gluster.ParseChanges(old+"end\n"+now+"end\n", gfid, delta)
	want := gluster.BrickChanges{0: {{35904, 40960}}, 6: {{4096, 8192}}} // Nothing is known of 5 and 7.
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
	for name, bad := range map[string]string{
		"nothing":     "",
		"two in one":  "+ 0-5-6 7-8-9\n0 2 16\nend\nend\n",
		"one":         old + "end\n",
		"cut off":     old + "end\n" + now,
		"three parts": "end\n0 1 8 0-4096\nend\n",
		"no number":   "end\n0 1 8 0-x-5\nend\n",
		"empty":       "end\n0 1 8 4096-4096-0\nend\n",
		"backwards":   "0 2 16 4096-8192-0 0-4096-8192\nend\nend\n",
		"negative":    "end\n0 1 8 -1-4096-0\nend\n",
		"far":         "end\n0 1 8 0-4096-9223372036854775807\nend\n",
	} {
		if got, err := gluster.ParseChanges(bad, gfid, nil); !errors.Is(err, gluster.ErrAnswer) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

// TestChangedRanges has files on two small devices, of which each byte of a file is looked
// at: a byte that is another one is in a range, and so are no more than chunks that
// differ and bytes that have moved.
func TestChangedRanges(t *testing.T) {
	const device, chunk = 96, 8
	for seed := range uint64(3000) {
		r := rand.New(rand.NewPCG(seed, 6))
		was := make([]byte, device)
		for i := range was {
			was[i] = byte(1 + r.IntN(3))
		}
		is, delta := slices.Clone(was), gluster.ChunkDelta{}
		for n := 0; n < device; n += chunk {
			if r.IntN(6) == 0 {
				is[n+r.IntN(chunk)]++
				delta = append(delta, [2]int64{int64(n), int64(n + chunk)})
			}
		}
		old := randomExtents(r, device)
		now := slices.Clone(old)
		if r.IntN(2) == 0 {
			now = randomExtents(r, device)
		} else if len(now) > 0 && r.IntN(2) == 0 {
			now = slices.Delete(now, 0, 1)
		}
		before, after := content(old, was), content(now, is)
		may := make([]bool, len(before))
		last := int64(0)
		for _, c := range gluster.ChangedRanges(old, now, delta) {
			if c[0] < last || c[1] <= c[0] {
				t.Fatalf("seed %d: ranges out of order: %v", seed, c)
			}
			for last = c[0]; last < c[1]; last++ {
				may[last] = true
			}
		}
		for i := range before {
			if before[i].value != after[i].value && !may[i] {
				t.Fatalf("seed %d: byte %d has changed: %v %v %v", seed, i, old, now, delta)
			}
			if at := before[i].at; may[i] && at == after[i].at && (at < 0 || !slices.ContainsFunc(delta, func(d [2]int64) bool { return d[0] <= at && at < d[1] })) {
				t.Fatalf("seed %d: byte %d cannot have changed: %v %v %v", seed, i, old, now, delta)
			}
		}
	}
}

// randomExtents lie one after the other in a file of 64 bytes, anywhere on the device.
func randomExtents(r *rand.Rand, device int) (extents []gluster.Extent) {
	for at := r.IntN(20); at < 60; at += r.IntN(9) {
		n := 1 + r.IntN(min(20, 64-at))
		extents = append(extents, gluster.NewExtent(int64(at), int64(at+n), int64(r.IntN(device-n))))
		at += n
	}
	return extents
}

type placed struct {
	value byte
	at    int64
}

// content is what a file has, byte by byte, and where; zeros are nowhere.
func content(extents []gluster.Extent, device []byte) []placed {
	file := make([]placed, 64)
	for i := range file {
		file[i].at = -1
	}
	for _, e := range extents {
		from, to, at := gluster.ExtentParts(e)
		for i := from; i < to; i++ {
			file[i] = placed{device[at+i-from], at + i - from}
		}
	}
	return file
}

// TestChangesOfFiles asks for the extents of files that have changed, some of them not
// there before.
func TestChangesOfFiles(t *testing.T) {
	old, now := t.TempDir(), t.TempDir()
	for _, dir := range []string{old, now} {
		if err := os.MkdirAll(filepath.Join(dir, ".shard"), 0o755); err != nil {
			t.Fatal(err)
		}
		for i, units := range [][]int64{{0}, {5, 6, 9}, {}} {
			path := filepath.Join(dir, ".shard", fmt.Sprintf("%s.%d", gfid, i))
			if i == 0 {
				path = filepath.Join(dir, "image")
			}
			writeUnits(t, path, units)
		}
	}
	writeUnits(t, filepath.Join(now, ".shard", gfid+".7"), []int64{1})
	long, recent := filepath.Join(now, ".shard", gfid+".1"), time.Now().Add(-time.Hour)
	ask := func(since time.Time) gluster.BrickChanges {
		t.Helper()
		out, err := exec.CommandContext(t.Context(), "sh", "-c", gluster.ChangesScript, "sh", old, now, ".", "image", gfid, fmt.Sprint(since.Unix()), gluster.DataProgram).Output()
		if err != nil {
			t.Fatal(err)
		}
		changes, err := gluster.ParseChanges(string(out), gfid, nil)
		if err != nil {
			t.Fatalf("%v in\n%s", err, out)
		}
		return changes
	}
	// Here both are on one device, on which each has a place of its own.
	changes := ask(recent)
	if len(changes) != 3 || len(changes[0]) == 0 || len(changes[1]) == 0 || len(changes[2]) != 0 {
		t.Errorf("changes %v", changes)
	}
	if after := ask(time.Now().Add(time.Hour)); len(after) != 0 {
		t.Errorf("%v was asked although nothing has changed since", after)
	}
	if err := os.Remove(long); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(old, ".shard", gfid+".1"), long); err != nil {
		t.Fatal(err)
	}
	if changes := ask(recent); len(changes) != 2 {
		t.Errorf("a link is taken for a piece: %v", changes)
	}
}

// answers is a host that gives them in turn.
type answers struct{ out []string }

func (a *answers) Name() string { return "a" }

func (a *answers) Run(_ context.Context, args ...string) ([]byte, error) {
	if len(a.out) == 0 {
		return nil, fmt.Errorf("unexpected %q", args)
	}
	out := a.out[0]
	a.out = a.out[1:]
	return []byte(out), nil
}

// TestChunkDeltaRefuses has hosts say what is not to be believed, and nothing is asked
// after that.
func TestChunkDeltaRefuses(t *testing.T) {
	const mount, thin = "253:7 xfs rw,nouuid\n", "0 819200 thin 253:2 5\n"
	good := []string{mount, thin, "253:8 xfs rw,nouuid\n", "0 819200 thin 253:2 6\n"}
	pool, name, meta := "0 2457600 thin-pool 253:0 253:1 128 1024 0\n", "vg-pool-tpool\n", "vg-pool_tmeta\n"
	for want, out := range map[string][]string{
		"below /old: unexpected":  {"\n"},
		"file system btrfs":       {"0:31 btrfs rw\n"},
		"rtdev=":                  {"253:7 xfs rw,rtdev=/dev/sdb\n"},
		"no thin volume":          {mount, "0 819200 linear 253:2 5\n"},
		"on no thin":              {mount, "0 819200 thin 253:2 5 253:9\n"}, // An external origin.
		"/old is on":              {mount, "0 8 thin 253:2 5\n8 8 thin 253:2 5\n"},
		"two thin volumes of one": slices.Concat(good[:3], []string{"0 819200 thin 253:3 6\n"}),
		"not on two thin":         slices.Concat(good[:3], []string{thin}),
		"dmsetup table":           slices.Concat(good, []string{"0 2457600 cache 253:0 253:1\n"}),
		"dmsetup info":            slices.Concat(good, []string{pool, "-pool\n"}),
		"unexpected answer":       slices.Concat(good, []string{pool, name, "a b\n"}),
		"0.6.9 misses changes":    slices.Concat(good, []string{pool, name, meta, "0.6.9\n"}),
		"1.0.4 misses changes":    slices.Concat(good, []string{pool, name, meta, "thin_delta 1.0.4\n"}),
		"thin_delta 0.9.0 misses": slices.Concat(good, []string{pool, name, meta, "thin_delta 0.9.0\n"}), // That is 1.0.0.
		"1.0.5 misses changes":    slices.Concat(good, []string{pool, name, meta, "1.0.5\n"}),
		"version of thin_delta":   slices.Concat(good, []string{pool, name, meta, "usage: thin_delta\n"}),
		"0 release_metadata_snap": slices.Concat(good, []string{pool, name, meta, "0.7.3\n", "held 17\n"}),
		"thin_delta: ":            slices.Concat(good, []string{pool, name, meta, "thin_delta 1.0.6\n", "<superblock/>"}),
		"not one difference":      slices.Concat(good, []string{pool, name, meta, "0.9.0\n", "<superblock/>"}),
	} {
		a := &answers{out: out}
		_, err := gluster.ChunkDeltaOf(t.Context(), a, "/old", "/now")
		if err == nil || !strings.Contains(err.Error(), want) || len(a.out) != 0 {
			t.Errorf("%v, want %q; %d answers left", err, want, len(a.out))
		}
		if errors.Is(err, gluster.ErrMetadataHeld) != strings.Contains(want, "release") {
			t.Errorf("%v is ErrMetadataHeld", err)
		}
	}
}

// TestImageChangesRefuses is TestImageDataRefuses.
func TestImageChangesRefuses(t *testing.T) {
	c := &gluster.Client{}
	if _, err := c.ImageChanges(t.Context(), gluster.Volume{Type: "Disperse"}, gluster.ChangesRequest{File: "image", GFID: gfid}); err == nil || !strings.Contains(err.Error(), "of type") {
		t.Error(err)
	}
	for file, id := range map[string]string{"../x": gfid, "image": "x'y"} {
		_, err := c.ImageChanges(t.Context(), gluster.Volume{Type: "Replicate"}, gluster.ChangesRequest{File: file, GFID: id})
		if !errors.Is(err, gluster.ErrName) {
			t.Errorf("%q, %q: %v", file, id, err)
		}
	}
}
