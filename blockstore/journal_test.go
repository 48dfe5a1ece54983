package blockstore_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/glusterbackupd/glusterbackupd/blockstore"
)

const (
	fixtureHost = "192.168.78.10"
	head        = "VOLUME: vol_a\nGBID: 7d8d3ac7-13ba-4827-b0d4-23af0f23a1dd\nHA: 2\nENTRYCREATE: INPROGRESS\nSIZE: 4096\nENTRYCREATE: SUCCESS\n"
)

func parse(t *testing.T, text string) blockstore.Journal {
	t.Helper()
	j, err := blockstore.ParseJournal(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return j
}

// fixtures returns every journal in testdata but the empty files beside them.
func fixtures(t testing.TB) map[string]string {
	t.Helper()
	all := make(map[string]string)
	for _, dir := range []string{"block-meta", "block-meta-history"} {
		entries, err := os.ReadDir(filepath.Join("testdata", dir))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			text, err := os.ReadFile(filepath.Join("testdata", dir, e.Name()))
			if err != nil {
				t.Fatal(err)
			}
			if len(text) > 0 {
				all[dir+"/"+e.Name()] = string(text)
			}
		}
	}
	return all
}

func TestParseFixtures(t *testing.T) {
	type want struct {
		GBID     string
		Size     int64
		State    blockstore.State
		Status   string
		Password bool
		Hosts    []string
	}
	hosts := []string{fixtureHost}
	wants := map[string]want{
		"block-meta/blk_authed": {"d0e3d94d-72c0-40d8-a572-8ba0ed60e23a", 1 << 30, blockstore.StateReady, "AUTHENFORCED", true, hosts},
		"block-meta/blk_new":    {"d648e4e0-e010-400d-8b46-c85251ee4785", 1 << 30, blockstore.StateReady, "CONFIGSUCCESS", false, hosts},
		"block-meta/blockvol_894eff0265e1564eb4dc153a75e503ee": {"7d8d3ac7-13ba-4827-b0d4-23af0f23a1dd", 1 << 30, blockstore.StateReady, "CONFIGSUCCESS", false, hosts},
		"block-meta/crashcreate":                               {"1f69f7cf-88d5-488a-9ea8-3b1e50286eed", 64 << 20, blockstore.StateCreating, "CONFIGINPROGRESS", false, hosts},
		"block-meta/crashdelete":                               {"515b82ca-632a-4617-8a75-89907006e3a2", 64 << 20, blockstore.StateDeleting, "CLEANUPINPROGRESS", false, hosts},
		"block-meta/resized":                                   {"246230c4-86a1-4ec0-9800-bcd81d9c60cc", 256 << 20, blockstore.StateReady, "AUTHCLEARENFORCED", true, hosts},
		"block-meta/reused":                                    {"3ac345cd-1351-4959-94cb-51d011d53c12", 64 << 20, blockstore.StateReady, "CONFIGSUCCESS", false, hosts},
		"block-meta/sparse":                                    {"30275337-7484-4ad5-a956-db7aa85c7959", 512 << 20, blockstore.StateReady, "CONFIGSUCCESS", false, hosts},
		"block-meta-history/meta-crashcreate":                  {"1f69f7cf-88d5-488a-9ea8-3b1e50286eed", 64 << 20, blockstore.StateCreating, "CONFIGINPROGRESS", false, hosts},
		"block-meta-history/meta-crashdelete":                  {"515b82ca-632a-4617-8a75-89907006e3a2", 64 << 20, blockstore.StateDeleting, "CLEANUPINPROGRESS", false, hosts},
		"block-meta-history/meta-resized-before":               {"246230c4-86a1-4ec0-9800-bcd81d9c60cc", 128 << 20, blockstore.StateReady, "CONFIGSUCCESS", false, hosts},
		"block-meta-history/meta-resized-after":                {"246230c4-86a1-4ec0-9800-bcd81d9c60cc", 256 << 20, blockstore.StateReady, "RSSUCCESS-268435456", false, hosts},
		"block-meta-history/meta-resized-auth-enable":          {"246230c4-86a1-4ec0-9800-bcd81d9c60cc", 256 << 20, blockstore.StateReady, "AUTHENFORCED", true, hosts},
		"block-meta-history/meta-resized-auth-disable":         {"246230c4-86a1-4ec0-9800-bcd81d9c60cc", 256 << 20, blockstore.StateReady, "AUTHCLEARENFORCED", true, hosts},
		"block-meta-history/meta-todelete":                     {"7d0366f3-05eb-46aa-bf12-b26f20eb47ac", 64 << 20, blockstore.StateReady, "CONFIGSUCCESS", false, hosts},
		"block-meta-history/meta-todelete-during-delete.1":     {"7d0366f3-05eb-46aa-bf12-b26f20eb47ac", 64 << 20, blockstore.StateReady, "CONFIGSUCCESS", false, hosts},
	}
	got := make(map[string]want)
	for name, text := range fixtures(t) {
		j := parse(t, text)
		if j.Torn || j.HA != 1 || j.Volume != "vol_dfe9c3289d058ad0b1252c95b868c144" {
			t.Errorf("%s: unexpected %v", name, j)
		}
		got[name] = want{j.GBID, j.Size, j.State(), j.Hosts[fixtureHost], j.HasPassword, j.ExportingHosts()}
	}
	if d := cmp.Diff(wants, got); d != "" {
		t.Errorf("journals (-want +got):\n%s", d)
	}
}

