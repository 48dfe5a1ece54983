package systemd_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/glusterbackupd/glusterbackupd/systemd"
)

// manager is a service manager's end of the socket.
type manager struct {
	*testing.T
	conn *net.UnixConn
}

// newManager listens on a socket and names it in the environment. A name that
// begins with @ is one in the abstract name space.
func newManager(t *testing.T, name string) *manager {
	t.Helper()
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	t.Setenv("NOTIFY_SOCKET", name)
	t.Setenv("WATCHDOG_USEC", "")
	t.Setenv("WATCHDOG_PID", "")
	return &manager{t, conn}
}

func socketFile(t *testing.T) string { return filepath.Join(t.TempDir(), "notify") }

// receive returns the next message.
func (m *manager) receive() string {
	m.Helper()
	if err := m.conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		m.Fatal(err)
	}
	buffer := make([]byte, 4096)
	n, err := m.conn.Read(buffer)
	if err != nil {
		m.Fatal(err)
	}
	return string(buffer[:n])
}

func notifier(t *testing.T) *systemd.Notifier {
	t.Helper()
	n, err := systemd.FromEnvironment()
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestNotifications(t *testing.T) {
	for desc, name := range map[string]string{
		"file":     socketFile(t),
		"abstract": fmt.Sprintf("@glusterbackupd-test-%d", os.Getpid()),
	} {
		t.Run(desc, func(t *testing.T) {
			m := newManager(t, name)
			n := notifier(t)
			for _, tt := range []struct {
				send func() error
				want string
			}{
				{n.Ready, "READY=1"},
				{n.Stopping, "STOPPING=1"},
				{n.Watchdog, "WATCHDOG=1"},
				{func() error { return n.Status("copies shop/db, 40 % done") }, "STATUS=copies shop/db, 40 % done"},
				{func() error { return n.Status("one\nMAINPID=1\r\n\ttwo ") }, "STATUS=one MAINPID=1 two"},
				{func() error { return n.Status("name\xff") }, "STATUS=name?"},
			} {
				if err := tt.send(); err != nil {
					t.Fatal(err)
				}
				if got := m.receive(); got != tt.want {
					t.Errorf("got %q, want %q", got, tt.want)
				}
			}
		})
	}
}

// TestReloading checks that the time is that of the clock which the manager
// compares it with.
func TestReloading(t *testing.T) {
	m := newManager(t, socketFile(t))
	n := notifier(t)
	before := monotonic(t)
	if err := n.Reloading(); err != nil {
		t.Fatal(err)
	}
	after := monotonic(t)
	text, found := strings.CutPrefix(m.receive(), "RELOADING=1\nMONOTONIC_USEC=")
	if !found {
		t.Fatalf("message %q", text)
	}
	if at, err := strconv.ParseInt(text, 10, 64); err != nil || at < before || at > after {
		t.Errorf("reloading at %q (%v), want between %d and %d", text, err, before, after)
	}
}

func monotonic(t *testing.T) int64 {
	t.Helper()
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		t.Fatal(err)
	}
	return now.Nano() / 1000
}

// TestWithoutManager runs a daemon by hand.
func TestWithoutManager(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	t.Setenv("WATCHDOG_USEC", "1000000")
	n := notifier(t)
	if n != nil {
		t.Errorf("got a notifier without a socket")
	}
	for _, send := range []func() error{n.Ready, n.Reloading, n.Stopping, n.Watchdog, func() error { return n.Status("idle") }} {
		if err := send(); err != nil {
			t.Error(err)
		}
	}
	if interval, ok := n.WatchdogInterval(); ok {
		t.Errorf("watched every %s without a manager", interval)
	}
}

func TestManagerGone(t *testing.T) {
	m := newManager(t, socketFile(t))
	n := notifier(t)
	m.conn.Close()
	if err := n.Ready(); err == nil {
		t.Error("no error from a manager that is gone")
	}
}

func TestWatchdogInterval(t *testing.T) {
	own, other := strconv.Itoa(os.Getpid()), strconv.Itoa(os.Getppid())
	for desc, tt := range map[string]struct {
		usec, pid string
		want      time.Duration
		fails     bool
	}{
		"not watched":     {},
		"this process":    {usec: "120000000", pid: own, want: time.Minute},
		"any process":     {usec: "3000000", want: 1500 * time.Millisecond},
		"another process": {usec: "3000000", pid: other},
		"no number":       {usec: "soon", fails: true},
		"zero":            {usec: "0", fails: true},
		"no process":      {usec: "1000000", pid: "self", fails: true},
	} {
		t.Run(desc, func(t *testing.T) {
			newManager(t, socketFile(t))
			t.Setenv("WATCHDOG_USEC", tt.usec)
			t.Setenv("WATCHDOG_PID", tt.pid)
			n, err := systemd.FromEnvironment()
			if (err != nil) != tt.fails {
				t.Fatalf("error %v, want one: %v", err, tt.fails)
			}
			if got, ok := n.WatchdogInterval(); got != tt.want || ok != (tt.want > 0) {
				t.Errorf("got %s, %v; want %s", got, ok, tt.want)
			}
		})
	}
}
