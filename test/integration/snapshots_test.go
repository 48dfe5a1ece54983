//go:build integration

package integration_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/glusterbackupd/glusterbackupd/kube"
)

// TestSnapshots is about both snapshot APIs without a snapshot-controller.
func TestSnapshots(t *testing.T) {
	k := startSnapshots(t)
	t.Run("none", func(t *testing.T) { testNoSnapshotAPI(t, k) })
	for _, group := range []string{modern, legacy} {
		k.install(group)
		api := kube.SnapshotAPI(group + "/v1")
		t.Run(group, func(t *testing.T) {
			path, r := k.counted()
			g := snapshotTest{snapshotCluster: &snapshotCluster{&cluster{t: t, api: k.api, admin: k.admin}, k.dynamic}, group: group, api: api, path: path, requests: r}
			t.Run("shown and withdrawn", g.on(snapshotTest.testShow))
			t.Run("interrupted", g.on(snapshotTest.testInterrupted))
			t.Run("deleted by tenants", g.on(snapshotTest.testDeleted))
			t.Run("namespace ends", g.on(snapshotTest.testNamespaceEnds))
			t.Run("attacks", g.on(snapshotTest.testAttacks))
			t.Run("requests", g.on(snapshotTest.testRequests))
			t.Run("rights", g.on(snapshotTest.testRights))
			t.Run("watch", g.on(snapshotTest.testWatch))
		})
	}
	t.Run("restart", func(t *testing.T) { testSnapshotsRestart(t, k) })
	t.Run("APIs come and go", func(t *testing.T) { testAPIsComeAndGo(t, k) })
}

// snapshotTest is what the cases of one API share.
type snapshotTest struct {
	*snapshotCluster
	group string
	api   kube.SnapshotAPI
	path  string // Of a kubeconfig whose requests are counted.

	requests *requests
}

// on makes a case that ends its own test on failure.
func (g snapshotTest) on(do func(snapshotTest)) func(*testing.T) {
	return func(t *testing.T) {
		g.snapshotCluster = &snapshotCluster{&cluster{t: t, api: g.snapshotCluster.api, admin: g.admin}, g.dynamic}
		g.requests.allow(-1)
		do(g)
	}
}

func (g snapshotTest) snapshots() *kube.Snapshots {
	g.t.Helper()
	return snapshots(g.t, g.path, kube.SnapshotOptions{API: g.api, Delete: true})
}

// namespace makes one with a claim.
func (g snapshotTest) namespace(name string) metav1.Object {
	g.t.Helper()
	name = name + "-" + strings.Split(g.group, ".")[0]
	g.namespaces(name)
	return g.claim(name, "db")
}

func testNoSnapshotAPI(t *testing.T, k *snapshotCluster) {
	s := snapshots(t, k.api.Kubeconfig, kube.SnapshotOptions{})
	if api, err := s.API(t.Context()); api != kube.SnapshotsNone || err != nil {
		t.Errorf("API %q, %v", api, err)
	}
	if list, err := s.List(t.Context()); list != nil || err != nil {
		t.Errorf("list %v, %v; want nothing", list, err)
	}
	if list, err := s.Requests(t.Context()); list != nil || err != nil {
		t.Errorf("requests %v, %v; want nothing", list, err)
	}
	v := snapshotOf(&metav1.ObjectMeta{Namespace: "default", Name: "db", UID: "u"}, "a")
	for _, api := range []kube.SnapshotAPI{"", kube.SnapshotsV1, kube.SnapshotsLegacy, kube.SnapshotsNone} {
		s := snapshots(t, k.api.Kubeconfig, kube.SnapshotOptions{API: api})
		if err := s.Show(t.Context(), v); !errors.Is(err, kube.ErrNoSnapshotAPI) || kube.Temporary(err) || remedy(err) == "" {
			t.Errorf("show with API %q: %v; want ErrNoSnapshotAPI", api, err)
		}
		if _, err := s.List(t.Context()); api != "" && api != kube.SnapshotsNone && !errors.Is(err, kube.ErrNoSnapshotAPI) {
			t.Errorf("list with API %q: %v; want ErrNoSnapshotAPI", api, err)
		}
	}
}

