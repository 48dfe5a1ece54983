package kube

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/client-go/dynamic/fake"
	clienttesting "k8s.io/client-go/testing"
)

// snapshotServer is an in-memory API whose snapshot APIs come and go.
type snapshotServer struct {
	*Snapshots
	api    *fake.FakeDynamicClient
	served map[SnapshotAPI]bool
	probes int
}

func newSnapshotServer(t *testing.T, o SnapshotOptions) *snapshotServer {
	t.Helper()
	kinds := make(map[schema.GroupVersionResource]string)
	for _, form := range []snapshotForm{modernForm{}, legacyForm{}} {
		content, object := form.kinds()
		kinds[schema.GroupVersionResource{Group: form.group(), Version: "v1", Resource: form.contents()}] = content + "List"
		kinds[schema.GroupVersionResource{Group: form.group(), Version: "v1", Resource: snapshotResource}] = object + "List"
	}
	api := fake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), kinds)
	c := &Client{server: "https://api", timeout: 30 * time.Second, core: api, log: quiet(slog.New(slog.DiscardHandler))}
	o.Repository, o.Class = "3f9a0c1e-repository", "glusterbackupd"
	s, err := c.Snapshots(o)
	if err != nil {
		t.Fatal(err)
	}
	f := &snapshotServer{Snapshots: s, api: api, served: make(map[SnapshotAPI]bool)}
	s.probe = func(_ context.Context, api SnapshotAPI) (bool, error) {
		f.probes++
		return f.served[api], nil
	}
	gone := func(action clienttesting.Action) error {
		r := action.GetResource()
		if f.served[SnapshotAPI(r.Group+"/v1")] {
			return nil
		}
		return apierrors.NewGenericServerResponse(404, action.GetVerb(), r.GroupResource(), "", "404 page not found", 0, true)
	}
	api.PrependReactor("*", "*", func(a clienttesting.Action) (bool, runtime.Object, error) {
		err := gone(a)
		return err != nil, nil, err
	})
	return f
}

func TestSnapshotOptions(t *testing.T) {
	c := &Client{}
	for desc, o := range map[string]SnapshotOptions{
		"no repository":  {},
		"no label value": {Repository: "a/b"},
		"unknown API":    {Repository: "a", API: "snapshot.storage.k8s.io/v1beta1"},
		"no class name":  {Repository: "a", Class: "Not A Name"},
	} {
		if _, err := c.Snapshots(o); !errors.Is(err, ErrName) {
			t.Errorf("%s: %v, want ErrName", desc, err)
		}
	}
}

func TestSnapshotsAreChecked(t *testing.T) {
	good := VolumeSnapshot{Namespace: "shop", Name: "a", Claim: "db", ClaimUID: "u", Volume: "vol", Snapshot: "snap", Created: time.Unix(1, 0)}
	f := newSnapshotServer(t, SnapshotOptions{})
	for desc, change := range map[string]func(*VolumeSnapshot){
		"namespace":      func(v *VolumeSnapshot) { v.Namespace = "a/b" },
		"no name":        func(v *VolumeSnapshot) { v.Name = "" },
		"name":           func(v *VolumeSnapshot) { v.Name = "A b" },
		"no claim":       func(v *VolumeSnapshot) { v.ClaimUID = "" },
		"volume":         func(v *VolumeSnapshot) { v.Volume = "a/b" },
		"no snapshot":    func(v *VolumeSnapshot) { v.Snapshot = "" },
		"long snapshot":  func(v *VolumeSnapshot) { v.Snapshot = strings.Repeat("a", 300) },
		"long schedule":  func(v *VolumeSnapshot) { v.Schedule = "@daily" + strings.Repeat(" ", 300_000) },
		"no time":        func(v *VolumeSnapshot) { v.Created = time.Time{} },
		"less than none": func(v *VolumeSnapshot) { v.Size = -1 },
	} {
		v := good
		change(&v)
		if err := f.Show(t.Context(), v); !errors.Is(err, ErrName) {
			t.Errorf("%s: %v, want ErrName", desc, err)
		}
	}
	if f.probes != 0 || len(f.api.Actions()) != 0 {
		t.Errorf("%d probes and %d requests were sent", f.probes, len(f.api.Actions()))
	}
}