// TestUnknownKeys reads keys without a field as what they are: neither hosts
// nor faults. That they survive a restore is TestRestoreJournalKeepsUnknownKeys.
func TestUnknownKeys(t *testing.T) {
	j := parse(t, head+"PRIOPATH: 192.168.78.10\nFEATURE: one\nFEATURE: two\n"+fixtureHost+": CONFIGSUCCESS\n")
	if hosts := j.ExportingHosts(); len(j.Hosts) != 1 || !slices.Equal(hosts, []string{fixtureHost}) {
		t.Errorf("hosts = %v, want %s alone", j.Hosts, fixtureHost)
	}
}

func TestState(t *testing.T) {
	const a, b, c = "10.0.0.1: ", "10.0.0.2: ", "10.0.0.3: "
	tests := map[string]struct {
		lines string // after head, HA 2
		want  blockstore.State
		hosts string // the last digits of the hosts that may export
	}{
		"no host yet":                 {"", blockstore.StateCreating, ""},
		"one of two":                  {a + "CONFIGSUCCESS\n", blockstore.StateCreating, "1"},
		"second in progress":          {a + "CONFIGSUCCESS\n" + b + "CONFIGINPROGRESS\n", blockstore.StateCreating, "12"},
		"both":                        {a + "CONFIGSUCCESS\n" + b + "CONFIGSUCCESS\n", blockstore.StateReady, "12"},
		"create failed":               {a + "CONFIGSUCCESS\n" + b + "CONFIGFAIL\n", blockstore.StateFailed, "1"},
		"entry failed":                {"ENTRYCREATE: FAIL\n", blockstore.StateFailed, ""},
		"auth states":                 {a + "AUTHENFORCEING\n" + b + "AUTHENFORCEFAIL\n", blockstore.StateReady, "12"},
		"auth clearing":               {a + "AUTHCLEARENFORCEING\n" + b + "AUTHCLEARENFORCEFAIL\n", blockstore.StateReady, "12"},
		"resize in progress":          {a + "RSSUCCESS-8192\n" + b + "RSINPROGRESS-8192\n", blockstore.StateResizing, "12"},
		"resize failed":               {a + "RSFAIL-8192\n" + b + "RSSUCCESS-8192\n", blockstore.StateResizing, "12"},
		"delete begins":               {a + "CLEANUPINPROGRESS\n" + b + "CONFIGSUCCESS\n", blockstore.StateDeleting, "12"},
		"delete cannot reach a host":  {a + "CLEANUPSUCCESS\n" + b + "CLEANUPFAIL\n", blockstore.StateDeleting, "2"},
		"all cleaned up":              {a + "CLEANUPSUCCESS\n" + b + "CLEANUPSUCCESS\n", blockstore.StateDeleting, ""},
		"image goes":                  {a + "CONFIGSUCCESS\n" + b + "CONFIGSUCCESS\nENTRYDELETE: INPROGRESS\n", blockstore.StateDeleting, "12"},
		"image cannot go":             {a + "CONFIGSUCCESS\n" + b + "CONFIGSUCCESS\nENTRYDELETE: FAIL\n", blockstore.StateDeleting, "12"},
		"node replaced":               {a + "CLEANUPSUCCESS\n" + b + "RPSUCCESS\n" + c + "CONFIGSUCCESS\n", blockstore.StateReady, "23"},
		"dead node replaced":          {a + "CLEANUPINPROGRESS\n" + b + "RPSUCCESS\n" + c + "AUTHENFORCED\n", blockstore.StateReady, "123"},
		"portals not updated":         {a + "CLEANUPSUCCESS\n" + b + "RPFAIL\n" + c + "CONFIGSUCCESS\n", blockstore.StateReady, "23"},
		"replacement stopped half":    {a + "CLEANUPSUCCESS\n" + b + "RPSUCCESS\n" + c + "CONFIGINPROGRESS\n", blockstore.StateReplacing, "23"},
		"replacement failed":          {a + "CLEANUPSUCCESS\n" + b + "RPSUCCESS\n" + c + "CONFIGFAIL\n", blockstore.StateReplacing, "2"},
		"delete after a replacement":  {a + "RPSUCCESS\n" + b + "CONFIGSUCCESS\n" + a + "CLEANUPINPROGRESS\n" + b + "CLEANUPINPROGRESS\n", blockstore.StateDeleting, "12"},
		"status of a later version":   {a + "CONFIGSUCCESS\n" + b + "MOVING\n", blockstore.StateUnknown, "12"},
		"delete with a later version": {a + "CLEANUPINPROGRESS\n" + b + "MOVING\n", blockstore.StateDeleting, "12"},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			j := parse(t, head+tt.lines)
			if got := j.State(); got != tt.want {
				t.Errorf("State() = %s, want %s", got, tt.want)
			}
			var hosts string
			for _, h := range j.ExportingHosts() {
				hosts += h[len(h)-1:]
			}
			if hosts != tt.hosts {
				t.Errorf("ExportingHosts() = %s, want %s", hosts, tt.hosts)
			}
		})
	}
}

