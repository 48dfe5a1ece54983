package copier

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// writeFingerprints makes a file of n random ones.
func writeFingerprints(t *testing.T, n int) (path string, all []fingerprint) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "fingerprints")
	w, err := newFingerprintWriter(path)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.NewChaCha8([32]byte{9})
	for range n {
		var fp fingerprint
		_, _ = rng.Read(fp[:])
		if err := w.add(fp); err != nil {
			t.Fatal(err)
		}
		all = append(all, fp)
	}
	if err := w.finish(); err != nil {
		t.Fatal(err)
	}
	return path, all
}

func TestFingerprintsAreFound(t *testing.T) {
	for _, n := range []int{0, 1, 255, 100_000, 300_000} { // The largest fills blocks of the scratch file.
		path, all := writeFingerprints(t, n)
		set, err := openFingerprints(path)
		if err != nil || set == nil {
			t.Fatalf("%d: %v, %v", n, set, err)
		}
		for _, fp := range all {
			if !set.has(fp) {
				t.Fatalf("%d: %x is missing", n, fp)
			}
			fp[15] ^= 1
			if set.has(fp) {
				t.Fatalf("%d: %x was never added", n, fp)
			}
		}
		set.close()
		if left, _ := filepath.Glob(path + "?*"); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	}
}

// TestDamagedFingerprintsAreNotUsed flips and cuts at places all over the file.
func TestDamagedFingerprintsAreNotUsed(t *testing.T) {
	path, _ := writeFingerprints(t, 1000)
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for at := 0; at < len(good); at += 997 {
		bad := append([]byte(nil), good...)
		bad[at] ^= 0x10
		for name, content := range map[string][]byte{"flipped": bad, "cut": good[:at], "longer": append(bad[:len(bad):len(bad)], 0)} {
			if err := os.WriteFile(path, content, 0o600); err != nil {
				t.Fatal(err)
			}
			if set, err := openFingerprints(path); set != nil || err != nil {
				t.Fatalf("%s at %d: %v, %v", name, at, set, err)
			}
		}
	}
}

// TestFingerprintNoticesEveryChange changes one property at a time.
func TestFingerprintNoticesEveryChange(t *testing.T) {
	base := unix.Stat_t{Mode: unix.S_IFREG | 0o644, Nlink: 1, Size: 5, Ino: 7, Mtim: unix.Timespec{Sec: 1, Nsec: 2}, Ctim: unix.Timespec{Sec: 3, Nsec: 4}}
	seen := map[fingerprint]string{fingerprintOf("a/b", &base): "nothing"}
	for name, change := range map[string]func(*unix.Stat_t){
		"mode": func(s *unix.Stat_t) { s.Mode ^= 1 }, "type": func(s *unix.Stat_t) { s.Mode = unix.S_IFIFO | 0o644 },
		"links": func(s *unix.Stat_t) { s.Nlink++ }, "size": func(s *unix.Stat_t) { s.Size++ }, "inode": func(s *unix.Stat_t) { s.Ino++ },
		"mtime": func(s *unix.Stat_t) { s.Mtim.Sec++ }, "mtime, ns": func(s *unix.Stat_t) { s.Mtim.Nsec++ },
		"ctime": func(s *unix.Stat_t) { s.Ctim.Sec++ }, "ctime, ns": func(s *unix.Stat_t) { s.Ctim.Nsec++ },
	} {
		st := base
		change(&st)
		fp := fingerprintOf("a/b", &st)
		if other, ok := seen[fp]; ok {
			t.Errorf("change of %s looks like change of %s", name, other)
		}
		seen[fp] = name
	}
	if _, ok := seen[fingerprintOf("a/c", &base)]; ok {
		t.Error("another path has the same fingerprint")
	}
}
