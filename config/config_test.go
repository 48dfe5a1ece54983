package config_test

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/glusterbackupd/glusterbackupd/config"
)

// update writes what the code produces over what the tests expect.
var update = flag.Bool("update", false, "rewrite the expected faults and the tables of docs/configuration.md")

const sample = "../systemd/config.toml"

func TestSample(t *testing.T) {
	text := readFile(t, sample)
	got := parse(t, text)
	want := config.Default()
	want.Destination.Path = "/backupdisk"
	want.Kubernetes = &config.Kubernetes{
		Kubeconfig: "/etc/origin/master/admin.kubeconfig", LeaseNamespace: "kube-system", Lease: duration(t, "2m"),
		Snapshots: config.SnapshotsAuto, SnapshotClass: "glusterbackupd", SnapshotDeletion: config.DeleteSnapshot,
	}
	want.Heketi = &config.Heketi{
		URL:     "http://heketi-storage.glusterfs.svc:8080",
		User:    "admin",
		KeyFile: "/etc/glusterbackupd/heketi.key",
		Timeout: duration(t, "30s"),
	}
	want.Gluster.SSH.KeyFile = "/etc/glusterbackupd/id_ed25519"
	want.Gluster.SSH.KnownHosts = "/etc/glusterbackupd/known_hosts"
	equal(t, got, &want)

	t.Run("commented keys are the defaults", func(t *testing.T) {
		commented := regexp.MustCompile(`(?m)^#(\w+ = )`)
		if n := len(commented.FindAllString(text, -1)); n < 25 {
			t.Errorf("the sample shows only %d defaults", n)
		}
		equal(t, parse(t, commented.ReplaceAllString(text, "$1")), &want)
	})
	t.Run("volumes", func(t *testing.T) {
		listed := strings.NewReplacer("# [[volumes]]", "[[volumes]]", "# volume", "volume", "# claim", "claim", "# image", "image",
			"[kubernetes]\nkubeconfig", "#", "[heketi]\nurl", "#", "key_file = \"/etc/glusterbackupd/heketi.key\"", "#",
			"#hosts = []", `hosts = ["gluster1"]`).Replace(text)
		equal(t, parse(t, listed).Volumes, []config.Volume{
			{Volume: "documents", Claim: "office/documents"},
			{Volume: "blockhost", Claim: "office/database", Image: "blockvol_8d0e77"},
		})
	})
}

// TestEveryKey reads every key with another value than its default.
func TestEveryKey(t *testing.T) {
	text := readFile(t, "testdata/every-key.toml")
	got := parse(t, text)
	want := &config.Config{
		Backup: config.Backup{
			Schedule: "30 1 * * 1-5", Timezone: "Europe/Amsterdam", Parallel: 4, Timeout: duration(t, "12h"), Retries: 0, Verify: duration(t, "30d"),
			ParallelPerHost: 1, ParallelSnapshots: 2, Spread: duration(t, "30m"), FirstBackup: duration(t, "1h"),
		},
		Retention: config.Retention{
			Snapshots: duration(t, "36h"), SafetySnapshots: duration(t, "168h"),
			Last: 5, Hourly: 24, Daily: 14, Weekly: 8, Monthly: 12, Yearly: 5, Minimum: 2,
			DeletedClaims: duration(t, "168h"),
		},
		Destination: config.Destination{Path: "/backup disk"},
		Copy:        config.Copy{Engine: config.EngineRsync, FullCompare: duration(t, "168h"), TrackImages: true, TrackChunks: true, BandwidthLimit: 50 << 20, Rsync: []string{"nice", "rsync"}},
		Limits: config.Limits{
			PoolData: 70, PoolMetadata: 60, PoolDataDelete: 80, PoolMetadataDelete: 85, PoolCheck: duration(t, "30s"),
		},
		Kubernetes: &config.Kubernetes{
			LeaseNamespace: "glusterfs", Lease: duration(t, "1m"),
			Snapshots: config.SnapshotsNone, SnapshotClass: "backup.example", SnapshotDeletion: config.KeepSnapshot, SnapshotClaims: true,
		},
		Heketi: &config.Heketi{
			URL: "https://heketi.example.com:8080", User: "user", KeyFile: "/etc/key", CAFile: "/etc/ca.pem", Timeout: duration(t, "1m"),
		},
		Gluster: config.Gluster{
			Transport: config.TransportSSH,
			Hosts:     []string{"gluster1.example.com", "192.0.2.7", "2001:db8::7"},
			Timeout:   duration(t, "5m"),
			MountDir:  "/mnt/frozen",
			SSH: config.SSH{
				User: "backup", Port: 2222, KeyFile: "/etc/id", KnownHosts: "/etc/known",
				KeepAlive: duration(t, "30s"), DialTimeout: duration(t, "5s"),
				Command: []string{"docker", "exec", "glusterfs", "gluster"},
			},
			Local: config.Local{Command: []string{"sudo", "gluster"}},
			Pod: config.Pod{
				Kubeconfig: "/etc/pods.kubeconfig", Namespace: "storage", Selector: "glusterfs=storage-pod,tier", Container: "gluster",
				DialTimeout: duration(t, "5s"), Command: []string{"/usr/sbin/gluster"},
			},
			Glusterd2: config.Glusterd2{
				URLs: []string{"https://gluster1.example.com:24007", "https://[2001:db8::7]:24007"}, User: "backup",
				SecretFile: "/etc/secret", CAFile: "/etc/glusterd2-ca.pem", DialTimeout: duration(t, "5s"),
			},
		},
		Claims: config.Claims{
			Namespaces: []string{"shop", "media-*"}, ExcludeNamespaces: []string{"test-*"},
			StorageClasses: []string{"glusterfs-*"}, ExcludeStorageClasses: []string{"scratch"}, Selector: "tier!=cache",
		},
		Notify: config.Notify{
			Ping: "https://hc.example.com/ping/uuid", Webhook: "https://chat.example.com/hooks/backup", Timeout: duration(t, "1m"),
		},
		Log: config.Log{Level: config.LevelDebug, Format: config.FormatJSON},
	}
	equal(t, got, want)
	equal(t, parse(t, toTOML(t, got)), want)
}