// ready shows until the object is ready, as a daemon does that hears Changed.
func (g snapshotTest) ready(s *kube.Snapshots, v kube.VolumeSnapshot) {
	g.t.Helper()
	eventually(g.t, "ready", func(ctx context.Context) error {
		if err := s.Show(ctx, v); err != nil {
			return err
		}
		if l := listed(g.t, s, v.Namespace, v.Name); l == nil || !l.Ready {
			return fmt.Errorf("not ready: %+v", l)
		}
		return nil
	})
}

func (g snapshotTest) testShow() {
	t, s := g.t, g.snapshots()
	v := snapshotOf(g.namespace("show"), "db-20181202")
	v.Block = true
	calls := g.requests.since(func() { g.check(s.Show(t.Context(), v)) })
	t.Logf("a new one: %s", calls)
	if len(calls) != 6 {
		t.Errorf("a new one takes %d requests, want 6", len(calls))
	}
	g.ready(s, v)
	calls = g.requests.since(func() { g.check(s.Show(t.Context(), v)) })
	if len(calls) != 2 {
		t.Errorf("nothing to do takes %s, want 2 requests", calls)
	}
	want := v
	want.Ready = true
	calls = g.requests.since(func() {
		if diff := cmp.Diff([]kube.VolumeSnapshot{want}, must[[]kube.VolumeSnapshot](t)(s.List(t.Context()))); diff != "" {
			t.Errorf("list (-want +got):\n%s", diff)
		}
	})
	if len(calls) != 2 {
		t.Errorf("list takes %s, want 2 requests", calls)
	}
	v.Backup, v.Schedule, v.Size = "20181203T000000Z", "", 4<<30
	g.check(s.Show(t.Context(), v))
	want = v
	want.Ready = true
	if diff := cmp.Diff(&want, listed(t, s, v.Namespace, v.Name)); diff != "" {
		t.Errorf("changed (-want +got):\n%s", diff)
	}
	g.checkObjects(v, "3Gi")
	if list := must[[]kube.VolumeSnapshot](t)(snapshots(t, g.path, kube.SnapshotOptions{API: g.api, Repository: "other"}).List(t.Context())); len(list) != 0 {
		t.Errorf("another repository lists %+v", list)
	}
	// What a reader of the legacy API's objects can change does not last.
	if g.group == legacy {
		g.patch(g.group, "volumesnapshots", v.Namespace, v.Name, `{"spec":{"snapshotDataName":"other"},"status":{"conditions":[]}}`)
		g.ready(s, v)
		g.checkObjects(v, "")
	}
	calls = g.requests.since(func() { g.check(s.Withdraw(t.Context(), v)) })
	t.Logf("withdrawn: %s", calls)
	if len(calls) != 8 {
		t.Errorf("withdraw takes %d requests, want 8", len(calls))
	}
	calls = g.requests.since(func() { g.check(s.Withdraw(t.Context(), v)) })
	if len(calls) != 2 {
		t.Errorf("withdraw of nothing takes %s, want 2 requests", calls)
	}
	g.nothingLeft(v)
}

// nothingLeft looks for the objects of a snapshot.
func (g snapshotTest) nothingLeft(v kube.VolumeSnapshot) {
	g.t.Helper()
	if u := g.get(g.group, "volumesnapshots", v.Namespace, v.Name); u != nil {
		g.t.Errorf("the object is left: %v", u.Object)
	}
	if names := g.contents(g.group); len(names) != 0 {
		g.t.Errorf("contents are left: %s", names)
	}
}

