package manifest_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"math"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"

	"github.com/glusterbackupd/glusterbackupd/manifest"
)

const sum = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"

// sample has every field and every type.
func sample() []manifest.Entry {
	at := time.Date(2018, 12, 2, 0, 0, 0, 1, time.UTC)
	file := manifest.Entry{
		Path: "a\nb", Type: manifest.File, Mode: 0o644, UID: 1000, GID: 4_294_967_294, Size: 5, SHA256: sum,
		MTime:  time.Unix(-1, 999_999_999).UTC(),
		Xattrs: map[string][]byte{"user.note": []byte("hi"), "user.empty": {}, "user.\xff\x01": {0, 255}},
	}
	second := file
	second.Path, second.HardlinkOf = "a\nb\xff%/x", "a\nb"
	return []manifest.Entry{
		{Path: ".", Type: manifest.Dir, Mode: 0o2775, GID: 2000, MTime: at},
		file,
		{Path: "a\nb\xff%", Type: manifest.Dir, Mode: 0o755, MTime: time.Unix(math.MaxInt32+1, 5).UTC()},
		second,
		{Path: "block", Type: manifest.Block, Major: 259, Minor: 1_000_000, MTime: at},
		{Path: "char", Type: manifest.Char, Mode: 0o666, MTime: at},
		{Path: "empty", Type: manifest.File, MTime: time.Unix(1<<40, 0).UTC()},
		{Path: "fifo", Type: manifest.FIFO, Mode: 0o7777, MTime: at},
		{Path: "socket", Type: manifest.Socket, MTime: at},
		{Path: "symlink", Type: manifest.Symlink, Mode: 0o777, Target: "\xff\n<&>%41\u2028", MTime: at},
	}
}

func write(t testing.TB, entries []manifest.Entry) ([]byte, manifest.Summary) {
	t.Helper()
	var out bytes.Buffer
	w, err := manifest.NewWriter(&out)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if err := w.Write(e); err != nil {
			t.Fatal(err)
		}
	}
	summary, err := w.Close()
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes(), summary
}

func read(file []byte) ([]manifest.Entry, error) {
	r, err := manifest.NewReader(bytes.NewReader(file))
	if err != nil {
		return nil, err
	}
	return rest(r)
}

// rest reads a manifest to its end.
func rest(r *manifest.Reader) (all []manifest.Entry, err error) {
	for {
		e, err := r.Next()
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		all = append(all, e)
	}
}

func collect(entries iter.Seq2[manifest.Entry, error]) ([]manifest.Entry, error) {
	var all []manifest.Entry
	for e, err := range entries {
		if err != nil {
			return all, err
		}
		all = append(all, e)
	}
	return all, nil
}

func sequence(entries []manifest.Entry) iter.Seq2[manifest.Entry, error] {
	return func(yield func(manifest.Entry, error) bool) {
		for _, e := range entries {
			if !yield(e, nil) {
				return
			}
		}
	}
}

