package blockstore_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/glusterbackupd/glusterbackupd/blockstore"
)

const (
	configFS  = "/sys/kernel/config"
	initiator = "iqn.1993-08.org.debian:01:c239c16140c1"
)

// configfs is a host whose configfs is a folder of files with the recorded
// contents. The commands run for real, with that folder in the place of
// /sys/kernel/config; only the kind of the file system is put on.
type configfs struct {
	root string
	kind string
	fail string // the command that fails
	ran  []string
}

func (c *configfs) Run(ctx context.Context, args ...string) ([]byte, error) {
	c.ran = append(c.ran, args[0])
	if args[0] == c.fail {
		return nil, errors.New(args[0] + " on host1: exit code 1")
	}
	if args[0] == "stat" {
		return []byte(c.kind + "\n"), nil
	}
	mapped := make([]string, len(args))
	for i, a := range args {
		mapped[i] = strings.ReplaceAll(a, configFS, c.root)
	}
	out, err := exec.CommandContext(ctx, mapped[0], mapped[1:]...).Output()
	return bytes.ReplaceAll(out, []byte(c.root), []byte(configFS)), err
}

func (c *configfs) write(t *testing.T, name, content string) {
	t.Helper()
	name = filepath.Join(c.root, name)
	must(t, os.MkdirAll(filepath.Dir(name), 0o700))
	must(t, os.WriteFile(name, []byte(content), 0o600))
}

// target is the folder of an image's target below configfs.
func target(gbid string) string { return "target/iscsi/" + blockstore.IQN(gbid) }

// recordedHost exports two images as the recorded host did; session is
// "logged-in" or "logged-out".
func recordedHost(t *testing.T, session string) *configfs {
	t.Helper()
	c := &configfs{root: t.TempDir(), kind: "configfs"}
	count, err := os.ReadFile("testdata/configfs/iscsi_instance-sessions-" + session + ".txt")
	must(t, err)
	c.write(t, target(imageGBID)+"/tpgt_1/dynamic_sessions", recorded(t, "dynamic_sessions-"+session))
	c.write(t, target(imageGBID)+"/fabric_statistics/iscsi_instance/sessions", string(count))
	c.write(t, target(imageGBID)+"/tpgt_1/param/sessions", "not a count")
	c.write(t, target(smallGBID)+"/tpgt_1/dynamic_sessions", "iqn.2000-01.com.example:other\n\x00")
	c.write(t, "target/core/alua/lu_gps/default_lu_gp/members", "")
	return c
}

// recorded undoes 'od -c'.
func recorded(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile("testdata/configfs/" + name + ".od")
	must(t, err)
	var b strings.Builder
	for line := range strings.Lines(string(text)) {
		for i, field := range strings.Fields(line) {
			switch {
			case i == 0: // the offset
			case field == `\n`:
				b.WriteByte('\n')
			case field == `\0`:
				b.WriteByte(0)
			default:
				b.WriteString(field)
			}
		}
	}
	return b.String()
}

func TestSessionsRecorded(t *testing.T) {
	if got := recorded(t, "dynamic_sessions-logged-in"); got != initiator+"\n\x00" {
		t.Fatalf("recorded dynamic_sessions = %q", got)
	}
	one := []blockstore.Session{{Host: "host1", Initiator: initiator, Target: blockstore.IQN(imageGBID)}}
	for state, want := range map[string][]blockstore.Session{"logged-in": one, "logged-out": nil} {
		t.Run(state, func(t *testing.T) {
			got, err := blockstore.Sessions(context.Background(), "host1", recordedHost(t, state), imageGBID)
			must(t, err)
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("sessions (-want +got):\n%s", d)
			}
		})
	}
}

func TestSessions(t *testing.T) {
	const (
		none = "No active iSCSI Session For Initiator Endpoint: iqn.b\n"
		some = "InitiatorName: iqn.b\nInitiatorAlias: host\nLIO Session ID: 7   ISID: 0x00\n"
	)
	tpg := target(imageGBID) + "/tpgt_1"
	tests := map[string]struct {
		files map[string]string // beside those of a host with nobody logged in
		want  []string
	}{
		"two initiators":         {map[string]string{tpg + "/dynamic_sessions": "iqn.b\n\x00iqn.a\n\x00"}, []string{"iqn.a", "iqn.b"}},
		"one with two sessions":  {map[string]string{tpg + "/dynamic_sessions": "iqn.a\n\x00iqn.a\n\x00"}, []string{"iqn.a"}},
		"second portal group":    {map[string]string{target(imageGBID) + "/tpgt_2/dynamic_sessions": "iqn.a\n\x00"}, []string{"iqn.a"}},
		"explicit ACL, none":     {map[string]string{tpg + "/acls/iqn.b/info": none}, nil},
		"explicit ACL, new text": {map[string]string{tpg + "/acls/iqn.b/info": strings.Replace(none, "For", "for", 1)}, nil},
		"explicit ACL, one":      {map[string]string{tpg + "/acls/iqn.b/info": some}, []string{"iqn.b"}},
		"counted, not named":     {map[string]string{target(imageGBID) + "/fabric_statistics/iscsi_instance/sessions": "1\n"}, []string{blockstore.UnknownInitiator}},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			c := recordedHost(t, "logged-out")
			for name, content := range tt.files {
				c.write(t, name, content)
			}
			got, err := blockstore.Sessions(context.Background(), "host1", c, imageGBID)
			must(t, err)
			var initiators []string
			for _, s := range got {
				initiators = append(initiators, s.Initiator)
			}
			if d := cmp.Diff(tt.want, initiators); d != "" {
				t.Errorf("initiators (-want +got):\n%s", d)
			}
		})
	}
}

