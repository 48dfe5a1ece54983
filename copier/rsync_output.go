package copier

import (
	"bytes"
	"errors"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// rsyncOutput reads the standard output of rsync line by line: progress lines,
// in a dry run one line for each change, and the --stats block at the end.
// Formats: rsync progress.c rprint_progress, log.c log_formatted ("%i %n%L")
// and main.c output_summary.
type rsyncOutput struct {
	progress func(Progress)
	dryRun   bool
	started  time.Time

	last   Progress
	result TreeResult
	seen   map[string]bool
}

var (
	// Bytes, rate and unit; after the end of a file also the entries that are
	// still to be checked ("to") of all, or of those found so far ("ir").
	progressLine = regexp.MustCompile(`^\s*(\d+)\s+\d+%\s+([\d.]+)([kMG])B/s\s+\S+(?:\s+\(xfr#\d+, (to|ir)-chk=(\d+)/(\d+)\))?\s*$`)
	changeLine   = regexp.MustCompile(`^(?:[<>ch.*][fdLDS][^ ]{9}|\*deleting  ) `)
	statLine     = regexp.MustCompile(`^(Number of [a-z ]+|Total [a-z ]+): (\d+)(?: bytes)?(?: \((.*)\))?$`)
	regularCount = regexp.MustCompile(`\breg: (\d+)`)
)

func (o *rsyncOutput) line(b []byte) {
	if m := progressLine.FindSubmatch(b); m != nil {
		o.report(m)
		return
	}
	if o.dryRun && changeLine.Match(b) {
		o.change(string(b))
		return
	}
	if m := statLine.FindSubmatch(bytes.TrimSpace(b)); m != nil {
		o.stat(string(m[1]), number(m[2]), m[3])
	}
}

func (o *rsyncOutput) report(m [][]byte) {
	if o.progress == nil {
		return
	}
	p := &o.last
	p.Bytes = number(m[1])
	rate, err := strconv.ParseFloat(string(m[2]), 64)
	if err != nil {
		rate = 0
	}
	p.Rate = rate * map[string]float64{"k": 1 << 10, "M": 1 << 20, "G": 1 << 30}[string(m[3])]
	if len(m[4]) > 0 {
		left, found := number(m[5]), number(m[6])
		p.Files = found - left
		if string(m[4]) == "to" {
			p.TotalFiles = found
		}
	}
	// The remaining time that rsync prints counts unchanged files as if they
	// had to be copied; entries are the better measure.
	p.ETA = 0
	if p.TotalFiles > 0 && p.Files > 0 {
		perFile := time.Since(o.started).Seconds() / float64(p.Files)
		p.ETA = time.Duration(perFile * float64(p.TotalFiles-p.Files) * float64(time.Second))
	}
	o.progress(*p)
}

func (o *rsyncOutput) change(line string) {
	if len(o.result.Changes) == MaxChanges {
		o.result.ChangesOmitted++
		return
	}
	o.result.Changes = append(o.result.Changes, strings.TrimRight(line, "\r"))
}

func (o *rsyncOutput) stat(name string, n int64, details []byte) {
	if o.seen == nil {
		o.seen = make(map[string]bool)
	}
	o.seen[name] = true
	switch name {
	case "Number of files":
		o.result.Entries = n
		if m := regularCount.FindSubmatch(details); m != nil {
			o.result.Files = number(m[1])
		}
	case "Number of regular files transferred":
		o.result.FilesTransferred = n
	case "Number of deleted files":
		o.result.Deleted = n
	case "Total file size":
		o.result.Bytes = n
	case "Total transferred file size": // "Literal data" is 0 in a dry run.
		o.result.BytesTransferred = n
	}
}

// finish returns the result of an rsync that succeeded, or an error when it
// did not say what it did.
func (o *rsyncOutput) finish() (TreeResult, error) {
	for _, name := range []string{
		"Number of files", "Number of regular files transferred", "Number of deleted files",
		"Total file size", "Total transferred file size",
	} {
		if !o.seen[name] {
			return o.result, errors.New("rsync succeeded but printed no line \"" + name + "\"")
		}
	}
	return o.result, nil
}

// number reads digits that a regular expression has already matched.
func number(b []byte) int64 {
	n, err := strconv.ParseInt(string(b), 10, 64)
	if err != nil {
		return 0
	}
	return n
}