// unpack and pack change a manifest file's text.
func unpack(t testing.TB, file []byte) string {
	t.Helper()
	zr, err := zstd.NewReader(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	defer zr.Close()
	text, err := io.ReadAll(zr)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func pack(t testing.TB, text string) []byte {
	t.Helper()
	zw, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithWindowSize(64<<10))
	if err != nil {
		t.Fatal(err)
	}
	defer zw.Close()
	return zw.EncodeAll([]byte(text), nil)
}

func TestRoundTrip(t *testing.T) {
	file, summary := write(t, sample())
	got, err := read(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(sample(), got); diff != "" {
		t.Errorf("read is not what was written:\n%s", diff)
	}
	want := manifest.Summary{Entries: 10, Files: 3, Dirs: 2, Bytes: 5, SHA256: digest(file)}
	if summary != want {
		t.Errorf("summary %+v, want %+v", summary, want)
	}
}

func TestEmptyManifest(t *testing.T) {
	file, summary := write(t, nil)
	if got, err := read(file); err != nil || len(got) != 0 || summary.Entries != 0 {
		t.Errorf("read %v, %v; summary %+v", got, err, summary)
	}
}

// TestGoldenText keeps the texts of all versions as they are: manifests outlive the
// program. Only the newest one is written, and all of them are read.
func TestGoldenText(t *testing.T) {
	older := manifest.Entry{Path: "zimage", Type: manifest.File, Mode: 0o600, MTime: time.Unix(5, 0).UTC(), Size: 16387, Pieces: manifest.Pieces{Size: 4096}}
	older.Pieces.SHA256 = wholePieces(bytes.Join([][]byte{bytes.Repeat([]byte{1}, 4096), make([]byte, 8192), bytes.Repeat([]byte{2}, 4096), []byte("end")}, nil)).SHA256
	newer := older
	newer.Pieces = piecesOf(image())
	for name, want := range map[string][]manifest.Entry{
		"testdata/version1.json": sample(),
		"testdata/version2.json": append(sample(), older),
		"testdata/version3.json": append(sample(), newer),
	} {
		golden, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		file, _ := write(t, want)
		if diff := cmp.Diff(string(golden), unpack(t, file)); diff != "" && name == "testdata/version3.json" {
			t.Errorf("text differs from %s:\n%s", name, diff)
		}
		got, err := read(pack(t, string(golden)))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s reads as something else:\n%s", name, diff)
		}
	}
}

func TestWriterRefuses(t *testing.T) {
	base := manifest.Entry{Path: "b", Type: manifest.File, Mode: 0o644}
	change := func(f func(*manifest.Entry)) manifest.Entry {
		e := base
		f(&e)
		return e
	}
	tests := map[string]manifest.Entry{
		"no path":          change(func(e *manifest.Entry) { e.Path = "" }),
		"absolute path":    change(func(e *manifest.Entry) { e.Path = "/b" }),
		"dot dot":          change(func(e *manifest.Entry) { e.Path = "b/../c" }),
		"NUL":              change(func(e *manifest.Entry) { e.Path = "b\x00" }),
		"unknown type":     change(func(e *manifest.Entry) { e.Type = "door" }),
		"mode":             change(func(e *manifest.Entry) { e.Mode = 0o100644 }),
		"negative size":    change(func(e *manifest.Entry) { e.Size = -1 }),
		"size of a folder": change(func(e *manifest.Entry) { e.Type, e.Size = manifest.Dir, 1 }),
		"target of a file": change(func(e *manifest.Entry) { e.Target = "x" }),
		"no target":        change(func(e *manifest.Entry) { e.Type = manifest.Symlink }),
		"device of a file": change(func(e *manifest.Entry) { e.Minor = 1 }),
		"short hash":       change(func(e *manifest.Entry) { e.SHA256 = sum[1:] }),
		"hash of a folder": change(func(e *manifest.Entry) { e.Type, e.SHA256 = manifest.Dir, sum }),
		"link forwards":    change(func(e *manifest.Entry) { e.HardlinkOf = "c" }),
		"linked folder":    change(func(e *manifest.Entry) { e.Type, e.HardlinkOf = manifest.Dir, "a" }),
		"bad link":         change(func(e *manifest.Entry) { e.HardlinkOf = "../a" }),
		"xattr name":       change(func(e *manifest.Entry) { e.Xattrs = map[string][]byte{"": {1}} }),
		"out of order":     change(func(e *manifest.Entry) { e.Path = "." }),
		"no folder":        change(func(e *manifest.Entry) { e.Path = "no/b" }),
		"too long":         change(func(e *manifest.Entry) { e.Xattrs = map[string][]byte{"user.x": make([]byte, 17<<20)} }),
	}
	for desc, e := range tests {
		t.Run(desc, func(t *testing.T) {
			w, err := manifest.NewWriter(io.Discard)
			if err != nil {
				t.Fatal(err)
			}
			for _, path := range []string{".", "a"} {
				if err := w.Write(manifest.Entry{Path: path, Type: manifest.Dir}); err != nil {
					t.Fatal(err)
				}
			}
			failure := w.Write(e)
			if failure == nil {
				t.Fatalf("Write(%+v) succeeded", e)
			}
			if _, err := w.Close(); !errors.Is(err, failure) {
				t.Errorf("Close after %v: %v", failure, err)
			}
		})
	}
}

// edited is a manifest's text with one fault, and the line that has it.
type edited struct {
	text string
	line int64
}

// replacer returns a function that replaces the first old in text.
func replacer(t *testing.T, text string) func(old, updated string) string {
	return func(old, updated string) string {
		if !strings.Contains(text, old) {
			t.Fatalf("%q is not in the sample", old)
		}
		return strings.Replace(text, old, updated, 1)
	}
}

func editedLines(t *testing.T, text string) map[string]edited {
	replace := replacer(t, text)
	lines := strings.SplitAfter(strings.TrimSuffix(text, "\n"), "\n")
	without := func(i int) string { return strings.Join(slices.Delete(slices.Clone(lines), i, i+1), "") }
	return map[string]edited{
		"nothing":              {"", 1},
		"other format":         {replace(`"glusterbackupd manifest"`, `"tar"`), 1},
		"header only":          {lines[0], 2},
		"no end":               {without(11), 12},
		"line removed":         {without(7), 11},
		"folder removed":       {without(3), 4},
		"cut in a line":        {text[:len(text)-30], 11},
		"last newline missing": {strings.TrimSuffix(text, "\n"), 12},
		"lines swapped":        {replace(lines[6]+lines[7], lines[7]+lines[6]), 8},
		"line twice":           {replace(lines[6], lines[6]+lines[6]), 8},
		"more after the end":   {text + lines[5], 12},
		"newline after end":    {text + "\n", 12},
		"two manifests":        {text + text, 12},
		"fields in the end":    {replace(`{"end":10`, `{"uid":0,"end":10`), 12},
		"end in an entry":      {replace(`{"path":"char"`, `{"end":5,"path":"char"`), 7},
		"blank line":           {replace(lines[6], "\n"+lines[6]), 7},
		"two values":           {replace(lines[6], strings.TrimSpace(lines[6])+lines[6]), 7},
	}
}

func editedFields(t *testing.T, text string) map[string]edited {
	replace := replacer(t, text)
	return map[string]edited{
		"unknown type":        {replace(`"fifo","mode"`, `"door","mode"`), 9},
		"unknown field":       {replace(`{"path":"fifo"`, `{"ctime":1,"path":"fifo"`), 9},
		"no mode":             {replace(`"mode":"7777",`, ``), 9},
		"short mode":          {replace(`"mode":"7777"`, `"mode":"777"`), 9},
		"mode not octal":      {replace(`"mode":"7777"`, `"mode":"7779"`), 9},
		"no uid":              {replace(`"uid":1000,`, ``), 3},
		"uid too large":       {replace(`"uid":1000`, `"uid":4294967296`), 3},
		"no size":             {replace(`"size":5,`, ``), 3},
		"negative size":       {replace(`"size":5`, `"size":-5`), 3},
		"no minor":            {replace(`,"minor":1000000`, ``), 6},
		"mtime of one number": {replace(`[-1,999999999]`, `[-1]`), 3},
		"mtime nanoseconds":   {replace(`[-1,999999999]`, `[-1,1000000000]`), 3},
		"path with ..":        {replace(`"path":"block"`, `"path":"../block"`), 6},
		"absolute path":       {replace(`"path":"block"`, `"path":"/block"`), 6},
		"lower case escape":   {replace(`a%0Ab"`, `a%0ab"`), 3},
		"needless escape":     {replace(`"path":"block"`, `"path":"b%6Cock"`), 6},
		"escaped NUL":         {replace(`"path":"block"`, `"path":"b%00"`), 6},
		"unfinished escape":   {replace(`"path":"block"`, `"path":"block%"`), 6},
		"raw control byte":    {replace(`"path":"block"`, `"path":"blo\u0007ck"`), 6},
		"bad UTF-8":           {replace(`"path":"block"`, "\"path\":\"bl\xff\""), 6},
		"hash cut":            {replace(sum, sum[2:]), 3},
		"bad base64":          {replace(`"aGk="`, `"aGk"`), 3},
		"null xattr":          {replace(`"aGk="`, `null`), 3},
		"link forwards":       {replace(`"hardlink_of":"a%0Ab"`, `"hardlink_of":"z"`), 5},
	}
}

func TestReaderRefusesEditedText(t *testing.T) {
	file, _ := write(t, sample())
	text := unpack(t, file)
	tests := editedLines(t, text)
	maps.Copy(tests, editedFields(t, text))
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			_, err := read(pack(t, tt.text))
			var damage *manifest.DamagedError
			if !errors.Is(err, manifest.ErrDamaged) || !errors.As(err, &damage) {
				t.Fatalf("error %v, want %v", err, manifest.ErrDamaged)
			}
			if damage.Line != tt.line {
				t.Errorf("%v: line %d, want %d", err, damage.Line, tt.line)
			}
		})
	}
}

