package config

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"slices"
	"strings"
)

// Fault is one thing that is wrong in a configuration file.
type Fault struct {
	// File is the name of the file as it was given.
	File string
	// Line is counted from 1. It is 0 when the fault has no line, for example
	// when a whole section is missing.
	Line int
	// Key is the full name, like "gluster.ssh.port" or "volumes[0].claim" (the
	// first entry of [[volumes]]). It is empty for a fault of the file itself.
	Key string
	// Message says what is wrong and what is wanted.
	Message string
}

// String returns the fault as one line: file, line, section and key, message.
func (f Fault) String() string {
	var b strings.Builder
	b.WriteString(f.File)
	if f.Line > 0 {
		fmt.Fprintf(&b, ":%d", f.Line)
	}
	b.WriteString(": ")
	if f.Key != "" {
		b.WriteString(displayKey(f.Key) + ": ")
	}
	b.WriteString(f.Message)
	return b.String()
}

// Faults is the error of Load and Parse: everything that is wrong, in the order
// of the lines, faults without a line last.
type Faults struct {
	List  []Fault
	cause error
}

// Error returns one fault per line.
func (f *Faults) Error() string {
	lines := make([]string, len(f.List))
	for i, fault := range f.List {
		lines[i] = fault.String()
	}
	return strings.Join(lines, "\n")
}

// Unwrap returns why the file itself could not be read, or nil.
func (f *Faults) Unwrap() error { return f.cause }

// Remedy tells the admin how to get a valid configuration.
func (f *Faults) Remedy() string {
	if errors.Is(f.cause, fs.ErrNotExist) {
		return "create the file from the sample config.toml of the package, or name yours with --config"
	}
	return "correct the configuration, which `glusterbackupd config check` verifies; docs/configuration.md describes every key"
}

// unreadable is the error of a configuration file that cannot be read.
func unreadable(path string, err error) *Faults {
	return &Faults{List: []Fault{{File: path, Message: reason(err)}}, cause: err}
}

// report collects the faults of one file. Of each key it keeps the first fault
// only, since a wrong type makes every further check of that key meaningless.
type report struct {
	file   string
	lines  map[string]int
	faults []Fault
}

// add notes a fault of the key, at the line of the key or, when the file does
// not have the key, at that of the section it belongs to.
func (r *report) add(key, format string, args ...any) {
	r.put(Fault{File: r.file, Line: r.line(key), Key: key, Message: fmt.Sprintf(format, args...)})
}

// put notes a fault unless its key has one.
func (r *report) put(f Fault) {
	if !r.has(f.Key) {
		r.faults = append(r.faults, f)
	}
}

// has reports whether the key has a fault already.
func (r *report) has(key string) bool {
	return slices.ContainsFunc(r.faults, func(f Fault) bool { return f.Key == key })
}

// line returns the line of the key, of its nearest parent, or 0.
func (r *report) line(key string) int {
	for key != "" {
		if line, ok := r.lines[key]; ok {
			return line
		}
		key = parent(key)
	}
	return 0
}

// err returns the faults in the order of their lines, or nil.
func (r *report) err() error {
	if len(r.faults) == 0 {
		return nil
	}
	faults := slices.Clone(r.faults)
	slices.SortStableFunc(faults, func(a, b Fault) int { return cmp.Compare(order(a), order(b)) })
	return &Faults{List: faults}
}

// order puts faults without a line last.
func order(f Fault) int {
	if f.Line == 0 {
		return math.MaxInt
	}
	return f.Line
}