// checkObjects compares what others read with what the API says about it.
func (g snapshotTest) checkObjects(v kube.VolumeSnapshot, size string) {
	t := g.t
	u := g.get(g.group, "volumesnapshots", v.Namespace, v.Name)
	content := g.get(g.group, contentsOf(g.group), "", g.contents(g.group)[0])
	for _, object := range []metav1.Object{u, content} {
		labels, notes := object.GetLabels(), object.GetAnnotations()
		if labels["app.kubernetes.io/managed-by"] != "glusterbackupd" || labels[kube.RepositoryLabel] != repository || labels["backup.gluster.org/claim"] != "db" ||
			notes["backup.gluster.org/volume"] != v.Volume || notes["backup.gluster.org/snapshot"] != v.Snapshot || notes["backup.gluster.org/backup"] != v.Backup ||
			notes["backup.gluster.org/schedule"] != v.Schedule || notes["backup.gluster.org/claim"] != "db" {
			t.Errorf("labels %v, annotations %v", labels, notes)
		}
	}
	var got map[string]any
	// A size that changes later stays as it was on the object, as with the
	// controller.
	want := map[string]any{
		"content": content.GetName(), "size": size, "created": "2018-12-02T00:00:07Z", "error": nil,
		"handle": v.Volume + "/" + v.Snapshot, "nanoseconds": v.Created.UnixNano(), "bytes": v.Size, "ready": true, "policy": "Delete", "claim": nil,
	}
	if g.group == legacy {
		want = map[string]any{"content": content.GetName(), "claim": "db", "id": v.Snapshot, "ref": v.Namespace + "/" + v.Name + "-" + string(u.GetUID()), "kind": "VolumeSnapshot"}
		got = map[string]any{
			"content": field(u, "spec", "snapshotDataName"), "claim": field(u, "spec", "persistentVolumeClaimName"),
			"id":  field(content, "spec", "glusterSnapshotVolume", "snapshotId"),
			"ref": field(content, "spec", "volumeSnapshotRef", "name"), "kind": field(content, "spec", "volumeSnapshotRef", "kind"),
		}
	} else {
		got = map[string]any{
			"content": field(u, "spec", "source", "volumeSnapshotContentName"), "claim": field(u, "spec", "source", "persistentVolumeClaimName"),
			"size": field(u, "status", "restoreSize"), "created": field(u, "status", "creationTime"), "error": field(u, "status", "error"),
			"handle": field(content, "status", "snapshotHandle"), "nanoseconds": field(content, "status", "creationTime"),
			"bytes": field(content, "status", "restoreSize"), "ready": field(content, "status", "readyToUse"), "policy": field(content, "spec", "deletionPolicy"),
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("objects (-want +got):\n%s", diff)
	}
}

// testInterrupted breaks Show and Withdraw off after each of their writes, and
// repeats them.
func (g snapshotTest) testInterrupted() {
	t := g.t
	pvc := g.namespace("interrupted")
	for writes := range 5 {
		v := snapshotOf(pvc, fmt.Sprintf("a-%d", writes))
		s := g.snapshots()
		g.requests.allow(writes)
		err := s.Show(t.Context(), v)
		g.requests.allow(-1)
		if err != nil && !kube.Temporary(err) {
			t.Errorf("after %d writes: %v", writes, err)
		}
		l := listed(t, s, v.Namespace, v.Name)
		if (l != nil) != (writes > 0) {
			t.Errorf("after %d writes the list has %+v", writes, l)
		}
		s = g.snapshots() // The next process.
		g.check(s.Show(t.Context(), v))
		if names := g.contents(g.group); len(names) != 1 {
			t.Fatalf("after %d writes: contents %s, want one", writes, names)
		}
		for n := 0; ; n++ {
			g.requests.allow(n)
			err := s.Withdraw(t.Context(), v)
			g.requests.allow(-1)
			if err == nil {
				break
			}
			if l := listed(t, s, v.Namespace, v.Name); l == nil || n > 0 && !l.Deleting {
				t.Errorf("withdrawn up to %d writes: %+v, want it listed as deleting", n, l)
			}
			if n > 9 {
				t.Fatal(err)
			}
			if err := g.snapshots().Show(t.Context(), v); n > 0 && !errors.Is(err, kube.ErrDeleting) {
				t.Errorf("show of what is withdrawn up to %d writes: %v, want ErrDeleting", n, err)
			}
		}
		g.nothingLeft(v)
	}
}

func (g snapshotTest) testDeleted() {
	t := g.t
	pvc := g.namespace("deleted")
	for _, keep := range []bool{false, true} {
		s := snapshots(t, g.path, kube.SnapshotOptions{API: g.api, Delete: !keep})
		v := snapshotOf(pvc, "a")
		g.check(s.Show(t.Context(), v))
		g.delete(g.group, "volumesnapshots", v.Namespace, v.Name)
		if l := listed(t, s, v.Namespace, v.Name); l == nil || !l.Deleting {
			t.Errorf("deleted by a tenant, keep %v: %+v", keep, l)
		}
		if err := s.Show(t.Context(), v); !errors.Is(err, kube.ErrDeleting) {
			t.Errorf("show of what is being deleted: %v, want ErrDeleting", err)
		}
		g.check(s.Withdraw(t.Context(), v))
		g.nothingLeft(v)
		g.check(s.Show(t.Context(), v))
		g.delete(g.group, contentsOf(g.group), "", g.contents(g.group)[0])
		if l := listed(t, s, v.Namespace, v.Name); l == nil || !l.Deleting {
			t.Errorf("content deleted by an admin, keep %v: %+v", keep, l)
		}
		g.check(s.Withdraw(t.Context(), v))
		g.nothingLeft(v)
	}
	// The finalizer taken off by force, by the tenant and by the admin.
	s, v := g.snapshots(), snapshotOf(pvc, "b")
	g.check(s.Show(t.Context(), v))
	g.patch(g.group, "volumesnapshots", v.Namespace, v.Name, `{"metadata":{"finalizers":null}}`)
	g.delete(g.group, "volumesnapshots", v.Namespace, v.Name)
	if l := listed(t, s, v.Namespace, v.Name); l == nil || l.Deleting || l.Ready {
		t.Errorf("without its object: %+v; want it neither ready nor deleting", l)
	}
	g.check(s.Show(t.Context(), v))
	g.ready(s, v)
	name := g.contents(g.group)[0]
	g.patch(g.group, contentsOf(g.group), "", name, `{"metadata":{"finalizers":null}}`)
	g.delete(g.group, contentsOf(g.group), "", name)
	g.delete(g.group, "volumesnapshots", v.Namespace, v.Name)
	if l := listed(t, s, v.Namespace, v.Name); l != nil {
		t.Errorf("without its content: %+v", l)
	}
	g.nothingLeft(v)
}

// testNamespaceEnds deletes a namespace; nobody removes what is in it here, so
// that is done as the namespace controller does it.
func (g snapshotTest) testNamespaceEnds() {
	t, s := g.t, g.snapshots()
	pvc := g.namespace("ends")
	v, late := snapshotOf(pvc, "a"), snapshotOf(pvc, "late")
	g.check(s.Show(t.Context(), v))
	g.check(g.admin.CoreV1().Namespaces().Delete(t.Context(), v.Namespace, metav1.DeleteOptions{}))
	g.check(g.resource(g.group, "volumesnapshots", v.Namespace).DeleteCollection(t.Context(), metav1.DeleteOptions{}, metav1.ListOptions{}))
	if l := listed(t, s, v.Namespace, v.Name); l == nil || !l.Deleting {
		t.Errorf("in a namespace that ends: %+v", l)
	}
	if err := s.Show(t.Context(), late); !errors.Is(err, kube.ErrNoNamespace) {
		t.Errorf("show in a namespace that ends: %v, want ErrNoNamespace", err)
	}
	g.check(s.Withdraw(t.Context(), v))
	g.nothingLeft(v)
	never := late
	never.Namespace = "no-such-namespace"
	if err := s.Show(t.Context(), never); !errors.Is(err, kube.ErrNoNamespace) {
		t.Errorf("show in no namespace: %v, want ErrNoNamespace", err)
	}
	g.nothingLeft(late)
}

// testAttacks is what tenants try who can write all VolumeSnapshots of their
// namespace, and have read those of another.
func (g snapshotTest) testAttacks() {
	t, s := g.t, g.snapshots()
	pvc, evil := g.namespace("victim"), g.namespace("evil")
	v := snapshotOf(pvc, "a")
	g.check(s.Show(t.Context(), v))
	g.ready(s, v)
	object, content := g.get(g.group, "volumesnapshots", v.Namespace, v.Name), g.contents(g.group)[0]

	// A copy of it in the own namespace, with all labels, annotations and names.
	forged := object.DeepCopy()
	forged.SetNamespace(evil.GetNamespace())
	forged.SetResourceVersion("")
	forged.SetUID("")
	_, err := g.resource(g.group, "volumesnapshots", evil.GetNamespace()).Create(t.Context(), forged, metav1.CreateOptions{})
	g.check(err)
	if list := must[[]kube.VolumeSnapshot](t)(s.List(t.Context())); len(list) != 1 || list[0].Namespace != v.Namespace {
		t.Errorf("a forged object is listed: %+v", list)
	}
	mine := snapshotOf(evil, "a")
	for range 2 {
		if err := s.Show(t.Context(), mine); !errors.Is(err, kube.ErrNameTaken) || kube.Temporary(err) {
			t.Errorf("show over a forged object: %v, want ErrNameTaken", err)
		}
	}
	g.check(s.Withdraw(t.Context(), mine))
	if u := g.get(g.group, "volumesnapshots", mine.Namespace, mine.Name); u == nil || u.GetDeletionTimestamp() != nil || !cmp.Equal(u.Object["spec"], object.Object["spec"]) {
		t.Errorf("the tenant's object was touched: %v", u)
	}
	if names := g.contents(g.group); !slices.Equal(names, []string{content}) {
		t.Errorf("contents %s, want %s only", names, content)
	}
	// Its deletion is nobody's but the tenant's: it may go at once.
	g.delete(g.group, "volumesnapshots", mine.Namespace, mine.Name)
	if l := listed(t, s, v.Namespace, v.Name); l == nil || l.Deleting {
		t.Errorf("the victim's: %+v", l)
	}

	// An object that names the content that will be made is no invitation.
	ahead := snapshotOf(evil, "ahead")
	g.check(s.Show(t.Context(), ahead))
	u := g.get(g.group, "volumesnapshots", ahead.Namespace, ahead.Name)
	g.check(s.Withdraw(t.Context(), ahead))
	u.SetResourceVersion("")
	u.SetUID("")
	u.SetFinalizers(nil)
	g.gone(g.group, "volumesnapshots", ahead.Namespace, ahead.Name)
	_, err = g.resource(g.group, "volumesnapshots", ahead.Namespace).Create(t.Context(), u, metav1.CreateOptions{})
	g.check(err)
	if err := s.Show(t.Context(), ahead); !errors.Is(err, kube.ErrNameTaken) {
		t.Errorf("show over an object that names the content ahead: %v, want ErrNameTaken", err)
	}
	g.delete(g.group, "volumesnapshots", ahead.Namespace, ahead.Name)
	g.gone(g.group, "volumesnapshots", ahead.Namespace, ahead.Name)

	// What the tenant writes on the real object does not tell what it is.
	g.patch(g.group, "volumesnapshots", v.Namespace, v.Name,
		`{"metadata":{"labels":null,"annotations":{"backup.gluster.org/snapshot":"other","backup.gluster.org/volume":"vol_other","backup.gluster.org/claim-uid":"x"}}}`)
	want := v
	want.Ready = true
	if diff := cmp.Diff(&want, listed(t, s, v.Namespace, v.Name)); diff != "" {
		t.Errorf("with the tenant's annotations (-want +got):\n%s", diff)
	}
	// Nor is another object under its name it.
	g.patch(g.group, "volumesnapshots", v.Namespace, v.Name, `{"metadata":{"finalizers":null}}`)
	g.delete(g.group, "volumesnapshots", v.Namespace, v.Name)
	g.ask(g.group, v.Namespace, v.Name, "db")
	if l := listed(t, s, v.Namespace, v.Name); l == nil || l.Ready || l.Deleting {
		t.Errorf("with another object under its name: %+v", l)
	}
	if err := s.Show(t.Context(), v); !errors.Is(err, kube.ErrNameTaken) {
		t.Errorf("show with another object under its name: %v, want ErrNameTaken", err)
	}
	// The same snapshot may take another name.
	renamed := v
	renamed.Name = "a-2"
	g.check(s.Show(t.Context(), renamed))
	g.check(s.Withdraw(t.Context(), v))
	g.check(s.Withdraw(t.Context(), renamed))
	if u := g.get(g.group, "volumesnapshots", v.Namespace, v.Name); u == nil || u.GetDeletionTimestamp() != nil {
		t.Errorf("the tenant's object was touched: %v", u)
	}
	g.delete(g.group, "volumesnapshots", v.Namespace, v.Name)
	g.gone(g.group, "volumesnapshots", mine.Namespace, mine.Name)
	g.nothingLeft(v)
}

func (g snapshotTest) testRequests() {
	t, s := g.t, g.snapshots()
	pvc := g.namespace("requests")
	namespace := pvc.GetNamespace()
	first := g.ask(g.group, namespace, "first", "db")
	time.Sleep(1100 * time.Millisecond) // The server's stamps are whole seconds.
	second := g.ask(g.group, namespace, "second", "no-such-claim")
	if g.group == modern {
		g.make(g.group, "volumesnapshots", namespace, "{kind: VolumeSnapshot, metadata: {name: other}, spec: {volumeSnapshotClassName: other, source: {persistentVolumeClaimName: db}}}")
		g.make(g.group, "volumesnapshots", namespace, "{kind: VolumeSnapshot, metadata: {name: none}, spec: {source: {persistentVolumeClaimName: db}}}")
	}
	g.ask(g.group, namespace, "monster", strings.Repeat("a", 300_000))
	want := []kube.SnapshotRequest{
		{Namespace: namespace, Name: "first", UID: string(first.GetUID()), Claim: "db", Created: first.GetCreationTimestamp().UTC()},
		{Namespace: namespace, Name: "second", UID: string(second.GetUID()), Claim: "no-such-claim", Created: second.GetCreationTimestamp().UTC()},
	}
	got := must[[]kube.SnapshotRequest](t)(s.Requests(t.Context()))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("requests (-want +got):\n%s", diff)
	}
	g.check(s.Refuse(t.Context(), got[1], "the claim does not exist"))
	v := snapshotOf(pvc, "named by the tenant")
	calls := g.requests.since(func() { g.check(s.Answer(t.Context(), got[0], v)) })
	t.Logf("answer: %s", calls)
	if len(calls) != 5 {
		t.Errorf("an answer takes %d requests, want 5", len(calls))
	}
	for _, s := range []*kube.Snapshots{s, g.snapshots()} {
		if left := must[[]kube.SnapshotRequest](t)(s.Requests(t.Context())); len(left) != 0 {
			t.Errorf("left: %+v", left)
		}
	}
	v.Name, v.Request = "first", "first"
	g.ready(s, v)
	v.Ready = true
	if diff := cmp.Diff(&v, listed(t, s, namespace, "first")); diff != "" {
		t.Errorf("answered (-want +got):\n%s", diff)
	}
	if text := fmt.Sprint(g.get(g.group, "volumesnapshots", namespace, "second").Object["status"]); !strings.Contains(text, "the claim does not exist") {
		t.Errorf("refused, and the object says %s", text)
	}
	g.check(s.Answer(t.Context(), got[0], v)) // Again, as after a crash.
	if err := s.Answer(t.Context(), kube.SnapshotRequest{Namespace: namespace, Name: "first", UID: "another", Claim: "db"}, v); !errors.Is(err, kube.ErrNoRequest) {
		t.Errorf("answer to another: %v, want ErrNoRequest", err)
	}
	g.testAnsweredBefore(got[0], v)
	g.delete(g.group, "volumesnapshots", namespace, "second")
	g.gone(g.group, "volumesnapshots", namespace, "second")
	must[[]kube.SnapshotRequest](t)(s.Requests(t.Context()))
	if names := g.contents(g.group); len(names) != 1 {
		t.Errorf("contents %s, want that of the answer only", names)
	}
	// The tenant removes the object by force: the snapshot is shown anew.
	g.patch(g.group, "volumesnapshots", namespace, "first", `{"metadata":{"finalizers":null}}`)
	g.delete(g.group, "volumesnapshots", namespace, "first")
	g.check(s.Show(t.Context(), v))
	if l := listed(t, s, namespace, "first"); l == nil || l.Request != "" || len(g.contents(g.group)) != 1 {
		t.Errorf("shown anew: %+v, contents %s", l, g.contents(g.group))
	}
	g.check(s.Withdraw(t.Context(), v))
	g.nothingLeft(v)
}

