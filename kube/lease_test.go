package kube

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"
)

var leaseGroup = schema.GroupResource{Group: "coordination.k8s.io", Resource: "leases"}

// leaseServer stands in for the API: it keeps Leases in memory, refuses stale
// resourceVersions as the API does, and can be made to fail.
type leaseServer struct {
	mu      sync.Mutex
	version int
	objects map[string]*coordinationv1.Lease
	down    bool          // Refuses connections.
	hang    bool          // Answers nothing until the request's time is over.
	lose    bool          // Writes, and does not answer.
	delay   time.Duration // Before each request.
}

func newLeaseServer() *leaseServer {
	return &leaseServer{objects: make(map[string]*coordinationv1.Lease)}
}

func (s *leaseServer) set(change func(*leaseServer)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(s)
}

// arrive is what happens to every request before it is served.
func (s *leaseServer) arrive(ctx context.Context) error {
	s.mu.Lock()
	down, hang, delay := s.down, s.hang, s.delay
	s.mu.Unlock()
	time.Sleep(delay)
	if hang {
		<-ctx.Done()
	}
	if ctx.Err() != nil {
		return &url.Error{Op: "Get", URL: "https://api", Err: ctx.Err()}
	}
	if down {
		return &url.Error{Op: "Get", URL: "https://api", Err: syscall.ECONNREFUSED}
	}
	return nil
}

func (s *leaseServer) Get(ctx context.Context, name string, _ metav1.GetOptions) (*coordinationv1.Lease, error) {
	if err := s.arrive(ctx); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.objects[name] == nil {
		return nil, apierrors.NewNotFound(leaseGroup, name)
	}
	return s.objects[name].DeepCopy(), nil
}

func (s *leaseServer) Create(ctx context.Context, l *coordinationv1.Lease, _ metav1.CreateOptions) (*coordinationv1.Lease, error) {
	if err := s.arrive(ctx); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.objects[l.Name] != nil {
		return nil, apierrors.NewAlreadyExists(leaseGroup, l.Name)
	}
	return s.store(l)
}

func (s *leaseServer) Update(ctx context.Context, l *coordinationv1.Lease, _ metav1.UpdateOptions) (*coordinationv1.Lease, error) {
	if err := s.arrive(ctx); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch current := s.objects[l.Name]; {
	case current == nil:
		return nil, apierrors.NewNotFound(leaseGroup, l.Name)
	case current.ResourceVersion != l.ResourceVersion:
		return nil, apierrors.NewConflict(leaseGroup, l.Name, errors.New("the object has been modified"))
	}
	return s.store(l)
}

// store is called with the lock held.
func (s *leaseServer) store(l *coordinationv1.Lease) (*coordinationv1.Lease, error) {
	s.version++
	l = l.DeepCopy()
	l.ResourceVersion, l.UID = fmt.Sprint(s.version), types.UID("u")
	s.objects[l.Name] = l
	if s.lose {
		return nil, &url.Error{Op: "Put", URL: "https://api", Err: syscall.ECONNRESET}
	}
	return l.DeepCopy(), nil
}

// spec returns what is stored of the lease on name.
func (s *leaseServer) spec(t *testing.T, name string) coordinationv1.LeaseSpec {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.objects[LeaseName(name)]
	if l == nil {
		t.Fatalf("there is no lease on %s", name)
	}
	return l.Spec
}

const leaseTime = 16 * time.Second

func (s *leaseServer) holder(identity string) *Leases {
	c := &Client{server: "https://api", kubeconfig: "/etc/admin.conf", timeout: 30 * time.Second, log: quiet(slog.New(slog.DiscardHandler))}
	return newLeases(c, s, LeaseOptions{Namespace: "kube-system", Identity: identity, Duration: leaseTime})
}

func acquire(t *testing.T, l *Leases, name string) *Lease {
	t.Helper()
	h, err := l.Acquire(t.Context(), name)
	if err != nil {
		t.Fatalf("%s: %v", l.o.Identity, err)
	}
	return h
}

