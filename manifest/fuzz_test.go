package manifest_test

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/glusterbackupd/glusterbackupd/manifest"
)

func digest(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}

func FuzzPathRoundTrip(f *testing.F) {
	for _, s := range []string{"a/b", "%41", "\xff\n", "日本語", "a b", "\u2028<>&\"\\", "..", "\xed\xa0\x80"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		escaped := manifest.Escape(raw)
		if !utf8.ValidString(escaped) || strings.ContainsFunc(escaped, func(r rune) bool { return r < 0x80 && unicode.IsControl(r) }) {
			t.Errorf("Escape(%q) = %q has bytes that it should not have", raw, escaped)
		}
		if back, err := manifest.Unescape(escaped); err != nil || back != raw {
			t.Errorf("Unescape(Escape(%q)) = %q, %v", raw, back, err)
		}
		if back, err := manifest.Unescape(raw); err == nil && manifest.Escape(back) != raw {
			t.Errorf("Unescape(%q) = %q, which has another escaped form", raw, back)
		}
		if strings.Contains(raw, "\x00") || raw == "" {
			return
		}
		want := []manifest.Entry{{Path: ".", Type: manifest.Symlink, Target: raw, Xattrs: map[string][]byte{raw: []byte(raw)}}}
		want[0].MTime = want[0].MTime.UTC()
		file, _ := write(t, want)
		got, err := read(file)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	})
}

// FuzzReader reads any text: it must be refused as damaged, or be a manifest
// that reads the same after it is written again.
func FuzzReader(f *testing.F) {
	file, _ := write(f, sample())
	f.Add(unpack(f, file))
	f.Add(`{"format":"glusterbackupd manifest","version":1}` + "\n" + `{"end":0}` + "\n")
	f.Fuzz(func(t *testing.T, text string) {
		entries, err := read(pack(t, text))
		if err != nil {
			if !errors.Is(err, manifest.ErrDamaged) && !errors.Is(err, manifest.ErrVersion) {
				t.Fatalf("error %v", err)
			}
			return
		}
		again, _ := write(t, entries)
		got, err := read(again)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(entries, got); diff != "" {
			t.Error(diff)
		}
	})
}

// FuzzReaderBytes reads any bytes, compressed or not.
func FuzzReaderBytes(f *testing.F) {
	file, _ := write(f, sample())
	f.Add(file)
	f.Fuzz(func(t *testing.T, data []byte) {
		_, err := read(data)
		if err != nil && !errors.Is(err, manifest.ErrDamaged) && !errors.Is(err, manifest.ErrVersion) {
			t.Fatalf("error %v", err)
		}
	})
}