func TestContentName(t *testing.T) {
	v := VolumeSnapshot{Namespace: "shop", Name: "a", ClaimUID: "u-1", Snapshot: "s-1"}
	name := contentNameFor("3F9a_c1e-repository", v)
	if !strings.HasPrefix(name, "glusterbackupd-3f9a-c1e-") || name != contentNameFor("3F9a_c1e-repository", v) {
		t.Errorf("name %q", name)
	}
	seen := map[string]string{name: "the first"}
	for desc, change := range map[string]func(*VolumeSnapshot){
		"namespace": func(v *VolumeSnapshot) { v.Namespace = "office" },
		"name":      func(v *VolumeSnapshot) { v.Name = "b" },
		"claim":     func(v *VolumeSnapshot) { v.ClaimUID = "u-2" },
		"snapshot":  func(v *VolumeSnapshot) { v.Snapshot = "s-2" },
	} {
		w := v
		change(&w)
		name := contentNameFor("3F9a_c1e-repository", w)
		if other, ok := seen[name]; ok {
			t.Errorf("another %s has the name of %s", desc, other)
		}
		seen[name] = desc
	}
	for _, repository := range []string{"3F9a_c1e-another", "---", "._.", "é"} {
		name := contentNameFor(repository, v)
		if _, ok := seen[name]; ok || len(validation.IsDNS1123Subdomain(name)) != 0 {
			t.Errorf("repository %q: name %q", repository, name)
		}
	}
}

func TestCovers(t *testing.T) {
	has := map[string]any{"a": int64(1), "m": map[string]any{"x": "y", "z": true}, "l": []any{"1"}, "n": nil}
	tests := map[string]struct {
		want map[string]any
		ok   bool
	}{
		"nothing":              {nil, true},
		"some":                 {map[string]any{"a": int64(1), "m": map[string]any{"x": "y"}}, true},
		"list":                 {map[string]any{"l": []any{"1"}}, true},
		"longer list":          {map[string]any{"l": []any{"1", "2"}}, false},
		"other value":          {map[string]any{"m": map[string]any{"x": "z"}}, false},
		"other type":           {map[string]any{"a": "1"}, false},
		"absent as wanted":     {map[string]any{"b": nil, "n": nil, "m": map[string]any{"q": nil}}, true},
		"there, and unwanted":  {map[string]any{"m": map[string]any{"z": nil}}, false},
		"missing":              {map[string]any{"b": map[string]any{"c": "d"}}, false},
		"empty in missing one": {map[string]any{"b": map[string]any{"c": nil}}, true},
		"map for a value":      {map[string]any{"a": map[string]any{"c": "d"}}, false},
	}
	for desc, tt := range tests {
		if ok := covers(has, tt.want); ok != tt.ok {
			t.Errorf("%s: %v, want %v", desc, ok, tt.ok)
		}
	}
}

func TestLegacyRef(t *testing.T) {
	const uid = "7d8d3ac7-13ba-4827-b0d4-000000000001"
	for text, want := range map[string]snapshotRef{
		"shop/a-" + uid:     {"shop", "a", uid},
		"shop/a":            {"shop", "a", ""},
		"shop/a-b-" + uid:   {"shop", "a", ""}, // Not that of the annotation.
		"other/a-" + uid:    {"shop", "a", ""},
		"shop/a-short":      {"shop", "a", ""},
		"shop/a-" + uid[1:]: {"shop", "a", ""},
		"":                  {"shop", "a", ""},
	} {
		content := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{"volumeSnapshotRef": map[string]any{"name": text}}}}
		content.SetAnnotations(map[string]string{objectLabel: "shop/a"})
		if got := (legacyForm{}).ref(content); got != want {
			t.Errorf("%q: %+v, want %+v", text, got, want)
		}
	}
}

func TestSnapshotAPI(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newSnapshotServer(t, SnapshotOptions{})
		steps := []struct {
			desc   string
			change func()
			want   SnapshotAPI
			probes int
		}{
			{"none", func() {}, SnapshotsNone, 2},
			{"asked too early", func() { f.served[SnapshotsLegacy] = true }, SnapshotsNone, 0},
			{"installed", func() { time.Sleep(apiPause) }, SnapshotsLegacy, 2},
			{"a better one", func() { f.served[SnapshotsV1] = true; time.Sleep(time.Hour) }, SnapshotsLegacy, 0},
			{"the worse one gone", func() {
				f.served[SnapshotsLegacy] = false
				if _, err := f.List(t.Context()); !errors.Is(err, ErrNoSnapshotAPI) {
					t.Errorf("list: %v, want ErrNoSnapshotAPI", err)
				}
			}, SnapshotsV1, 1},
		}
		for _, step := range steps {
			step.change()
			f.probes = 0
			if api, err := f.API(t.Context()); api != step.want || err != nil || f.probes != step.probes {
				t.Errorf("%s: %q, %v after %d probes; want %q after %d", step.desc, api, err, f.probes, step.want, step.probes)
			}
		}
	})
}

