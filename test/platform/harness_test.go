//go:build platform

package platform

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/moby/sys/mountinfo"

	"github.com/glusterbackupd/glusterbackupd/manifest"
	"github.com/glusterbackupd/glusterbackupd/test/lab"
)

const (
	binary   = "../../bin/glusterbackupd"
	mountDir = "/run/glusterbackupd-test/mnt"
	diskMiB  = 8192
)

// bench is one test's view of the lab: the lab, a BackupDisk, a configuration.
type bench struct {
	*testing.T
	lab    *lab.Lab
	disk   string
	config string
	// kubeconfig is that of the account with the documented rights.
	kubeconfig string
	// keepsSnapshots makes the configuration keep snapshots.
	keepsSnapshots bool
}

// newBench makes an initialised BackupDisk on XFS with reflinks and a
// configuration that keeps no snapshot, so that any that stays is a leftover.
func newBench(t *testing.T) *bench {
	b := newBareBench(t, "xfs", diskMiB)
	b.must("init")
	return b
}

// newBareBench is newBench without init, on the file system given.
func newBareBench(t *testing.T, fstype string, mib int) *bench {
	t.Helper()
	l, err := lab.Load()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	b := &bench{T: t, lab: l, disk: mountDisk(t, fstype, mib)}
	b.config, b.kubeconfig = filepath.Join(t.TempDir(), "config.toml"), b.account()
	b.configure(nil)
	t.Cleanup(b.assertNothingLeft)
	return b
}

// configure writes the configuration; edit may change its text.
func (b *bench) configure(edit func(string) string) {
	b.Helper()
	keep := "0s"
	if b.keepsSnapshots {
		keep = "2d"
	}
	text := fmt.Sprintf(`
[retention]
snapshots = %q
safety_snapshots = "0s"
[destination]
path = %q
[kubernetes]
kubeconfig = %q
[heketi]
url = %q
user = %q
key_file = %q
[gluster]
transport = "ssh"
mount_dir = %q
[gluster.ssh]
user = %q
key_file = %q
known_hosts = %q
`, keep, b.disk, b.kubeconfig, b.lab.HeketiURL, b.lab.HeketiUser, b.lab.HeketiKeyFile, mountDir,
		b.lab.SSHUser, b.lab.SSHKey, b.lab.KnownHosts)
	if edit != nil {
		text = edit(text)
	}
	if err := os.WriteFile(b.config, []byte(text), 0o600); err != nil {
		b.Fatal(err)
	}
}

// replaced returns an edit for configure that swaps one text for another.
func replaced(old, with string) func(string) string {
	return func(s string) string { return strings.Replace(s, old, with, 1) }
}

// outcome is how one command line ended.
type outcome struct {
	stdout, stderr string
	code           int
}

