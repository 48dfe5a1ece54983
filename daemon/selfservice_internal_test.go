package daemon

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/glusterbackupd/glusterbackupd/catalog"
	"github.com/glusterbackupd/glusterbackupd/kube"
)

// counter is where tenants ask for restores: claims as the API server has them,
// what the daemon believes of them, and restores that take a minute.
type counter struct {
	t *testing.T

	mu      sync.Mutex
	claims  map[string]*kube.Claim // As they are.
	stale   map[string]kube.Claim  // As the informer says, where it is behind.
	backups []catalog.Backup
	fail    error
	away    time.Time // Until when notes of an end are not taken.
	during  func()    // Between the look and the confirmation.
	unkind  bool      // No namespace gives anything any more.
	began   []string
	told    []string
}

func newCounter(t *testing.T, claims ...kube.Claim) *counter {
	n := &counter{t: t, claims: map[string]*kube.Claim{}, stale: map[string]kube.Claim{}}
	for _, c := range claims {
		n.claims[c.Name] = &c
	}
	return n
}

func tenant(name, wish string) kube.Claim {
	return kube.Claim{
		Namespace: "office", Name: name, UID: "uid-" + name, NamespaceUID: "ns-1",
		Annotations: map[string]string{kube.RestoreAnnotation: wish},
	}
}

func backupOf(claim, id, namespaceUID string, block bool) catalog.Backup {
	b := catalog.Backup{Key: catalog.Key{Namespace: "office", Claim: claim}, ID: id}
	b.Info.Claim = &catalog.ClaimInfo{NamespaceUID: namespaceUID}
	if block {
		b.Info.Block = &catalog.BlockInfo{Name: "blockvol_1"}
	}
	return b
}

func backupIn(namespace, claim, id, namespaceUID string) catalog.Backup {
	b := backupOf(claim, id, namespaceUID, false)
	b.Key.Namespace = namespace
	return b
}

// open runs as many daemons as are wanted for some minutes.
func (n *counter) open(daemons int, d time.Duration) {
	n.t.Helper()
	ctx, cancel := context.WithCancel(n.t.Context())
	var running sync.WaitGroup
	for range daemons {
		s, err := NewSelfService(SelfServiceOptions{
			Restores: func() Restores { return n }, Candidates: n.candidates, Claims: n,
			Tell: func(c kube.Claim, done bool, message string) {
				n.mu.Lock()
				defer n.mu.Unlock()
				n.told = append(n.told, fmt.Sprint(c.Name, " ", done, " ", message))
			},
		})
		if err != nil {
			n.t.Fatal(err)
		}
		running.Go(func() { s.Run(ctx) })
	}
	time.Sleep(d)
	cancel()
	running.Wait()
}

func (n *counter) candidates() (list []Candidate, known bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for name, c := range n.claims {
		seen := *c
		if old, behind := n.stale[name]; behind {
			seen = old
		}
		list = append(list, Candidate{Key: catalog.Key{Namespace: c.Namespace, Claim: name}, Claim: seen})
	}
	return list, true
}

func (n *counter) Claim(_ context.Context, _, name string) (kube.Claim, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return *n.claims[name], nil
}

// Namespace knows three others, of which one allows office and one the rest.
func (n *counter) Namespace(_ context.Context, name string) (string, map[string]string, error) {
	allows, there := map[string]string{"kind": "qa, office", "mean": "qa,offices,off", "shop": ""}[name]
	if !there || n.unkind {
		return "", map[string]string{kube.RestoreToAnnotation: "office"}, nil // Only those of one that exists count.
	}
	return "ns-" + name, map[string]string{kube.RestoreToAnnotation: allows}, nil
}

func (n *counter) PatchClaimAnnotations(_ context.Context, _, name string, values map[string]*string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	c := n.claims[name]
	if text := values[kube.RestoreStatusAnnotation]; text != nil && strings.Contains(*text, noteDone) && time.Now().Before(n.away) {
		return errBusy
	}
	c.Annotations = patched(c.Annotations, values)
	return nil
}

func (n *counter) TenantBackups(c kube.Claim) (own []catalog.Backup, err error) {
	for _, b := range n.backups {
		if b.Key.Claim == c.Name && b.Key.Namespace == c.Namespace && tenantsOwn(c, b) {
			own = append(own, b)
		}
	}
	return own, nil
}

func (n *counter) TenantBackup(c kube.Claim, at string) (catalog.Backup, error) {
	own, _ := n.TenantBackups(c)
	for _, b := range own {
		if at == "latest" || strings.HasPrefix(b.ID, at) {
			return b, nil
		}
	}
	return catalog.Backup{}, &NoTenantBackupError{Claim: catalog.Key{Namespace: c.Namespace, Claim: c.Name}, At: at}
}