// refused ends the test unless name is held by holder, and returns until when.
func refused(t *testing.T, l *Leases, name, holder string) time.Time {
	t.Helper()
	_, err := l.Acquire(t.Context(), name)
	held, ok := errors.AsType[*LeaseHeldError](err)
	if !ok || !errors.Is(err, ErrLeaseHeld) || held.Holder != holder || held.Name != name ||
		!strings.Contains(err.Error(), holder) || !strings.Contains(held.Remedy(), LeaseName(name)) {
		t.Fatalf("%s: %v, want ErrLeaseHeld by %s", l.o.Identity, err, holder)
	}
	return held.Until
}

func TestLeaseHandover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newLeaseServer()
		a, b := s.holder("a"), s.holder("b")
		h := acquire(t, a, "vol_1")
		start := time.Now()
		if until := refused(t, b, "vol_1", "a"); !until.Equal(start.Add(leaseTime)) {
			t.Errorf("until %s, want %s", until, start.Add(leaseTime))
		}
		refused(t, a, "vol_1", "a") // Even within the process.
		time.Sleep(10 * leaseTime)
		refused(t, b, "vol_1", "a") // It is renewed, and so all the time.
		if err := h.Context().Err(); err != nil {
			t.Fatalf("held lease: %v", err)
		}
		if err := h.Release(t.Context()); err != nil || h.Context().Err() == nil || errors.Is(context.Cause(h.Context()), ErrLeaseLost) {
			t.Errorf("release: %v, context %v", err, context.Cause(h.Context()))
		}
		other := acquire(t, b, "vol_1")
		spec := s.spec(t, "vol_1")
		if *spec.LeaseTransitions != 1 || *spec.HolderIdentity != "b" || *spec.LeaseDurationSeconds != 16 || !spec.AcquireTime.Time.Equal(time.Now()) {
			t.Errorf("record %+v after one transition", spec)
		}
		if err := h.Release(t.Context()); err != nil {
			t.Errorf("second release: %v", err)
		}
		if err := other.Context().Err(); err != nil || *s.spec(t, "vol_1").HolderIdentity != "b" {
			t.Errorf("the second release of a took b's lease: %v", err)
		}
		if err := other.Release(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// A dead holder's lease passes on when the other has seen it unchanged for its
// duration, whatever the dead one's clock said.
func TestLeaseExpiry(t *testing.T) {
	for desc, skew := range map[string]time.Duration{"same clock": 0, "clock behind": -24 * time.Hour, "clock ahead": 24 * time.Hour} {
		t.Run(desc, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newLeaseServer()
				dead, seconds, transitions := "dead", int32(20), int32(6)
				stamp := metav1.NewMicroTime(time.Now().Add(skew))
				s.objects[LeaseName("v")] = &coordinationv1.Lease{
					ObjectMeta: metav1.ObjectMeta{Name: LeaseName("v"), ResourceVersion: "7"},
					Spec: coordinationv1.LeaseSpec{
						HolderIdentity: &dead, LeaseDurationSeconds: &seconds, RenewTime: &stamp, AcquireTime: &stamp, LeaseTransitions: &transitions,
					},
				}
				b := s.holder("b")
				time.Sleep(time.Hour) // It has not seen the record yet.
				refused(t, b, "v", "dead")
				time.Sleep(20*time.Second - time.Nanosecond)
				refused(t, b, "v", "dead")
				time.Sleep(time.Nanosecond)
				h := acquire(t, b, "v")
				if spec := s.spec(t, "v"); *spec.LeaseTransitions != 7 || *spec.LeaseDurationSeconds != 16 {
					t.Errorf("record %+v, want transition 7", spec)
				}
				if err := h.Release(t.Context()); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// A process that starts again with the identity it had takes its lease back.
func TestLeaseOfOwnPast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newLeaseServer()
		old := acquire(t, s.holder("a"), "v")
		time.Sleep(time.Second)
		h := acquire(t, s.holder("a"), "v")
		if n := *s.spec(t, "v").LeaseTransitions; n != 0 {
			t.Errorf("%d transitions, want none: the holder is the same", n)
		}
		time.Sleep(leaseTime)
		if cause := context.Cause(old.Context()); !errors.Is(cause, ErrLeaseLost) {
			t.Errorf("the other process of that identity: %v, want ErrLeaseLost", cause)
		}
		if err := old.Release(t.Context()); err != nil || *s.spec(t, "v").HolderIdentity != "a" || h.Context().Err() != nil {
			t.Errorf("release of a lost lease: %v, record %+v", err, s.spec(t, "v"))
		}
		if err := h.Release(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestLeaseLostByOutage(t *testing.T) {
	outages := map[string]func(*leaseServer){
		"refused": func(s *leaseServer) { s.down = true },
		"silent":  func(s *leaseServer) { s.hang = true },
		"deaf":    func(s *leaseServer) { s.lose = true },
	}
	for desc, begin := range outages {
		t.Run(desc, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newLeaseServer()
				h := acquire(t, s.holder("a"), "v")
				start := time.Now()
				s.set(begin)
				<-h.Context().Done()
				cause := context.Cause(h.Context())
				if after := time.Since(start); after != leaseTime*3/4 || !errors.Is(cause, ErrLeaseLost) || !errors.Is(cause, ErrUnreachable) {
					t.Errorf("after %s: %v; want ErrLeaseLost after %s", after, cause, leaseTime*3/4)
				}
				err := h.Release(t.Context())
				if !errors.Is(err, ErrUnreachable) || !Temporary(err) {
					t.Errorf("release without the API: %v, want ErrUnreachable", err)
				}
			})
		})
	}
}

func TestLeaseSurvivesShortOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newLeaseServer()
		a, b := s.holder("a"), s.holder("b")
		h := acquire(t, a, "v")
		refused(t, b, "v", "a")
		for range 5 {
			s.set(func(s *leaseServer) { s.down = true })
			// At worst a renewal was due just then: 4/16 + 6/16 and a retry are
			// less than the 12/16 after which the lease is lost.
			time.Sleep(leaseTime * 6 / 16)
			s.set(func(s *leaseServer) { s.down = false })
			time.Sleep(leaseTime / 2)
			refused(t, b, "v", "a")
		}
		if err := h.Context().Err(); err != nil {
			t.Errorf("lost by short outages: %v", context.Cause(h.Context()))
		}
		if err := h.Release(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestLeaseStolen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newLeaseServer()
		h := acquire(t, s.holder("a"), "v")
		thief := "thief"
		s.set(func(s *leaseServer) {
			l := s.objects[LeaseName("v")].DeepCopy()
			l.Spec.HolderIdentity = &thief
			if _, err := s.store(l); err != nil {
				t.Error(err)
			}
		})
		start := time.Now()
		<-h.Context().Done()
		cause := context.Cause(h.Context())
		if !errors.Is(cause, ErrLeaseLost) || !strings.Contains(cause.Error(), thief) || time.Since(start) > leaseTime/4 {
			t.Errorf("after %s: %v; want ErrLeaseLost to %s", time.Since(start), cause, thief)
		}
		if err := h.Release(t.Context()); err != nil || *s.spec(t, "v").HolderIdentity != thief {
			t.Errorf("release: %v, record %+v", err, s.spec(t, "v"))
		}
	})
}

