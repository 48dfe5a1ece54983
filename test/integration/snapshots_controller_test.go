//go:build integration && soak

package integration_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/glusterbackupd/glusterbackupd/kube"
	"github.com/glusterbackupd/glusterbackupd/test/lab/servers"
)

// startController starts the common snapshot-controller, and waits until it is
// at work; it is built when it is missing.
func startController(k *snapshotCluster, kubeconfig string) {
	k.t.Helper()
	env := servers.Env{Dir: k.t.TempDir(), Bin: os.Getenv("GLUSTERBACKUPD_LAB_BIN")}
	k.check(servers.BuildSnapshotController(k.t.Context(), servers.BuildOptions{Bin: env.Bin}))
	p := must[*servers.Process](k.t)(env.SnapshotController(k.t.Context(), kubeconfig, freePorts(k.t, 1)[0]))
	stop(k.t, p)
}

// TestSnapshotController is about snapshots beside the common
// snapshot-controller of CSI.
func TestSnapshotController(t *testing.T) {
	k := startSnapshots(t)
	k.install(modern)
	k.make(modern, "volumesnapshotclasses", "", "{kind: VolumeSnapshotClass, metadata: {name: glusterbackupd}, driver: backup.gluster.org, deletionPolicy: Delete}")
	startController(k, k.api.Kubeconfig)
	path, r := k.counted()
	g := snapshotTest{snapshotCluster: k, group: modern, api: kube.SnapshotsV1, path: path, requests: r}
	for _, keep := range []bool{false, true} {
		t.Run(fmt.Sprintf("shown, keep %v", keep), g.on(func(g snapshotTest) { g.testControlled(keep) }))
	}
	t.Run("answered", g.on(snapshotTest.testControlledAnswer))
	t.Run("refused", g.on(snapshotTest.testControlledRefusal))
	t.Run("no class", g.on(snapshotTest.testNoClass))
	t.Run("namespace ends", g.on(snapshotTest.testControlledNamespace))
	t.Run("withdrawn from another", g.on(snapshotTest.testAttacks))
}

// becomesReady waits for the controller, with no Show that could help.
func (g snapshotTest) becomesReady(s *kube.Snapshots, v kube.VolumeSnapshot) {
	g.t.Helper()
	eventually(g.t, "ready", func(context.Context) error {
		if l := listed(g.t, s, v.Namespace, v.Name); l == nil || !l.Ready {
			return fmt.Errorf("not ready: %+v, %v", l, field(g.get(g.group, "volumesnapshots", v.Namespace, v.Name), "status"))
		}
		return nil
	})
	if e := field(g.get(g.group, "volumesnapshots", v.Namespace, v.Name), "status", "error"); e != nil {
		g.t.Errorf("ready, with error %v", e)
	}
}

func (g snapshotTest) testControlled(keep bool) {
	t := g.t
	s := snapshots(t, g.path, kube.SnapshotOptions{API: g.api, Delete: !keep})
	v := snapshotOf(g.namespace(fmt.Sprintf("shown-%v", keep)), "a")
	g.check(s.Show(t.Context(), v))
	g.becomesReady(s, v)
	u := g.get(g.group, "volumesnapshots", v.Namespace, v.Name)
	if field(u, "status", "restoreSize") != "3Gi" || field(u, "status", "creationTime") != "2018-12-02T00:00:07Z" {
		t.Errorf("status %v", u.Object["status"])
	}
	time.Sleep(time.Second)
	calls := g.requests.since(func() { g.check(s.Show(t.Context(), v)) })
	if len(calls) != 2 {
		t.Errorf("nothing to do takes %s, want 2 requests", calls)
	}
	g.delete(g.group, "volumesnapshots", v.Namespace, v.Name)
	time.Sleep(2 * time.Second)
	if l := listed(t, s, v.Namespace, v.Name); l == nil || !l.Deleting {
		t.Errorf("deleted by a tenant: %+v", l)
	}
	g.check(s.Withdraw(t.Context(), v))
	g.gone(g.group, "volumesnapshots", v.Namespace, v.Name)
	g.nothingLeft(v)
	// The other way round: nobody deleted anything.
	g.check(s.Show(t.Context(), v))
	g.becomesReady(s, v)
	g.check(s.Withdraw(t.Context(), v))
	g.gone(g.group, "volumesnapshots", v.Namespace, v.Name)
	g.nothingLeft(v)
}

