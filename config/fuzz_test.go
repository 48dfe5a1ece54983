package config_test

import (
	"errors"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/glusterbackupd/glusterbackupd/config"
)

// FuzzParse checks that Parse ends with a configuration that TOML writes such
// that it reads as the same again, or with faults whose lines exist.
func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/invalid/*.toml")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range append(files, sample, "testdata/every-key.toml") {
		f.Add(readFile(f, file))
	}
	f.Fuzz(func(t *testing.T, text string) {
		c, err := config.Parse("config.toml", []byte(text))
		if err != nil {
			checkFaults(t, text, err)
			return
		}
		again, err := config.Parse("again.toml", []byte(toTOML(t, c)))
		if err != nil {
			t.Fatalf("own TOML:\n%v\n%s", err, toTOML(t, c))
		}
		if diff := cmp.Diff(c, again); diff != "" {
			t.Errorf("first -, again +:\n%s", diff)
		}
	})
}

func checkFaults(t *testing.T, text string, err error) {
	t.Helper()
	var faults *config.Faults
	if !errors.As(err, &faults) || len(faults.List) == 0 {
		t.Fatalf("Parse: %v, want *Faults", err)
	}
	last := 1
	for _, b := range []byte(text) {
		if b == '\n' {
			last++
		}
	}
	for _, fault := range faults.List {
		if fault.Line < 0 || fault.Line > last || fault.Message == "" || fault.File != "config.toml" {
			t.Errorf("fault %+v in a text of %d lines", fault, last)
		}
	}
}