func TestSnapshotWatchFollowsTheAPI(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newSnapshotServer(t, SnapshotOptions{})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); f.Watch(ctx) }()
		complete := func() bool {
			form, err := f.form(ctx)
			return err == nil && form != nil && f.complete(form) != nil
		}
		time.Sleep(10 * apiPause)
		if complete() {
			t.Error("complete without an API")
		}
		f.served[SnapshotsV1] = true
		time.Sleep(2*apiPause + time.Second)
		if !complete() {
			t.Error("not complete with an API")
		}
		<-f.Changed()
		f.served[SnapshotsV1] = false
		if _, err := f.api.Resource(schema.GroupVersionResource{Group: SnapshotsV1.group(), Version: "v1", Resource: snapshotResource}).
			List(ctx, metav1.ListOptions{}); err == nil {
			t.Error("still served")
		}
		// Watches of the real server end with the API; these do not by themselves.
		live := f.complete(modernForm{})
		_ = live.contents.contact.fail(f.client.fail(ctx, ctx, live.contents.request("list"),
			apierrors.NewGenericServerResponse(404, "list", schema.GroupResource{}, "", "404 page not found", 0, true)))
		time.Sleep(watchPause + time.Second)
		synctest.Wait()
		if complete() {
			t.Error("complete although the API is gone")
		}
		if list, err := f.List(ctx); list != nil || err != nil {
			t.Errorf("list without an API: %v, %v", list, err)
		}
		<-f.Changed()
		cancel()
		<-done
	})
}

func TestTerminatingNamespace(t *testing.T) {
	resource := schema.GroupResource{Group: SnapshotsLegacy.group(), Resource: snapshotResource}
	old := errors.New("unable to create new content in namespace shop because it is being terminated")
	for desc, tt := range map[string]struct {
		err  error
		want error
	}{
		"ending":  {apierrors.NewForbidden(resource, "a", old), ErrNoNamespace},
		"rights":  {apierrors.NewForbidden(resource, "a", errors.New("no RBAC policy matched")), ErrForbidden},
		"missing": {apierrors.NewNotFound(schema.GroupResource{Resource: "namespaces"}, "shop"), ErrNoNamespace},
	} {
		c := &Client{}
		r := request{op: "create", resource: snapshotResource, group: resource.Group, namespace: "shop", name: "a"}
		if err := c.fail(t.Context(), t.Context(), r, tt.err); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", desc, err, tt.want)
		}
	}
}

func TestPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newSnapshotServer(t, SnapshotOptions{})
		bare, touched := &unstructured.Unstructured{Object: map[string]any{}}, &unstructured.Unstructured{Object: map[string]any{}}
		bare.SetUID("1")
		touched.SetUID("2")
		touched.SetFinalizers([]string{SnapshotFinalizer, controllerPrefix + "volumesnapshot-as-source-protection"})
		if f.patience(bare) != controllerTime || f.patience(touched) != controlledTime {
			t.Error("no time for a controller")
		}
		time.Sleep(controllerTime)
		if f.patience(bare) > 0 || f.patience(touched) <= 0 {
			t.Error("after the controller's time: want the touched object to wait only")
		}
		time.Sleep(controlledTime)
		if f.patience(touched) > 0 {
			t.Error("a controller that was deinstalled is waited for")
		}
	})
}

func TestRefusalOver(t *testing.T) {
	now := time.Now()
	for desc, tt := range map[string]struct {
		notes map[string]string
		over  bool
	}{
		"an answer":     {nil, false},
		"fresh":         {map[string]string{refusedAnnotation: "no", refusedAtAnnotation: seconds(now)}, false},
		"old":           {map[string]string{refusedAnnotation: "no", refusedAtAnnotation: seconds(now.Add(-2 * refusalTime))}, true},
		"of the future": {map[string]string{refusedAnnotation: "no", refusedAtAnnotation: seconds(now.Add(2 * refusalTime))}, true},
		"broken":        {map[string]string{refusedAnnotation: "no"}, true},
	} {
		content := &unstructured.Unstructured{Object: map[string]any{}}
		content.SetAnnotations(tt.notes)
		if over := refusalOver(content); over != tt.over {
			t.Errorf("%s: %v, want %v", desc, over, tt.over)
		}
	}
}
