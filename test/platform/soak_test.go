//go:build platform && soak

package platform

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// sharedSlots is how many slots TestDaemonsShareTheWork looks at.
const sharedSlots = 10

// TestDaemonsShareTheWork has three daemons back up four claims on three volumes
// in each of ten slots: each volume exactly once, whoever does it.
func TestDaemonsShareTheWork(t *testing.T) {
	b := newBench(t)
	var daemons []*running
	for port := 19283; port < 19286; port++ {
		daemons = append(daemons, b.daemon(port, daemonConfig(port,
			"schedule = \"*/2 * * * *\"\nfirst_backup = \"0s\"\nparallel = 1\n", "namespaces = [\"shop\"]\n", "lease = \"30s\"\n")))
	}
	const every = 2 * time.Minute
	first := time.Now().UTC().Truncate(every).Add(every)
	time.Sleep(time.Until(first.Add(sharedSlots*every - 5*time.Second)))
	for _, d := range daemons {
		if code := d.stop(syscall.SIGTERM); code != 0 {
			t.Errorf("exit code %d", code)
		}
		t.Logf("figures: daemon on port %d made %d backups", d.port, strings.Count(d.logged(), `msg="backup done"`))
	}
	for _, claim := range []string{"shop/uploads", "shop/legacy", "shop/db", "shop/queue"} {
		b.eachSlotOnce(claim, first, every)
	}
}

// eachSlotOnce looks at the times of a claim's backups: one that began in each
// slot, unless the one before was still being copied when it came.
func (b *bench) eachSlotOnce(claim string, first time.Time, every time.Duration) {
	b.Helper()
	var list []struct {
		Time        time.Time
		TookSeconds float64
	}
	if err := json.Unmarshal([]byte(b.must("list", claim, "-o", "json")), &list); err != nil {
		b.Fatal(err)
	}
	once, skipped := 0, 0
	for slot := first; slot.Before(first.Add(sharedSlots * every)); slot = slot.Add(every) {
		n, during := 0, false
		for _, l := range list {
			end := l.Time.Add(time.Duration(l.TookSeconds * float64(time.Second)))
			if !l.Time.Before(slot) && l.Time.Before(slot.Add(every)) {
				n++
			}
			during = during || l.Time.Before(slot) && !end.Before(slot)
		}
		last := slot.Equal(first.Add((sharedSlots - 1) * every)) // It may have been broken off.
		switch {
		case n == 1:
			once++
		case n == 0 && (during || last):
			skipped++
		default:
			b.Errorf("%s: %d backups of the slot %s", claim, n, slot)
		}
	}
	b.Logf("figures: %s: %d slots backed up once, %d skipped or broken off", claim, once, skipped)
}

// TestDaemonsWithoutAPIServer takes the API server away for a minute, from
// before a slot until after it, while two daemons work: there is one run.
func TestDaemonsWithoutAPIServer(t *testing.T) {
	b := newBench(t)
	only := b.oneClaim()
	front := b.inFrontOfAPI()
	expression, at := soon(30 * time.Second)
	b.twoDaemons(func(port int) func(string) string {
		return func(s string) string {
			s = strings.Replace(s, b.lab.Kubeconfig, front.kubeconfig, 1)
			return slow(daemonConfig(port, fmt.Sprintf("schedule = %q\nfirst_backup = \"0s\"\n", expression), only, "lease = \"2m\"\n")(s))
		}
	})
	b.awaitPartial()
	front.die()
	t.Logf("the API server goes %s after the slot", time.Since(at).Round(time.Second))
	time.Sleep(time.Minute)
	front.revive(b)
	b.within(3*time.Minute, "the backup", func() bool { return b.countOf("shop/uploads") == 1 })
	time.Sleep(40 * time.Second) // Whoever would do it again, does it now.
	if n := b.countOf("shop/uploads"); n != 1 {
		t.Errorf("%d backups of one slot", n)
	}
}

// front is a forwarder before the API server, with a kubeconfig that names it.
type front struct {
	*forwarder
	address, api, kubeconfig string
}

func (b *bench) inFrontOfAPI() *front {
	b.Helper()
	api, err := url.Parse(b.lab.KubeURL)
	if err != nil {
		b.Fatal(err)
	}
	f := &front{forwarder: &forwarder{}, address: "127.0.0.1:0", api: api.Host}
	f.revive(b)
	text, err := os.ReadFile(b.lab.Kubeconfig)
	if err != nil {
		b.Fatal(err)
	}
	changed := strings.Replace(string(text), api.Host, f.address, 1)
	if changed == string(text) {
		b.Fatalf("the kubeconfig does not name %s", api.Host)
	}
	f.kubeconfig = filepath.Join(b.TempDir(), "kubeconfig")
	if err := os.WriteFile(f.kubeconfig, []byte(changed), 0o600); err != nil {
		b.Fatal(err)
	}
	return f
}

// revive forwards again.
func (f *front) revive(b *bench) {
	b.Helper()
	l, err := net.Listen("tcp", f.address)
	if err != nil {
		b.Fatal(err)
	}
	f.address = l.Addr().String()
	f.forwarder = &forwarder{listeners: []net.Listener{l}}
	b.Cleanup(f.die)
	go f.serve(l, f.api)
}

// soakRuns is how many backups TestSoak makes; the variable SOAK_RUNS says how
// many instead of 200.
func soakRuns(t *testing.T) int {
	text := os.Getenv("SOAK_RUNS")
	if text == "" {
		return 200
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("SOAK_RUNS=%q is no number of runs", text)
	}
	return n
}

// TestSoak backs up two claims again and again, and kills every third backup at
// a random moment. In the end nothing is left behind that the next command does
// not remove, and every listed backup verifies.
func TestSoak(t *testing.T) {
	b := newBench(t)
	random := rand.New(rand.NewPCG(1, uint64(time.Now().Unix())))
	runs, killed, whole := soakRuns(t), 0, time.Duration(0)
	start := time.Now()
	for n := range runs {
		cmd := b.command("backup", "shop/uploads", "shop/legacy")
		began := time.Now()
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		kill := n%3 == 2
		if kill {
			time.Sleep(time.Duration(random.Int64N(int64(whole) + 1)))
			_ = cmd.Process.Signal(syscall.SIGKILL) // It may have ended.
			killed++
		}
		err := cmd.Wait()
		if !kill {
			whole = time.Since(began)
			if err != nil {
				t.Errorf("run %d: %v", n, err)
			}
		}
	}
	b.backup("shop/uploads")
	b.backup("shop/legacy")
	b.assertNothingLeft()
	t.Logf("figures: %d runs in %s, %d of them killed; backups: %d and %d", runs, time.Since(start).Round(time.Second), killed,
		b.countOf("shop/uploads"), b.countOf("shop/legacy"))
	b.must("verify")
}