// protected waits until the controller's finalizer is, or is not, on the claim.
func (g snapshotTest) protected(namespace, name string, want bool) {
	g.t.Helper()
	eventually(g.t, "claim", func(ctx context.Context) error {
		pvc, err := g.admin.CoreV1().PersistentVolumeClaims(namespace).Get(ctx, name, metav1.GetOptions{})
		if err == nil && slices.Contains(pvc.Finalizers, claimFinalizer) != want {
			err = fmt.Errorf("finalizers %v", pvc.Finalizers)
		}
		return err
	})
}

// bindClaim makes a namespace with a claim that is bound to a Gluster volume.
func (g snapshotTest) bindClaim(namespace string) metav1.Object {
	g.t.Helper()
	g.namespaces(namespace)
	g.bound(namespace, "db", nil, glusterfsSource("e", "vol_3f3f"))
	pvc, err := g.admin.CoreV1().PersistentVolumeClaims(namespace).Get(g.t.Context(), "db", metav1.GetOptions{})
	g.check(err)
	return pvc
}

func (g snapshotTest) testControlledAnswer() {
	t, s := g.t, g.snapshots()
	pvc := g.bindClaim("answered")
	for _, wait := range []bool{true, false} {
		name := fmt.Sprintf("mine-%v", wait)
		g.ask(g.group, "answered", name, "db")
		if wait { // The controller has failed.
			g.protected("answered", "db", true)
			eventually(t, "error", func(context.Context) error {
				if text := fmt.Sprint(field(g.get(g.group, "volumesnapshots", "answered", name), "status", "error")); !strings.Contains(text, "cannot find CSI") {
					return errors.New(text)
				}
				return nil
			})
		}
		list := must[[]kube.SnapshotRequest](t)(s.Requests(t.Context()))
		if len(list) != 1 || list[0].Name != name {
			t.Fatalf("requests %+v", list)
		}
		v := snapshotOf(pvc, name)
		start := time.Now()
		g.check(s.Answer(t.Context(), list[0], v))
		g.becomesReady(s, v)
		t.Logf("ready after %s", time.Since(start))
		g.protected("answered", "db", false)
		g.check(s.Show(t.Context(), v))
		g.delete(g.group, "volumesnapshots", v.Namespace, v.Name)
		time.Sleep(time.Second)
		if l := listed(t, s, v.Namespace, v.Name); l == nil || !l.Deleting || l.Request != name {
			t.Errorf("deleted by a tenant: %+v", l)
		}
		g.check(s.Withdraw(t.Context(), v))
		g.gone(g.group, "volumesnapshots", v.Namespace, v.Name)
		g.nothingLeft(v)
	}
}

