package daemon

import (
	"maps"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/glusterbackupd/glusterbackupd/catalog"
	"github.com/glusterbackupd/glusterbackupd/kube"
)

// TestFillNew is what a tenant may wish of a new claim, and what an attacker does.
func TestFillNew(t *testing.T) {
	const id = "20181202T000000Z"
	bound := func(c *kube.Claim) { c.Kind, c.PV = kube.File, "pvc-1" }
	tests := map[string]struct {
		wish   string
		change func(c *kube.Claim)

		began string
		note  string
	}{
		"a day":                       {wish: "a@20181202", began: "new " + id + " of a", note: "a@20181202: done at 2000-01-01T00:01:10Z: backup"},
		"no backup":                   {wish: "a@20190101", note: `a@20190101: failed at 2000-01-01T00:00:10Z: claim office/a has no backup "20190101"`},
		"of an earlier namespace":     {wish: "theirs@latest", note: `theirs@latest: failed at 2000-01-01T00:00:10Z: claim office/theirs has no backup "latest"`},
		"of nobody":                   {wish: "none@latest", note: `none@latest: failed at 2000-01-01T00:00:10Z: claim office/none has no backup "latest"`},
		"no backup named":             {wish: "a", note: `a: failed at 2000-01-01T00:00:10Z: "a" is neither CLAIM@BACKUP`},
		"its own namespace":           {wish: "office/a@latest", began: "new " + id + " of a", note: "office/a@latest: done at"},
		"another namespace":           {wish: "shop/a@latest", note: "shop/a@latest: failed at 2000-01-01T00:00:10Z: namespace shop does not allow claims of namespace office to be filled"},
		"a namespace that is not":     {wish: "nowhere/a@latest", note: "nowhere/a@latest: failed at 2000-01-01T00:00:10Z: namespace nowhere does not allow claims of namespace office to be filled"},
		"one that allows others":      {wish: "mean/a@latest", note: "mean/a@latest: failed at 2000-01-01T00:00:10Z: namespace mean does not allow"},
		"one that allows it":          {wish: "kind/c@latest", began: "new " + id + " of c", note: "kind/c@latest: done at"},
		"an earlier one of that name": {wish: "kind/d@latest", note: `kind/d@latest: failed at 2000-01-01T00:00:10Z: claim kind/d has no backup "latest"`},
		"out of the namespace's path": {wish: "../shop/a@latest", note: `../shop/a@latest: failed at 2000-01-01T00:00:10Z: "../shop/a@latest" is neither`},
		"out of a namespace's path":   {wish: "kind/../a@latest", note: `kind/../a@latest: failed at 2000-01-01T00:00:10Z: "kind/../a@latest" is neither`},
		"bound already":               {wish: "a@latest", change: bound, note: "a@latest: failed at 2000-01-01T00:00:10Z: claim office/new has a volume already"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := tenant("new", "")
				c.Kind, c.Annotations = kube.Pending, map[string]string{kube.RestoreFromAnnotation: tt.wish}
				if tt.change != nil {
					tt.change(&c)
				}
				n := newCounter(t, c)
				n.backups = []catalog.Backup{
					backupOf("a", id, "ns-1", false), backupOf("theirs", id, "ns-0", false),
					backupIn("kind", "c", id, "ns-kind"), backupIn("kind", "d", id, "ns-0"), backupIn("mean", "a", id, "ns-mean"), backupIn("shop", "a", id, "ns-shop"),
				}
				n.open(1, 10*time.Minute)
				if got := strings.Join(n.began, "; "); got != tt.began {
					t.Errorf("began %q, want %q", got, tt.began)
				}
				if !strings.HasPrefix(n.note("new"), tt.note) || len(n.told) != 1 {
					t.Errorf("note %q, want %q; told %q", n.note("new"), tt.note, n.told)
				}
				// Whoever binds it later changes nothing of what is written.
				bound(n.claims["new"])
				before := maps.Clone(n.claims["new"].Annotations)
				n.open(2, 5*time.Minute)
				if !maps.Equal(before, n.claims["new"].Annotations) || len(n.told) != 1 {
					t.Errorf("afterwards %v, told %q", n.claims["new"].Annotations, n.told)
				}
			})
		})
	}
}

// TestFillNewConsentWithdrawn takes the consent of the other namespace back while
// the backup is read.
func TestFillNewConsentWithdrawn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := tenant("new", "")
		c.Kind, c.Annotations = kube.Pending, map[string]string{kube.RestoreFromAnnotation: "kind/c@latest"}
		n := newCounter(t, c)
		n.backups = []catalog.Backup{backupIn("kind", "c", "20181202T000000Z", "ns-kind")}
		n.during = func() { n.unkind = true }
		n.open(1, 10*time.Minute)
		if len(n.began) != 0 || !strings.Contains(n.note("new"), "namespace kind does not allow") {
			t.Errorf("began %q, note %q", n.began, n.note("new"))
		}
	})
}

// TestFillNewThenRestore: once it is bound, a filled claim can be restored as any
// other, and the old wish is not taken up again.
func TestFillNewThenRestore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := tenant("new", "")
		c.Kind, c.Annotations = kube.Pending, map[string]string{kube.RestoreFromAnnotation: "a@latest"}
		n := newCounter(t, c)
		n.backups = []catalog.Backup{backupOf("a", "20181202T000000Z", "ns-1", false), backupOf("new", "20181203T000000Z", "ns-1", false)}
		n.open(1, 10*time.Minute)
		n.claims["new"].Annotations[kube.RestoreAnnotation] = "latest"
		n.open(1, 10*time.Minute)
		if want := "new 20181202T000000Z of a; new 20181203T000000Z "; strings.Join(n.began, "; ") != want {
			t.Errorf("began %q, want %q", n.began, want)
		}
		delete(n.claims["new"].Annotations, kube.RestoreAnnotation)
		n.open(1, 10*time.Minute)
		if len(n.told) != 2 || !strings.HasPrefix(n.note("new"), "latest: done") {
			t.Errorf("told %q, note %q", n.told, n.note("new"))
		}
	})
}