// run runs the real binary.
func (b *bench) run(args ...string) outcome {
	b.Helper()
	cmd := b.command(args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		b.Fatal(err)
	}
	o := outcome{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
	b.Logf("glusterbackupd %s: exit %d in %s\n%s%s", strings.Join(args, " "), o.code,
		(cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Round(time.Millisecond), o.stdout, o.stderr)
	return o
}

func (b *bench) command(args ...string) *exec.Cmd {
	ctx, cancel := context.WithTimeout(b.Context(), 5*time.Minute)
	b.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, binary, append([]string{"--config", b.config}, args...)...)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	return cmd
}

// must runs a command that has to succeed and returns its standard output.
func (b *bench) must(args ...string) string {
	b.Helper()
	o := b.run(args...)
	if o.code != 0 {
		b.Fatalf("%v: exit %d", args, o.code)
	}
	return o.stdout
}

// refused runs a command that has to fail with the code, an error that holds
// each of the texts, and a remedy.
func (b *bench) refused(code int, texts []string, args ...string) {
	b.Helper()
	o := b.run(args...)
	if o.code != code {
		b.Errorf("%v: exit %d, want %d", args, o.code, code)
	}
	for _, text := range texts {
		if !strings.Contains(o.stderr, text) {
			b.Errorf("%v: the error does not name %q", args, text)
		}
	}
	if strings.Count(o.stderr, "error: ") != 1 || !strings.Contains(o.stderr, "remedy: ") {
		b.Errorf("%v: want one error and a remedy", args)
	}
}

// backupResult is what backup -o json prints of one claim.
type backupResult struct {
	Claim  string
	Error  string
	Backup struct {
		ID, Path, Snapshot, Image string
		Files, Bytes              int64
		BytesTransferred          int64
		BytesUnread               int64
	}
}

// backup backs up one claim and returns the result.
func (b *bench) backup(claim string) backupResult {
	b.Helper()
	var list []backupResult
	if err := json.Unmarshal([]byte(b.must("backup", claim, "-o", "json")), &list); err != nil {
		b.Fatal(err)
	}
	if len(list) != 1 {
		b.Fatalf("%d results for one claim", len(list))
	}
	return list[0]
}

// restoreResult is what a restore -o json prints.
type restoreResult struct {
	BytesWritten, Compared int64
	SafetySnapshotName     string
	Changed, Deleted       int64
	PoolBytesNeeded        int64
}

// listed is what list -o json prints of a backup.
type listed struct {
	Claim, Path, Snapshot, Image string
	Time                         time.Time
}

// listOf returns the newest backup of a claim.
func (b *bench) listOf(claim string) listed {
	b.Helper()
	var list []listed
	if err := json.Unmarshal([]byte(b.must("list", claim, "-o", "json")), &list); err != nil {
		b.Fatal(err)
	}
	return list[len(list)-1]
}

func (b *bench) restore(args ...string) restoreResult {
	b.Helper()
	var r restoreResult
	if err := json.Unmarshal([]byte(b.must(append(args, "--yes", "-o", "json")...)), &r); err != nil {
		b.Fatal(err)
	}
	return r
}

// host runs a command on this machine, which has to succeed.
func host(t testing.TB, args ...string) string {
	t.Helper()
	out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v: %s", args, err, out)
	}
	return string(out)
}

// guest runs a command in the guest, which has to succeed.
func (b *bench) guest(args ...string) string {
	b.Helper()
	out, err := b.lab.Guest(b.Context(), args...)
	if err != nil {
		b.Fatal(err)
	}
	return string(out)
}

// script runs a shell script in the guest, which has to succeed.
func (b *bench) script(text string, args ...string) string {
	b.Helper()
	out, err := b.lab.Script(b.Context(), text, args...)
	if err != nil {
		b.Fatal(err)
	}
	return string(out)
}

// volumeOf returns the Gluster volume of a claim given as NAMESPACE/CLAIM.
func (b *bench) volumeOf(claim string) string {
	b.Helper()
	namespace, name, _ := strings.Cut(claim, "/")
	c, ok := b.lab.Claim(namespace, name)
	if !ok {
		b.Fatalf("the lab has no claim %s", claim)
	}
	return c.Volume
}

// mount mounts a Gluster volume or /snaps/<snap>/<volume> for the test's own
// use until it ends, or until the returned function is called.
func (b *bench) mount(source string, options ...string) (dir string, unmount func()) {
	b.Helper()
	dir = b.TempDir()
	o := strings.Join(append([]string{"acl", "log-file=" + filepath.Join(dir+".log")}, options...), ",")
	host(b, "mount", "-t", "glusterfs", "-o", o, b.lab.Address+":"+source, dir)
	done := false
	unmount = func() {
		if !done {
			done = true
			host(b, "umount", dir)
		}
	}
	b.Cleanup(unmount)
	return dir, unmount
}

// mountDisk makes a file system in a sparse file and mounts it until the test
// ends.
func mountDisk(t testing.TB, fstype string, mib int) string {
	t.Helper()
	work := t.TempDir()
	image, dir := filepath.Join(work, "disk.img"), filepath.Join(work, "disk")
	host(t, "truncate", "-s", fmt.Sprintf("%dM", mib), image)
	if fstype == "xfs" {
		host(t, "mkfs.xfs", "-q", "-m", "reflink=1", image)
	} else {
		host(t, "mkfs.ext4", "-q", "-m", "0", image)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	host(t, "mount", "-o", "loop", image, dir)
	t.Cleanup(func() { host(t, "umount", dir) })
	return dir
}

// used returns the bytes that are in use on the file system of dir.
func used(t testing.TB, dir string) int64 {
	t.Helper()
	host(t, "sync", "-f", dir)
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		t.Fatal(err)
	}
	return int64(st.Blocks-st.Bfree) * st.Bsize
}