func TestReaderRefusesEveryTruncation(t *testing.T) {
	file, _ := write(t, sample())
	for n := range file {
		if _, err := read(file[:n]); !errors.Is(err, manifest.ErrDamaged) {
			t.Fatalf("first %d of %d bytes: %v, want %v", n, len(file), err, manifest.ErrDamaged)
		}
	}
	for _, garbage := range []string{"\x00", "garbage", "\n"} {
		if _, err := read(append(slices.Clone(file), garbage...)); !errors.Is(err, manifest.ErrDamaged) {
			t.Errorf("%q at the end: %v, want %v", garbage, err, manifest.ErrDamaged)
		}
	}
}

// TestReaderSeesEveryFlippedBit allows a flip that changes nothing of what is
// read, which a few bits of the zstd frame header do.
func TestReaderSeesEveryFlippedBit(t *testing.T) {
	file, _ := write(t, sample())
	for i := range file {
		for bit := range 8 {
			flipped := slices.Clone(file)
			flipped[i] ^= 1 << bit
			got, err := read(flipped)
			if err == nil && !cmp.Equal(got, sample()) {
				t.Fatalf("bit %d of byte %d flipped: other entries and no error", bit, i)
			}
			if err != nil && !errors.Is(err, manifest.ErrDamaged) {
				t.Fatalf("bit %d of byte %d flipped: %v, want %v", bit, i, err, manifest.ErrDamaged)
			}
		}
	}
}