func TestInvalid(t *testing.T) {
	files, err := filepath.Glob("testdata/invalid/*.toml")
	if err != nil || len(files) < 80 {
		t.Fatalf("found %d invalid files, %v", len(files), err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".toml")
		t.Run(name, func(t *testing.T) {
			_, err := config.Parse("config.toml", []byte(readFile(t, file)))
			var faults *config.Faults
			if !errors.As(err, &faults) {
				t.Fatalf("Parse: %v, want *Faults", err)
			}
			if faults.Remedy() == "" {
				t.Error("no remedy")
			}
			golden(t, strings.TrimSuffix(file, ".toml")+".want", err.Error()+"\n")
		})
	}
}

func TestFault(t *testing.T) {
	_, err := config.Parse("config.toml", []byte(readFile(t, "testdata/invalid/claim-form.toml")))
	var faults *config.Faults
	if !errors.As(err, &faults) {
		t.Fatalf("Parse: %v, want *Faults", err)
	}
	want := []config.Fault{{
		File: "config.toml", Line: 10, Key: "volumes[1].claim",
		Message: `want a claim like "namespace/name", not "mail"`,
	}}
	equal(t, faults.List, want)
}

func TestDefaultRoundTrip(t *testing.T) {
	want := config.Default()
	// What no default can be given for.
	want.Destination.Path = "/backupdisk"
	want.Gluster.Transport = config.TransportLocal
	want.Volumes = []config.Volume{{Volume: "documents", Claim: "office/documents"}}
	equal(t, parse(t, toTOML(t, &want)), &want)
}

func TestDefaultIsFresh(t *testing.T) {
	first := config.Default()
	first.Gluster.SSH.Command[0] = "changed"
	first.Copy.Rsync[0] = "changed"
	if second := config.Default(); second.Gluster.SSH.Command[0] != "gluster" || second.Copy.Rsync[0] != "rsync" {
		t.Errorf("a caller can change the defaults: %v", second)
	}
}

func TestCommand(t *testing.T) {
	g := config.Default().Gluster
	g.SSH.Command, g.Local.Command, g.Pod.Command = []string{"far"}, []string{"near"}, []string{"inside"}
	for transport, want := range map[config.Transport]string{config.TransportSSH: "far", config.TransportLocal: "near", config.TransportPod: "inside"} {
		g.Transport = transport
		if got := g.Command(); len(got) != 1 || got[0] != want {
			t.Errorf("Command() with %s = %v, want %s", transport, got, want)
		}
	}
}

func TestGlusterd2(t *testing.T) {
	m := newMachine(t)
	m.write(t, "secret", " 3f0c5e0e\n", 0o600)
	g := config.Glusterd2{URLs: []string{"http://g1:24007", "https://[2001:db8::7]:24007"}, SecretFile: m.path("secret")}
	if secret, err := g.Secret(); secret != "3f0c5e0e" || err != nil {
		t.Errorf("Secret() = %q, %v", secret, err)
	}
	equal(t, g.Hosts(), []string{"g1", "2001:db8::7"})
	m.write(t, "secret", "\n", 0o600)
	if _, err := g.Secret(); err == nil {
		t.Error("an empty secret was taken")
	}
}

// parse fails the test when the text has a fault.
func parse(t *testing.T, text string) *config.Config {
	t.Helper()
	c, err := config.Parse("config.toml", []byte(text))
	if err != nil {
		t.Fatalf("Parse:\n%v\n%s", err, text)
	}
	return c
}

func toTOML(t *testing.T, c *config.Config) string {
	t.Helper()
	text, err := c.TOML()
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func duration(t *testing.T, text string) config.Duration {
	t.Helper()
	var d config.Duration
	if err := d.UnmarshalText([]byte(text)); err != nil {
		t.Fatal(err)
	}
	return d
}

func equal[T any](t *testing.T, got, want T) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("want -, got +:\n%s", diff)
	}
}

func readFile(t testing.TB, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// golden compares got with the content of the file, which -update rewrites.
func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	equal(t, got, readFile(t, path))
}
