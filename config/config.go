// Package config reads the TOML file of glusterbackupd into typed values. It is
// strict: an unknown key, a wrong type or an impossible value is a fault, and
// all faults of a file are reported at once, each with its line.
//
// The package knows the form of the configuration only. It opens no connection,
// does not look whether the BackupDisk is mounted, and keeps the content of no
// key file: a Config holds the paths of secrets, so that it can be shown.
package config

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"reflect"

	"github.com/BurntSushi/toml"
)

// Config is the whole configuration. Its sections are plain values that the
// caller owns; nothing in this package keeps or changes them after Parse.
type Config struct {
	Backup      Backup      `toml:"backup"`
	Retention   Retention   `toml:"retention"`
	Destination Destination `toml:"destination"`
	Copy        Copy        `toml:"copy"`
	Limits      Limits      `toml:"limits"`
	// Kubernetes is nil when the file has no such section. The file then lists
	// its volumes under [[volumes]].
	Kubernetes *Kubernetes `toml:"kubernetes"`
	// Heketi is nil when the file has no such section.
	Heketi  *Heketi `toml:"heketi"`
	Gluster Gluster `toml:"gluster"`
	// Volumes is empty when the volumes come from Kubernetes.
	Volumes []Volume `toml:"volumes"`
	Claims  Claims   `toml:"claims"`
	Metrics Metrics  `toml:"metrics"`
	Notify  Notify   `toml:"notify"`
	Log     Log      `toml:"log"`
}

// section is what every section with default values implements.
type section interface{ setDefaults() }

// Default returns the configuration in which every key that has a default is
// set to it. It is not complete: keys without a default are empty, and neither
// Kubernetes nor any volume is configured.
func Default() Config {
	var c Config
	for _, s := range []section{&c.Backup, &c.Retention, &c.Copy, &c.Limits, &c.Gluster, &c.Claims, &c.Metrics, &c.Notify, &c.Log} {
		s.setDefaults()
	}
	return c
}

// Load reads the file and checks it like Parse, and also checks that the files
// it names exist and that secrets are not open to every user. All faults are
// returned together as *Faults, also when the file itself cannot be read.
func Load(path string) (*Config, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, unreadable(path, err)
	}
	c, r := parse(path, data)
	if c != nil {
		c.checkFiles(r)
	}
	if err := r.err(); err != nil {
		return nil, err
	}
	return c, nil
}

// Parse checks data, which error messages call name, and fills in the defaults.
// It looks at no other file. The error is *Faults and holds every fault found;
// of text that is not TOML at all that is the first one only.
func Parse(name string, data []byte) (*Config, error) {
	c, r := parse(name, data)
	if err := r.err(); err != nil {
		return nil, err
	}
	return c, nil
}

// parse returns the configuration together with its faults, so that Load can
// add to them. The configuration is nil when the text is not TOML.
func parse(name string, data []byte) (*Config, *report) {
	text := string(bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")))
	var tree map[string]any
	if _, err := toml.Decode(text, &tree); err != nil {
		return nil, syntaxReport(name, err)
	}
	r := &report{file: name, lines: scanLines(text)}
	c := Default()
	decoder{r}.table("", tree, reflect.ValueOf(&c).Elem())
	c.validate(r)
	return &c, r
}

// syntaxReport holds the single fault of a text that is not TOML.
func syntaxReport(name string, err error) *report {
	r := &report{file: name}
	line, message := 0, err.Error()
	var syntax toml.ParseError
	if errors.As(err, &syntax) {
		line, message = syntax.Position.Line, syntax.Message
	}
	r.put(Fault{File: name, Line: line, Message: message})
	return r
}

// validate checks every section, and then what must hold between sections.
func (c *Config) validate(r *report) {
	c.Backup.validate(r)
	c.Retention.validate(r)
	c.Destination.validate(r)
	c.Copy.validate(r)
	c.Limits.validate(r)
	if c.Kubernetes != nil {
		c.Kubernetes.validate(r)
	}
	if c.Heketi != nil {
		c.Heketi.validate(r)
	}
	c.Gluster.validate(r)
	validateVolumes(r, c.Volumes)
	c.Claims.validate(r)
	c.Metrics.validate(r)
	c.Notify.validate(r)
	c.Log.validate(r)
	c.validateTogether(r)
	c.validateApart(r)
	if c.Copy.TrackChunks && c.Retention.Snapshots == 0 {
		r.add("copy.track_chunks", `needs the snapshot of the last backup: [retention] snapshots = "0s" keeps none`)
	}
}

// validateTogether checks which sections need or exclude each other. A fault in
// one of them makes that meaningless.
func (c *Config) validateTogether(r *report) {
	kubernetes, volumes := c.Kubernetes != nil, len(c.Volumes) > 0
	switch {
	case r.has("kubernetes"), r.has("volumes"), r.has("heketi"):
		return
	case !kubernetes && !volumes:
		r.add("kubernetes", "nothing to back up: add this section, or list the volumes under [[volumes]]")
	case kubernetes && volumes:
		r.add("volumes", "exclude each other with [kubernetes]: remove one of them")
	case kubernetes && c.Heketi == nil:
		r.add("kubernetes", "needs [heketi], which knows the Gluster volumes behind the claims")
	}
	remote := c.Gluster.Transport == TransportSSH || c.Gluster.Transport == TransportPod
	if volumes && remote && c.Heketi == nil && len(c.Gluster.Hosts) == 0 {
		r.add("gluster.hosts", "required without [heketi]: name at least one Gluster host")
	}
}

// validateApart checks that nothing is mounted on the BackupDisk or over it.
func (c *Config) validateApart(r *report) {
	disk, mounts := c.Destination.Path, c.Gluster.MountDir
	if !r.has("destination.path") && (within(disk, mounts) || within(mounts, disk)) {
		r.add("gluster.mount_dir", "must lie apart from [destination] path %s", disk)
	}
}

// TOML returns the effective configuration, defaults included, as a file that
// Parse accepts again. It names the files of secrets and never their content.
func (c *Config) TOML() ([]byte, error) {
	var text bytes.Buffer
	encoder := toml.NewEncoder(&text)
	encoder.Indent = ""
	if err := encoder.Encode(c); err != nil {
		return nil, fmt.Errorf("configuration as TOML: %w", err)
	}
	return text.Bytes(), nil
}