func TestStateBeforeEntry(t *testing.T) {
	for _, text := range []string{
		"", "VOLUME: vol_a\n", "VOLUME: vol_a\nGBID: 7d8d3ac7-13ba-4827-b0d4-23af0f23a1dd\nHA: 1\nENTRYCREATE: INPROGRESS\n",
		"ENTRYCREATE: SUCCESS\nSIZE: 1\n10.0.0.1: CONFIGSUCCESS\n",
	} {
		if got := parse(t, text).State(); got != blockstore.StateCreating {
			t.Errorf("State of %q = %s, want creating", text, got)
		}
	}
}

// TestTorn cuts a real journal at every byte: what is left must be what the
// complete lines say, never a shortened value.
func TestTorn(t *testing.T) {
	text := fixtures(t)["block-meta/resized"]
	for cut := range text {
		j := parse(t, text[:cut])
		whole := text[:strings.LastIndexByte(text[:cut], '\n')+1]
		want := parse(t, whole)
		if torn := whole != text[:cut]; j.Torn != torn {
			t.Fatalf("cut at %d: Torn = %v, want %v", cut, j.Torn, torn)
		}
		j.Torn = false
		if j.String() != want.String() {
			t.Fatalf("cut at %d: %v, want %v", cut, j, want)
		}
	}
}

