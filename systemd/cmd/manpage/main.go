// Command manpage turns docs/configuration.md, which it reads, into the man
// page glusterbackupd.toml(5), which it writes. A table has no place on a
// terminal of 80 columns, so that each row becomes a paragraph under its first
// cell.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/cpuguy83/go-md2man/v2/md2man"
)

func main() {
	date := flag.String("date", "", "date of the page, YYYY-MM-DD")
	version := flag.String("version", "", "version of glusterbackupd")
	flag.Parse()
	if err := run(os.Stdin, os.Stdout, *date, *version); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(in io.Reader, out io.Writer, date, version string) error {
	day, err := time.Parse(time.DateOnly, date)
	if err != nil {
		return fmt.Errorf("date: %w", err)
	}
	text, err := io.ReadAll(in)
	if err != nil {
		return err
	}
	_, err = out.Write(md2man.Render([]byte(source(string(text), day.Format("Jan 2006"), version))))
	return err
}

var (
	comment = regexp.MustCompile(`(?m)^<!--.*-->\n`)
	heading = regexp.MustCompile(`(?m)^##(#?) (.*)$`)
	table   = regexp.MustCompile(`(?m)(?:^\|.*\n)+`)
	// reference is a link to a file or an address; a page shows the text only.
	reference = regexp.MustCompile(`\[([^\]]+)\]\([^)]+\)`)
)

// source returns the document as the Markdown of a man page.
func source(text, date, version string) string {
	_, body, _ := strings.Cut(text, "\n") // The title becomes the page's.
	body = comment.ReplaceAllString(body, "")
	body = reference.ReplaceAllString(body, "$1")
	body = heading.ReplaceAllStringFunc(body, func(line string) string {
		if title, sub := strings.CutPrefix(line, "### "); sub {
			return "### " + strings.ReplaceAll(title, "`", "")
		}
		return "# " + strings.ToUpper(strings.TrimPrefix(line, "## "))
	})
	body = table.ReplaceAllStringFunc(body, definitions)
	return fmt.Sprintf(`%% "GLUSTERBACKUPD.TOML" "5" "%s" "glusterbackupd %s" "glusterbackupd"
# NAME
glusterbackupd.toml \- configuration of glusterbackupd

# DESCRIPTION
%s
# SEE ALSO
**glusterbackupd(1)**
`, date, version, body)
}

// definitions turns a table into terms and what they mean. A table of keys has
// the kind, the default and an example between the two.
func definitions(rows string) string {
	var out strings.Builder
	for i, row := range strings.Split(strings.TrimSpace(rows), "\n") {
		if i < 2 {
			continue // The titles, and the line below them.
		}
		cells := strings.Split(strings.Trim(row, "|"), " | ")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		term, meaning := cells[0], cells[len(cells)-1]
		if len(cells) == 5 {
			term = fmt.Sprintf("**%s** (%s)", strings.Trim(cells[0], "`"), cells[1])
			meaning = fmt.Sprintf("%s Default: %s. Example: %s.", meaning, cells[2], cells[3])
		}
		fmt.Fprintf(&out, "%s\n: %s\n\n", term, meaning)
	}
	return out.String()
}