// testAnsweredBefore is the other daemon's view of an answered request.
func (g snapshotTest) testAnsweredBefore(q kube.SnapshotRequest, v kube.VolumeSnapshot) {
	other := snapshots(g.t, g.path, kube.SnapshotOptions{API: g.api, Repository: "other"})
	if err := other.Answer(g.t.Context(), q, v); !errors.Is(err, kube.ErrNameTaken) {
		g.t.Errorf("answer by another repository: %v, want ErrNameTaken", err)
	}
	if list := must[[]kube.SnapshotRequest](g.t)(other.Requests(g.t.Context())); len(list) != 0 {
		g.t.Errorf("another repository sees %+v", list)
	}
	g.check(other.Withdraw(g.t.Context(), v))
	if l := listed(g.t, g.snapshots(), v.Namespace, v.Name); l == nil || l.Deleting {
		g.t.Errorf("withdrawn by another repository: %+v", l)
	}
}

func (g snapshotTest) testRights() {
	t := g.t
	pvc := g.namespace("rights")
	path := g.serviceAccount(pvc.GetNamespace(), "powerless")
	s := snapshots(t, path, kube.SnapshotOptions{API: g.api})
	_, err := s.List(t.Context())
	for _, err := range []error{err, s.Show(t.Context(), snapshotOf(pvc, "a")), s.Withdraw(t.Context(), snapshotOf(pvc, "a"))} {
		if text := remedy(err); !errors.Is(err, kube.ErrForbidden) || !strings.Contains(text, contentsOf(g.group)) || !strings.Contains(text, g.group) {
			t.Errorf("%v, remedy %q; want ErrForbidden and the rights", err, text)
		}
	}
	// With the rights that the remedy names, all works.
	all := []string{"get", "list", "watch", "create", "patch", "delete"}
	rules := []rbacv1.PolicyRule{
		{APIGroups: []string{g.group}, Resources: []string{"volumesnapshots", contentsOf(g.group)}, Verbs: all},
		{APIGroups: []string{""}, Resources: []string{"persistentvolumeclaims"}, Verbs: []string{"get", "patch"}},
	}
	if g.group == modern {
		rules = append(rules, rbacv1.PolicyRule{
			APIGroups: []string{g.group}, Resources: []string{"volumesnapshots/status", contentsModern + "/status"}, Verbs: []string{"patch"},
		})
	}
	g.allow(pvc.GetNamespace(), "powerless", rules)
	s = snapshots(t, path, kube.SnapshotOptions{API: g.api})
	v := snapshotOf(pvc, "a")
	g.ready(s, v)
	g.ask(g.group, v.Namespace, "wanted", "db")
	g.ask(g.group, v.Namespace, "unwanted", "db")
	list := must[[]kube.SnapshotRequest](t)(s.Requests(t.Context()))
	if len(list) != 2 {
		t.Fatalf("requests %+v", list)
	}
	g.patchClaim(v.Namespace, "db")
	for _, q := range list {
		if q.Name == "unwanted" {
			g.check(s.Refuse(t.Context(), q, "no"))
			continue
		}
		answer := snapshotOf(pvc, "wanted")
		g.check(s.Answer(t.Context(), q, answer))
		g.ready(s, answer)
		g.check(s.Withdraw(t.Context(), answer))
	}
	g.check(s.Withdraw(t.Context(), v))
	g.delete(g.group, "volumesnapshots", v.Namespace, "unwanted")
	must[[]kube.SnapshotRequest](t)(s.Requests(t.Context()))
	g.nothingLeft(v)
}

