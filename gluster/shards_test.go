package gluster_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/glusterbackupd/glusterbackupd/gluster"
)

const (
	imageFile = "block-store/9ad3b7c4"
	gfid      = "0f6e8a3c-6b4e-4f53-9a2d-2d7c1f0e8b11"
	ids       = "# file: /run/gluster/snaps/ecbe60ee4aec460fbe1933b7fab92d65/brick1/brick/block-store/9ad3b7c4\n" +
		"trusted.gfid=0x0f6e8a3c6b4e4f539a2d2d7c1f0e8b11\ntrusted.glusterfs.shard.block-size=0x0000000004000000\n\n"
	lines = "clock 1543708805.123456789\n" +
		"0 100 67108864 1543708700.0000000010 1543708700.5000000000\n" +
		gfid + ".2 102 4096 1543708600.1234567890 1543708600.1234567890\nend\n"
)

// bricksSay returns a host whose answers to the two scripts are given.
func bricksSay(id, files string) *recorded {
	h := host("snapshot status snap1", "snapshot-status.xml")
	h.answer = func(command string) (string, bool) {
		switch {
		case strings.Contains(command, "getfattr"):
			return id, true
		case strings.Contains(command, "echo end"):
			return files, true
		}
		return "", false
	}
	return h
}

func oneBrick() gluster.Volume {
	return gluster.Volume{Name: "v", Bricks: []gluster.Brick{{Host: "192.168.77.10", Path: "/bricks/v"}}}
}

func TestImageFiles(t *testing.T) {
	got, err := client(t, bricksSay(ids, lines)).ImageFiles(t.Context(), oneBrick(), "snap1", imageFile)
	if err == nil && time.Since(got.Bricks[0].Asked) > time.Minute {
		t.Errorf("asked at %s", got.Bricks[0].Asked)
	}
	want := gluster.ImageFiles{GFID: gfid, ShardSize: 64 << 20, Bricks: []gluster.BrickFiles{{
		Brick: oneBrick().Bricks[0], Clock: time.Unix(1543708805, 123456789).UTC(),
		Files: map[int64]gluster.BrickFile{
			0: {Inode: 100, Size: 64 << 20, Modified: 1543708700000000001, Changed: 1543708700500000000},
			2: {Inode: 102, Size: 4096, Modified: 1543708600123456789, Changed: 1543708600123456789},
		},
	}}}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(gluster.BrickFiles{}, "Asked")); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	healing := strings.Replace(lines, "\n0 ", "\nhealing\n0 ", 1)
	if got, err := client(t, bricksSay(ids, healing)).ImageFiles(t.Context(), oneBrick(), "snap1", imageFile); err != nil || !got.Bricks[0].Healing {
		t.Errorf("to be healed: %+v, %v", got, err)
	}
	plain := strings.Replace(ids, "trusted.glusterfs.shard.block-size=0x0000000004000000\n", "", 1)
	if got, err := client(t, bricksSay(plain, lines)).ImageFiles(t.Context(), oneBrick(), "snap1", imageFile); err != nil || got.ShardSize != 0 {
		t.Errorf("not sharded: %+v, %v", got, err)
	}
}

// TestImageFilesOdd gives answers of which nothing may be taken for granted.
func TestImageFilesOdd(t *testing.T) {
	replaced := func(old, with string) string { return strings.Replace(lines, old, with, 1) }
	for name, tt := range map[string]struct{ id, files string }{
		"no such file":        {"", lines},
		"no gfid":             {"# file: x\ntrusted.glusterfs.shard.block-size=0x0000000004000000\n", lines},
		"short gfid":          {"# file: x\ntrusted.gfid=0x0f6e\n", lines},
		"no shard size":       {strings.Replace(ids, "4000000", "0000000", 1), lines},
		"cut off":             {ids, strings.TrimSuffix(lines, "end\n")},
		"no clock":            {ids, replaced("clock 1543708805.123456789\n", "")},
		"whole seconds":       {ids, replaced("1543708700.5000000000", "1543708700")},
		"another's shard":     {ids, replaced(gfid, "ff"+gfid[2:])},
		"shard without digit": {ids, replaced(".2 ", ". ")},
		"shard 0 by number":   {ids, replaced(".2 ", ".0 ")},
		"sign":                {ids, replaced(".2 ", ".+2 ")},
		"twice":               {ids, replaced("end\n", gfid+".2 102 4096 1543708600.1234567890 1543708600.1234567890\nend\n")},
		"no inode":            {ids, replaced(" 102 ", " x ")},
		"before 1970":         {ids, replaced(" 1543708600.1234567890 ", " -1.1234567890 ")},
		"an error message":    {ids, replaced("end\n", "find: 'x': Permission denied\nend\n")},
	} {
		if got, err := client(t, bricksSay(tt.id, tt.files)).ImageFiles(t.Context(), oneBrick(), "snap1", imageFile); err == nil {
			t.Errorf("%s: %+v", name, got)
		}
	}
	two := oneBrick()
	two.Bricks = append(two.Bricks, two.Bricks[0])
	if _, err := client(t, bricksSay(ids, lines)).ImageFiles(t.Context(), two, "snap1", imageFile); !errors.Is(err, gluster.ErrAnswer) {
		t.Errorf("a snapshot with fewer bricks: %v", err)
	}
	elsewhere := oneBrick()
	elsewhere.Bricks[0].Host = "192.168.77.11"
	if _, err := client(t, bricksSay(ids, lines)).ImageFiles(t.Context(), elsewhere, "snap1", imageFile); !errors.Is(err, gluster.ErrAnswer) {
		t.Errorf("a brick elsewhere: %v", err)
	}
	for _, file := range []string{"", "/etc/passwd", "../x", "a/../../x", "a/", "-x", ".", "a/*", "a/[b]"} {
		if _, err := client(t, bricksSay(ids, lines)).ImageFiles(t.Context(), oneBrick(), "snap1", file); err == nil {
			t.Errorf("file %q is looked for", file)
		}
	}
}

func TestBrickLives(t *testing.T) {
	const boot = "0f6e8a3c-6b4e-4f53-9a2d-2d7c1f0e8b11"
	say := func(out string) *gluster.Client {
		h := host("volume info gbrec_r2", "volume-info-replica.xml", "volume status gbrec_r2", "volume-status-replica.xml")
		h.answer = func(command string) (string, bool) { return out, strings.Contains(command, "boot_id") }
		return client(t, h)
	}
	lives, err := say(boot+"\n4711\n99\n").BrickLives(t.Context(), "gbrec_r2")
	if err != nil || len(lives) != 2 || lives[0] == lives[1] || !strings.HasPrefix(lives[0], boot+" 4711 99 ") {
		t.Errorf("%q, %v", lives, err)
	}
	for _, out := range []string{"", boot + "\n", boot + "\n\n\n", "4711\n99\n", boot + "\nx\n99\n", boot + "\n4711\n", boot + "\n4711\n1\n1\n"} {
		if lives, err := say(out).BrickLives(t.Context(), "gbrec_r2"); err == nil {
			t.Errorf("%q: %q", out, lives)
		}
	}
	down := host("volume info gbrec_r2", "volume-info-replica.xml", "volume status gbrec_r2", "volume-status-brickdown.xml")
	if lives, err := client(t, down).BrickLives(t.Context(), "gbrec_r2"); err == nil {
		t.Errorf("a brick is down: %q", lives)
	}
}