func TestReaderVersion(t *testing.T) {
	newer := pack(t, `{"format":"glusterbackupd manifest","version":4}`+"\n")
	if _, err := read(newer); !errors.Is(err, manifest.ErrVersion) || errors.Is(err, manifest.ErrDamaged) {
		t.Errorf("version 4: %v, want %v", err, manifest.ErrVersion)
	}
}

func TestReaderPassesOnReadErrors(t *testing.T) {
	file, _ := write(t, sample())
	broken := errors.New("disk does not answer")
	for _, n := range []int{0, 3, len(file) / 2} {
		r, err := manifest.NewReader(io.MultiReader(bytes.NewReader(file[:n]), iotest.ErrReader(broken)))
		if err == nil {
			_, err = rest(r)
		}
		if !errors.Is(err, broken) || errors.Is(err, manifest.ErrDamaged) {
			t.Errorf("read error after %d bytes: %v", n, err)
		}
	}
}

func TestReaderStaysFailed(t *testing.T) {
	r, err := manifest.NewReader(bytes.NewReader(pack(t, `{"format":"glusterbackupd manifest","version":1}`+"\nx\n{\"end\":0}\n")))
	if err != nil {
		t.Fatal(err)
	}
	_, first := r.Next()
	_, second := r.Next()
	if !errors.Is(first, manifest.ErrDamaged) || !errors.Is(second, first) {
		t.Errorf("errors %v, then %v", first, second)
	}
}

func TestPathLess(t *testing.T) {
	ordered := []string{
		".", "\x01", "-", "A", "a", "a/\x01", "a/b", "a/b/c", "a/b-", "a\x01", "a ", "a!", "a-b", "a.b", "a0", "aa", "b", "b/a", "\xff",
	}
	for i, a := range ordered {
		for j, b := range ordered {
			if got, want := manifest.PathLess(a, b), i < j; got != want {
				t.Errorf("PathLess(%q, %q) = %v, want %v", a, b, got, want)
			}
		}
	}
}

func TestEscape(t *testing.T) {
	tests := map[string]string{
		"plain/päth": "plain/päth", "100%": "100%25", "\x01\n\x7f": "%01%0A%7F", "\xff\xc3(": "%FF%C3(",
		"\xc0\xaf": "%C0%AF", "\xed\xa0\x80": "%ED%A0%80", "\ufffd": "\ufffd", "%41": "%2541", "": "",
	}
	for raw, want := range tests {
		if got := manifest.Escape(raw); got != want {
			t.Errorf("Escape(%q) = %q, want %q", raw, got, want)
		}
	}
}

func ExampleEscape() {
	fmt.Println(manifest.Escape("caf\xe9 100%\n"))
	// Output: caf%E9 100%25%0A
}