func TestParseErrors(t *testing.T) {
	tests := map[string]struct {
		text string
		line int
	}{
		"no key":           {"VOLUME: a\nxyz\n", 2},
		"NULs after crash": {"VOLUME: a\n\x00\x00\x00\nGBID: x\n", 2},
		"carriage return":  {"VOLUME: a\r\n", 1},
		"GBID is a path":   {"GBID: ../../etc/passwd\n", 1},
		"GBID too short":   {"GBID: 7d8d3ac7-13ba-4827-b0d4-23af0f23a1d\n", 1},
		"volume is a path": {"VOLUME: a/b\n", 1},
		"size is negative": {"SIZE: -1\n", 1},
		"size is signed":   {"SIZE: +1\n", 1},
		"size is zero":     {"SIZE: 0\n", 1},
		"size is empty":    {"SIZE:\n", 1},
		"size too large":   {"SIZE: 9223372036854775808\n", 1},
		"HA is not one":    {"HA: many\n", 1},
		"host is option":   {"-oProxyCommand=x: CONFIGSUCCESS\n", 1},
		"host has space":   {"a b: CONFIGSUCCESS\n", 1},
		"secret line":      {"PASSWORD d068f6da-abfe-499d-a755-4056513ef6c6\n", 1},
		"too large":        {strings.Repeat("IOTIMEOUT: 0\n", 1<<17), 0},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			_, err := blockstore.ParseJournal(strings.NewReader(tt.text))
			bad, ok := errors.AsType[*blockstore.JournalError](err)
			if !ok || !errors.Is(err, blockstore.ErrJournal) {
				t.Fatalf("error = %v, want a JournalError", err)
			}
			if bad.Line != tt.line {
				t.Errorf("line = %d, want %d", bad.Line, tt.line)
			}
			if strings.Contains(err.Error(), "d068f6da") {
				t.Errorf("error shows a password: %v", err)
			}
			if bad.Remedy() == "" {
				t.Error("no remedy")
			}
		})
	}
}

func TestReadError(t *testing.T) {
	r := io.MultiReader(strings.NewReader(head), brokenReader{})
	if _, err := blockstore.ParseJournal(r); !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("error = %v, want the reader's", err)
	}
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, io.ErrNoProgress }

func TestNoPasswordShown(t *testing.T) {
	const secret = "d068f6da-abfe-499d-a755-4056513ef6c6"
	j := parse(t, fixtures(t)["block-meta/blk_authed"])
	for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
		if s := fmt.Sprintf(format, j); strings.Contains(s, secret) || !strings.Contains(s, j.GBID) {
			t.Errorf("%s = %s", format, s)
		}
	}
}

func TestHostNames(t *testing.T) {
	j := parse(t, head+"fd00::7: CONFIGSUCCESS\nnode-1.example: CONFIGSUCCESS\nNODE: CONFIGSUCCESS\n")
	want := []string{"NODE", "fd00::7", "node-1.example"}
	if got := j.ExportingHosts(); !slices.Equal(got, want) {
		t.Errorf("hosts = %v, want %v", got, want)
	}
}

func TestValidName(t *testing.T) {
	for name, ok := range map[string]bool{
		"blockvol_894eff0265e1564eb4dc153a75e503ee": true, "a": true, "A-b_9": true,
		strings.Repeat("x", 254): true, strings.Repeat("x", 255): false,
		"": false, ".": false, "..": false, "a.b": false, "a/b": false, "a\n": false, "a b": false, "ä": false, "a\x00": false,
	} {
		if err := blockstore.ValidName(name); (err == nil) != ok || !ok && !errors.Is(err, blockstore.ErrName) {
			t.Errorf("ValidName(%q) = %v, want ok %v", name, err, ok)
		}
	}
}

func FuzzParseJournal(f *testing.F) {
	for _, text := range fixtures(f) {
		f.Add([]byte(text))
		f.Add([]byte(text[:len(text)*2/3]))
	}
	f.Add([]byte("SIZE: \nHA:\n: \nGBID: \n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		j, err := blockstore.ParseJournal(strings.NewReader(string(text)))
		if err != nil {
			if !errors.Is(err, blockstore.ErrJournal) {
				t.Fatalf("error = %v, want ErrJournal", err)
			}
			return
		}
		if j.GBID != "" && len(j.GBID) != 36 || strings.ContainsAny(j.GBID, "/.") || j.Size < 0 || j.HA < 0 {
			t.Fatalf("impossible journal %v", j)
		}
		for _, h := range j.ExportingHosts() {
			if strings.HasPrefix(h, "-") || strings.ContainsAny(h, " /\n") {
				t.Fatalf("host %q", h)
			}
		}
		if j.Torn {
			return
		}
		more, err := blockstore.ParseJournal(strings.NewReader(string(text) + fixtureHost + ": CLEANUPSUCC"))
		if err != nil || !more.Torn || more.State() != j.State() {
			t.Fatalf("a torn line changed %v into %v, %v", j, more, err)
		}
	})
}
