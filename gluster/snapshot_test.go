package gluster_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/glusterbackupd/glusterbackupd/gluster"
	"github.com/glusterbackupd/glusterbackupd/runner"
)

const description = "glusterbackupd 7f3e; a <b> & 'c'"

func snap1(active bool) gluster.Snapshot {
	return gluster.Snapshot{
		Name: "snap1", UUID: "db5542d4-f6bd-4438-af16-14fb6dfc5d9b", Description: description, Volume: "gbrec",
		Created: time.Date(2026, 11, 22, 17, 37, 0, 0, time.UTC), Active: active,
	}
}

var request = gluster.SnapshotRequest{Name: "snap1", Volume: "gbrec", Description: description}

const createCommand = "snapshot create snap1 gbrec no-timestamp description " + description

func TestCreateSnapshot(t *testing.T) {
	h := host(createCommand, "snapshot-create.xml", "snapshot info snap1", "snapshot-info.xml")
	got, err := client(t, h).CreateSnapshot(t.Context(), request)
	if diff := cmp.Diff(snap1(false), got); err != nil || diff != "" {
		t.Errorf("CreateSnapshot differs (-want +got), %v:\n%s", err, diff)
	}
}

// Gluster may stay silent and succeed all the same.
func TestCreateSnapshotWithoutAnswer(t *testing.T) {
	lost := func(h *recorded) {
		h.fail = func(command string) error {
			if command == createCommand {
				return &runner.LostError{Host: h.name, Command: "gluster", Err: errors.New("EOF")}
			}
			return nil
		}
	}
	tests := map[string]struct {
		info    string
		prepare func(*recorded)
		err     error
	}{
		"finished":             {info: "snapshot-info.xml"},
		"finished a bit later": {info: "snapshot-info-missing.xml snapshot-info-missing.xml snapshot-info.xml"},
		"not finished":         {info: "snapshot-info-missing.xml", err: gluster.ErrTimeout},
		"connection lost":      {info: "snapshot-info.xml", prepare: lost},
		"lost, not finished":   {info: "snapshot-info-missing.xml", prepare: lost, err: runner.ErrConnectionLost},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := host(createCommand, "request-timed-out.txt", "snapshot info snap1", tt.info)
				if tt.prepare != nil {
					tt.prepare(h)
				}
				got, err := client(t, h).CreateSnapshot(t.Context(), request)
				if !errors.Is(err, tt.err) {
					t.Fatalf("CreateSnapshot = %v, want %v", err, tt.err)
				}
				if tt.err == nil && got != snap1(false) {
					t.Errorf("CreateSnapshot = %+v", got)
				}
				if tt.err != nil && (!gluster.Temporary(err) || !errors.Is(err, gluster.ErrTimeout)) {
					t.Errorf("%v is not temporary", err)
				}
				if strings.Count(strings.Join(h.calls, "\n"), "snapshot create") != 1 {
					t.Errorf("commands: %q", h.calls)
				}
			})
		})
	}
}

// Somebody else's snapshot of the same name is not taken for the new one.
func TestCreateSnapshotWithoutAnswerButForeign(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := host("snapshot create snap1 gbrec no-timestamp description mine", "request-timed-out.txt", "snapshot info snap1", "snapshot-info.xml")
		_, err := client(t, h).CreateSnapshot(t.Context(), gluster.SnapshotRequest{Name: "snap1", Volume: "gbrec", Description: "mine"})
		if !errors.Is(err, gluster.ErrTimeout) {
			t.Errorf("CreateSnapshot = %v, want ErrTimeout", err)
		}
	})
}

func TestRefusedSnapshots(t *testing.T) {
	tests := []struct {
		file      string
		kind      error
		errno     int
		temporary bool
		remedy    string
	}{
		{"snapshot-create-brickdown.xml", gluster.ErrBrickDown, 30803, false, "gluster volume start gbrec force"},
		{"snapshot-create-busy.xml", gluster.ErrBusy, 30802, true, "try again"},
		{"snapshot-create-exists.xml", gluster.ErrSnapshotExists, 30812, false, "gluster snapshot delete snap1"},
		{"snapshot-create-limit.xml", gluster.ErrSnapshotLimit, 30805, false, "snap-max-hard-limit"},
		{"snapshot-create-missing.xml", gluster.ErrNoVolume, 30806, false, "gluster volume list"},
		{"snapshot-create-notthin.xml", gluster.ErrNotThin, 30815, false, "thinly provisioned"},
		{"snapshot-create-stopped.xml", gluster.ErrVolumeStopped, 30810, false, "gluster volume start gbrec"},
	}
	for _, tt := range tests {
		t.Run(tt.file, func(t *testing.T) {
			_, err := client(t, host(createCommand, tt.file)).CreateSnapshot(t.Context(), request)
			var e *gluster.Error
			if !errors.Is(err, tt.kind) || !errors.As(err, &e) {
				t.Fatalf("CreateSnapshot = %v, want %v", err, tt.kind)
			}
			if e.Errno != tt.errno || e.Host != "192.168.77.10" || e.Volume != "gbrec" || e.Snapshot != "snap1" || e.Op != "snapshot create" {
				t.Errorf("error = %+v", e)
			}
			if gluster.Temporary(err) != tt.temporary {
				t.Errorf("Temporary = %v", !tt.temporary)
			}
			if !strings.Contains(e.Remedy(), tt.remedy) {
				t.Errorf("remedy = %q, want something with %q", e.Remedy(), tt.remedy)
			}
		})
	}
}

