package systemd

import (
	"fmt"
	"os"
	"strings"
	"time"

	sd "github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sys/unix"
)

// Notifier sends notifications to the service manager that started this
// process. A nil Notifier is of use too: it sends nothing, for a daemon that is
// run by hand. It is safe for concurrent use.
//
// An error of its methods means that the manager was not reached. The daemon
// goes on all the same: the manager acts by itself on what it does not hear.
type Notifier struct {
	watchdog time.Duration // Without a sign of life for that long the manager kills; 0 is never.
}

// FromEnvironment returns the Notifier for the socket that the manager named in
// the environment, or nil when there is none. It fails when the environment
// names a watchdog that cannot be, which would end in the manager killing a
// daemon that does not know of it.
func FromEnvironment() (*Notifier, error) {
	if os.Getenv("NOTIFY_SOCKET") == "" {
		return nil, nil
	}
	watchdog, err := sd.SdWatchdogEnabled(false)
	if err != nil {
		return nil, fmt.Errorf("watchdog of the service manager: %w", err)
	}
	return &Notifier{watchdog: watchdog}, nil
}

// Ready says that the start, or a reload, is complete.
func (n *Notifier) Ready() error { return n.send(sd.SdNotifyReady) }

// Reloading says that the configuration is being read again, until Ready. From
// version 253 on the manager wants to know when that began, so that it can tell
// this reload from one that it asks for a moment later.
func (n *Notifier) Reloading() error {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return fmt.Errorf("monotonic clock: %w", err)
	}
	return n.send(fmt.Sprintf("%s\nMONOTONIC_USEC=%d", sd.SdNotifyReloading, now.Nano()/int64(time.Microsecond)))
}

// Stopping says that the daemon is about to end.
func (n *Notifier) Stopping() error { return n.send(sd.SdNotifyStopping) }

// Status says in one line what the daemon does; systemctl status shows it. A
// line break in the text would begin another notification, so all white space
// becomes single blanks, and what is no UTF-8, which the manager would drop
// together with the rest, becomes question marks.
func (n *Notifier) Status(line string) error {
	return n.send("STATUS=" + strings.ToValidUTF8(strings.Join(strings.Fields(line), " "), "?"))
}

// Watchdog is the sign of life.
func (n *Notifier) Watchdog() error { return n.send(sd.SdNotifyWatchdog) }

// WatchdogInterval returns the time after which Watchdog is to be called
// again: half of what the manager waits. It is false when the manager does not
// watch this process.
func (n *Notifier) WatchdogInterval() (time.Duration, bool) {
	if n == nil || n.watchdog == 0 {
		return 0, false
	}
	return n.watchdog / 2, true
}

func (n *Notifier) send(state string) error {
	if n == nil {
		return nil
	}
	if _, err := sd.SdNotify(false, state); err != nil {
		return fmt.Errorf("notify the service manager: %w", err)
	}
	return nil
}
