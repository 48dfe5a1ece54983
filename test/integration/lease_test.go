//go:build integration

package integration_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"

	"github.com/glusterbackupd/glusterbackupd/kube"
)

func newLeases(t *testing.T, c *kube.Client, identity string, duration time.Duration) *kube.Leases {
	t.Helper()
	return must[*kube.Leases](t)(c.Leases(kube.LeaseOptions{Namespace: "leases", Identity: identity, Duration: duration}))
}

// testLeaseRace lets two holders take thirty leases again and again, until
// each has had each of them.
func testLeaseRace(t *testing.T, c *kube.Client) {
	const names = 30
	var inside, done [names]atomic.Int32
	var both sync.WaitGroup
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	for bit, identity := range []string{"a", "b"} {
		l := newLeases(t, c, identity, 30*time.Second)
		for i := range names {
			both.Go(func() {
				name := fmt.Sprintf("vol_%d", i)
				for done[i].Load() != 3 && ctx.Err() == nil {
					h, err := l.Acquire(ctx, name)
					if errors.Is(err, kube.ErrLeaseHeld) {
						time.Sleep(10 * time.Millisecond)
						continue
					}
					if err != nil {
						t.Errorf("%s, %s: %v", identity, name, err)
						return
					}
					if n := inside[i].Add(1); n != 1 {
						t.Errorf("%s has %d holders", name, n)
					}
					time.Sleep(5 * time.Millisecond)
					done[i].Or(1 << bit)
					inside[i].Add(-1)
					if err := h.Release(ctx); err != nil {
						t.Errorf("%s, %s: release: %v", identity, name, err)
					}
					time.Sleep(20 * time.Millisecond) // The other's turn.
				}
			})
		}
	}
	both.Wait()
	for i := range names {
		if n := done[i].Load(); n != 3 {
			t.Errorf("vol_%d was held by %b only", i, n)
		}
	}
}

// testLeaseCutOff takes the network from one holder, which must stop before
// the other one begins.
func testLeaseCutOff(t *testing.T, c *kube.Client, k *cluster) {
	const duration = 8 * time.Second
	address, cut := forward(t, strings.TrimPrefix(k.api.URL, "https://"))
	a := newLeases(t, kubeClient(t, k.kubeconfigFor(address)), "a", duration)
	b := newLeases(t, c, "b", duration)
	h := must[*kube.Lease](t)(a.Acquire(t.Context(), "vol_cut"))
	_, err := b.Acquire(t.Context(), "vol_cut")
	if held, ok := errors.AsType[*kube.LeaseHeldError](err); !ok || held.Holder != "a" {
		t.Fatalf("%v, want ErrLeaseHeld by a", err)
	}
	time.Sleep(duration + duration/2)
	if err := h.Context().Err(); err != nil {
		t.Fatalf("before the cut: %v", context.Cause(h.Context()))
	}
	cut()
	start := time.Now()
	var other *kube.Lease
	for other == nil {
		other, err = b.Acquire(t.Context(), "vol_cut")
		if err != nil && !errors.Is(err, kube.ErrLeaseHeld) {
			t.Fatal(err)
		}
		if other == nil && time.Since(start) > 3*duration {
			t.Fatalf("not taken over: %v", err)
		}
		time.Sleep(100 * time.Millisecond)
	}
	if cause := context.Cause(h.Context()); !errors.Is(cause, kube.ErrLeaseLost) {
		t.Errorf("b has it, and a thinks: %v", cause)
	}
	t.Logf("a cut off, b took over after %s of %s", time.Since(start).Round(time.Millisecond), duration)
	record, err := k.admin.CoordinationV1().Leases("leases").Get(t.Context(), kube.LeaseName("vol_cut"), metav1.GetOptions{})
	if err != nil || *record.Spec.HolderIdentity != "b" || *record.Spec.LeaseTransitions != 1 {
		t.Errorf("record %+v, %v", record, err)
	}
	if err := other.Release(t.Context()); err != nil {
		t.Error(err)
	}
	if err := h.Release(t.Context()); !errors.Is(err, kube.ErrUnreachable) {
		t.Errorf("release when cut off: %v, want ErrUnreachable", err)
	}
}