func TestActivate(t *testing.T) {
	h := host(
		"snapshot activate snap1", "snapshot-activate.xml snapshot-activate-already.xml",
		"snapshot deactivate snap1", "snapshot-deactivate.xml snapshot-deactivate-already.xml",
		"snapshot info snap1", "snapshot-info-active.xml snapshot-info.xml",
		"snapshot activate nosuch", "snapshot-activate-missing.xml",
	)
	c := client(t, h)
	for range 2 { // The second time it is already so.
		if err := c.ActivateSnapshot(t.Context(), "snap1"); err != nil {
			t.Error(err)
		}
	}
	for range 2 {
		if err := c.DeactivateSnapshot(t.Context(), "snap1"); err != nil {
			t.Error(err)
		}
	}
	if err := c.ActivateSnapshot(t.Context(), "nosuch"); !errors.Is(err, gluster.ErrNoSnapshot) {
		t.Errorf("ActivateSnapshot = %v", err)
	}
}

// Number 22 is not only "already activated".
func TestActivateRefused(t *testing.T) {
	h := host("snapshot activate snap1", "snapshot-activate-already.xml", "snapshot info snap1", "snapshot-info.xml")
	var e *gluster.Error
	if err := client(t, h).ActivateSnapshot(t.Context(), "snap1"); !errors.As(err, &e) || e.Errno != 22 {
		t.Errorf("ActivateSnapshot = %v, want error number 22", err)
	}
}

func TestActivateWithoutAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := host("snapshot activate snap1", "request-timed-out.txt", "snapshot info snap1", "snapshot-info.xml snapshot-info-active.xml")
		if err := client(t, h).ActivateSnapshot(t.Context(), "snap1"); err != nil {
			t.Error(err)
		}
	})
}

func TestDeleteSnapshot(t *testing.T) {
	h := host("snapshot delete snap1", "snapshot-delete.xml snapshot-delete-missing.xml")
	c := client(t, h)
	for range 2 {
		if err := c.DeleteSnapshot(t.Context(), "snap1"); err != nil {
			t.Error(err)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		h := host("snapshot delete snap1", "request-timed-out.txt", "snapshot info snap1", "snapshot-info.xml snapshot-info-missing.xml")
		if err := client(t, h).DeleteSnapshot(t.Context(), "snap1"); err != nil {
			t.Error(err)
		}
		h = host("snapshot delete snap1", "request-timed-out.txt", "snapshot info snap1", "snapshot-info.xml")
		if err := client(t, h).DeleteSnapshot(t.Context(), "snap1"); !errors.Is(err, gluster.ErrTimeout) {
			t.Errorf("DeleteSnapshot = %v, want ErrTimeout", err)
		}
	})
}

func TestSnapshots(t *testing.T) {
	const hosting = "vol_dfe9c3289d058ad0b1252c95b868c144"
	c := client(t, host("snapshot info volume gbrec", "snapshot-info-volume-none.xml snapshot-info-volume.xml",
		"snapshot info volume "+hosting, "snapshot-info-volume-two.xml", "snapshot info volume nosuch", "snapshot-info-volume-missing.xml"))
	if all, err := c.Snapshots(t.Context(), "gbrec"); err != nil || len(all) != 0 {
		t.Errorf("Snapshots = %+v, %v, want none", all, err)
	}
	all, err := c.Snapshots(t.Context(), "gbrec")
	if diff := cmp.Diff([]gluster.Snapshot{snap1(true)}, all); err != nil || diff != "" {
		t.Errorf("Snapshots differ (-want +got), %v:\n%s", err, diff)
	}
	all, err = c.Snapshots(t.Context(), hosting)
	if err != nil || len(all) != 2 || all[0].Name != "snapA" || all[1].Volume != hosting || !all[0].Created.Before(all[1].Created) {
		t.Errorf("Snapshots = %+v, %v", all, err)
	}
	if _, err := c.Snapshots(t.Context(), "nosuch"); !errors.Is(err, gluster.ErrNoVolume) {
		t.Errorf("missing volume: %v", err)
	}
}

