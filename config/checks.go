package config

import (
	"path/filepath"
	"regexp"
	"strings"
)

// between notes a number outside of least and most.
func (r *report) between(key string, n, least, most int) {
	if n < least || n > most {
		r.add(key, "want %d to %d, not %d", least, most, n)
	}
}

// positive notes a duration of nothing.
func (r *report) positive(key string, d Duration) {
	if d <= 0 {
		r.add(key, "want more than 0s")
	}
}

// absolute notes a path that is missing, relative or the root of the machine.
func (r *report) absolute(key, path string) {
	switch {
	case path == "":
		r.add(key, "required: an absolute path")
	case !filepath.IsAbs(path), strings.ContainsAny(path, "\x00\n"):
		r.add(key, "want an absolute path, not %q", path)
	case filepath.Clean(path) == "/":
		r.add(key, "must not be the root of the file system")
	}
}

// command notes a list that cannot be a command with arguments.
func (r *report) command(key string, command []string) {
	if len(command) == 0 || command[0] == "" || strings.HasPrefix(command[0], "-") {
		r.add(key, `want a command like ["program", "argument"]`)
		return
	}
	for i, argument := range command {
		if strings.ContainsAny(argument, "\x00\n") {
			r.add(element(key, i), "must not hold a line break")
		}
	}
}

// name notes a name that is missing or does not have the form.
func (r *report) name(key, name string, form *regexp.Regexp, want string) {
	switch {
	case name == "":
		r.add(key, "required: %s", want)
	case !form.MatchString(name):
		r.add(key, "want %s, not %q", want, name)
	}
}
