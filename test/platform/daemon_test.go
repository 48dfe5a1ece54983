//go:build platform

package platform

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// running is a daemon that the test started.
type running struct {
	*bench
	cmd  *exec.Cmd
	port int
	mu   sync.Mutex
	log  strings.Builder
	done chan struct{}
}

// Write collects the daemon's log.
func (r *running) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.log.Write(p)
}

func (r *running) logged() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.log.String()
}

// daemonConfig makes the configuration one of a daemon: of which claims, and
// with what in [backup]. The claims have no backup yet.
func daemonConfig(port int, backup, claims, kubernetes string) func(string) string {
	return func(s string) string {
		s = strings.Replace(s, "[kubernetes]\n", "[kubernetes]\n"+kubernetes, 1)
		return s + fmt.Sprintf("[backup]\nspread = \"0s\"\n%s[claims]\n%s[metrics]\nlisten = \"127.0.0.1:%d\"\n", backup, claims, port)
	}
}

// daemon starts a daemon with a configuration file of its own.
func (b *bench) daemon(port int, edit func(string) string) *running {
	b.Helper()
	b.config = filepath.Join(b.TempDir(), "config.toml")
	b.configure(edit)
	r := &running{bench: b, port: port, done: make(chan struct{})}
	r.cmd = exec.Command(binary, "--config", b.config, "run")
	r.cmd.Stderr = r
	r.cmd.Env = append(os.Environ(), "LC_ALL=C")
	if err := r.cmd.Start(); err != nil {
		b.Fatal(err)
	}
	go func() {
		defer close(r.done)
		_ = r.cmd.Wait() // The exit code is what is looked at.
	}()
	b.Cleanup(func() {
		r.stop(syscall.SIGTERM)
		if b.Failed() {
			b.Logf("log of daemon %d:\n%s", r.cmd.Process.Pid, r.logged())
		}
	})
	return r
}

// stop ends the daemon and returns its exit code.
func (r *running) stop(sig syscall.Signal) int {
	_ = r.cmd.Process.Signal(sig) // It may have ended.
	select {
	case <-r.done:
	case <-time.After(3 * time.Minute):
		r.Errorf("daemon %d did not end within three minutes of %s", r.cmd.Process.Pid, sig)
		_ = r.cmd.Process.Kill()
		<-r.done
	}
	return r.cmd.ProcessState.ExitCode()
}

// get asks the daemon's HTTP server.
func (r *running) get(path string) (code int, body string) {
	response, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d%s", r.port, path))
	if err != nil {
		return 0, err.Error()
	}
	defer response.Body.Close()
	text, _ := io.ReadAll(response.Body) // What arrived is looked at.
	return response.StatusCode, string(text)
}

// within waits until something has come true.
func (b *bench) within(d time.Duration, what string, there func() bool) time.Duration {
	b.Helper()
	start := time.Now()
	for time.Since(start) < d {
		if there() {
			return time.Since(start)
		}
		time.Sleep(200 * time.Millisecond)
	}
	b.Fatalf("not within %s: %s", d, what)
	return 0
}

// countOf returns the number of finished backups of a claim.
func (b *bench) countOf(claim string) int {
	list, err := filepath.Glob(filepath.Join(b.disk, claim, "2*Z", "backup.json"))
	if err != nil {
		b.Fatal(err)
	}
	return len(list)
}

// kubectl runs kubectl in the lab.
func (b *bench) kubectl(args ...string) string {
	b.Helper()
	return host(b, append([]string{"kubectl", "--kubeconfig", b.lab.Kubeconfig}, args...)...)
}

// soon is a cron expression for the next full minute that is at least so far
// away, and that minute.
func soon(d time.Duration) (expression string, at time.Time) {
	at = time.Now().UTC().Add(d + time.Minute).Truncate(time.Minute)
	return fmt.Sprintf("%d %d %d %d *", at.Minute(), at.Hour(), at.Day(), int(at.Month())), at
}

const never = "schedule = \"0 0 29 2 *\"\n"

// TestDaemon lets the daemon find the claims, back them up first at once and
// then by schedule, obey an annotation, reload and stop in mid-copy.
func TestDaemon(t *testing.T) {
	b := newBench(t)
	claims := []string{"shop/uploads", "shop/legacy", "shop/db", "shop/queue"}
	onlyShop := "namespaces = [\"shop\"]\n"
	b.kubectl("-n", "shop", "annotate", "--overwrite", "pvc", "legacy", "backup.gluster.org/exclude=true")
	t.Cleanup(func() { b.kubectl("-n", "shop", "annotate", "pvc", "legacy", "backup.gluster.org/exclude-") })
	d := b.daemon(19281, daemonConfig(19281, never+"first_backup = \"1s\"\n", onlyShop, ""))
	took := b.within(8*time.Minute, "a first backup of each claim", func() bool {
		return b.countOf(claims[0]) == 1 && b.countOf(claims[2]) == 1 && b.countOf(claims[3]) == 1
	})
	t.Logf("figures: first backups of three claims on two volumes: %s", took.Round(100*time.Millisecond))
	if b.countOf("shop/legacy") != 0 {
		t.Error("an excluded claim was backed up")
	}
	d.looksWell()
	d.reloads(onlyShop)
	b.kubectl("-n", "shop", "annotate", "pvc", "legacy", "backup.gluster.org/exclude-")
	b.savedState()
	b.within(3*time.Minute, "a first backup of the claim that is no longer excluded", func() bool { return b.countOf("shop/legacy") == 1 })
	d.stopsInMidCopy(onlyShop)
}