func TestSnapshotInfoMissing(t *testing.T) {
	c := client(t, host("snapshot info nosuch", "snapshot-info-missing.xml", "snapshot status nosuch", "snapshot-status-missing.xml"))
	if _, err := c.SnapshotInfo(t.Context(), "nosuch"); !errors.Is(err, gluster.ErrNoSnapshot) {
		t.Errorf("SnapshotInfo = %v", err)
	}
	if _, err := c.SnapshotStatus(t.Context(), "nosuch"); !errors.Is(err, gluster.ErrNoSnapshot) {
		t.Errorf("SnapshotStatus = %v", err)
	}
}

func TestSnapshotStatus(t *testing.T) {
	c := client(t, host("snapshot status snap1", "snapshot-status-inactive.xml snapshot-status.xml"))
	b := gluster.SnapshotBrick{Host: "192.168.77.10", Path: "/run/gluster/snaps/ecbe60ee4aec460fbe1933b7fab92d65/brick1/brick"}
	active := b
	active.Running, active.PID, active.VG, active.Data, active.Size = true, 2875, "vg_gbrec", 16.17, "400.00m"
	for _, want := range []gluster.SnapshotBrick{b, active} {
		got, err := c.SnapshotStatus(t.Context(), "snap1")
		if diff := cmp.Diff([]gluster.SnapshotBrick{want}, got); err != nil || diff != "" {
			t.Errorf("SnapshotStatus differs (-want +got), %v:\n%s", err, diff)
		}
	}
}

func TestSnapshotLimits(t *testing.T) {
	c := client(t, host("volume info gbrec", "volume-info.xml", "snapshot config gbrec", "snapshot-config.xml snapshot-config-low.xml snapshot-config-missing.xml"))
	for _, want := range []gluster.Limits{{Hard: 256, SoftPercent: 90}, {Hard: 1, SoftPercent: 90}} {
		if got, err := c.SnapshotLimits(t.Context(), "gbrec"); err != nil || got != want {
			t.Errorf("SnapshotLimits = %+v, %v, want %+v", got, err, want)
		}
	}
	if _, err := c.SnapshotLimits(t.Context(), "gbrec"); !errors.Is(err, gluster.ErrNoVolume) {
		t.Errorf("SnapshotLimits = %v, want ErrNoVolume", err)
	}
}

// What Gluster or a shell could take for something else reaches no command.
func TestRefusedNames(t *testing.T) {
	h := host()
	c := client(t, h)
	calls := map[string]func(string) error{
		"Volume":             func(n string) error { _, err := c.Volume(t.Context(), n); return err },
		"BrickStates":        func(n string) error { _, err := c.BrickStates(t.Context(), n); return err },
		"SnapshotLimits":     func(n string) error { _, err := c.SnapshotLimits(t.Context(), n); return err },
		"Snapshots":          func(n string) error { _, err := c.Snapshots(t.Context(), n); return err },
		"SnapshotInfo":       func(n string) error { _, err := c.SnapshotInfo(t.Context(), n); return err },
		"SnapshotStatus":     func(n string) error { _, err := c.SnapshotStatus(t.Context(), n); return err },
		"ActivateSnapshot":   func(n string) error { return c.ActivateSnapshot(t.Context(), n) },
		"DeactivateSnapshot": func(n string) error { return c.DeactivateSnapshot(t.Context(), n) },
		"DeleteSnapshot":     func(n string) error { return c.DeleteSnapshot(t.Context(), n) },
		"CreateSnapshot of": func(n string) error {
			_, err := c.CreateSnapshot(t.Context(), gluster.SnapshotRequest{Name: "s", Volume: n})
			return err
		},
		"CreateSnapshot": func(n string) error {
			_, err := c.CreateSnapshot(t.Context(), gluster.SnapshotRequest{Name: n, Volume: "v"})
			return err
		},
	}
	names := []string{"", "-x", "--xml", "a b", "a.b", "a/b", "../x", "a;b", "a\nb", "ä", "all", strings.Repeat("a", 255)}
	for what, call := range calls {
		for _, name := range names {
			if err := call(name); !errors.Is(err, gluster.ErrName) {
				t.Errorf("%s(%q) = %v, want ErrName", what, name, err)
			}
		}
	}
	for _, d := range []string{"-x", "--timeout=1", " x", "a\nb", "ä", "a\x00", strings.Repeat("a", 1025)} {
		if _, err := c.CreateSnapshot(t.Context(), gluster.SnapshotRequest{Name: "s", Volume: "v", Description: d}); !errors.Is(err, gluster.ErrName) {
			t.Errorf("description %q: %v, want ErrName", d, err)
		}
	}
	if len(h.calls) > 0 {
		t.Errorf("commands were run: %q", h.calls)
	}
}
