package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/licensecheck"
)

// allowed are the licences that may be linked, by their SPDX identifiers. All
// ask for no more than that their text goes along.
func allowed() []string {
	return []string{"Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT"}
}

// grants are files that add a right, and are neither licence nor notice.
func grants() []string { return []string{"PATENTS"} }

// choice is what is made use of where a module offers one of several licences.
type choice struct {
	licence string // SPDX identifier.
	file    string // Its text.
	offer   string // What each source file that is linked has to say,
	readme  string // or, if this is set, that file of the module for all of it.
}

// choices are the modules that leave the choice, by path.
//
// Heketi as a whole is LGPLv3 or GPLv2. The client, and the packages that it
// needs, are LGPLv3 or Apache-2.0, and say so at the top of each file.
//
// glusterd2 is LGPLv3 or GPLv2. The LGPL asks that whoever gets the program can
// link it again with another version of that part: the sources, with go.mod, do
// that (docs/transports.md).
func choices() map[string]choice {
	return map[string]choice{
		"github.com/heketi/heketi": {
			licence: "Apache-2.0", file: "LICENSE-APACHE2",
			offer: "// or under the Apache License, Version 2.0 <LICENSE-APACHE2 or",
		},
		"github.com/gluster/glusterd2": {
			licence: "LGPL-3.0", file: "COPYING-LGPLV3", readme: "README.md",
			offer: "GNU Lesser General Public License, version 3 or any later version (LGPLv3 or later), or the",
		},
	}
}

// checkAll checks every module and reports all that have a fault.
func checkAll(modules []*module) error {
	var errs []error
	for _, m := range modules {
		var err error
		if c, found := choices()[m.path]; found {
			err = m.choose(c)
		} else {
			err = m.check()
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", m, err))
		}
	}
	return errors.Join(errs...)
}

// enough is how much of a licence file has to be known text, in percent. The
// rest are lines like the names of the authors.
const enough = 75

// check finds out the licences of a module from its files. Beside those that are
// allowed everywhere, the chosen ones are.
func (m *module) check(chosen ...string) error {
	for _, f := range m.files {
		if isNotice(f.name) {
			continue
		}
		found := licensecheck.Scan([]byte(f.text))
		if found.Percent < enough {
			return fmt.Errorf("%s is only known by %.0f %%: read it, and see what is to be done", f.name, found.Percent)
		}
		for _, match := range found.Match {
			if !slices.Contains(append(allowed(), chosen...), match.ID) {
				return fmt.Errorf("%s: the licence %s is not among those that may be linked", f.name, match.ID)
			}
			m.licences = append(m.licences, match.ID)
		}
	}
	slices.Sort(m.licences)
	if m.licences = slices.Compact(m.licences); len(m.licences) == 0 {
		return errors.New("no licence was found")
	}
	return nil
}

// offers checks that the module, or each of its sources that is linked, says
// that it may be had under the chosen licence.
func (m *module) offers(c choice) error {
	if c.readme != "" {
		text, err := os.ReadFile(filepath.Join(m.dir, c.readme))
		if err == nil && !bytes.Contains(text, []byte(c.offer)) {
			err = fmt.Errorf("%s does not offer it under %s", c.readme, c.licence)
		}
		return err
	}
	for _, source := range m.sources {
		text, err := os.ReadFile(source)
		if err != nil {
			return err
		}
		head, _, _ := bytes.Cut(append([]byte("\n"), text...), []byte("\npackage "))
		if !bytes.Contains(head, []byte(c.offer)) {
			return fmt.Errorf("%s is not offered under %s", source, c.licence)
		}
	}
	return nil
}

// choose checks that the choice is offered for everything that is linked, and
// keeps the chosen text only.
func (m *module) choose(c choice) error {
	if err := m.offers(c); err != nil {
		return err
	}
	i := slices.IndexFunc(m.files, func(f file) bool { return f.name == c.file })
	if i < 0 {
		return fmt.Errorf("it has no file %s any more", c.file)
	}
	m.files = []file{m.files[i]}
	if err := m.check(c.licence); err != nil {
		return err
	}
	if !slices.Equal(m.licences, []string{c.licence}) {
		return fmt.Errorf("%s is %v, want %s", c.file, m.licences, c.licence)
	}
	return nil
}

// isNotice says whether a file goes along without being a licence.
func isNotice(name string) bool {
	base := strings.ToUpper(filepath.Base(name))
	return strings.HasPrefix(base, "NOTICE") || slices.Contains(grants(), base)
}
