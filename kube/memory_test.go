package kube_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/glusterbackupd/glusterbackupd/kube"
)

// TestCacheMemory holds 10,000 claims and their volumes with the metadata that
// real ones have, served by pages, and reports what they take.
func TestCacheMemory(t *testing.T) {
	const n, most = 10_000, 8 << 10 // Claims, and bytes for each with its volume.
	server := httptest.NewServer(manyClaims(n))
	t.Cleanup(server.Close)
	c := newClient(t, kubeconfig(t, server.URL, "t"), time.Minute)
	ctx, cancel := context.WithCancel(t.Context())
	before := heap()
	w, err := c.Watch(ctx, kube.WatchOptions{})
	if err != nil {
		t.Fatal(err)
	}
	each := (heap() - before) / n
	t.Logf("%d claims: %d bytes of heap for each with its volume", n, each)
	claims, err := w.Claims(ctx, "")
	if err != nil || len(claims) != n || claims[n-1].Kind != kube.File {
		t.Errorf("%d claims, %v; want %d", len(claims), err, n)
	}
	if each > most {
		t.Errorf("%d bytes for each claim, want at most %d", each, most)
	}
	cancel()
	w.Wait()
}

func heap() int64 {
	runtime.GC()
	runtime.GC() // What the first one's finalizers let go.
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// manyClaims serves n claims with their volumes in one namespace, and watches
// in which nothing happens.
func manyClaims(n int) http.Handler {
	managed := strings.Repeat(`"f:status":{"f:accessModes":{},"f:capacity":{".":{},"f:storage":{}},"f:phase":{}},`, 20) + `"f:x":{}`
	item := func(kind string, i int) string {
		meta := fmt.Sprintf(`"uid":"7d8d3ac7-13ba-4827-b0d4-%012d","resourceVersion":"%d","creationTimestamp":"2018-12-02T00:00:00Z",`+
			`"finalizers":["kubernetes.io/protection"],"managedFields":[{"manager":"m","operation":"Update","apiVersion":"v1","fieldsType":"FieldsV1","fieldsV1":{%s}}]`, i, i+1, managed)
		switch kind {
		case "persistentvolumeclaims":
			return fmt.Sprintf(`{"metadata":{"namespace":"shop","name":"claim-%05d",%s,"labels":{"app":"shop"},"annotations":{"pv.kubernetes.io/bind-completed":"yes","backup.gluster.org/schedule":"@daily"}},`+
				`"spec":{"accessModes":["ReadWriteMany"],"resources":{"requests":{"storage":"1Gi"}},"storageClassName":"gluster","volumeName":"pv-%05d"},`+
				`"status":{"phase":"Bound","accessModes":["ReadWriteMany"],"capacity":{"storage":"1Gi"}}}`, i, meta, i)
		case "persistentvolumes":
			return fmt.Sprintf(`{"metadata":{"name":"pv-%05d",%s,"annotations":{"gluster.kubernetes.io/heketi-volume-id":"%032x","kubernetes.io/createdby":"heketi-dynamic-provisioner"}},`+
				`"spec":{"capacity":{"storage":"1Gi"},"glusterfs":{"endpoints":"e-%05d","path":"vol_%032x"},"claimRef":{"namespace":"shop","name":"claim-%05d"}},"status":{"phase":"Bound"}}`, i, meta, i, i, i, i)
		}
		return `{"metadata":{"name":"shop","resourceVersion":"1"}}`
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.URL.Query().Get("watch") != "" {
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
			return
		}
		kind, last := path.Base(r.URL.Path), n
		if kind == "namespaces" {
			last = 1
		}
		from, _ := strconv.Atoi(r.URL.Query().Get("continue")) // Ours; none is the first page.
		size, err := strconv.Atoi(r.URL.Query().Get("limit"))
		if err != nil || size > 500 {
			http.Error(w, "a list without pages", http.StatusBadRequest)
			return
		}
		to, more := min(from+size, last), ""
		if to < last {
			more = strconv.Itoa(to)
		}
		items := make([]string, 0, size)
		for i := from; i < to; i++ {
			items = append(items, item(kind, i))
		}
		names := map[string]string{"persistentvolumeclaims": "PersistentVolumeClaimList", "persistentvolumes": "PersistentVolumeList", "namespaces": "NamespaceList"}
		fmt.Fprintf(w, `{"kind":%q,"apiVersion":"v1","metadata":{"resourceVersion":"9","continue":%q},"items":[%s]}`, names[kind], more, strings.Join(items, ","))
	})
}
