//go:build platform && soak

package platform

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// spare is an address of this machine, inside the lab's network namespace, that
// stands for another Gluster host. It is there while a test runs.
const spare = "192.168.77.2"

// twoHosts makes a configuration in which the Gluster host that will die comes
// before the one that lives, with short times so that the test is too.
func (b *bench) twoHosts(dying string, edit func(string) string) {
	b.Helper()
	key, err := os.ReadFile(b.lab.KnownHosts)
	if err != nil {
		b.Fatal(err)
	}
	known := filepath.Join(b.TempDir(), "known_hosts")
	// All addresses are those of one guest.
	_, rest, _ := strings.Cut(string(key), " ")
	b.file(known, dying+","+b.lab.Address+" "+rest)
	b.configure(func(s string) string {
		s = strings.Replace(s, b.lab.KnownHosts, known, 1)
		s = strings.Replace(s, "[gluster]\n", fmt.Sprintf("[gluster]\nhosts = [%q, %q]\n", dying, b.lab.Address), 1)
		s += "keep_alive = \"5s\"\ndial_timeout = \"5s\"\n"
		if edit != nil {
			s = edit(s)
		}
		return s
	})
}

// addSpare gives this machine the spare address. Nothing listens on it yet.
func (b *bench) addSpare() {
	b.Helper()
	host(b, "ip", "addr", "add", spare+"/32", "dev", "lo")
	b.Cleanup(func() { host(b, "ip", "addr", "del", spare+"/32", "dev", "lo") })
}

// loseAll makes every packet to the guest's second address vanish, as if that
// host had lost its power: they go to a network card that does not exist.
func (b *bench) loseAll() {
	b.Helper()
	host(b, "ip", "neigh", "replace", b.lab.Address2, "lladdr", "02:00:00:00:fe:ff", "dev", "tap0", "nud", "permanent")
	b.Cleanup(func() { host(b, "ip", "neigh", "del", b.lab.Address2, "dev", "tap0") })
}

// forwarder passes connections to the spare address on to the guest until it
// dies.
type forwarder struct {
	mu        sync.Mutex
	dead      bool
	listeners []net.Listener
	conns     []net.Conn
}

// forward forwards sshd's and glusterd's ports.
func (b *bench) forward() *forwarder {
	b.Helper()
	f := &forwarder{}
	b.Cleanup(f.die)
	for _, port := range []string{"22", "24007"} {
		l, err := net.Listen("tcp", net.JoinHostPort(spare, port))
		if err != nil {
			b.Fatal(err)
		}
		f.listeners = append(f.listeners, l)
		go f.serve(l, net.JoinHostPort(b.lab.Address, port))
	}
	return f
}

func (f *forwarder) serve(l net.Listener, to string) {
	for {
		client, err := l.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", to)
		if err != nil || !f.keep(client, server) {
			_ = client.Close()
			continue
		}
		for _, pair := range [][2]net.Conn{{client, server}, {server, client}} {
			go func() {
				_, _ = io.Copy(pair[0], pair[1]) // It ends with the connection.
				_, _ = pair[0].Close(), pair[1].Close()
			}()
		}
	}
}

// keep remembers connections that end when the forwarder dies; it says no when
// it is dead.
func (f *forwarder) keep(conns ...net.Conn) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.conns = append(f.conns, conns...)
	return !f.dead
}

// die breaks all connections and refuses new ones.
func (f *forwarder) die() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.dead = true
	for _, l := range f.listeners {
		_ = l.Close()
	}
	for _, c := range f.conns {
		if tcp, ok := c.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0) // As the kernel of a dead process's host does.
		}
		_ = c.Close()
	}
	f.conns = nil
}

// TestHostDeadFromTheStart has a first Gluster host that refuses connections,
// and one that loses every packet: the second one does, for the commands and
// for the mount.
func TestHostDeadFromTheStart(t *testing.T) {
	t.Run("it refuses", func(t *testing.T) {
		b := newBench(t)
		b.addSpare()
		b.twoHosts(spare, nil)
		start := time.Now()
		b.backup("media/docs")
		b.Logf("figures: backup with a first host that refuses took %s", time.Since(start).Round(time.Second))
	})
	t.Run("it loses every packet", func(t *testing.T) {
		b := newBench(t)
		b.twoHosts(b.lab.Address2, nil)
		b.loseAll()
		start := time.Now()
		b.backup("media/docs")
		took := time.Since(start)
		b.Logf("figures: backup with a first host that loses every packet took %s", took.Round(time.Second))
		start = time.Now()
		b.restore("restore", "media/docs")
		b.Logf("figures: restore took %s", time.Since(start).Round(time.Second))
	})
}

// TestHostDiesInMidCopy takes the first Gluster host away after it took the
// snapshot and while the data is copied. The backup is whole, and its snapshot
// is deleted by the other host.
func TestHostDiesInMidCopy(t *testing.T) {
	t.Run("its connections break", func(t *testing.T) {
		b := newBench(t)
		b.addSpare()
		f := b.forward()
		b.twoHosts(spare, slow)
		b.dies(f.die, spare)
	})
	t.Run("it loses every packet", func(t *testing.T) {
		b := newBench(t)
		b.twoHosts(b.lab.Address2, slow)
		b.dies(b.loseAll, b.lab.Address2)
	})
}

// dies starts a slow backup, lets the host die, and checks how the backup ends.
func (b *bench) dies(die func(), address string) {
	b.Helper()
	cmd := b.command("backup", "shop/uploads")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.awaitPartial()
	die()
	start := time.Now()
	err := cmd.Wait()
	b.Logf("figures: %s after the host died the backup was done\n%s", time.Since(start).Round(time.Second), stderr.String())
	if err != nil {
		b.Fatalf("backup: %v", err)
	}
	if !strings.Contains(stderr.String(), address) {
		b.Errorf("no word about host %s", address)
	}
	r := b.listOf("shop/uploads")
	dir, _ := b.mount(b.volumeOf("shop/uploads"))
	assertEqual(b, scan(b, dir), scan(b, r.Path))
}
