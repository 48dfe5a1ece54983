package standin

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func fixture(t *testing.T, name string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// TestJournalIsAsRealOnes writes journals with the values of real ones and
// wants them byte for byte.
func TestJournalIsAsRealOnes(t *testing.T) {
	states := map[string][]string{
		"blockvol_894eff0265e1564eb4dc153a75e503ee": {configStarted, configDone},
		"blk_authed":  {configStarted, configDone, authDone},
		"crashcreate": {configStarted},
		"crashdelete": {configStarted, configDone, cleanupStarted},
	}
	for name, list := range states {
		t.Run(name, func(t *testing.T) {
			want := fixture(t, "block-meta/"+name)
			i, err := parse(name, strings.NewReader(want))
			if err != nil {
				t.Fatal(err)
			}
			got := i.head() + i.created()
			for _, s := range list {
				got += i.state(s)
			}
			if got != want {
				t.Errorf("journal:\n%s\nwant:\n%s", got, want)
			}
		})
	}
}

func TestInfoIsAsRealOnes(t *testing.T) {
	for _, name := range []string{"blockvol_894eff0265e1564eb4dc153a75e503ee", "blk_authed", "crashcreate", "crashdelete"} {
		t.Run(name, func(t *testing.T) {
			i, err := parse(name, strings.NewReader(fixture(t, "block-meta/"+name)))
			if err != nil {
				t.Fatal(err)
			}
			want := strings.TrimSpace(fixture(t, "info/gluster-block-info-"+name+".json"))
			if got := i.info(); got != want {
				t.Errorf("info %s; want %s", got, want)
			}
		})
	}
}

// program runs on plain folders. Only the kernel makes LIO's own files, so
// the folders of a backstore and a target group are prepared.
func program(t *testing.T) (p Program, root string) {
	t.Helper()
	root = t.TempDir()
	p = Program{ConfigFS: t.TempDir(), Mount: func(string) (string, error) { return root, nil }}
	if err := os.Mkdir(filepath.Join(p.ConfigFS, "core"), 0o755); err != nil {
		t.Fatal(err)
	}
	return p, root
}

func TestMissingBlockIsAsRealOne(t *testing.T) {
	p, _ := program(t)
	_, err := p.Run([]string{"info", "vol_dfe9c3289d058ad0b1252c95b868c144/nope", "--json"})
	fail := AsFail(err)
	want := strings.TrimSpace(fixture(t, "info/gluster-block-info-missing.json"))
	if fail.Code != 2 || fail.Answer() != want {
		t.Errorf("answer %d %s; want 2 %s", fail.Code, fail.Answer(), want)
	}
}

func TestCreateMakesTheRealLayout(t *testing.T) {
	_, root := program(t)
	s := store{root}
	lock, err := s.lock()
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	i, full, err := parseCreate([]string{"ha", "1", "auth", "enable", "prealloc", "full", "192.168.77.10", "2MiB"})
	if err != nil || !full || i.Size != 2<<20 || i.Password == "" {
		t.Fatalf("parseCreate: %+v, %v, %v", i, full, err)
	}
	i.Volume, i.Name = "vol", "one"
	if err := s.create(i, full); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]os.FileMode{
		"block-meta": os.ModeDir, "block-store": os.ModeDir, "block-meta/one": 0o600,
		"block-store/" + i.GBID: 0o600, "block-meta/meta.lock": 0o600, "block-meta/prio.info": 0o600,
	} {
		info, err := os.Stat(filepath.Join(root, name))
		if err != nil || info.Mode() != want {
			t.Errorf("%s: %v, %v; want mode %v", name, info, err, want)
		}
	}
	if err := s.create(i, full); AsFail(err).Code != 17 {
		t.Errorf("a second create: %v; want code 17", err)
	}
	names, err := s.names()
	if err != nil || len(names) != 1 || names[0] != "one" {
		t.Errorf("names %v, %v; want one", names, err)
	}
	if err := s.remove(i); err != nil {
		t.Fatal(err)
	}
	if entries, err := os.ReadDir(s.image("")); err != nil || len(entries) > 0 {
		t.Errorf("after the removal: %v, %v; want nothing", entries, err)
	}
}

func TestRefused(t *testing.T) {
	p, _ := program(t)
	for desc, args := range map[string][]string{
		"no block":          {"info"},
		"path as block":     {"info", "vol/../x"},
		"path as volume":    {"list", "../vol"},
		"unknown command":   {"modify", "vol/one"},
		"two hosts":         {"create", "vol/one", "ha", "1", "a,b", "1GiB"},
		"high availability": {"create", "vol/one", "ha", "2", "a", "1GiB"},
		"no size":           {"create", "vol/one", "ha", "1", "a", "1"},
	} {
		t.Run(desc, func(t *testing.T) {
			if answer, err := p.Run(args); exitCode(err) != 255 {
				t.Errorf("Run(%q) = %s, %v; want code 255", args, answer, err)
			}
		})
	}
}

// exitCode is the exit code of an error, 0 without one.
func exitCode(err error) int {
	if err == nil {
		return 0
	}
	return AsFail(err).Code
}

func TestHuman(t *testing.T) {
	for size, want := range map[int64]string{1 << 30: "1.0 GiB", 64 << 20: "64.0 MiB", 3 << 29: "1.5 GiB", 100: "100.0 Bytes"} {
		if got := human(size); got != want {
			t.Errorf("human(%d) = %q; want %q", size, got, want)
		}
	}
}