// patchClaim puts the snapshot-controller's finalizer on a claim, which a
// refusal takes off.
func (g snapshotTest) patchClaim(namespace, name string) {
	g.t.Helper()
	if g.group != modern {
		return
	}
	g.t.Cleanup(func() {
		pvc, err := g.admin.CoreV1().PersistentVolumeClaims(namespace).Get(context.Background(), name, metav1.GetOptions{})
		if err != nil || slices.Contains(pvc.Finalizers, claimFinalizer) {
			g.t.Errorf("claim: %v, finalizers %v", err, pvc.Finalizers)
		}
	})
	_, err := g.admin.CoreV1().PersistentVolumeClaims(namespace).Patch(g.t.Context(), name, types.MergePatchType,
		[]byte(`{"metadata":{"finalizers":["`+claimFinalizer+`","example.com/other"]}}`), metav1.PatchOptions{})
	g.check(err)
}

// startWatch runs Watch until the test ends, and waits until it is complete.
func (g snapshotTest) startWatch(s *kube.Snapshots) {
	g.t.Helper()
	ctx, cancel := context.WithCancel(g.t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); s.Watch(ctx) }()
	g.t.Cleanup(func() {
		cancel()
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
			g.t.Error("the watch goes on")
		}
	})
	eventually(g.t, "watch", func(ctx context.Context) error {
		calls := g.requests.since(func() { must[[]kube.VolumeSnapshot](g.t)(s.List(ctx)) })
		if len(calls) != 0 {
			return errors.New("the list still takes requests")
		}
		return nil
	})
}