// What others do to the object without taking it does not matter.
func TestLeaseTouched(t *testing.T) {
	touches := map[string]func(*leaseServer){
		"edited": func(s *leaseServer) {
			l := s.objects[LeaseName("v")].DeepCopy()
			l.Labels = map[string]string{"a": "b"}
			_, _ = s.store(l)
		},
		"deleted": func(s *leaseServer) { delete(s.objects, LeaseName("v")) },
	}
	for desc, touch := range touches {
		t.Run(desc, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newLeaseServer()
				h := acquire(t, s.holder("a"), "v")
				s.set(touch)
				time.Sleep(10 * leaseTime)
				if h.Context().Err() != nil || *s.spec(t, "v").HolderIdentity != "a" {
					t.Errorf("%v, record %+v", context.Cause(h.Context()), s.spec(t, "v"))
				}
				s.set(touch)
				if err := h.Release(t.Context()); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// The end of the context that a lease was acquired under stops the work, and
// leaves the lease for tidying up.
func TestLeaseOutlivesContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newLeaseServer()
		ctx, cancel := context.WithCancelCause(t.Context())
		h, err := s.holder("a").Acquire(ctx, "v")
		if err != nil {
			t.Fatal(err)
		}
		cancel(errors.New("shutdown"))
		<-h.Context().Done()
		if cause := context.Cause(h.Context()); cause.Error() != "shutdown" {
			t.Errorf("cause %v", cause)
		}
		b := s.holder("b")
		refused(t, b, "v", "a")
		time.Sleep(10 * leaseTime)
		refused(t, b, "v", "a")
		if err := h.Release(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// Of many who find the same lease free, one gets it.
func TestLeaseRace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newLeaseServer()
		s.delay = time.Millisecond
		for round := range 3 {
			var mu sync.Mutex
			var won []*Lease
			var all sync.WaitGroup
			for i := range 10 {
				all.Go(func() {
					h, err := s.holder(fmt.Sprint("h", i)).Acquire(t.Context(), "v")
					if err != nil && !errors.Is(err, ErrLeaseHeld) {
						t.Error(err)
					}
					if err == nil {
						mu.Lock()
						defer mu.Unlock()
						won = append(won, h)
					}
				})
			}
			all.Wait()
			if len(won) != 1 {
				t.Fatalf("round %d: %d holders", round, len(won))
			}
			if err := won[0].Release(t.Context()); err != nil {
				t.Error(err)
			}
		}
	})
}

func TestNoLeases(t *testing.T) {
	unserved := apierrors.NewGenericServerResponse(http.StatusNotFound, "get", leaseGroup, "x", "404 page not found", 0, true)
	tests := map[string]struct {
		err    error
		want   error
		remedy string
	}{
		"no API":       {unserved, ErrNoLeases, "1.14"},
		"no namespace": {apierrors.NewNotFound(schema.GroupResource{Resource: "namespaces"}, "kube-system"), ErrAnswer, "lease_namespace"},
		"no right":     {apierrors.NewForbidden(leaseGroup, "x", errors.New("no")), ErrForbidden, "leases.coordination.k8s.io in namespace kube-system"},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			l := newLeaseServer().holder("a")
			l.api = failing{tt.err}
			_, err := l.Acquire(t.Context(), "v")
			e, ok := errors.AsType[*Error](err)
			if !ok || !errors.Is(err, tt.want) || Temporary(err) || !strings.Contains(e.Remedy(), tt.remedy) {
				t.Errorf("%v, want %v with remedy %q", err, tt.want, tt.remedy)
			}
		})
	}
}

