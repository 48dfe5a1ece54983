package blockstore_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/glusterbackupd/glusterbackupd/blockstore"
)

func TestMandatoryLocking(t *testing.T) {
	const mode, enforce = "locks.mandatory-locking", "features.enforce-mandatory-lock"
	tests := map[string]struct {
		options map[string]string
		fenced  string
	}{
		"nothing set":    {nil, ""},
		"others":         {map[string]string{"features.shard": "on"}, ""},
		"both off":       {map[string]string{mode: "off", enforce: "off"}, ""},
		"none":           {map[string]string{mode: "none", enforce: "disable"}, ""},
		"upper case":     {map[string]string{mode: "OFF", enforce: "False"}, ""},
		"forced":         {map[string]string{mode: "forced"}, mode},
		"file":           {map[string]string{mode: "file", enforce: "on"}, mode},
		"optimal":        {map[string]string{mode: "optimal", enforce: "off"}, mode},
		"enforced":       {map[string]string{mode: "off", enforce: "on"}, enforce},
		"enforced alone": {map[string]string{enforce: "enable"}, enforce},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			err := blockstore.MandatoryLocking("vol_a", tt.options)
			if (err != nil) != (tt.fenced != "") {
				t.Fatalf("error = %v, want fenced by %q", err, tt.fenced)
			}
			if err == nil {
				return
			}
			fenced, ok := errors.AsType[*blockstore.FencedError](err)
			if !ok || !errors.Is(err, blockstore.ErrFenced) || fenced.Option != tt.fenced {
				t.Errorf("error = %v, want fenced by %q", err, tt.fenced)
			}
			if !strings.Contains(err.Error(), "vol_a") || !strings.Contains(fenced.Remedy(), "reset vol_a "+tt.fenced) {
				t.Errorf("%v: error or remedy %q does not name volume and option", err, fenced.Remedy())
			}
		})
	}
}
