//go:build integration

package packages

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestReproducible builds the packages of the last commit twice, in two
// folders, at two times, in two time zones and with two umasks, and compares
// them byte by byte.
func TestReproducible(t *testing.T) {
	var folders [2]string
	for i, shell := range []string{"umask 022; export TZ=UTC", "umask 077; export TZ=Asia/Tokyo"} {
		folders[i] = filepath.Join(t.TempDir(), "checkout")
		output(t, "git", "clone", "--quiet", "--no-hardlinks", "../..", folders[i])
		cmd := exec.Command("sh", "-euc", shell+"; exec make -s -C "+folders[i]+" package")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("make package: %v\n%s", err, out)
		}
	}
	for _, kind := range kinds() {
		a := built(t, kind, filepath.Join(folders[0], "dist"))
		b := built(t, kind, filepath.Join(folders[1], "dist"))
		if filepath.Base(a) != filepath.Base(b) {
			t.Errorf("%s and %s", filepath.Base(a), filepath.Base(b))
		}
		first, err := os.ReadFile(a)
		if err != nil {
			t.Fatal(err)
		}
		second, err := os.ReadFile(b)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(first, second) {
			t.Errorf("two builds of %s differ", filepath.Base(a))
		}
	}
}