// testNoLeases also covers the namespace and the rights.
func testNoLeases(t *testing.T, c *kube.Client, k *cluster) {
	target := must[*url.URL](t)(url.Parse(k.api.URL))
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(must[[]byte](t)(os.ReadFile(k.api.CA)))
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.Transport = &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}
	old := httptest.NewTLSServer(hide(proxy, "/apis/coordination.k8s.io/v1"))
	t.Cleanup(old.Close)
	path := k.kubeconfigFor(strings.TrimPrefix(old.URL, "https://"))
	config := must[*api.Config](t)(clientcmd.LoadFromFile(path))
	for _, s := range config.Clusters {
		s.CertificateAuthorityData, s.InsecureSkipTLSVerify = nil, true
	}
	k.check(clientcmd.WriteToFile(*config, path))
	before := kubeClient(t, path)
	if _, err := before.Ping(t.Context()); err != nil {
		t.Fatalf("through the proxy: %v", err)
	}
	if _, err := newLeases(t, before, "a", time.Minute).Acquire(t.Context(), "v"); !errors.Is(err, kube.ErrNoLeases) || remedy(err) == "" {
		t.Errorf("%v, want ErrNoLeases", err)
	}
	l := must[*kube.Leases](t)(c.Leases(kube.LeaseOptions{Namespace: "nowhere", Identity: "a", Duration: time.Minute}))
	if _, err := l.Acquire(t.Context(), "v"); !errors.Is(err, kube.ErrAnswer) || !strings.Contains(remedy(err), "create namespace nowhere") {
		t.Errorf("no namespace: %v, remedy %q", err, remedy(err))
	}
	poor := newLeases(t, kubeClient(t, k.serviceAccount("leases", "poor")), "a", time.Minute)
	if _, err := poor.Acquire(t.Context(), "v"); !errors.Is(err, kube.ErrForbidden) || !strings.Contains(remedy(err), "in namespace leases") {
		t.Errorf("no rights: %v, remedy %q", err, remedy(err))
	}
	// A record that somebody made by hand, without times and duration.
	name := "by hand"
	_, err := k.admin.CoordinationV1().Leases("leases").Create(t.Context(), &coordinationv1.Lease{
		ObjectMeta: meta("leases", kube.LeaseName("vol_hand")), Spec: coordinationv1.LeaseSpec{HolderIdentity: &name},
	}, metav1.CreateOptions{})
	k.check(err)
	if _, err := newLeases(t, c, "a", time.Minute).Acquire(t.Context(), "vol_hand"); !errors.Is(err, kube.ErrLeaseHeld) || !strings.Contains(err.Error(), name) {
		t.Errorf("lease made by hand: %v, want ErrLeaseHeld", err)
	}
}

// kubeconfigFor returns the admin's kubeconfig with another address.
func (k *cluster) kubeconfigFor(address string) string {
	k.t.Helper()
	config := must[*api.Config](k.t)(clientcmd.LoadFromFile(k.api.Kubeconfig))
	for _, s := range config.Clusters {
		s.Server = "https://" + address
	}
	path := filepath.Join(k.t.TempDir(), "kubeconfig")
	k.check(clientcmd.WriteToFile(*config, path))
	return path
}

// forward passes connections on to an address, until cut breaks them all.
func forward(t *testing.T, to string) (address string, cut func()) {
	t.Helper()
	listener := must[net.Listener](t)(net.Listen("tcp", "127.0.0.1:0"))
	ctx, cancel := context.WithCancel(t.Context())
	cut = func() {
		cancel()
		listener.Close()
	}
	t.Cleanup(cut)
	go func() {
		for {
			in, err := listener.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", to)
			if err != nil {
				in.Close()
				continue
			}
			context.AfterFunc(ctx, func() { in.Close(); out.Close() })
			go func() { _, _ = io.Copy(out, in) }()
			go func() { _, _ = io.Copy(in, out) }()
		}
	}()
	return listener.Addr().String(), cut
}