// scan returns all entries of a tree with hashes.
func scan(t testing.TB, dir string) []manifest.Entry {
	t.Helper()
	var entries []manifest.Entry
	err := manifest.Scan(t.Context(), dir, manifest.ScanOptions{Hash: true}, func(e manifest.Entry) error {
		entries = append(entries, e)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return entries
}

// assertEqual compares two trees in every property.
func assertEqual(t testing.TB, want, got []manifest.Entry) {
	t.Helper()
	n := 0
	err := manifest.Compare(sequence(want), sequence(got), manifest.CompareOptions{}, func(d manifest.Difference) error {
		if n++; n <= 20 {
			t.Errorf("difference: %s", d)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	t.Logf("compared %d entries, %d differences", len(want), n)
}

func sequence(list []manifest.Entry) func(func(manifest.Entry, error) bool) {
	return func(yield func(manifest.Entry, error) bool) {
		for _, e := range list {
			if !yield(e, nil) {
				return
			}
		}
	}
}

// assertNothingLeft fails the test if a mount, a snapshot or a half-written
// backup of ours is left.
func (b *bench) assertNothingLeft() {
	b.assertNoMounts()
	err := filepath.WalkDir(b.disk, func(path string, d fs.DirEntry, err error) error {
		if err == nil && (strings.HasSuffix(path, ".partial") || strings.HasPrefix(d.Name(), ".trash-")) {
			b.Errorf("left behind: %s", path)
		}
		return err
	})
	if err != nil {
		b.Error(err)
	}
	if left := b.snapshots(); len(left) > 0 && !b.keepsSnapshots {
		b.Errorf("left behind: snapshots %v", left)
	}
}

// assertNoMounts fails the test if a mount of ours is left.
func (b *bench) assertNoMounts() {
	b.Helper()
	for _, m := range b.mounts() {
		b.Errorf("left behind: mount %s", m)
	}
}

// mounts lists the mounts of the program under test.
func (b *bench) mounts() (list []string) {
	b.Helper()
	found, err := mountinfo.GetMounts(mountinfo.PrefixFilter(mountDir))
	if err != nil {
		b.Error(err)
	}
	for _, m := range found {
		list = append(list, m.Mountpoint+" of "+m.Source)
	}
	return list
}

// snapshots lists the snapshots in the lab that were taken for this test's
// BackupDisk, whose id ends their names.
func (b *bench) snapshots() []string {
	var marker struct{ ID string }
	text, err := os.ReadFile(filepath.Join(b.disk, ".glusterbackup", "repository.json"))
	if err == nil {
		err = json.Unmarshal(text, &marker)
	}
	if err != nil {
		b.Error(err)
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	out, err := b.lab.Guest(ctx, "gluster", "--mode=script", "snapshot", "list")
	if err != nil {
		b.Error(err)
	}
	var ours []string
	for name := range strings.FieldsSeq(string(out)) {
		if strings.HasPrefix(name, "gb-") && strings.HasSuffix(name, "-"+marker.ID[:8]) {
			ours = append(ours, name)
		}
	}
	return ours
}

// deleteSnapshots removes what a test kept on purpose.
func (b *bench) deleteSnapshots() {
	for _, name := range b.snapshots() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		if _, err := b.lab.Guest(ctx, "gluster", "--mode=script", "snapshot", "delete", name); err != nil {
			b.Error(err)
		}
		cancel()
	}
}

// random writes a file with random content.
func (b *bench) random(path string, size int) {
	b.Helper()
	f, err := os.Create(path)
	if err != nil {
		b.Fatal(err)
	}
	if err := f.Close(); err != nil {
		b.Fatal(err)
	}
	write(b, path, 0, size, 3)
}
