package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const bsd = `Copyright (c) 2018 Somebody. All rights reserved.

Redistribution and use in source and binary forms, with or without
modification, are permitted provided that the following conditions are met:

1. Redistributions of source code must retain the above copyright notice, this
list of conditions and the following disclaimer.

2. Redistributions in binary form must reproduce the above copyright notice,
this list of conditions and the following disclaimer in the documentation
and/or other materials provided with the distribution.

THIS SOFTWARE IS PROVIDED BY THE COPYRIGHT HOLDERS AND CONTRIBUTORS "AS IS" AND
ANY EXPRESS OR IMPLIED WARRANTIES, INCLUDING, BUT NOT LIMITED TO, THE IMPLIED
WARRANTIES OF MERCHANTABILITY AND FITNESS FOR A PARTICULAR PURPOSE ARE
DISCLAIMED. IN NO EVENT SHALL THE COPYRIGHT HOLDER OR CONTRIBUTORS BE LIABLE
FOR ANY DIRECT, INDIRECT, INCIDENTAL, SPECIAL, EXEMPLARY, OR CONSEQUENTIAL
DAMAGES (INCLUDING, BUT NOT LIMITED TO, PROCUREMENT OF SUBSTITUTE GOODS OR
SERVICES; LOSS OF USE, DATA, OR PROFITS; OR BUSINESS INTERRUPTION) HOWEVER
CAUSED AND ON ANY THEORY OF LIABILITY, WHETHER IN CONTRACT, STRICT LIABILITY,
OR TORT (INCLUDING NEGLIGENCE OR OTHERWISE) ARISING IN ANY WAY OUT OF THE USE
OF THIS SOFTWARE, EVEN IF ADVISED OF THE POSSIBILITY OF SUCH DAMAGE.
`

const gpl = `This program is free software; you can redistribute it and/or
modify it under the terms of the GNU General Public License
as published by the Free Software Foundation; either version 2
of the License, or (at your option) any later version.

This program is distributed in the hope that it will be useful,
but WITHOUT ANY WARRANTY; without even the implied warranty of
MERCHANTABILITY or FITNESS FOR A PARTICULAR PURPOSE.  See the
GNU General Public License for more details.
`

func TestCheck(t *testing.T) {
	for desc, tt := range map[string]struct {
		files []file
		want  string // Licences, or a part of the error.
		fails bool
	}{
		"allowed":        {files: []file{{"LICENSE", bsd}}, want: "BSD-2-Clause"},
		"with a notice":  {files: []file{{"LICENSE", bsd}, {"NOTICE", "made by somebody"}}, want: "BSD-2-Clause"},
		"with a grant":   {files: []file{{"LICENSE", bsd}, {"PATENTS", "no claims"}}, want: "BSD-2-Clause"},
		"none":           {want: "no licence", fails: true},
		"notice only":    {files: []file{{"NOTICE", "made by somebody"}}, want: "no licence", fails: true},
		"not allowed":    {files: []file{{"LICENSE", gpl}}, want: "GPL-2.0", fails: true},
		"one of two":     {files: []file{{"LICENSE", bsd}, {"part/COPYING", gpl}}, want: "part/COPYING", fails: true},
		"unknown text":   {files: []file{{"LICENSE", "Do with it what you like, but not on Sundays."}}, want: "known by 0 %", fails: true},
		"unknown clause": {files: []file{{"LICENSE", bsd + strings.Repeat("Nobody may use it on a Sunday. ", 60)}}, want: "known by", fails: true},
	} {
		t.Run(desc, func(t *testing.T) {
			m := &module{path: "example.com/m", files: tt.files}
			err := m.check()
			switch {
			case tt.fails && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("got %v, %v; want an error with %q", m.licences, err, tt.want)
			case !tt.fails && (err != nil || strings.Join(m.licences, " ") != tt.want):
				t.Errorf("got %v, %v; want %s", m.licences, err, tt.want)
			}
		})
	}
}

// TestChoice checks that a licence which only parts of a module offer is taken
// for these parts only.
func TestChoice(t *testing.T) {
	const offer = "// under the two clauses"
	for desc, tt := range map[string]struct {
		source string
		files  []file
		fails  bool
	}{
		"offered":         {source: offer + "\n\npackage m\n", files: []file{{"LICENSE-BSD", bsd}, {"COPYING", gpl}}},
		"not offered":     {source: "// under the GPL\n\npackage m\n", files: []file{{"LICENSE-BSD", bsd}}, fails: true},
		"only mentioned":  {source: "package m\n\n" + offer + "\n", files: []file{{"LICENSE-BSD", bsd}}, fails: true},
		"text is missing": {source: offer + "\n\npackage m\n", files: []file{{"COPYING", gpl}}, fails: true},
		"another text":    {source: offer + "\n\npackage m\n", files: []file{{"LICENSE-BSD", gpl}}, fails: true},
	} {
		t.Run(desc, func(t *testing.T) {
			source := filepath.Join(t.TempDir(), "m.go")
			if err := os.WriteFile(source, []byte(tt.source), 0o600); err != nil {
				t.Fatal(err)
			}
			m := &module{path: "example.com/m", files: tt.files, sources: []string{source}}
			err := m.choose(choice{licence: "BSD-2-Clause", file: "LICENSE-BSD", offer: offer})
			if (err != nil) != tt.fails {
				t.Fatalf("error %v, want one: %v", err, tt.fails)
			}
			if err == nil && len(m.files) != 1 {
				t.Errorf("the texts of the other licences stay: %v", m.files)
			}
		})
	}
}

// TestChoiceOfModule checks that a module's own word is read where its sources
// are silent, and only where it is said to be enough.
func TestChoiceOfModule(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "README"), []byte("Take it under the GPL, version 2.\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for offer, fails := range map[string]bool{"under the GPL": false, "under the two clauses": true} {
		m := &module{path: "example.com/m", dir: dir, files: []file{{"COPYING", gpl}}}
		err := m.choose(choice{licence: "GPL-2.0-or-later", file: "COPYING", readme: "README", offer: offer})
		if (err != nil) != fails {
			t.Errorf("%q: error %v, want one: %v", offer, err, fails)
		}
	}
}

func TestSameTextOnce(t *testing.T) {
	var out bytes.Buffer
	modules := []*module{
		{path: "example.com/a", version: "v1", licences: []string{"BSD-2-Clause"}, files: []file{{"LICENSE", bsd}}},
		{path: "example.com/b", version: "v2", licences: []string{"BSD-2-Clause"}, files: []file{{"COPYING", bsd}, {"NOTICE", "b\n"}}},
	}
	if err := write(modules, &out); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(out.String(), "Redistribution and use"); n != 1 {
		t.Errorf("the text is there %d times", n)
	}
	if !strings.Contains(out.String(), "\nexample.com/a v1: LICENSE\nexample.com/b v2: COPYING\n---") {
		t.Errorf("its users are not named:\n%s", out.String())
	}
}

// TestProgram checks everything that is linked into glusterbackupd: it fails
// with the dependency that brings a licence of another kind.
func TestProgram(t *testing.T) {
	t.Chdir("../../..")
	var out bytes.Buffer
	if err := run(t.Context(), "./cmd/glusterbackupd", []string{"amd64", "s390x"}, &out); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(out.String(), "GNU GENERAL PUBLIC") {
		t.Error("it has the text of a licence that was not chosen")
	}
}
