//go:build integration && soak

package integration_test

import (
	"fmt"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/glusterbackupd/glusterbackupd/kube"
)

// TestThousandClaims measures what a backup of each of a thousand claims asks of
// the API server, with the daemon's own limit of requests per second.
func TestThousandClaims(t *testing.T) {
	const namespaces, each = 20, 50
	k := startSnapshots(t)
	k.install(modern)
	path, r := k.counted()
	for n := range namespaces {
		namespace := fmt.Sprintf("team-%02d", n)
		k.namespaces(namespace)
		for c := range each {
			k.bound(namespace, fmt.Sprintf("data-%02d", c), nil, glusterfsSource("gluster", "vol_1"))
		}
	}
	client := must[*kube.Client](t)(kube.New(kube.Options{Kubeconfig: path}))
	s := must[*kube.Snapshots](t)(client.Snapshots(kube.SnapshotOptions{API: kube.SnapshotsV1, Repository: repository, Class: class, Delete: true}))
	var claims []kube.Claim
	figure := func(what string, limit int, do func()) {
		start := time.Now()
		calls := len(r.since(do))
		t.Logf("figures: %s: %d requests in %s", what, calls, time.Since(start).Round(10*time.Millisecond))
		if calls > limit {
			t.Errorf("%s took %d requests, more than %d", what, calls, limit)
		}
	}
	snapshot := func(c kube.Claim) kube.VolumeSnapshot {
		return snapshotOf(&metav1.ObjectMeta{Namespace: c.Namespace, Name: c.Name, UID: types.UID(c.UID)}, c.Name+"-20181202")
	}
	figure("list of all claims", 10, func() { claims = must[[]kube.Claim](t)(client.Claims(t.Context(), "")) })
	if len(claims) != namespaces*each {
		t.Fatalf("%d claims", len(claims))
	}
	figure("objects kept with 100 backups", 400, func() {
		for _, c := range claims[:100] {
			must[map[string][]byte](t)(client.Objects(t.Context(), c))
		}
	})
	figure("1,000 VolumeSnapshots", 6000, func() {
		for _, c := range claims {
			k.check(s.Show(t.Context(), snapshot(c)))
		}
	})
	figure("list of all VolumeSnapshots", 10, func() {
		if list := must[[]kube.VolumeSnapshot](t)(s.List(t.Context())); len(list) != len(claims) {
			t.Errorf("%d VolumeSnapshots", len(list))
		}
	})
	list := "20181202T000000Z"
	figure("the list of backups on 100 claims", 100, func() {
		for _, c := range claims[:100] {
			k.check(client.PatchClaimAnnotations(t.Context(), c.Namespace, c.Name, map[string]*string{"backup.gluster.org/backups": &list}))
		}
	})
	figure("100 VolumeSnapshots withdrawn", 800, func() {
		for _, c := range claims[:100] {
			k.check(s.Withdraw(t.Context(), snapshot(c)))
		}
	})
}