func heard(t *testing.T, s *kube.Snapshots, why string) {
	t.Helper()
	select {
	case <-s.Changed():
	case <-time.After(20 * time.Second):
		t.Errorf("%s was not told", why)
	}
}

func (g snapshotTest) testWatch() {
	t, s := g.t, g.snapshots()
	pvc := g.namespace("watch")
	g.startWatch(s)
	heard(t, s, "the first state")
	v := snapshotOf(pvc, "a")
	g.check(s.Show(t.Context(), v))
	g.ready(s, v)
	eventually(t, "show from memory", func(ctx context.Context) error {
		calls := g.requests.since(func() { g.check(s.Show(ctx, v)) })
		if len(calls) != 0 {
			return fmt.Errorf("it takes %s", calls)
		}
		return nil
	})
	quiet := func() {
		for {
			select {
			case <-s.Changed():
			case <-time.After(700 * time.Millisecond):
				return
			}
		}
	}
	quiet()
	g.patch(g.group, "volumesnapshots", v.Namespace, v.Name, `{"metadata":{"labels":{"a":"b"}}}`)
	select {
	case <-s.Changed():
		t.Error("a tenant's label is told")
	case <-time.After(700 * time.Millisecond):
	}
	g.delete(g.group, "volumesnapshots", v.Namespace, v.Name)
	heard(t, s, "a deletion")
	if l := listed(t, s, v.Namespace, v.Name); l == nil || !l.Deleting {
		t.Errorf("deleted: %+v", l)
	}
	quiet()
	g.ask(g.group, v.Namespace, "wanted", "db")
	heard(t, s, "a request")
	eventually(t, "request", func(ctx context.Context) error {
		if list, err := s.Requests(ctx); err != nil || len(list) != 1 {
			return fmt.Errorf("%v, %w", list, err)
		}
		return nil
	})
	g.delete(g.group, "volumesnapshots", v.Namespace, "wanted")
	g.check(s.Withdraw(t.Context(), v))
	g.gone(g.group, "volumesnapshots", v.Namespace, v.Name)
	eventually(t, "end", func(context.Context) error {
		if l := listed(t, s, v.Namespace, v.Name); l != nil {
			return fmt.Errorf("%+v", l)
		}
		return nil
	})
	g.nothingLeft(v)
}