// TestNotExported is about hosts that were seen to export nothing.
func TestNotExported(t *testing.T) {
	tests := map[string]func(t *testing.T, c *configfs){
		"other images only": func(t *testing.T, c *configfs) { must(t, os.RemoveAll(filepath.Join(c.root, target(imageGBID)))) },
		"LIO not loaded":    func(t *testing.T, c *configfs) { must(t, os.RemoveAll(filepath.Join(c.root, "target"))) },
		"iSCSI not loaded":  func(t *testing.T, c *configfs) { must(t, os.RemoveAll(filepath.Join(c.root, "target/iscsi"))) },
	}
	for desc, prepare := range tests {
		t.Run(desc, func(t *testing.T) {
			c := recordedHost(t, "logged-in")
			prepare(t, c)
			got, err := blockstore.Sessions(context.Background(), "host1", c, imageGBID)
			if len(got) != 0 || err != nil {
				t.Errorf("Sessions = %v, %v; want none", got, err)
			}
		})
	}
}

// TestUnknownSessions is about hosts that must never count as "no session".
func TestUnknownSessions(t *testing.T) {
	tpg := target(imageGBID) + "/tpgt_1"
	tests := map[string]func(t *testing.T, c *configfs){
		"host does not answer":     func(_ *testing.T, c *configfs) { c.fail = "stat" },
		"container's empty folder": func(_ *testing.T, c *configfs) { c.kind = "sysfs" },
		"stat says nothing":        func(_ *testing.T, c *configfs) { c.kind = "" },
		"find fails":               func(_ *testing.T, c *configfs) { c.fail = "find" },
		"cat fails":                func(_ *testing.T, c *configfs) { c.fail = "cat" },
		"no attributes": func(t *testing.T, c *configfs) {
			must(t, os.Remove(filepath.Join(c.root, tpg, "dynamic_sessions")))
			must(t, os.RemoveAll(filepath.Join(c.root, target(imageGBID), "fabric_statistics")))
		},
		"strange count": func(t *testing.T, c *configfs) {
			c.write(t, target(imageGBID)+"/fabric_statistics/iscsi_instance/sessions", "many\n")
		},
		"strange ACL": func(t *testing.T, c *configfs) { c.write(t, tpg+"/acls/iqn.b/info", "") },
	}
	for desc, prepare := range tests {
		t.Run(desc, func(t *testing.T) {
			c := recordedHost(t, "logged-out")
			prepare(t, c)
			got, err := blockstore.Sessions(context.Background(), "host1", c, imageGBID)
			if got != nil {
				t.Errorf("sessions = %v beside an error", got)
			}
			wantError(t, err, blockstore.ErrUnknownSessions)
			if !strings.Contains(err.Error(), "host1") {
				t.Errorf("%v does not name the host", err)
			}
		})
	}
}

// refused is a command's error with a remedy of its own.
type refused struct{}

func (refused) Error() string  { return "authentication was refused" }
func (refused) Remedy() string { return "install the key" }

type refusing struct{}

func (refusing) Run(context.Context, ...string) ([]byte, error) { return nil, refused{} }

func TestUnknownSessionsKeepsRemedy(t *testing.T) {
	_, err := blockstore.Sessions(context.Background(), "host1", refusing{}, imageGBID)
	unknown, ok := errors.AsType[*blockstore.UnknownSessionsError](err)
	if !ok || unknown.Remedy() != "install the key" || !errors.Is(err, refused{}) {
		t.Errorf("error = %#v, want the cause and its remedy", err)
	}
}

func TestSessionsRefusesBadGBID(t *testing.T) {
	c := recordedHost(t, "logged-in")
	if _, err := blockstore.Sessions(context.Background(), "host1", c, "*"); !errors.Is(err, blockstore.ErrName) || len(c.ran) > 0 {
		t.Errorf("error = %v after %v, want ErrName before any command", err, c.ran)
	}
}

func TestInUseError(t *testing.T) {
	sessions, err := blockstore.Sessions(context.Background(), "host1", recordedHost(t, "logged-in"), imageGBID)
	must(t, err)
	err = &blockstore.InUseError{Image: imageName, Sessions: sessions}
	wantError(t, err, blockstore.ErrInUse)
	for _, fact := range []string{imageName, "host1", initiator} {
		if !strings.Contains(err.Error(), fact) {
			t.Errorf("%v does not name %s", err, fact)
		}
	}
}