func (g snapshotTest) testControlledRefusal() {
	t, s := g.t, g.snapshots()
	pvc := g.bindClaim("refused")
	g.ask(g.group, "refused", "mine", "db")
	g.protected("refused", "db", true)
	q := must[[]kube.SnapshotRequest](t)(s.Requests(t.Context()))[0]
	const reason = "the volume's bricks are not thinly provisioned"
	g.check(s.Refuse(t.Context(), q, reason))
	eventually(t, "reason", func(context.Context) error {
		if text := fmt.Sprint(field(g.get(g.group, "volumesnapshots", "refused", "mine"), "status")); !strings.Contains(text, reason) {
			return errors.New(text)
		}
		return nil
	})
	g.protected("refused", "db", false)
	time.Sleep(time.Second)
	versions := make(map[string]bool)
	for range 10 { // Longer than the controller's first pauses.
		versions[g.get(g.group, "volumesnapshots", "refused", "mine").GetResourceVersion()] = true
		time.Sleep(time.Second)
	}
	if len(versions) > 3 {
		t.Errorf("%d versions in ten seconds: somebody keeps writing", len(versions))
	}
	t.Logf("%d versions", len(versions))
	g.protected("refused", "db", false)
	if text := fmt.Sprint(field(g.get(g.group, "volumesnapshots", "refused", "mine"), "status")); !strings.Contains(text, reason) {
		t.Errorf("the reason is gone: %s", text)
	}
	if list := must[[]kube.SnapshotRequest](t)(g.snapshots().Requests(t.Context())); len(list) != 0 {
		t.Errorf("refused, and asked again: %+v", list)
	}
	if list := must[[]kube.VolumeSnapshot](t)(s.List(t.Context())); len(list) != 0 {
		t.Errorf("a refusal is listed: %+v", list)
	}
	// A second request for the claim is answered; the finalizer goes then, too.
	g.ask(g.group, "refused", "again", "db")
	q2 := must[[]kube.SnapshotRequest](t)(s.Requests(t.Context()))[0]
	v2 := snapshotOf(pvc, "again")
	g.check(s.Answer(t.Context(), q2, v2))
	g.becomesReady(s, v2)
	must[[]kube.SnapshotRequest](t)(g.snapshots().Requests(t.Context()))
	g.protected("refused", "db", false)
	g.check(s.Withdraw(t.Context(), v2))
	g.gone(g.group, "volumesnapshots", "refused", "again")
	// What was refused can be answered after all.
	v := snapshotOf(pvc, "mine")
	g.check(s.Answer(t.Context(), q, v))
	g.becomesReady(s, v)
	if text, refused := g.get(g.group, "volumesnapshots", "refused", "mine").GetAnnotations()["backup.gluster.org/refused"]; refused {
		t.Errorf("answered, and still refused: %s", text)
	}
	g.check(s.Withdraw(t.Context(), v))
	g.gone(g.group, "volumesnapshots", "refused", "mine")
	g.nothingLeft(v)
	// The refused object goes as soon as its tenant wants.
	g.ask(g.group, "refused", "mine", "db")
	q = must[[]kube.SnapshotRequest](t)(s.Requests(t.Context()))[0]
	g.check(s.Refuse(t.Context(), q, reason))
	g.delete(g.group, "volumesnapshots", "refused", "mine")
	g.gone(g.group, "volumesnapshots", "refused", "mine")
	must[[]kube.SnapshotRequest](t)(s.Requests(t.Context()))
	g.nothingLeft(v)
}

// testNoClass is about requests of a class that nobody has made: the controller
// leaves them with an error.
func (g snapshotTest) testNoClass() {
	t, s := g.t, snapshots(g.t, g.path, kube.SnapshotOptions{API: g.api, Class: "missing"})
	g.bindClaim("classless")
	g.make(g.group, "volumesnapshots", "classless",
		"{kind: VolumeSnapshot, metadata: {name: mine}, spec: {volumeSnapshotClassName: missing, source: {persistentVolumeClaimName: db}}}")
	list := must[[]kube.SnapshotRequest](t)(s.Requests(t.Context()))
	if len(list) != 1 {
		t.Fatalf("requests %+v", list)
	}
	time.Sleep(time.Second)
	g.check(s.Refuse(t.Context(), list[0], "the class is missing, says the daemon"))
	time.Sleep(time.Second)
	u := g.get(g.group, "volumesnapshots", "classless", "mine")
	if text := u.GetAnnotations()["backup.gluster.org/refused"]; text != "the class is missing, says the daemon" {
		t.Errorf("reason %q", text)
	}
	t.Logf("status: %v", u.Object["status"])
	g.delete(g.group, "volumesnapshots", "classless", "mine")
	g.gone(g.group, "volumesnapshots", "classless", "mine")
	must[[]kube.SnapshotRequest](t)(s.Requests(t.Context()))
	if names := g.contents(g.group); len(names) != 0 {
		t.Errorf("contents are left: %s", names)
	}
}

func (g snapshotTest) testControlledNamespace() {
	t, s := g.t, g.snapshots()
	v := snapshotOf(g.namespace("controlled-end"), "a")
	g.check(s.Show(t.Context(), v))
	g.becomesReady(s, v)
	g.check(g.admin.CoreV1().Namespaces().Delete(t.Context(), v.Namespace, metav1.DeleteOptions{}))
	g.check(g.resource(g.group, "volumesnapshots", v.Namespace).DeleteCollection(t.Context(), metav1.DeleteOptions{}, metav1.ListOptions{}))
	if l := listed(t, s, v.Namespace, v.Name); l == nil || !l.Deleting {
		t.Errorf("in a namespace that ends: %+v", l)
	}
	g.check(s.Withdraw(t.Context(), v))
	g.gone(g.group, "volumesnapshots", v.Namespace, v.Name)
	g.nothingLeft(v)
}