// testSnapshotsRestart takes the API server away from a watch, and gives it back.
func testSnapshotsRestart(t *testing.T, k *snapshotCluster) {
	path, r := k.counted()
	g := snapshotTest{snapshotCluster: k, group: modern, api: kube.SnapshotsV1, path: path, requests: r}
	s := g.snapshots()
	v := snapshotOf(g.namespace("restart"), "a")
	g.ready(s, v)
	g.startWatch(s)
	k.stopAPI()
	time.Sleep(time.Second)
	if list, err := s.List(t.Context()); err == nil {
		t.Errorf("list without a server: %+v", list)
	}
	k.restart()
	g.delete(modern, "volumesnapshots", v.Namespace, v.Name)
	deadline := time.Now().Add(2 * time.Minute)
	for {
		calls := r.since(func() {
			if l := listed(t, s, v.Namespace, v.Name); l == nil {
				t.Error("not listed after the restart")
			}
		})
		if l := listed(t, s, v.Namespace, v.Name); len(calls) == 0 && l != nil && l.Deleting {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("after the restart the list takes %s", calls)
		}
		time.Sleep(200 * time.Millisecond)
	}
	g.check(s.Withdraw(t.Context(), v))
	g.nothingLeft(v)
}

func testAPIsComeAndGo(t *testing.T, k *snapshotCluster) {
	path, r := k.counted()
	s := snapshots(t, path, kube.SnapshotOptions{})
	if api, err := s.API(t.Context()); api != kube.SnapshotsV1 || err != nil {
		t.Errorf("with both: %q, %v", api, err)
	}
	calls := r.since(func() {
		if _, err := s.API(t.Context()); err != nil {
			t.Error(err)
		}
	})
	if len(calls) != 0 {
		t.Errorf("asked again: %s", calls)
	}
	k.uninstall(modern)
	if _, err := s.List(t.Context()); !errors.Is(err, kube.ErrNoSnapshotAPI) {
		t.Errorf("list without its API: %v, want ErrNoSnapshotAPI", err)
	}
	if api, err := s.API(t.Context()); api != kube.SnapshotsLegacy || err != nil {
		t.Errorf("with the legacy API only: %q, %v", api, err)
	}
	k.uninstall(legacy)
	if _, err := s.List(t.Context()); !errors.Is(err, kube.ErrNoSnapshotAPI) {
		t.Errorf("list without any: %v, want ErrNoSnapshotAPI", err)
	}
	if list, err := s.List(t.Context()); list != nil || err != nil {
		t.Errorf("list without any: %v, %v", list, err)
	}
}
