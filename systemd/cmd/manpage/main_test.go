package main

import (
	"bytes"
	"os"
	"strings"
	"testing"
)

func page(t *testing.T, text string) string {
	t.Helper()
	var out bytes.Buffer
	if err := run(strings.NewReader(text), &out, "2018-12-02", "1.2.3"); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestPage(t *testing.T) {
	got := page(t, `# Configuration

See [the sample](config.toml).

## All keys

<!-- Made by a program. -->

### `+"`[copy]`"+`

| Key | Kind | Default | Example | Meaning |
|---|---|---|---|---|
| `+"`rsync`"+` | list | `+"`[\"rsync\"]`"+` | `+"`[\"nice\", \"rsync\"]`"+` | It runs rsync. |
`)
	for _, want := range []string{
		`.TH "GLUSTERBACKUPD.TOML" "5" "Dec 2018" "glusterbackupd 1.2.3"`, "See the sample.", ".SH ALL KEYS", ".SS [copy]",
		`\fBrsync\fP (list)`, `It runs rsync. Default: \fB["rsync"]\fR\&. Example: \fB["nice", "rsync"]\fR\&.`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("the page has no %q:\n%s", want, got)
		}
	}
	for _, unwanted := range []string{"Made by", "|", "config.toml)"} {
		if strings.Contains(got, unwanted) {
			t.Errorf("the page has %q:\n%s", unwanted, got)
		}
	}
}

// TestDocument checks that every row of every table of the real document has
// arrived, with all its cells.
func TestDocument(t *testing.T) {
	document, err := os.ReadFile("../../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	got := page(t, string(document))
	keys := strings.Count(string(document), "\n| `")
	if n := strings.Count(got, " Default: "); n != keys || keys < 50 {
		t.Errorf("%d keys in the page, %d in the document", n, keys)
	}
	if strings.Contains(got, "\n|") || strings.Contains(got, "<!--") {
		t.Error("parts of the document were not understood")
	}
}

func TestBadDate(t *testing.T) {
	if err := run(strings.NewReader(""), &bytes.Buffer{}, "today", ""); err == nil {
		t.Error("no error")
	}
}
