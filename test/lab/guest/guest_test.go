package guest

import (
	"archive/tar"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestRecipeHash(t *testing.T) {
	base := recipeHash("bookworm", []string{"a", "b"}, "script")
	if again := recipeHash("bookworm", []string{"a", "b"}, "script"); again != base || len(base) != 12 {
		t.Errorf("hashes of one recipe: %s, %s; want the same 12 digits", base, again)
	}
	for desc, other := range map[string]string{
		"suite":    recipeHash("trixie", []string{"a", "b"}, "script"),
		"packages": recipeHash("bookworm", []string{"a", "c"}, "script"),
		"border":   recipeHash("bookworm", []string{"ab"}, "script"),
		"script":   recipeHash("bookworm", []string{"a", "b"}, "script2"),
	} {
		if other == base {
			t.Errorf("another %s has the same hash", desc)
		}
	}
}

func TestSeed(t *testing.T) {
	name := filepath.Join(t.TempDir(), "seed.img")
	files := []SeedFile{
		{"/root/.ssh/authorized_keys", 0o600, []byte("key\n")},
		{"/usr/local/sbin/program", 0o755, []byte(strings.Repeat("x", 3<<20))},
	}
	if err := WriteSeed(name, files); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(name)
	if err != nil || info.Size()%(1<<20) != 0 || info.Mode().Perm() != 0o600 {
		t.Errorf("seed disk: %v, %v; want whole MiB and mode 0600", info, err)
	}
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r := tar.NewReader(f)
	for _, want := range files {
		h, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil || "/"+h.Name != want.Path || h.Mode != want.Mode || h.Uid != 0 || string(content) != string(want.Content) {
			t.Errorf("entry %s mode %o uid %d, %d bytes, %v; want %s", h.Name, h.Mode, h.Uid, len(content), err, want.Path)
		}
	}
	if _, err := r.Next(); !errors.Is(err, io.EOF) {
		t.Errorf("after the last entry: %v; want EOF", err)
	}
}

func TestMachineArgs(t *testing.T) {
	args := Machine{
		Image: Image{"/c/root.img", "/c/vmlinuz", "/c/initrd.img"}, Disks: "/d", Seed: "/r/seed.img", Run: "/r",
	}.args()
	var drives []string
	for i, a := range args {
		if a == "-drive" {
			drives = append(drives, args[i+1])
		}
	}
	// The guest names its disks by this order: vda to vdd.
	for i, want := range []string{"/c/root.img", "/d/data.img", "/d/hand.img", "/r/seed.img"} {
		if i >= len(drives) || !strings.HasPrefix(drives[i], "file="+want+",") {
			t.Fatalf("drives %q; want %s as number %d", drives, want, i)
		}
	}
	if !strings.HasSuffix(drives[0], ",snapshot=on") || !strings.HasSuffix(drives[3], ",readonly=on") {
		t.Errorf("drives %q; want the root and the seed never written to", drives)
	}
	if !slices.Contains(args, "tcg,thread=multi") {
		t.Errorf("args %q; want emulated processors", args)
	}
}
