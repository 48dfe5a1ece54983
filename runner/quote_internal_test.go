package runner

import (
	"bytes"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// throughShell lets a real shell split the quoted line and returns the
// arguments that it made of it.
func throughShell(t *testing.T, args []string) []string {
	t.Helper()
	line := quote(append([]string{"printf", `%s\0`}, args...))
	out, err := exec.Command("/bin/sh", "-c", line).Output()
	if err != nil {
		t.Fatalf("sh -c %q: %v", line, err)
	}
	if len(args) == 0 {
		return nil
	}
	return strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00")
}

func everyByte() string {
	var b bytes.Buffer
	for c := 1; c < 256; c++ {
		b.WriteByte(byte(c))
	}
	return b.String()
}

func TestQuoteSurvivesShell(t *testing.T) {
	args := []string{
		"", " ", "plain", "two words", "'", "''", `'\''`, `"`, "`id`", "$(id)", "$HOME", "${x}", `\`, `\\`, "a\nb", "\n", "\t",
		"-n", "--", "A=b", "~", "~root", "*", "?", "[a]", "#x", "!x", "!!", "a;b", "a&b", "a|b", ">x", "<x", "(x)", "{a,b}",
		"\xff\xfe", "ü", "\x01", "\x7f", everyByte(),
	}
	if got := throughShell(t, args); !slices.Equal(got, args) {
		t.Errorf("shell made %q of %q", got, args)
	}
}

// A command name that a shell would take for something else is run by name.
func TestQuoteCommandWord(t *testing.T) {
	for _, name := range []string{"if", "A=b", "!", "{", "alias x=y"} {
		err := exec.Command("/bin/sh", "-c", quote([]string{name})).Run()
		exit, ok := err.(*exec.ExitError) //nolint:errorlint // exec.Cmd.Run returns it bare.
		if !ok || exit.ExitCode() != 127 {
			t.Errorf("sh ran %q with %v, want exit code 127", name, err)
		}
	}
}

func FuzzQuote(f *testing.F) {
	f.Add("a", "b c")
	f.Add("'", "$(id)")
	f.Add(everyByte(), "")
	f.Fuzz(func(t *testing.T, a, b string) {
		args := []string{a, b}
		if checkArgs(append([]string{"x"}, args...)) != nil {
			if !strings.Contains(a+b, "\x00") {
				t.Fatalf("refused %q", args)
			}
			return
		}
		if got := throughShell(t, args); !slices.Equal(got, args) {
			t.Errorf("shell made %q of %q", got, args)
		}
	})
}

func TestBracketed(t *testing.T) {
	for addr, want := range map[string]string{
		"g1:22": "g1", "g1:2222": "[g1]:2222", "[fe80::1]:22": "fe80::1", "[fe80::1]:2222": "[fe80::1]:2222",
	} {
		if got := bracketed(addr); got != want {
			t.Errorf("bracketed(%q) = %q, want %q", addr, got, want)
		}
	}
}
