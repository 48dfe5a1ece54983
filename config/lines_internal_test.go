package config

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"
	"github.com/google/go-cmp/cmp"
)

func TestScanLines(t *testing.T) {
	text := `# Comment with "quotes" and [brackets]
top = 1
a.b . "c.d" = '''
x = 1
[no]'''
[ one . two ] # [three]
text = """
\""" [[four]]
""""" # up to two quotes may end it
list = [ # comment ]
  "]",
  [1, 2],
  {x = 1, y.z = {q = 2}},
]

[[five]]
six = 1979-05-27 07:32:00
[[five]]

six = ''
[five.seven]
eight = true
[[five.nine]]
ten = 1
[[five.nine]]
'eleven "' = ""
[[five]]
inline = {
  a = 1, # TOML 1.1
  b = 2,
}
`
	want := map[string]int{
		"top": 2, "a": 3, "a.b": 3, `a.b."c.d"`: 3,
		"one": 6, "one.two": 6, "one.two.text": 7, "one.two.list": 10,
		"one.two.list[0]": 11, "one.two.list[1]": 12, "one.two.list[1][0]": 12, "one.two.list[1][1]": 12,
		"one.two.list[2]": 13, "one.two.list[2].x": 13, "one.two.list[2].y": 13, "one.two.list[2].y.z": 13,
		"one.two.list[2].y.z.q": 13,
		"five":                  16, "five[0]": 16, "five[0].six": 17, "five[1]": 18, "five[1].six": 20,
		"five[1].seven": 21, "five[1].seven.eight": 22, "five[1].nine": 23, "five[1].nine[0]": 23,
		"five[1].nine[0].ten": 24, "five[1].nine[1]": 25, `five[1].nine[1]."eleven \""`: 26,
		"five[2]": 27, "five[2].inline": 28, "five[2].inline.a": 29, "five[2].inline.b": 30,
	}
	if diff := cmp.Diff(want, scanLines(text)); diff != "" {
		t.Errorf("want -, got +:\n%s", diff)
	}
	if diff := cmp.Diff(want, scanLines(strings.ReplaceAll(text, "\n", "\r\n"))); diff != "" {
		t.Errorf("with CRLF, want -, got +:\n%s", diff)
	}
	checkLines(t, text)
}

// FuzzScanLines compares the lines with the positions that the TOML parser
// itself has, for all keys for which it has them.
func FuzzScanLines(f *testing.F) {
	files, err := filepath.Glob("testdata/*/*.toml")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range append(files, "../systemd/config.toml", "testdata/every-key.toml") {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	f.Add("a = [[1, 2], [{b = \"\"\"\"\"\"}]]\n[[c]]\n[c.d]\ne.'f' = 07:32:00\n[[c]]")
	f.Fuzz(checkLines)
}

var (
	index   = regexp.MustCompile(`\[[0-9]+\]`)
	errStop = errors.New("stop")
)

// probe is a value whose decoding fails, with the position of its key.
type probe struct{}

func (*probe) UnmarshalTOML(any) error { return errStop }

func checkLines(t *testing.T, text string) {
	lines := scanLines(text) // Must come to an end whatever the text.
	var tree map[string]toml.Primitive
	meta, err := toml.Decode(text, &tree)
	if err != nil || strings.ContainsRune(text, '\ufeff') {
		return
	}
	if strings.Contains(text, `\`) {
		return // Escapes in keys are written in many ways.
	}
	have := map[string]int{}
	for key := range lines {
		have[index.ReplaceAllString(key, "")]++
	}
	times := map[string]int{}
	for _, key := range meta.Keys() {
		times[key.String()]++
	}
	for key := range times {
		if have[index.ReplaceAllString(key, "")] == 0 {
			t.Errorf("no line for %s in %q", key, text)
		}
	}
	for name, value := range tree {
		comparePosition(t, &meta, times, lines, toml.Key{name}, value)
	}
}

// comparePosition checks the line of one key, and of the keys below it.
func comparePosition(
	t *testing.T, meta *toml.MetaData, times, lines map[string]int, key toml.Key, value toml.Primitive,
) {
	var table map[string]toml.Primitive
	if meta.Type(key...) == "Hash" && meta.PrimitiveDecode(value, &table) == nil {
		for name, below := range table {
			comparePosition(t, meta, times, lines, append(key[:len(key):len(key)], name), below)
		}
		return
	}
	var position toml.ParseError
	if !errors.As(meta.PrimitiveDecode(value, &probe{}), &position) || position.Position.Line == 0 {
		return
	}
	if got := lines[key.String()]; times[key.String()] == 1 && got != position.Position.Line {
		t.Errorf("line of %s is %d, want %d", key, got, position.Position.Line)
	}
}