// savedState returns the folder of the newest saved state of the cluster, which has
// everything that is to be in it.
func (b *bench) savedState() string {
	b.Helper()
	list, err := filepath.Glob(filepath.Join(b.disk, ".cluster", "2*"))
	if err != nil || len(list) == 0 {
		b.Fatalf("no state of the cluster was saved: %v", err)
	}
	dir := list[len(list)-1]
	for name, content := range map[string]string{
		"heketi.json": b.lab.HostingID, "storageclasses.json": "glusterfs-storage-block", "volumes.xml": b.lab.HostingVolume,
	} {
		if text, err := os.ReadFile(filepath.Join(dir, name)); err != nil || !strings.Contains(string(text), content) {
			b.Errorf("%s says nothing of %s: %v", name, content, err)
		}
	}
	return dir
}

// looksWell looks at what the daemon and status say.
func (r *running) looksWell() {
	r.Helper()
	if code, body := r.get("/readyz"); code != http.StatusOK {
		r.Errorf("/readyz: %d %s", code, body)
	}
	if code, body := r.get("/healthz"); code != http.StatusOK {
		r.Errorf("/healthz: %d %s", code, body)
	}
	// A run has ended when it has given back its mount and snapshot.
	r.within(3*time.Minute, "the end of the first runs", func() bool {
		_, body := r.get("/metrics")
		return strings.Contains(body, `glusterbackupd_runs_total{result="done"} 3`)
	})
	_, body := r.get("/metrics")
	for _, line := range []string{
		`glusterbackupd_claim_state{claim="legacy",namespace="shop",state="excluded"} 1`,
		`glusterbackupd_claim_state{claim="db",namespace="shop",state="covered"} 1`,
		`glusterbackupd_claim_last_success_timestamp_seconds{claim="db",namespace="shop"}`,
	} {
		if !strings.Contains(body, line) {
			r.Errorf("/metrics has no %s:\n%s", line, body)
		}
	}
	out := r.must("status")
	for _, text := range []string{"excluded", "annotation backup.gluster.org/exclude of the claim", "[claims] namespaces"} {
		if !strings.Contains(out, text) {
			r.Errorf("status does not tell %q:\n%s", text, out)
		}
	}
	r.within(30*time.Second, "an event on the excluded claim", func() bool {
		events := r.kubectl("-n", "shop", "get", "events", "--field-selector", "involvedObject.name=legacy,reason=Excluded", "-o", "name")
		return strings.Contains(events, "event/")
	})
}

// reloads gives the daemon a faulty configuration, and then one with another
// schedule.
func (r *running) reloads(claims string) {
	r.Helper()
	r.configure(func(s string) string { return s + "[backup]\nretriess = 3\n" })
	_ = r.cmd.Process.Signal(syscall.SIGHUP) // The log is looked at.
	r.within(20*time.Second, "the refusal of the faulty configuration", func() bool {
		return strings.Contains(r.logged(), "the old one stays") && strings.Contains(r.logged(), `did you mean \"retries\"?`)
	})
	before := r.countOf("shop/uploads")
	expression, at := soon(20 * time.Second)
	r.configure(daemonConfig(r.port, fmt.Sprintf("schedule = %q\nfirst_backup = \"1s\"\n", expression), claims, ""))
	_ = r.cmd.Process.Signal(syscall.SIGHUP) // The log is looked at.
	r.within(20*time.Second, "the new configuration", func() bool { return strings.Contains(r.logged(), "configuration reloaded") })
	r.within(5*time.Minute, "a backup by the new schedule", func() bool { return r.countOf("shop/uploads") == before+1 })
	if time.Now().Before(at) {
		r.Errorf("backed up before its slot %s", at)
	}
	r.within(5*time.Minute, "backups of the images by the new schedule", func() bool {
		return r.countOf("shop/db") == 2 && r.countOf("shop/queue") == 2
	})
}

// stopsInMidCopy restarts the daemon with a slow copy, and stops it.
func (r *running) stopsInMidCopy(claims string) {
	r.Helper()
	if code := r.stop(syscall.SIGTERM); code != 0 {
		r.Errorf("exit code %d", code)
	}
	expression, _ := soon(10 * time.Second)
	d := r.daemon(19282, func(s string) string {
		return slow(daemonConfig(19282, fmt.Sprintf("schedule = %q\n", expression), claims, "")(s))
	})
	d.awaitPartial()
	start := time.Now()
	if code := d.stop(syscall.SIGTERM); code != 0 {
		r.Errorf("exit code %d in mid-copy", code)
	}
	r.Logf("figures: stop in mid-copy: %s", time.Since(start).Round(100*time.Millisecond))
	r.assertNothingLeft()
}