// work restores into a claim from the backup at of k.
func (n *counter) work(ctx context.Context, claim string, k catalog.Key, at, what string, confirm Confirm) (Restored, error) {
	if n.during != nil {
		n.during()
	}
	done := Restored{Written: 4096, SafetySnapshot: "gb-safety"}
	for _, b := range n.backups {
		if b.Key == k && b.ID == at {
			done.Plan.Backup = b
		}
	}
	if err := confirm(done.Plan); err != nil {
		return done, err
	}
	n.mu.Lock()
	n.began = append(n.began, claim+" "+at+what)
	fail := n.fail
	n.mu.Unlock()
	select {
	case <-ctx.Done():
		return done, context.Cause(ctx)
	case <-time.After(time.Minute):
		return done, fail
	}
}

func (n *counter) Restore(ctx context.Context, q RestoreRequest) (Restored, error) {
	return n.work(ctx, q.Key.Claim, q.Key, q.At, " "+q.Path, q.Confirm)
}

func (n *counter) RestoreBlock(ctx context.Context, q BlockRequest) (Restored, error) {
	return n.work(ctx, q.Key.Claim, q.Key, q.At, " "+q.Image, q.Confirm)
}

func (n *counter) RestoreNew(ctx context.Context, q NewRequest) (Restored, error) {
	if q.Into == q.Key || q.Waiting == "" {
		n.t.Errorf("%+v", q)
	}
	done, err := n.work(ctx, q.Into.Claim, q.Key, q.At, " of "+q.Key.Claim, q.Confirm)
	if err == nil {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.claims[q.Into.Claim].Kind = kube.File
	}
	return done, err
}

func (n *counter) note(name string) string {
	return n.claims[name].Annotations[kube.RestoreStatusAnnotation]
}

func TestSelfService(t *testing.T) {
	const id = "20181202T000000Z"
	tests := map[string]struct {
		wish  string
		block bool
		fail  error

		began string
		note  string
	}{
		"a day":                {wish: "20181202", began: "a " + id + " ", note: "20181202: done at 2000-01-01T00:01:10Z: backup " + id + " restored, 4096 bytes written"},
		"the latest, one path": {wish: "latest:photos/2018", began: "a " + id + " photos/2018", note: "latest:photos/2018: done"},
		"an image":             {wish: "latest", block: true, began: "a " + id + " blockvol_1", note: "latest: done"},
		"a path in an image":   {wish: "latest:x", block: true, note: "latest:x: failed at 2000-01-01T00:00:10Z: claim office/a is a block image"},
		"no such backup":       {wish: "20190101", note: `20190101: failed at 2000-01-01T00:00:10Z: claim office/a has no backup "20190101"`},
		"in use":               {wish: "latest", fail: errBusy, began: "a " + id + " ", note: "latest: failed at 2000-01-01T00:01:10Z: " + errBusy.Error()},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newCounter(t, tenant("a", tt.wish), tenant("b", ""))
				n.backups, n.fail = []catalog.Backup{backupOf("a", id, "ns-1", tt.block)}, tt.fail
				n.open(1, 10*time.Minute)
				if got := strings.Join(n.began, "; "); got != tt.began {
					t.Errorf("began %q, want %q", got, tt.began)
				}
				if !strings.HasPrefix(n.note("a"), tt.note) {
					t.Errorf("note %q, want %q", n.note("a"), tt.note)
				}
				if len(n.told) != 1 {
					t.Errorf("told %q", n.told)
				}
				n.claims["a"].Annotations = map[string]string{kube.RestoreStatusAnnotation: n.note("a")}
				n.open(1, time.Minute)
				if n.note("a") != "" {
					t.Errorf("note %q of a wish that is gone", n.note("a"))
				}
			})
		})
	}
}

// TestSelfServiceIsDoneOnce, though several daemons see the wish and one of them
// is behind with what it knows.
func TestSelfServiceIsDoneOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newCounter(t, tenant("a", "latest"))
		n.backups = []catalog.Backup{backupOf("a", "20181202T000000Z", "ns-1", false)}
		n.open(1, 5*time.Minute)
		n.stale["a"] = tenant("a", "latest")
		n.open(2, 5*time.Minute)
		if len(n.began) != 1 || !strings.HasPrefix(n.note("a"), "latest: done") {
			t.Errorf("began %q, note %q", n.began, n.note("a"))
		}
	})
}

