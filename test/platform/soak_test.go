//go:build platform && soak

package platform

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/heketi/heketi/pkg/glusterfs/api"
)

// TestDaemonsShareTheWork has three daemons back up thirty claims, each on a volume
// of its own, in one slot, and then two in another one: each claim exactly once,
// whoever does it.
func TestDaemonsShareTheWork(t *testing.T) {
	b := newBench(t)
	claims := b.manyClaims(30)
	for _, n := range []int{3, 2} {
		b.sharedSlot(n, claims)
	}
}

// sharedSlot starts n daemons for one slot, and counts what they did.
func (b *bench) sharedSlot(n int, claims []string) {
	b.Helper()
	const lease = 30 * time.Second
	before := b.countOf(claims[0])
	expression, at := soon(20 * time.Second)
	var daemons []*running
	for port := 19283; port < 19283+n; port++ {
		daemons = append(daemons, b.daemon(port, daemonConfig(port,
			fmt.Sprintf("schedule = %q\nfirst_backup = \"0s\"\nparallel = 1\n", expression), "selector = \"gb-test=many\"\n",
			fmt.Sprintf("lease = %q\n", lease))))
	}
	b.within(time.Hour, "a backup of every claim", func() bool {
		return !slices.ContainsFunc(claims, func(claim string) bool { return b.countOf(claim) == before })
	})
	b.Logf("figures: %d daemons: %d claims within %s of the slot", n, len(claims), time.Since(at).Round(time.Second))
	time.Sleep(lease + 10*time.Second) // Whoever would do one again, does it now.
	done := 0
	for _, d := range daemons {
		if code := d.stop(syscall.SIGTERM); code != 0 {
			b.Errorf("exit code %d", code)
		}
		share := strings.Count(d.logged(), `msg="backup done"`)
		b.Logf("figures: the daemon on port %d made %d backups", d.port, share)
		if share == 0 {
			b.Errorf("the daemon on port %d had no share of the work", d.port)
		}
		done += share
	}
	if done != len(claims) {
		b.Errorf("%d backups of %d claims", done, len(claims))
	}
	for _, claim := range claims {
		if got := b.countOf(claim); got != before+1 {
			b.Errorf("%s: %d backups, before the slot %d", claim, got, before)
		}
		if newest := b.listOf(claim).Time; newest.Before(at) {
			b.Errorf("%s was backed up at %s, before its slot %s", claim, newest, at)
		}
	}
}

// oneOfMany are the objects of a file claim, as its provisioner would have made
// them: name of the claim, Heketi's id of its volume, name of the volume.
const oneOfMany = `
apiVersion: v1
kind: PersistentVolume
metadata:
  name: %[1]s
  annotations: {gluster.kubernetes.io/heketi-volume-id: %[2]s, pv.kubernetes.io/provisioned-by: kubernetes.io/glusterfs}
spec:
  capacity: {storage: 1Gi}
  accessModes: [ReadWriteMany]
  storageClassName: glusterfs-storage
  claimRef: {kind: PersistentVolumeClaim, apiVersion: v1, namespace: media, name: %[1]s}
  glusterfs: {path: %[3]s, endpoints: %[1]s, endpointsNamespace: media}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: %[1]s, namespace: media, labels: {gb-test: many}}
spec:
  storageClassName: glusterfs-storage
  volumeName: %[1]s
  accessModes: [ReadWriteMany]
  resources: {requests: {storage: 1Gi}}
---
apiVersion: v1
kind: Endpoints
metadata: {name: %[1]s, namespace: media}
subsets: [{addresses: [{ip: %[4]s}], ports: [{port: 1}]}]
`

// manyClaims makes that many claims in the namespace media, labelled
// gb-test=many, each with a volume of its own and a file in it.
func (b *bench) manyClaims(n int) (claims []string) {
	b.Helper()
	start, objects := time.Now(), filepath.Join(b.TempDir(), "claim.yaml")
	for i := range n {
		request := &api.VolumeCreateRequest{Size: 1}
		request.Durability.Type = api.DurabilityDistributeOnly
		request.Snapshot.Enable, request.Snapshot.Factor = true, 1.2
		volume, err := b.heketi().VolumeCreate(request)
		if err != nil {
			b.Fatal(err)
		}
		name, applied := fmt.Sprintf("many-%02d", i), false
		b.Cleanup(func() {
			if applied {
				b.removeClaim("media", name)
			} else if err := b.heketi().VolumeDelete(volume.Id); err != nil {
				b.Error(err)
			}
		})
		b.file(objects, fmt.Sprintf(oneOfMany, name, volume.Id, volume.Name, b.lab.Address))
		b.kubectl("apply", "-f", objects)
		applied = true // Its objects name the volume from now on.
		dir, unmount := b.mount(volume.Name)
		b.file(filepath.Join(dir, "which"), name)
		unmount()
		claims = append(claims, "media/"+name)
	}
	b.Logf("figures: %d claims made in %s", n, time.Since(start).Round(time.Second))
	b.within(time.Minute, "every claim is bound", func() bool {
		phases := b.kubectl("-n", "media", "get", "pvc", "-l", "gb-test=many", "-o", "jsonpath={.items[*].status.phase}")
		return strings.Count(phases, "Bound") == n
	})
	return claims
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
			s = strings.Replace(s, b.kubeconfig, front.kubeconfig, 1)
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
	text, err := os.ReadFile(b.kubeconfig)
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