type failing struct{ err error }

func (f failing) Get(context.Context, string, metav1.GetOptions) (*coordinationv1.Lease, error) {
	return nil, f.err
}

func (f failing) Create(context.Context, *coordinationv1.Lease, metav1.CreateOptions) (*coordinationv1.Lease, error) {
	return nil, f.err
}

func (f failing) Update(context.Context, *coordinationv1.Lease, metav1.UpdateOptions) (*coordinationv1.Lease, error) {
	return nil, f.err
}

func TestLeaseOptions(t *testing.T) {
	good := LeaseOptions{Namespace: "kube-system", Identity: "a", Duration: time.Minute}
	for desc, change := range map[string]func(*LeaseOptions){
		"namespace": func(o *LeaseOptions) { o.Namespace = "../x" },
		"identity":  func(o *LeaseOptions) { o.Identity = "" },
		"duration":  func(o *LeaseOptions) { o.Duration = time.Millisecond },
	} {
		o := good
		change(&o)
		if _, err := (&Client{}).Leases(o); !errors.Is(err, ErrName) {
			t.Errorf("%s: %v, want ErrName", desc, err)
		}
	}
}

func TestLeaseName(t *testing.T) {
	seen := make(map[string]string)
	for _, name := range []string{
		"vol_894eff0265e1564eb4dc153a75e503ee", "vol-894eff0265e1564eb4dc153a75e503ee", "Shop_DB", "shop_db", "shop-db",
		"_", "-", "", "../../etc", "ü", strings.Repeat("v", 254), strings.Repeat("v", 253), strings.Repeat("Ⱥ", 200), strings.Repeat("_", 254),
	} {
		got := LeaseName(name)
		if problems := validation.IsDNS1123Subdomain(got); len(problems) != 0 || !strings.HasPrefix(got, "glusterbackupd-") {
			t.Errorf("LeaseName(%q) = %q: %v", name, got, problems)
		}
		if other, ok := seen[got]; ok {
			t.Errorf("%q and %q have the same name %q", name, other, got)
		}
		seen[got] = name
	}
	if got := LeaseName("vol_894e"); got != "glusterbackupd-vol-894e-08b61b6a9c" {
		t.Errorf("the name changed to %q: daemons of two versions would not see each other", got)
	}
}