// TestSelfServiceIsNotedLater when the API server does not take the note: the
// restore is not done again for that.
func TestSelfServiceIsNotedLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newCounter(t, tenant("a", "latest"))
		n.backups = []catalog.Backup{backupOf("a", "20181202T000000Z", "ns-1", false)}
		n.away = time.Now().Add(5 * time.Minute)
		n.open(1, 10*time.Minute)
		if len(n.began) != 1 || !strings.HasPrefix(n.note("a"), "latest: done") {
			t.Errorf("began %q, note %q", n.began, n.note("a"))
		}
	})
}

// TestLongWish is refused once, whatever is in it.
func TestLongWish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newCounter(t, tenant("a", "latest:"+strings.Repeat("./", 10_000)))
		n.backups = []catalog.Backup{backupOf("a", "20181202T000000Z", "ns-1", false)}
		n.open(1, 10*time.Minute)
		if len(n.began) != 0 || len(n.told) != 1 || len(n.note("a")) > 500 || !strings.Contains(n.note("a"), noteFailed) {
			t.Errorf("began %q, told %d times, note %q", n.began, len(n.told), n.note("a"))
		}
	})
}

// TestSelfServiceGoesOn after the daemon has ended in the middle of it.
func TestSelfServiceGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newCounter(t, tenant("a", "latest"))
		n.backups = []catalog.Backup{backupOf("a", "20181202T000000Z", "ns-1", false)}
		n.open(1, 30*time.Second)
		if note := n.note("a"); !strings.HasPrefix(note, "latest: running") {
			t.Errorf("note %q of a daemon that has ended", note)
		}
		n.open(1, 5*time.Minute)
		if len(n.began) != 2 || !strings.HasPrefix(n.note("a"), "latest: done") {
			t.Errorf("began %q, note %q", n.began, n.note("a"))
		}
	})
}

// TestSelfServiceLooksAgainBeforeItWrites, since much can happen while a backup
// is verified.
func TestSelfServiceLooksAgainBeforeItWrites(t *testing.T) {
	for name, change := range map[string]func(*kube.Claim){
		"another value":                  func(c *kube.Claim) { c.Annotations = map[string]string{kube.RestoreAnnotation: "20181201"} },
		"the wish is gone":               func(c *kube.Claim) { c.Annotations = nil },
		"another claim of the same name": func(c *kube.Claim) { c.UID = "uid-2" },
		"a namespace of the same name":   func(c *kube.Claim) { c.NamespaceUID = "ns-2" },
		"nobody knows whose namespace":   func(c *kube.Claim) { c.NamespaceUID = "" },
		"somebody else has just done it": func(c *kube.Claim) { c.Annotations = with(c.Annotations, kube.RestoreStatusAnnotation, "latest: done") },
		"somebody else has just tried it": func(c *kube.Claim) {
			c.Annotations = with(c.Annotations, kube.RestoreStatusAnnotation, "latest: failed")
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newCounter(t, tenant("a", "latest"))
				n.backups = []catalog.Backup{backupOf("a", "20181202T000000Z", "ns-1", false)}
				n.during = func() {
					n.mu.Lock()
					defer n.mu.Unlock()
					change(n.claims["a"])
				}
				n.open(1, 15*time.Second)
				if len(n.began) != 0 {
					t.Errorf("began %q", n.began)
				}
			})
		})
	}
}

// TestTenantBackup is asked by somebody who tries to reach the backups of an
// earlier namespace, and of one that nobody knows the owner of.
func TestTenantBackup(t *testing.T) {
	s := newShelf(t, "a")
	s.backUp(monday, "ns-0", "a")
	s.backUp(monday.AddDate(0, 0, 1), "", "a")
	claim := s.claims[0].Claim
	for _, at := range []string{"latest", "2018", "20181203", "20181203T000000Z", "", "../a", "20181204"} {
		b, err := s.d.TenantBackup(claim, at)
		if err == nil {
			t.Errorf("%q: got %s", at, b.ID)
		}
		if err != nil && strings.Contains(err.Error(), "20181203T000000Z") && at != "20181203T000000Z" {
			t.Errorf("%q: the error gives away what exists: %v", at, err)
		}
	}
	s.backUp(monday.AddDate(0, 0, 2), "ns-1", "a")
	if b, err := s.d.TenantBackup(claim, "latest"); err != nil || b.ID != "20181205T000000Z" {
		t.Errorf("own backup: %s, %v", b.ID, err)
	}
	_, err := s.d.TenantBackup(claim, "20181203")
	if r, ok := errors.AsType[*NoTenantBackupError](err); !ok || len(r.Have) != 1 || !strings.Contains(r.Remedy(), "20181205T000000Z") {
		t.Errorf("%v", err)
	}
}
